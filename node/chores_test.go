package node

import (
	"testing"
	"time"

	"kelek/raftcore"
	"kelek/store/op"
)

func TestDeadlinesArePurgedByTheLeaderWithinMilliseconds(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.leader()
	c.pass(2 * time.Second)
	m := c.follower()
	x := m.put("k", 7, 200)
	c.settle()
	if x.err != nil || m.storage.value("k") != 7 {
		t.Fatalf("put: %v", x.err)
	}
	c.pass(195 * time.Millisecond)
	if m.storage.value("k") != 7 {
		t.Fatal("purged too early")
	}
	c.pass(15 * time.Millisecond)
	for _, m := range c.members {
		if _, ok := m.storage.state.values["k"]; ok {
			t.Fatalf("n%d still has the key", m.id)
		}
	}
	before := c.leader().node.counters.numbered
	c.pass(2 * time.Second)
	if n := c.leader().node.counters.numbered - before; n != 0 {
		t.Fatalf("%d purges without a deadline", n)
	}
}

// The deadline is part of what the loop sleeps until.
func TestLoopSleepsUntilTheNextDeadlineOfAKey(t *testing.T) {
	c := newCluster(t, 1, func(o *Options) {
		o.Heartbeat, o.ElectionTimeout = time.Second, 4*time.Second
	})
	m := c.leader()
	c.pass(2 * time.Second)
	m.put("k", 1, 30)
	c.settle()
	if wait := time.Duration(m.node.deadline() - c.now); wait > 30*time.Millisecond {
		t.Fatalf("sleeps for %s, the key has 30 ms", wait)
	}
}

// A deadline that a purge does not move must not turn the leader into a busy loop.
func TestPurgeThatChangesNothingIsNotRepeatedAtOnce(t *testing.T) {
	c := newCluster(t, 1, nil)
	m := c.leader()
	c.pass(2 * time.Second)
	m.storage.state.deadlines["ghost"] = 1
	before := m.node.counters.numbered
	for range 20 {
		m.storage.state.deadlines["ghost"] = 1 // comes back after each purge
		c.pass(10 * time.Millisecond)
	}
	if n := m.node.counters.numbered - before; n < 1 || n > 4 {
		t.Fatalf("%d purges in 200 ms", n)
	}
}

func TestMembersRecordThemselvesAndChangesFollow(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.leader()
	c.pass(2 * time.Second)
	for _, m := range c.members {
		if len(m.storage.state.members) != 3 || m.storage.state.members[uint64(m.id)] != m.self() {
			t.Fatalf("n%d has recorded %+v", m.id, m.storage.state.members)
		}
		s := m.node.Status()
		if len(s.Members) != 3 || s.Members[0].Addr != "n1:6380" || !s.Members[0].Voter {
			t.Fatalf("status of n%d: %+v", m.id, s.Members)
		}
		if s.LeaderMember() == nil {
			t.Fatalf("n%d does not know the leader's addresses", m.id)
		}
		if peers := m.node.transport.(*fakeTransport).peers; len(peers) != 2 || peers[0].PeerAddr == "" {
			t.Fatalf("n%d told the transport %+v", m.id, peers)
		}
	}
	m := c.follower()
	m.crash(0)
	c.options = func(o *Options) { o.Self.Version = "next" }
	m.start()
	c.pass(2 * time.Second)
	if got := c.leader().storage.state.members[uint64(m.id)].Version; got != "next" {
		t.Fatalf("recorded version %q", got)
	}
	numbered := m.node.counters.numbered
	c.pass(3 * time.Second)
	if m.node.counters.numbered != numbered {
		t.Fatal("a record that is up to date was proposed again")
	}
}

func TestInvitedNodeWithoutALogIsReachedByItsFounders(t *testing.T) {
	n, err := New(Options{Self: op.Member{ID: 2, Name: "n2"}, Boot: 1}, newFakeStorage())
	if err != nil {
		t.Fatal(err)
	}
	transport := &fakeTransport{network: &fakeNetwork{}, self: 2}
	founders := []op.Member{{ID: 1, Name: "n1", PeerAddr: "a"}, {ID: 2, Name: "n2"}}
	if err := n.prepare(transport, FormResult{Members: founders}); err != nil {
		t.Fatal(err)
	}
	if len(transport.peers) != 1 || transport.peers[0] != founders[0] {
		t.Fatalf("the transport was told %+v", transport.peers)
	}
}

// compactEntries is what a compaction has to be worth unless a test says otherwise.
const compactEntries = 1024

func fillLog(c *cluster, m *member, entries int) {
	for range entries {
		m.incr("k", 1)
		c.settle()
	}
}

func first(m *member) raftcore.Index {
	var s raftcore.Status
	m.node.core.Status(&s)
	return s.First
}

func TestLogIsCompactedBehindTheDurableStateOnly(t *testing.T) {
	c := newCluster(t, 3, func(o *Options) { o.LogKeepBytes, o.FlushLogBytes = 1<<10, 1<<30 })
	m := c.leader()
	fillLog(c, m, 2*compactEntries)
	c.pass(2 * time.Second)
	if first(m) != 1 {
		t.Fatalf("compacted to %d though nothing applied is durable", first(m))
	}
	for _, m := range c.members {
		_ = m.storage.FlushState()
	}
	c.pass(2 * time.Second)
	for _, m := range c.members {
		if got := first(m); got < compactEntries || got > raftcore.Index(2*compactEntries+10) {
			t.Fatalf("n%d: the log begins at %d", m.id, got)
		}
		if m.storage.disk.base.Pos.Index+1 != first(m) {
			t.Fatalf("n%d: core says %d, the log %d", m.id, first(m), m.storage.disk.base.Pos.Index+1)
		}
	}
	// What is left is enough to start from.
	m.crash(0)
	m.start()
	c.leader()
	fillLog(c, c.leader(), 1)
	c.pass(time.Second)
	c.same()
}

// A log of few, large entries is compacted by its size.
func TestLargeEntriesAreCompactedBySize(t *testing.T) {
	c := newCluster(t, 3, func(o *Options) { o.LogKeepBytes = 1 << 20 })
	m := c.leader()
	c.follower().crash(0) // it lacks everything from here on
	value := make([]byte, 100<<10)
	for range 30 {
		ops := (&op.Op{Code: op.CodePut, Key: []byte("k"), Value: value}).Append(nil)
		m.node.Propose(&op.Submission{Ops: ops, Count: 1, Sink: &client{t: t}})
		c.settle()
	}
	c.pass(4 * time.Second)
	if n := m.storage.LogBytes(); n > 1<<20+1<<18 || n < 1<<19 {
		t.Fatalf("the log has %d bytes", n)
	}
	if first(m) < 10 {
		t.Fatalf("the log begins at %d", first(m))
	}
}

// A node that has just started knows of no floor, and learns it from the leader.
func TestFollowerCompactsAfterARestart(t *testing.T) {
	c := newCluster(t, 3, nil)
	leader, m := c.leader(), c.follower()
	fillLog(c, leader, 2*compactEntries)
	_ = m.storage.FlushState()
	m.crash(0)
	m.start()
	c.until("the follower compacts", func() bool { return first(m) > 2*compactEntries })
}

func TestStateIsFlushedWhenTooMuchLogDependsOnIt(t *testing.T) {
	c := newCluster(t, 1, func(o *Options) { o.FlushLogBytes = 10_000 })
	m := c.leader()
	fillLog(c, m, 50)
	c.pass(3 * time.Second)
	if m.storage.calls["FlushState"] != 0 {
		t.Fatal("flushed without need")
	}
	fillLog(c, m, 300)
	c.pass(3 * time.Second)
	if m.storage.calls["FlushState"] != 1 {
		t.Fatalf("flushed %d times, want once", m.storage.calls["FlushState"])
	}
}

// An idle cluster does next to nothing: its loops wake for heartbeats and chores only.
func TestIdleClusterSleeps(t *testing.T) {
	c := newCluster(t, 3, nil)
	leader, follower := c.leader(), c.follower()
	c.pass(3 * time.Second)
	const samples = 400
	var leads, follows raftcore.Instant
	for range samples {
		c.pass(5 * time.Millisecond)
		leads += leader.node.deadline() - c.now
		follows += follower.node.deadline() - c.now
	}
	// Halfway to the next heartbeat, and to the earlier of election time-out and chores.
	if leads/samples < 20*raftcore.Millisecond || follows/samples < 200*raftcore.Millisecond {
		t.Fatalf("the leader sleeps for %s, a follower for %s",
			time.Duration(leads/samples), time.Duration(follows/samples))
	}
}
