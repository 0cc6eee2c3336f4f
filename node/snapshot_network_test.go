package node_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kelek/node"
	"kelek/node/transport"
	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store"
	"kelek/store/op"
)

// The two interfaces that main connects for snapshots.
var (
	_ node.Storage             = (*store.Store)(nil)
	_ transport.SnapshotSource = (*node.Node)(nil)
)

// replica is a node on a real store and a real transport, in a cluster that somebody else has
// formed.
type replica struct {
	t       *testing.T
	dir     string
	member  op.Member
	boot    uint64
	founded []op.Member

	node      *node.Node
	store     *store.Store
	transport *transport.Transport
}

// greeting makes a Node a transport.Handler that accepts everybody.
type greeting struct {
	*node.Node
	hello wire.Hello
}

func (g greeting) Hello() wire.Hello                    { return g.hello }
func (g greeting) Accept(wire.Hello) error              { return nil }
func (g greeting) Invited(raftcore.NodeID, wire.Invite) {}

var replicaCluster = [16]byte{7}

// start opens what the directory holds, and lets the node take part.
func (r *replica) start(listener net.Listener, first *raftcore.Entry) {
	r.t.Helper()
	r.boot++
	var err error
	r.store, err = store.Open(r.dir, store.Options{Logger: zerolog.Nop(), CompactBytesMin: 1,
		LogMemTableBytes: 4 << 20, StateMemTableBytes: 1 << 20, CacheBytes: 1 << 20,
		Fatal: func(err error) { r.t.Errorf("%s: %v", r.member.Name, err) }})
	r.must(err)
	if first != nil {
		r.must(node.AppendFirst(r.store, *first))
	}
	r.node, err = node.New(node.Options{Self: r.member, Boot: r.boot, Seed: r.member.ID, Logger: zerolog.Nop(),
		LogKeepBytes: 64 << 10, RequestTimeout: 20 * time.Second,
		Limits: node.Limits{CompactEntriesMin: 10}}, r.store)
	r.must(err)
	hello := wire.Hello{Protocol: node.PeerProtocol, ClusterID: replicaCluster, Boot: r.boot,
		NodeID: raftcore.NodeID(r.member.ID), Name: r.member.Name, PeerAddr: r.member.PeerAddr}
	r.transport, err = transport.New(transport.Options{Listener: listener, Snapshots: r.node,
		Now: r.node.Now}, greeting{r.node, hello})
	r.must(err)
	r.must(r.node.Start(r.transport, node.FormResult{ClusterID: replicaCluster, First: first,
		Members: r.founded}))
}

// move starts the node again, elsewhere.
func (r *replica) move() {
	r.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err)
	r.member.PeerAddr = l.Addr().String()
	r.start(l, nil)
}

func (r *replica) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%s: %v", r.member.Name, err)
	}
}

func (r *replica) stop() {
	if r.node == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r.must(r.node.Stop(ctx))
	r.must(r.transport.Close())
	r.must(r.store.Close())
	r.node = nil
}

// set writes a value and waits for it.
func (r *replica) set(key string, value []byte) {
	r.t.Helper()
	done := make(chan error, 1)
	ops := (&op.Op{Code: op.CodePut, Key: []byte(key), Value: value}).Append(nil)
	r.node.Propose(&op.Submission{Ops: ops, Count: 1, Sink: writer(done)})
	r.must(<-done)
}

type writer chan error

func (writer) Applied(int, *op.Result, op.View) {}
func (w writer) Resolve(err error)              { w <- err }
func (writer) Gone() bool                       { return false }

// get reads what is applied here once a read index was.
func (r *replica) get(key string) []byte {
	r.t.Helper()
	done := make(chan error, 1)
	r.node.Read(&op.ReadRequest{Resolve: func(err error) { done <- err }})
	r.must(<-done)
	view := r.node.View(false)
	defer view.Close()
	v, err := view.Get(0, []byte(key), nil)
	r.must(err)
	return bytes.Clone(v.Bytes)
}

// await waits until a condition holds for the status; it never takes long unless the test fails.
func (r *replica) await(what string, holds func(*op.Status) bool) {
	r.t.Helper()
	for end := time.Now().Add(60 * time.Second); !holds(r.node.Status()); {
		if time.Now().After(end) {
			r.t.Fatalf("%s: in vain for %s: %+v", r.member.Name, what, r.node.Status())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestSnapshotOverTheNetwork: everything real but the processes.
func TestSnapshotOverTheNetwork(t *testing.T) {
	var replicas []*replica
	var listeners []net.Listener
	var members []op.Member
	var config raftcore.Config
	for id := uint64(1); id <= 3; id++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		m := op.Member{ID: id, Name: fmt.Sprint("n", id), PeerAddr: l.Addr().String()}
		members, listeners = append(members, m), append(listeners, l)
		config.Voters = append(config.Voters, raftcore.NodeID(id))
	}
	first := raftcore.Entry{Pos: raftcore.Pos{Term: 1, Index: 1}, Kind: raftcore.EntryConfig,
		Stamp: 1, Data: raftcore.EncodeConfig(config)}
	for i, m := range members {
		r := &replica{t: t, dir: t.TempDir(), member: m, founded: members}
		t.Cleanup(r.stop)
		r.start(listeners[i], &first)
		replicas = append(replicas, r)
	}
	n1, n3 := replicas[0], replicas[2]
	n1.set("before", []byte("x"))
	n3.await("the first write", func(s *op.Status) bool { return s.Applied > 1 })
	lacks := n3.node.Status().LastIndex
	n3.stop()

	value := bytes.Repeat([]byte("v"), 4000)
	written := 0
	n1.await("a log that begins later", func(s *op.Status) bool {
		for range 20 {
			n1.set(fmt.Sprint("k", written), value)
			written++
		}
		return s.FirstIndex > lacks+20 && replicas[1].node.Status().FirstIndex > lacks+20
	})
	n3.move()
	n3.await("a snapshot", func(s *op.Status) bool { return s.Snapshots.Installed > 0 })
	n1.set("after", []byte("y"))
	for key, want := range map[string]string{"before": "x", "after": "y", "k0": string(value),
		fmt.Sprint("k", written-1): string(value)} {
		if got := n3.get(key); string(got) != want {
			t.Errorf("%s is %.20q, wanted %.20q", key, got, want)
		}
	}
	n3.await("equal states", func(*op.Status) bool {
		i, hash := n3.store.ApplyHash()
		j, theirs := n1.store.ApplyHash()
		return i == j && hash == theirs
	})
	if s := n3.node.Status().Snapshots; s.BytesReceived == 0 { // a new leader may have made it two
		t.Errorf("received %+v", s)
	}
	n1.await("the end of the stream", func(*op.Status) bool {
		return replicas[0].node.Status().Snapshots.Sent+replicas[1].node.Status().Snapshots.Sent > 0
	})
	// What was installed is what the next start finds.
	n3.stop()
	n3.move()
	if got := n3.get("k0"); !bytes.Equal(got, value) {
		t.Errorf("after another start k0 is %.20q", got)
	}
}
