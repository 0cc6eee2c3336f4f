package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kelek/node"
	"kelek/node/config"
	"kelek/resp/client"
	"kelek/store/op"
)

// process is one `kelek serve`, on ports that the system chooses anew at each start.
type process struct {
	t      *testing.T
	name   string
	daemon *Daemon
	log    lines
	ended  chan error
	cancel context.CancelFunc
	peer   string // where others find it
	resp   string
}

// serve starts a node, and returns when its ports are open.
func serve(t *testing.T, name, dir string, join ...*process) *process {
	t.Helper()
	s := settings(t, filepath.Join(dir, name))
	s.ID, s.HTTP, s.ClusterListen, s.Role = name, config.Off, config.Off, "voter"
	// On a busy machine a node is silent for a while, and a change that rests on it would be refused.
	s.ElectionTimeout, s.Heartbeat = 500*time.Millisecond, 50*time.Millisecond
	var addrs []string
	for _, p := range join {
		addrs = append(addrs, p.peer)
	}
	s.Join = strings.Join(addrs, ",")
	if err := s.Resolve(func(string) string { return "" }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{t: t, name: name, log: make(lines, 10_000), ended: make(chan error, 1), cancel: cancel}
	p.daemon = newDaemon(s, "1.2.3", zerolog.New(p.log))
	over := make(chan struct{})
	go func() {
		defer close(over)
		p.ended <- p.daemon.serve(ctx)
	}()
	t.Cleanup(func() { // before its directory goes
		cancel()
		<-over
	})
	p.peer = field(t, p.log.wait(t, `"listening"`), "peer")
	return p
}

// ready waits until the node is a member and knows its leader.
func (p *process) ready() *process {
	p.t.Helper()
	p.resp = field(p.t, p.log.wait(p.t, `"ready"`), "resp")
	return p
}

// end waits until the process is over.
func (p *process) end() error {
	p.t.Helper()
	select {
	case err := <-p.ended:
		return err
	case <-time.After(time.Minute):
		p.t.Fatalf("%s does not end", p.name)
		return nil
	}
}

func (p *process) stop() {
	p.t.Helper()
	p.cancel()
	if err := p.end(); err != nil {
		p.t.Errorf("%s: %v", p.name, err)
	}
}

func (p *process) do(args ...string) string {
	p.t.Helper()
	conn, err := client.Dial(p.resp, time.Minute)
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close()
	reply, err := conn.Do(args...)
	if err != nil {
		p.t.Fatalf("%q on %s: %v", args, p.name, err)
	}
	return reply.Text
}

// voters waits until the node sees exactly these voters, all of them up, and nothing in progress.
func (p *process) voters(names ...string) {
	p.t.Helper()
	got := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		status := p.daemon.Status()
		var seen []string
		for _, m := range status.Members {
			word := m.Name
			if m.Role != op.RoleVoter || !m.Alive() {
				word = fmt.Sprintf("%s(%s, %s)", m.Name, m.Role, m.State)
			}
			seen = append(seen, word)
		}
		slices.Sort(seen)
		if got = strings.Join(seen, " "); slices.Equal(seen, names) && !status.Joint && status.Leader != 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	p.t.Fatalf("%s sees %s, want %q", p.name, got, names)
}

// asked asks whoever leads, again when nothing was done since that is somebody else now.
func asked(t *testing.T, r op.AdminRequest, nodes ...*process) op.AdminReply {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i := 0; ; i++ {
		reply, err := nodes[i%len(nodes)].daemon.node.Admin(ctx, r)
		if errors.As(err, new(op.NotLeaderError)) ||
			err != nil && strings.Contains(err.Error(), "nothing was done") {
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
}

// A cluster of one grows to three by --join, one of its machines loses its disk and comes back, all
// move to other addresses at once, and one goes for good.
func TestNodesJoinMoveAndLeave(t *testing.T) {
	dir := t.TempDir()
	n1 := serve(t, "n1", dir).ready()
	n1.do("SET", "k", "v")
	n2 := serve(t, "n2", dir, n1).ready()
	n1.voters("n1", "n2")
	n3 := serve(t, "n3", dir, n2).ready() // which need not lead: it says who does
	n1.voters("n1", "n2", "n3")
	if got := n3.do("GET", "k"); got != "v" {
		t.Errorf("n3 says %q", got)
	}

	former := n2.daemon.identity.NodeID
	n2.stop()
	if err := os.RemoveAll(filepath.Join(dir, "n2")); err != nil {
		t.Fatal(err)
	}
	n2 = serve(t, "n2", dir, n1).ready()
	n1.voters("n1", "n2", "n3")
	if n2.daemon.identity.NodeID == former || n2.do("GET", "k") != "v" {
		t.Error("n2 is not a new node with the old data")
	}

	for _, p := range []*process{n1, n2, n3} {
		p.stop()
	}
	n1 = serve(t, "n1", dir)
	n2 = serve(t, "n2", dir, n1)
	n3 = serve(t, "n3", dir, n1) // n2 and n3 hear of each other from the log
	for _, p := range []*process{n1, n2, n3} {
		p.ready().voters("n1", "n2", "n3")
	}
	n2.do("SET", "k", "w")

	reply := asked(t, op.AdminRequest{Action: op.MemberRemove, Name: "n3"}, n1, n2, n3)
	want := fmt.Sprintf("removed from cluster %s at index %d",
		node.ClusterName(n1.daemon.Status().ClusterID), reply.Index)
	err := n3.end()
	if node.ExitCode(err) != node.ExitRemoved || !strings.Contains(err.Error(), want) {
		t.Errorf("n3 ended with %v, want exit code 66 and %q", err, want)
	}
	n1.voters("n1", "n2")
	again := settings(t, filepath.Join(dir, "n3"))
	err = Run(context.Background(), again, "1.2.3", zerolog.Nop())
	if node.ExitCode(err) != node.ExitRemoved || !strings.Contains(err.Error(), want) {
		t.Errorf("n3 was started again and ended with %v", err)
	}
	if got := n1.do("GET", "k"); got != "w" {
		t.Errorf("n1 says %q", got)
	}
}
