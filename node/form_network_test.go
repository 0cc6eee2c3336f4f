package node_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"kelek/node"
	"kelek/node/transport"
	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// The two interfaces that main connects.
var (
	_ transport.Handler = (*node.Greeter)(nil)
	_ node.Meeting      = (*transport.Transport)(nil)
	_ node.Transport    = (*transport.Transport)(nil)
)

// process is what main sets up before the loop: identity, greeter, transport, formation.
type process struct {
	greeter   *node.Greeter
	transport *transport.Transport
	form      node.FormOptions
	log       []raftcore.Entry
}

func startProcess(t *testing.T, l net.Listener, name, list string) *process {
	t.Helper()
	id, err := node.OpenIdentity(t.TempDir(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { id.Close() })
	peers, err := node.ParsePeers(list, name)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{greeter: node.NewGreeter(node.GreeterOptions{
		Identity: id, PeerAddr: l.Addr().String(), Peers: peers, LogEmpty: true,
	})}
	var hints []transport.Hint
	for _, peer := range peers {
		hints = append(hints, transport.Hint(peer))
	}
	p.transport, err = transport.New(transport.Options{Listener: l, Hints: hints}, p.greeter)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.transport.Close() })
	p.form = node.FormOptions{Greeter: p.greeter, Meeting: p.transport, Random: rand.Reader,
		Clock:  func() raftcore.LogTime { return 1 },
		Append: func(e raftcore.Entry) error { p.log = append(p.log, e); return nil },
	}
	return p
}

// heard is a Receiver that keeps what a core would get, and the reports.
type heard struct {
	messages chan raftcore.Message
	errors   chan error
}

func newHeard() heard { return heard{make(chan raftcore.Message, 99), make(chan error, 999)} }

func (h heard) Messages(_ raftcore.NodeID, ms []raftcore.Message) {
	for _, m := range ms {
		h.messages <- m
	}
}
func (heard) Forwarded(raftcore.NodeID, []byte) {}
func (heard) Connected(wire.Hello)              {}
func (heard) Disconnected(raftcore.NodeID)      {}
func (h heard) PeerError(_, _ string, err error) {
	select {
	case h.errors <- err:
	default:
	}
}

// Three processes form over real sockets, the creator coming last, and their cores can talk. Then
// comes a node of another cluster.
func TestFormOverTheNetwork(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var listeners [3]net.Listener
	var list []string
	for i := range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[i] = l
		list = append(list, fmt.Sprintf("n%d=%s", i+1, l.Addr()))
	}
	var processes [3]*process
	var results [3]node.FormResult
	var ears [3]heard
	var all sync.WaitGroup
	for i := 2; i >= 0; i-- {
		processes[i] = startProcess(t, listeners[i], fmt.Sprint("n", i+1), strings.Join(list, ","))
		ears[i] = newHeard()
		all.Add(1)
		go func() {
			defer all.Done()
			var err error
			if results[i], err = node.Form(ctx, processes[i].form); err != nil {
				t.Errorf("n%d: %v", i+1, err)
			}
			processes[i].greeter.Attach(ears[i])
		}()
	}
	all.Wait()
	for i, r := range results {
		if r.ClusterID != results[0].ClusterID || len(r.Members) != 3 ||
			(r.First != nil) != (i == 0) || (len(processes[i].log) == 1) != (i == 0) {
			t.Fatalf("n%d: %+v, log %v", i+1, r, processes[i].log)
		}
		processes[i].transport.SetPeers(r.Members)
	}
	from, to := raftcore.NodeID(results[0].Members[0].ID), raftcore.NodeID(results[0].Members[2].ID)
	for again := time.NewTicker(20 * time.Millisecond); ; { // the connection may be on its way
		processes[0].transport.Send(to, []raftcore.Message{{Kind: raftcore.PreVote, From: from, To: to}})
		select {
		case m := <-ears[2].messages:
			if m.From != from {
				t.Fatalf("%+v", m)
			}
		case <-again.C:
			continue
		case <-ctx.Done():
			t.Fatal("no message has arrived")
		}
		break
	}
	wantForeignRefused(ctx, t, list, ears[0], results[0].ClusterID)
}

// wantForeignRefused starts n4, which formed a cluster of its own and takes n1 for a peer.
func wantForeignRefused(ctx context.Context, t *testing.T, list []string, n1 heard, home [16]byte) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	foreign := startProcess(t, l, "n4", "")
	r, err := node.Form(ctx, foreign.form)
	if err != nil {
		t.Fatal(err)
	}
	m := r.Members[0]
	m.ID, m.Name, m.PeerAddr = 1, "n1", strings.TrimPrefix(list[0], "n1=")
	foreign.transport.SetPeers(append(r.Members, m))
	for {
		select {
		case err := <-n1.errors:
			text := err.Error()
			if errors.Is(err, node.ErrOtherCluster) && strings.Contains(text, node.ClusterName(home)) &&
				strings.Contains(text, node.ClusterName(r.ClusterID)) {
				return
			}
		case <-ctx.Done():
			t.Fatal("n1 has not reported the node of another cluster")
		}
	}
}
