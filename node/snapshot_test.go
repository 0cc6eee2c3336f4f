package node

import (
	"errors"
	"strings"
	"testing"
	"time"

	"kelek/raftcore"
	"kelek/store/op"
)

// shortLog makes nodes keep next to nothing of their logs.
func shortLog(o *Options) {
	o.LogKeepBytes, o.FlushLogBytes = 2000, 1000
	o.Limits.CompactEntriesMin = 10
	o.Limits.LogTailBytesMax = 1000
}

// outrun writes until the log of the leader begins after all that lacks holds.
func (c *cluster) outrun(leader, lacks *member) {
	c.t.Helper()
	for range 10 {
		fillLog(c, leader, 30)
		c.pass(time.Second) // the chores flush and compact
		if first(leader) > lacks.storage.disk.last().Index+1 {
			return
		}
	}
	c.t.Fatalf("the log still begins at %d", first(leader))
}

// caughtUp waits until m has applied what the leader has.
func (c *cluster) caughtUp(m *member) {
	c.t.Helper()
	c.until("all is applied", func() bool {
		return m.storage.state.applied == c.leader().storage.state.applied
	})
}

// status is the core's.
func (m *member) status() (s raftcore.Status) {
	m.node.core.Status(&s)
	return s
}

// laggard is a cluster in which a member is behind the others' logs and down.
func laggard(t *testing.T, options func(*Options)) (c *cluster, leader, down *member) {
	t.Helper()
	c = newCluster(t, 3, options)
	leader = c.leader()
	c.pass(time.Second)
	down = c.follower()
	down.crash(0)
	c.outrun(leader, down)
	return c, leader, down
}

// The whole way: taken, offered, streamed, installed, followed by the log, and dropped.
func TestMemberBehindTheLogComesBackBySnapshot(t *testing.T) {
	c, leader, down := laggard(t, shortLog)
	value := leader.storage.value("k")
	c.pass(3 * time.Second)
	if n := leader.storage.calls["TakeSnapshot"]; n != 0 {
		t.Fatalf("%d snapshots were taken for a member that is down", n)
	}
	down.start()
	c.caughtUp(down)
	if got := down.storage.value("k"); got != value {
		t.Fatalf("value %d, wanted %d", got, value)
	}
	if down.node.snapshotting.received != 1 || leader.node.snapshotting.created != 1 ||
		leader.node.streamed.sent.Load() != 1 || c.streams != 1 {
		t.Fatalf("received %d, created %d, sent %d, streams %d", down.node.snapshotting.received,
			leader.node.snapshotting.created, leader.node.streamed.sent.Load(), c.streams)
	}
	if n := len(down.node.joining.recorded); n != 3 {
		c.pass(100 * time.Millisecond)
		if n = len(down.node.joining.recorded); n != 3 {
			t.Fatalf("%d members are known, as before the snapshot", n)
		}
	}
	fillLog(c, down, 5)
	c.caughtUp(down)
	c.same()
	if len(leader.storage.snapshots) != 1 {
		t.Fatal("the snapshot is dropped at once: another member may need it")
	}
	c.pass(2*snapshotIdle + 2*time.Second)
	if n, s := len(leader.storage.snapshots), leader.status(); n != 0 || s.Snapshot.ID != 0 {
		t.Fatalf("%d snapshots are kept, and the core takes %x for streamable", n, s.Snapshot.ID)
	}
	// What is left is enough to start from.
	down.crash(0)
	down.start()
	c.caughtUp(down)
	c.same()
}

func TestLogIsKeptForAMemberThatIsDown(t *testing.T) {
	c := newCluster(t, 3, func(o *Options) {
		shortLog(o)
		o.LogKeepBytes = 1 << 20
	})
	leader := c.leader()
	c.pass(time.Second)
	down := c.follower()
	down.crash(0)
	fillLog(c, leader, 300)
	c.pass(2 * time.Second)
	if first(leader) > down.storage.disk.last().Index+1 {
		t.Fatalf("the log begins at %d", first(leader))
	}
	down.start()
	c.caughtUp(down)
	if c.streams != 0 || leader.storage.calls["Entries"] == 0 {
		t.Fatalf("%d snapshots, %d reads of the log", c.streams, leader.storage.calls["Entries"])
	}
	c.same()
}

// Each node keeps LogKeepBytes for the sake of others, whoever leads, and no more.
func TestEveryNodeKeepsSomeLog(t *testing.T) {
	c, leader, _ := laggard(t, shortLog)
	fillLog(c, leader, 100)
	c.pass(3 * time.Second)
	for _, m := range c.members {
		if m.node == nil {
			continue
		}
		if n := m.storage.LogBytes(); n > 2*2000+1500 || n < 1000 {
			t.Errorf("n%d keeps %d bytes of log, wanted about 2000", m.id, n)
		}
	}
}

// atStream waits until n chunks or so have arrived.
func (c *cluster) midStream(m *member) {
	c.t.Helper()
	before := m.storage.stagedBytes
	c.until("a stream", func() bool { return m.storage.stagedBytes > before+fakeChunkBytes })
	if m.streaming == nil {
		c.t.Fatal("the stream is over already")
	}
}

func TestStreamGoesOnAfterABreak(t *testing.T) {
	c, _, down := laggard(t, shortLog)
	down.start()
	c.midStream(down)
	c.isolate(down.id)
	c.pass(100 * time.Millisecond)
	had := down.storage.stagedBytes
	c.heal()
	c.caughtUp(down)
	if c.streams < 2 || down.node.snapshotting.received != 1 {
		t.Fatalf("%d streams, %d installed", c.streams, down.node.snapshotting.received)
	}
	var size int64
	for _, m := range c.members {
		for _, x := range m.node.shelf.items {
			size = x.bytes
		}
	}
	if had == 0 || int64(down.storage.stagedBytes) != size {
		t.Fatalf("%d bytes were staged of %d, %d of them before the break", down.storage.stagedBytes,
			size, had)
	}
	c.same()
}

func TestReceiverCrashesMidStream(t *testing.T) {
	c, leader, down := laggard(t, shortLog)
	down.start()
	c.midStream(down)
	down.crash(0)
	if streams, _ := leader.node.shelf.use(); streams != 0 {
		t.Fatalf("%d streams to a dead receiver", streams)
	}
	down.start()
	c.caughtUp(down)
	c.same()
}

// The write that installs is lost with the process, or is there: never half.
func TestReceiverCrashesBeforeTheInstall(t *testing.T) {
	c, _, down := laggard(t, shortLog)
	down.start()
	c.until("all is staged", func() bool {
		// The write is on its way once the node has nothing left to fetch.
		down.diskStalls = down.node.snapshotting.staged != nil || down.diskStalls
		return down.node.snapshotting.installing != 0 || down.node.snapshotting.received > 0
	})
	applied := down.storage.state.applied
	down.crash(1)
	if got := down.storage.state.applied; got > applied {
		t.Fatalf("applied %d after the crash, %d before", got, applied)
	}
	down.start()
	c.caughtUp(down)
	c.same()
}

// While an install waits for the disk, a newer snapshot may be offered. It must not take the place
// of the one that is about to be installed.
func TestNewerOfferWaitsForTheInstall(t *testing.T) {
	c, leader, down := laggard(t, shortLog)
	down.start()
	c.midStream(down)
	down.diskStalls = true
	c.until("an install on its way", func() bool { return down.node.snapshotting.installing != 0 })
	first := leader.status().Snapshot.Pos.Index
	leader.node.forgetSnapshots()
	c.until("a newer offer", func() bool {
		fillLog(c, leader, 10)
		return down.node.snapshotting.fetching != nil
	})
	if at := down.node.snapshotting.fetching.Meta.Pos.Index; at <= first {
		t.Fatalf("offered %d, after %d", at, first)
	}
	c.pass(time.Second)
	if n := down.storage.calls["Stage"]; n != 1 {
		t.Fatalf("%d snapshots were staged, and none installed", n)
	}
	down.diskStalls = false
	c.caughtUp(down)
	c.same()
}

func TestSenderCrashesMidStream(t *testing.T) {
	c, leader, down := laggard(t, shortLog)
	down.start()
	c.midStream(down)
	leader.crash(0)
	c.leader()
	c.caughtUp(down)
	if down.node.snapshotting.received == 0 {
		t.Fatal("no snapshot was installed")
	}
	leader.start()
	c.caughtUp(leader)
	c.same()
}

// A leader that is no longer one gives up what it sends, and the receiver what it fetches: the next
// leader offers its own.
func TestLeaderChangesMidStream(t *testing.T) {
	c, leader, down := laggard(t, shortLog)
	down.start()
	c.midStream(down)
	task := down.streaming.task
	if err := leader.node.core.TransferLeadership(0); err != nil {
		t.Fatal(err)
	}
	c.until("another leader", func() bool { return !leader.node.leading() })
	c.settle()
	if n := len(leader.node.shelf.items); n != 0 && leader.node.shelf.items[0].ctx.Err() == nil {
		t.Fatal("a follower still sends its snapshot")
	}
	c.until("the fetch is given up", func() bool { return task.ctx.Err() != nil })
	c.caughtUp(down)
	if n := len(leader.storage.snapshots); n != 0 {
		t.Fatalf("%d snapshots are kept by a follower", n)
	}
	c.same()
}

// A snapshot that is not on the shelf any more must not be offered for ever.
func TestSnapshotThatIsGoneIsTakenAnew(t *testing.T) {
	c, leader, down := laggard(t, shortLog)
	down.start()
	c.midStream(down)
	leader.node.forgetSnapshots() // it leads on, and has nothing on its shelf
	c.caughtUp(down)
	if n := leader.node.snapshotting.created; n != 2 {
		t.Fatalf("%d snapshots were taken", n)
	}
	c.same()
}

func TestReadsThatWaitAreServedByAnInstall(t *testing.T) {
	c, leader, down := laggard(t, shortLog)
	value := leader.storage.value("k")
	down.start()
	c.midStream(down)
	r := down.read("k")
	c.settle()
	c.pass(10 * time.Millisecond)
	if r.resolved != 0 {
		t.Fatalf("a read of %d was served before the snapshot is there: %v", r.value, r.err)
	}
	at := down.streaming.task.Meta.Pos.Index
	down.applyStalls = true // from here on the install alone moves what is applied
	c.until("the install", func() bool { return down.node.snapshotting.received > 0 })
	if down.node.appliedIndex != at {
		t.Fatalf("the loop believes that %d is applied, after a snapshot at %d",
			down.node.appliedIndex, at)
	}
	down.applyStalls = false
	c.until("the read", func() bool { return r.resolved > 0 })
	if r.err != nil || r.value != value || down.node.snapshotting.received != 1 {
		t.Fatalf("read %d, %v, wanted %d", r.value, r.err, value)
	}
}

// What was executed in entries that this node never saw has an unknown outcome for its clients;
// what the snapshot does not know is sent again, and executed once.
func TestProposalsUnderASnapshotAreUncertainAndLaterOnesAreSentAgain(t *testing.T) {
	c := newCluster(t, 3, shortLog)
	leader := c.leader()
	c.pass(time.Second)
	m := c.follower()
	c.network.drop = func(d *delivery) bool { return d.to == m.id }
	jumped := m.incr("k", 2)
	c.settle() // it reaches the leader, and no news comes back
	c.isolate(m.id)
	later := m.incr("k", 1)
	c.pass(5 * time.Millisecond)
	if n := m.node.origin.window.len(); n != 2 {
		t.Fatalf("%d proposals are numbered", n)
	}
	c.outrun(leader, m)
	value := leader.storage.value("k")
	c.network.drop = func(d *delivery) bool { return d.from == m.id && d.proposal != nil }
	c.until("the install", func() bool { return m.node.snapshotting.received > 0 })
	c.heal()
	c.until("both are resolved", func() bool { return jumped.resolved > 0 && later.resolved > 0 })
	if n := m.node.snapshotting.received; n != 1 {
		t.Fatalf("%d snapshots were installed", n)
	}
	if !errors.Is(jumped.err, op.ErrUncertain) || !strings.Contains(jumped.err.Error(), "n") {
		t.Errorf("the proposal under the snapshot: %v", jumped.err)
	}
	if later.err != nil || len(later.results) != 1 || later.results[0].Int != value+1 {
		t.Errorf("the one after it: %v %v, value before %d", later.err, later.results, value)
	}
	last := m.incr("k", 1)
	c.until("one more", func() bool { return last.resolved > 0 })
	if last.err != nil || m.node.counters.uncertain != 1 {
		t.Errorf("one more: %v, %d uncertain", last.err, m.node.counters.uncertain)
	}
	c.caughtUp(m)
	c.same()
}

// A record of ourselves that is ahead of us means that somebody else is us.
func TestInstallThatKnowsTheFutureStopsTheNode(t *testing.T) {
	c, leader, down := laggard(t, shortLog)
	leader.storage.state.origins[uint64(down.id)] = fakeOrigin{down.boot + 1, 1_000_000}
	down.start()
	c.until("the end", func() bool { return down.node.lifecycle.failed() })
	if !strings.Contains(down.node.Err().Error(), "another process runs with its node id") {
		t.Fatal(down.node.Err())
	}
}

// While a snapshot is on its way its sender keeps what comes after it, and not without end.
func TestLogIsHeldForASnapshotOnItsWay(t *testing.T) {
	c, leader, down := laggard(t, shortLog)
	down.start()
	c.midStream(down)
	down.streamStalls = true
	at := leader.status().Snapshot.Pos.Index
	hold := leader.node.holdBytes()
	if _, size := leader.node.shelf.use(); hold != max(4000, size) {
		t.Fatalf("held up to %d bytes", hold)
	}
	most := int64(0)
	for range 50 {
		fillLog(c, leader, 10)
		if first(leader) > at+1 {
			break
		}
		most = max(most, leader.storage.LogBytes())
		c.pass(time.Second)
	}
	if first(leader) <= at+1 || most <= hold || leader.node.keeping.warnedAt == 0 {
		t.Fatalf("the log begins at %d after a snapshot at %d, of %d bytes at most, warned at %d",
			first(leader), at, most, leader.node.keeping.warnedAt)
	}
	down.streamStalls = false
	c.caughtUp(down)
	if n := leader.node.snapshotting.created; n != 2 {
		t.Fatalf("%d snapshots were taken", n)
	}
	c.same()
}

func TestSnapshotThatFailsIsTakenAgainLater(t *testing.T) {
	c, leader, down := laggard(t, shortLog)
	leader.storage.failAt["TakeSnapshot"] = 1
	down.start()
	c.until("the failure", func() bool { return leader.node.snapshotting.takesFailed == 1 })
	c.pass(snapshotRetry - 200*time.Millisecond)
	if n := leader.storage.calls["TakeSnapshot"]; n != 1 {
		t.Fatalf("%d attempts", n)
	}
	c.caughtUp(down)
	if n := leader.storage.calls["TakeSnapshot"]; n != 2 {
		t.Fatalf("%d attempts", n)
	}
}

func TestSnapshotThatIsDamagedIsAskedForAgain(t *testing.T) {
	c, _, down := laggard(t, shortLog)
	down.storage.failAt["Complete"] = 1
	down.start()
	c.caughtUp(down)
	if n := down.node.snapshotting.fetchesFailed; n != 1 || down.node.snapshotting.received != 1 {
		t.Fatalf("%d failed, %d received", n, down.node.snapshotting.received)
	}
}

func TestFailedInstallStopsTheNode(t *testing.T) {
	c, _, down := laggard(t, shortLog)
	down.storage.failAt["Install"] = 1
	down.start()
	c.until("the end", func() bool { return down.node.lifecycle.failed() })
	if err := down.node.Err(); !errors.Is(err, errInjected) ||
		!strings.Contains(err.Error(), "install the snapshot at") {
		t.Fatal(err)
	}
}

// Two members that need one share it.
func TestOneSnapshotServesTwoMembers(t *testing.T) {
	c := newCluster(t, 5, shortLog)
	leader := c.leader()
	c.pass(time.Second)
	first, second := c.members[0], c.members[1]
	if leader == first || leader == second {
		first, second = c.members[3], c.members[4]
	}
	first.crash(0)
	second.crash(0)
	c.outrun(leader, first)
	c.outrun(leader, second)
	first.start()
	second.start()
	c.caughtUp(first)
	c.caughtUp(second)
	if leader.node.snapshotting.created != 1 || leader.node.streamed.sent.Load() != 2 {
		t.Fatalf("created %d, sent %d", leader.node.snapshotting.created,
			leader.node.streamed.sent.Load())
	}
	c.same()
}

// What the chores found of the old state must not stand for long.
func TestChoresComeSoonAfterAnInstall(t *testing.T) {
	n, err := New(Options{Self: op.Member{ID: 1, Name: "n1"}, Boot: 1}, newFakeStorage())
	if err != nil {
		t.Fatal(err)
	}
	n.keeping.next = 1000
	if n.keeping.hurry(); n.keeping.next != 0 {
		t.Errorf("the next chores are due at %d", n.keeping.next)
	}
	n.keeping.next = never // under way
	n.keeping.hurry()
	if again := n.choresAgain(); n.keeping.next != never || again != 0 || n.choresAgain() == 0 {
		t.Errorf("those after the present ones are due after %d", again)
	}
}

// IDs are what a receiver goes on by: no node may give one that another has given.
func TestSnapshotIDsDiffer(t *testing.T) {
	seen := map[uint64]bool{}
	for id := range uint64(5) {
		for seed := range uint64(3) {
			n, err := New(Options{Self: op.Member{ID: id + 1}, Boot: 1, Seed: seed}, newFakeStorage())
			if err != nil {
				t.Fatal(err)
			}
			for range 10 {
				x := n.nextSnapshotID()
				if x == 0 || seen[x] {
					t.Fatalf("node %d, seed %d gives %x", id, seed, x)
				}
				seen[x] = true
			}
		}
	}
}
