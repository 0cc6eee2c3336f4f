package node

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"kelek/raftcore"
	"kelek/store/op"
)

// TestTorture lets nodes crash, freeze, stall and lose frames while clients increment a counter on
// all of them, and then checks what design.md promises: every acknowledged increment counts once,
// every other one at most once, and no linearizable read goes back. Every other seed keeps so
// little of its logs that who was away gets a snapshot.
func TestTorture(t *testing.T) {
	seeds := 200
	if testing.Short() {
		seeds = 40
	}
	installs := uint64(0)
	for seed := range seeds {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) { installs += torture(t, uint64(seed)) })
	}
	if installs == 0 {
		t.Error("no snapshot was installed")
	}
	t.Logf("%d snapshots were installed", installs)
}

type tormentor struct {
	*cluster
	random   *rand.Rand
	all      []*client
	reads    []*pendingRead
	maxFloor int64 // the highest answer so far
}

// pendingRead is a read and the least value it may see.
type pendingRead struct {
	*reader
	floor int64
}

func torture(t *testing.T, seed uint64) (installs uint64) {
	x := &tormentor{random: rand.New(rand.NewPCG(seed, 1))}
	x.cluster = newCluster(t, []int{1, 3, 3, 5}[seed%4], func(o *Options) {
		o.RequestTimeout = 3 * time.Second
		o.Limits.PipelineProposalsMax = 1 + int(seed%3)
		o.Limits.LogTailBytesMax = 1000 // slow peers are served from disk
		o.Limits.ApplyBatchBytesMax = 500
		if seed%2 == 1 {
			shortLog(o)
		}
	})
	for range 600 {
		x.disturb()
		x.load()
		x.pass(time.Duration(1+x.random.IntN(6)) * 5 * time.Millisecond)
		x.observe()
	}
	x.calm()
	x.verdict()
	return x.installs()
}

// installs is how many snapshots the nodes have installed since their last start.
func (x *tormentor) installs() (count uint64) {
	for _, m := range x.members {
		count += m.node.snapshotting.received
	}
	return count
}

// disturb begins or ends a fault now and then.
func (x *tormentor) disturb() {
	m := x.members[x.random.IntN(len(x.members))]
	switch x.random.IntN(60) {
	case 0:
		if m.node != nil {
			x.abandon(m)
			m.crash(x.random.IntN(3))
		}
	case 16:
		m.streamStalls = !m.streamStalls
	case 17, 18:
		if m.node != nil && m.streaming != nil { // an install is rare, and what is there is young
			x.abandon(m)
			m.crash(x.random.IntN(3))
		}
	case 1, 2, 3:
		if m.node == nil {
			m.start()
		}
	case 4:
		x.isolate(m.id)
	case 5:
		p := x.random.Float64() / 4
		x.network.drop = func(*delivery) bool { return x.random.Float64() < p }
	case 6, 7, 8:
		x.heal()
	case 9:
		m.diskStalls = !m.diskStalls
	case 10:
		m.applyStalls = !m.applyStalls
	case 11:
		m.frozen = !m.frozen
	case 12:
		m.skew = raftcore.LogTime(x.random.IntN(5000))
	case 13:
		if m.node != nil && m.node.leading() {
			_ = m.node.core.TransferLeadership(0) // refused without a peer
		}
	case 14:
		if m.node != nil {
			_ = m.storage.FlushState()
		}
	case 15:
		if m.node != nil {
			m.node.Disconnected(x.members[0].id)
		}
	}
}

// load submits some increments and a read on a random node.
func (x *tormentor) load() {
	m := x.members[x.random.IntN(len(x.members))]
	if m.node == nil {
		return
	}
	for range x.random.IntN(3) {
		client := m.incr("k", 1+x.random.IntN(3))
		client.gone = x.random.IntN(20) == 0
		x.all = append(x.all, client)
	}
	if x.random.IntN(2) == 0 {
		x.reads = append(x.reads, &pendingRead{m.read("k"), x.maxFloor})
	}
}

// observe takes answers: the highest result is what every later read has to see.
func (x *tormentor) observe() {
	for _, client := range x.all {
		if n := len(client.results); client.resolved == 1 && client.err == nil {
			x.maxFloor = max(x.maxFloor, client.results[n-1].Int)
		}
	}
	for _, r := range x.reads {
		if r.resolved == 1 && r.err == nil && r.value < r.floor {
			x.t.Fatalf("a read on n%d saw %d after %d was answered", r.m.id, r.value, r.floor)
		}
		if r.resolved > 1 {
			x.t.Fatal("a read was resolved twice")
		}
	}
}

// abandon takes the clients of a node that crashes: their answers are not known.
func (x *tormentor) abandon(m *member) {
	for _, client := range m.clients {
		if client.resolved == 0 {
			client.resolved, client.err = 1, errInjected
		}
	}
	m.clients = nil
}

// calm ends all faults and waits until everything has an outcome.
func (x *tormentor) calm() {
	x.heal()
	for _, m := range x.members {
		if m.node == nil {
			m.start()
		}
		m.diskStalls, m.applyStalls, m.frozen, m.streamStalls = false, false, false, false
	}
	x.leader()
	x.pass(4 * time.Second) // longer than the request timeout
	for _, m := range x.members {
		last := m.incr("k", 1)
		x.all = append(x.all, last)
		x.until("a write after the faults", func() bool { return last.resolved > 0 })
		if last.err != nil {
			x.t.Fatalf("a write after the faults: %v", last.err)
		}
	}
	x.until("equal states", func() bool {
		for _, m := range x.members {
			if m.storage.state.applied != x.members[0].storage.state.applied {
				return false
			}
		}
		return true
	})
}

func (x *tormentor) verdict() {
	x.t.Helper()
	x.same()
	acked, most := int64(0), int64(0)
	results := map[int64]bool{}
	for _, client := range x.all {
		if client.resolved != 1 {
			x.t.Fatalf("a submission was resolved %d times", client.resolved)
		}
		switch {
		case client.err == nil:
			acked += int64(len(client.results))
			for _, r := range client.results {
				if results[r.Int] {
					x.t.Fatalf("two increments were answered %d", r.Int)
				}
				results[r.Int] = true
			}
		case client.err == op.ErrNoLeader || client.err == op.ErrBusy:
		default:
			most += 3
		}
	}
	for _, r := range x.reads {
		if r.m.node != nil && r.resolved == 0 && r.m.boot == 1 {
			x.t.Fatal("a read was never resolved")
		}
	}
	value := x.members[0].storage.value("k")
	if value < acked || value > acked+most {
		x.t.Fatalf("value %d, acknowledged %d, at most %d unknown", value, acked, most)
	}
	for _, m := range x.members {
		if m.node.lifecycle.failed() {
			x.t.Fatalf("n%d failed: %v", m.id, m.node.Err())
		}
		if n := m.node.origin.window.len() + m.node.origin.waiting.len() + m.node.held.len(); n != 0 {
			x.t.Fatalf("n%d still has %d things waiting", m.id, n)
		}
	}
}
