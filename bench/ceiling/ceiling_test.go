package ceiling

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

func TestAnswer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- Answer(ctx, ln) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$4\r\nincr\r\n$1\r\na\r\n"+
		"*1\r\n$4\r\nPING\r\n*1\r\n$3\r\nFOO\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n"+
		"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n*1\r\n$4\r\nEXEC\r\n"+
		"*1\r\n$4\r\nPING\r\n")
	want := "+OK\r\n:1\r\n+PONG\r\n-ERR this server only answers GET, SET, MSET, INCR, APPEND, " +
		"PING and MULTI\r\n$64\r\nabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n" +
		"+PONG\r\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

// The loops do what they say, and leave nothing behind but what their caller removes.
func TestDiskLoops(t *testing.T) {
	const length = 20 * time.Millisecond
	for _, filled := range []bool{false, true} {
		dir := t.TempDir()
		check(t, fmt.Sprintf("filled %t", filled), func() (Sample, error) {
			return Syncs(t.Context(), dir, filled, length)
		})
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
	check(t, "batches", func() (Sample, error) {
		return SyncedBatches(t.Context(), t.TempDir(), 16, 100, length)
	})
	if _, err := Syncs(t.Context(), "/nonexistent", false, length); err == nil {
		t.Error("a directory that does not exist was written to")
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := SyncedBatches(cancelled, t.TempDir(), 1, 100, time.Hour); err == nil {
		t.Error("a cancelled loop reports success")
	}
}

func check(t *testing.T, name string, loop func() (Sample, error)) {
	t.Helper()
	s, err := loop()
	total := time.Duration(0)
	for _, wait := range s.Waits {
		total += wait
	}
	if err != nil || s.Count == 0 || len(s.Waits) != s.Count || total != s.Elapsed {
		t.Errorf("%s: %d rounds, %d waits of %s in %s, %v", name, s.Count, len(s.Waits), total, s.Elapsed,
			err)
	}
}
