package node

import (
	"testing"
	"time"

	"kelek/raftcore"
	"kelek/store/op"
)

func served(t *testing.T, r *reader, want int64) {
	t.Helper()
	if r.resolved != 1 || r.err != nil || r.value != want {
		t.Fatalf("resolved %d times with %v, value %d, want %d", r.resolved, r.err, r.value, want)
	}
}

func TestReadsOnEveryNodeSeeEveryAnsweredWrite(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.leader()
	for i := range 20 {
		x := c.members[i%3].incr("k", 1)
		c.until("the write", func() bool { return x.resolved > 0 })
		for _, m := range c.members {
			r := m.read("k")
			c.until("the read", func() bool { return r.resolved > 0 })
			served(t, r, int64(i+1))
		}
	}
}

func TestReadsWaitForTheApplier(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.leader()
	m := c.follower()
	c.pass(time.Second)
	m.applyStalls = true
	x := c.leader().incr("k", 1)
	c.settle()
	answered(t, x, 1)
	r := m.read("k")
	c.pass(100 * time.Millisecond)
	if r.resolved != 0 {
		t.Fatal("served before the entry was applied")
	}
	m.applyStalls = false
	c.settle()
	served(t, r, 1)
}

// A leader that is cut off believes in itself for a while. It must not serve.
func TestDeposedLeaderServesNoRead(t *testing.T) {
	c := newCluster(t, 3, nil)
	old := c.leader()
	c.pass(time.Second)
	c.isolate(old.id)
	stale := old.read("k")
	var next *member
	c.until("another leader", func() bool {
		for _, m := range c.members {
			if m != old && m.node.leading() {
				next = m
			}
		}
		return next != nil
	})
	x := next.incr("k", 1)
	c.until("the write", func() bool { return x.resolved > 0 })
	another := old.read("k")
	c.pass(2 * time.Second)
	if stale.resolved+another.resolved != 0 {
		t.Fatal("a node without a quorum served a read")
	}
	c.heal()
	c.until("both reads", func() bool { return stale.resolved+another.resolved == 2 })
	served(t, stale, 1)
	served(t, another, 1)
}

func TestReadsWithoutALeaderEndAtTheDeadline(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.leader()
	m := c.follower()
	c.isolate(m.id)
	c.until("no leader", func() bool { return m.node.leader == 0 })
	r := m.read("k")
	c.pass(9900 * time.Millisecond)
	late := m.read("k")
	c.pass(200 * time.Millisecond)
	if r.resolved != 1 || r.err != op.ErrNoLeader || late.resolved != 0 {
		t.Fatalf("resolved %d with %v; the later one %d times", r.resolved, r.err, late.resolved)
	}
	c.heal()
	c.until("the later read", func() bool { return late.resolved > 0 })
	served(t, late, 0)
}

func TestReadsOfOneTurnShareARoundAndRoundsAreBounded(t *testing.T) {
	c := newCluster(t, 3, func(o *Options) { o.Limits.ReadRoundsMax = 2; o.Limits.ReadsMax = 60 })
	m := c.leader()
	c.pass(time.Second)
	before := m.node.counters.readRounds
	var reads []*reader
	for range 5 { // answers are not delivered yet
		for range 10 {
			reads = append(reads, m.read("k"))
		}
		m.node.turn()
		c.now += 2 * paceMax // a round that takes long gets company
	}
	if n := m.node.counters.readRounds - before; n != 2 {
		t.Fatalf("%d rounds for 5 groups, want the limit of 2", n)
	}
	for range 10 {
		reads = append(reads, m.read("k"))
	}
	if r := m.read("k"); r.err != op.ErrBusy {
		t.Fatalf("the 61st read: %v", r.err)
	}
	c.pass(10 * time.Millisecond)
	for _, r := range reads {
		served(t, r, 0)
	}
	if n := m.node.counters.readRounds - before; n != 3 {
		t.Fatalf("%d rounds, want 3: the rest shared one", n)
	}
	m.node.reads.mu.Lock()
	defer m.node.reads.mu.Unlock()
	if m.node.reads.count != 0 {
		t.Fatalf("%d reads are still counted", m.node.reads.count)
	}
}

func TestLostRoundsAreAskedAgain(t *testing.T) {
	c := newCluster(t, 3, nil)
	old := c.leader()
	c.pass(time.Second)
	m := c.follower()
	c.network.drop = func(d *delivery) bool {
		return len(d.messages) > 0 && d.messages[0].Kind == raftcore.ReadIndexResponse
	}
	r := m.read("k")
	c.pass(50 * time.Millisecond)
	if r.resolved != 0 {
		t.Fatal("served without an answer")
	}
	c.heal()
	old.crash(0)
	c.until("the read", func() bool { return r.resolved > 0 })
	served(t, r, 0)
}
