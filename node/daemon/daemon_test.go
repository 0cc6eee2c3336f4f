package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kelek/node"
	"kelek/node/config"
	"kelek/raftcore/wire"
	"kelek/resp/client"
	"kelek/store"
	"kelek/store/op"
)

func settings(t *testing.T, dir string) *config.Serve {
	t.Helper()
	s := &config.Serve{Dir: dir, Listen: "127.0.0.1:0", Redirect: "forward", LogLevel: "info",
		ElectionTimeout: 100 * time.Millisecond, Heartbeat: 20 * time.Millisecond,
		PromoteAfter: 50 * time.Millisecond, RequestTimeout: 30 * time.Second, ShutdownTimeout: 5 * time.Second,
		MaxClients: 10, ProtoMaxBulkLen: 1 << 20, LogKeepBytes: 16 << 20}
	if err := s.Resolve(func(string) string { return "" }); err != nil {
		t.Fatal(err)
	}
	return s
}

// lines hands each line of the log to a channel.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// wait returns the first line with a text.
func (l lines) wait(t *testing.T, text string) string {
	t.Helper()
	var seen []string
	for deadline := time.After(time.Minute); ; {
		select {
		case line := <-l:
			if strings.Contains(line, text) {
				return line
			}
			seen = append(seen, line)
		case <-deadline:
			t.Fatalf("no line with %q in the log:\n%s", text, strings.Join(seen, ""))
		}
	}
}

// field is the value of a field of a JSON line.
func field(t *testing.T, line, name string) string {
	t.Helper()
	_, rest, found := strings.Cut(line, `"`+name+`":"`)
	value, _, closed := strings.Cut(rest, `"`)
	if !found || !closed {
		t.Fatalf("no %s in %s", name, line)
	}
	return value
}

func TestServeTwiceFromOneDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	for boot, want := range []string{"", "v0"} {
		ctx, cancel := context.WithCancel(context.Background())
		log, ended := make(lines, 1000), make(chan error, 1)
		go func() { ended <- Run(ctx, settings(t, dir), "1.2.3", zerolog.New(log)) }()
		ready := log.wait(t, `"ready"`)
		conn, err := client.Dial(field(t, ready, "resp"), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		got, err := conn.Do("GET", "k")
		if err != nil || got.Text != want {
			t.Errorf("start %d: GET is %q, %v; want %q", boot, got.Text, err, want)
		}
		if _, err := conn.Do("SET", "k", fmt.Sprint("v", boot)); err != nil {
			t.Error(err)
		}
		checkFaces(t, conn, ready)
		conn.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("stop %d: %v", boot, err)
		}
	}
}

func checkFaces(t *testing.T, conn *client.Conn, ready string) {
	t.Helper()
	if config, err := conn.Do("CONFIG", "GET", "election-timeout"); err != nil ||
		len(config.Elems) != 2 || config.Elems[1].Text != "100ms" {
		t.Errorf("CONFIG GET: %+v, %v", config, err)
	}
	info, err := conn.Info()
	if err != nil || info.Version != "1.2.3" || !info.Leading() {
		t.Errorf("INFO: %+v, %v", info, err)
	}
	smart, err := client.Dial(field(t, ready, "resp_cluster"), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer smart.Close()
	if id, err := smart.Do("CLUSTER", "MYID"); err != nil || len(id.Text) != 40 {
		t.Errorf("CLUSTER MYID: %+v, %v", id, err)
	}
	reply, err := http.Get("http://" + field(t, ready, "http") + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	if body, _ := io.ReadAll(reply.Body); reply.StatusCode != http.StatusOK {
		t.Errorf("readyz: %d %s", reply.StatusCode, body)
	}
}

// Whatever fails on the way up, the directory can be opened again afterwards.
func TestAFailedStartClosesWhatItOpened(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	for _, test := range []struct {
		change func(s *config.Serve)
		code   int
	}{
		{func(s *config.Serve) { s.Peers = "nonsense" }, node.ExitConfig},
		{func(s *config.Serve) { s.Addresses.HTTP = "256.0.0.1:0" }, node.ExitConfig},
		{func(s *config.Serve) { s.ID = "n2" }, node.ExitIdentity},
		{func(s *config.Serve) { s.ElectionTimeout = s.RequestTimeout * 2 }, node.ExitUnexpected},
	} {
		s := settings(t, dir)
		test.change(s)
		err := Run(context.Background(), s, "1", zerolog.Nop())
		if node.ExitCode(err) != test.code || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v (exit code %d), want exit code %d", err, node.ExitCode(err), test.code)
		}
	}
	id, err := node.OpenIdentity(dir, "")
	if err != nil {
		t.Fatalf("the lock was kept: %v", err)
	}
	defer id.Close()
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatalf("the databases were kept open: %v", err)
	}
	s.Close()
}

// A node that waits for its peers answers probes and INFO, and stops when it is told.
func TestWaitingForPeers(t *testing.T) {
	s := settings(t, t.TempDir())
	s.ID, s.Peers = "n1", "n1=127.0.0.1:2,n2=127.0.0.1:1"
	ctx, cancel := context.WithCancel(context.Background())
	log, ended := make(lines, 1000), make(chan error, 1)
	go func() { ended <- Run(ctx, s, "1", zerolog.New(log)) }()
	log.wait(t, "waiting for n2")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTheDoormanKnowsAStranger(t *testing.T) {
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n, err := node.New(node.Options{Self: op.Member{ID: 1, Name: "n1", PeerAddr: "h:1"}, Boot: 1,
		Logger: zerolog.Nop()}, s)
	if err != nil {
		t.Fatal(err)
	}
	var failure error
	var judge func() // when the patience is over
	door := func() *doorman {
		failure, judge = nil, nil
		d := newDoorman(n, []string{"h:2", "h:3"}, "dir", func(err error) { failure = err })
		d.after = func(wait time.Duration, f func()) {
			if judge != nil || wait != homePatience {
				t.Errorf("another verdict, in %s", wait)
			}
			judge = f
		}
		return d
	}
	other := fmt.Errorf("%w: ab and cd", node.ErrOtherCluster)

	d := door()
	d.PeerError("", "h:9", other)
	d.PeerError("n9", "h:9", other)
	d.PeerError("n2", "h:54321", other) // it has dialled us
	d.PeerError("n3", "h:3", errors.New("connection refused"))
	if judge != nil || failure != nil {
		t.Errorf("nobody of another cluster answers at an address of --peers: %v", failure)
	}
	d.PeerError("n2", "h:2", other)
	d.PeerError("n2", "h:2", other)
	if judge != nil || failure != nil {
		t.Errorf("the address of n2 may have been given to somebody else: %v", failure)
	}
	d.PeerError("n3", "h:3", other)
	d.PeerError("n2", "h:2", other)
	if judge == nil || failure != nil {
		t.Fatalf("strangers answer everywhere, and there is time to meet others: %v", failure)
	}
	judge()
	if node.ExitCode(failure) != node.ExitIdentity || !strings.Contains(failure.Error(), "ab and cd") ||
		!strings.Contains(failure.Error(), "h:2") || !strings.Contains(failure.Error(), "dir") {
		t.Errorf("a stranger and nobody else: %v", failure)
	}

	d = door()
	d.Connected(wire.Hello{Name: "n2", NodeID: 2, ClusterID: [16]byte{1}})
	d.PeerError("n3", "h:3", other)
	d.PeerError("n2", "h:2", other)
	if judge != nil || failure != nil {
		t.Errorf("a node that has met its own cluster goes on: %v", failure)
	}

	d = door()
	d.PeerError("n2", "h:2", other)
	d.PeerError("n3", "h:3", other)
	d.Connected(wire.Hello{Name: "n3", NodeID: 3}) // blank: nobody of ours
	d.Connected(wire.Hello{Name: "n3", NodeID: 3, ClusterID: [16]byte{1}})
	judge()
	if failure != nil {
		t.Errorf("a node that meets its own cluster in time goes on: %v", failure)
	}
}

func TestStorageErrorsHaveExitCodes(t *testing.T) {
	for code, err := range map[int]error{
		node.ExitCorrupt:    fmt.Errorf("open: %w", &store.CorruptError{Reason: io.ErrUnexpectedEOF}),
		node.ExitNewer:      fmt.Errorf("apply: %w", op.UnknownCodeError{Code: 99}),
		node.ExitConfig:     os.ErrPermission,
		node.ExitUnexpected: io.ErrUnexpectedEOF,
		node.ExitOK:         nil,
	} {
		if got := node.ExitCode(storageError(err)); got != code {
			t.Errorf("%v: exit code %d, want %d", err, got, code)
		}
	}
}
