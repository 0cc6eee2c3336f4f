package node

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"kelek/raftcore"
	"kelek/store/op"
)

func answered(t *testing.T, x *client, want ...int64) {
	t.Helper()
	if x.resolved != 1 || x.err != nil || len(x.results) != len(want) {
		t.Fatalf("resolved %d times with %v and %d results, want %d",
			x.resolved, x.err, len(x.results), len(want))
	}
	for i, r := range x.results {
		if r.Kind != op.ResultInt || r.Int != want[i] {
			t.Fatalf("result %d is %+v, want %d", i, r, want[i])
		}
	}
}

func refused(t *testing.T, x *client, want error) {
	t.Helper()
	if x.resolved != 1 || !errors.Is(x.err, want) || len(x.results) != 0 {
		t.Fatalf("resolved %d times with %v and %d results, want %v",
			x.resolved, x.err, len(x.results), want)
	}
}

func TestSingleNodeAnswersAfterItsDiskAndKeepsItOverACrash(t *testing.T) {
	c := newCluster(t, 1, nil)
	m := c.leader()
	m.diskStalls = true
	x := m.incr("k", 2)
	c.pass(100 * time.Millisecond)
	if x.resolved != 0 {
		t.Fatal("answered before the write was durable")
	}
	m.diskStalls = false
	c.settle()
	answered(t, x, 1, 2)
	m.crash(0)
	m.start()
	r := c.leader().read("k")
	c.settle()
	if r.resolved != 1 || r.err != nil || r.value != 2 {
		t.Fatalf("after the crash: %+v", r)
	}
}

func TestEveryNodeTakesWritesAndAnswersFromItsOwnApply(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.leader()
	for i, m := range c.members {
		x := m.incr("k", 1)
		c.settle()
		answered(t, x, int64(i+1))
	}
	c.same()
}

func TestWhatWaitsTogetherTravelsTogether(t *testing.T) {
	c := newCluster(t, 3, nil)
	leader := c.leader()
	c.pass(2 * time.Second) // the members' own records are out of the way
	before := leader.node.counters.numbered
	var clients []*client
	for range 50 {
		clients = append(clients, leader.incr("k", 2))
	}
	c.settle()
	for i, x := range clients {
		answered(t, x, int64(2*i+1), int64(2*i+2))
	}
	if n := leader.node.counters.numbered - before; n != 1 {
		t.Fatalf("50 waiting submissions became %d proposals, want 1", n)
	}
}

// While PipelineProposalsMax proposals are on their way, the next one grows; a full one goes.
func TestBatchesGrowWhileOthersAreOnTheirWay(t *testing.T) {
	c := newCluster(t, 1, func(o *Options) {
		o.Limits.PipelineProposalsMax, o.Limits.PipelineFullBytes = 2, 1000
		o.Limits.ProposalBytesMax = 1000
		o.Limits.WindowProposalsMax = 6
	})
	m := c.leader()
	c.pass(2 * time.Second)
	m.diskStalls = true
	window := func() int { m.node.turn(); return m.node.origin.window.len() }
	for i, want := range []int{1, 2, 2, 2, 2} {
		m.incr("k", 1)
		if got := window(); got != want {
			t.Fatalf("after submission %d: %d proposals, want %d", i+1, got, want)
		}
	}
	for range 400 { // 8 bytes each: more than the window takes
		m.incr("k", 3)
	}
	if got := window(); got != 6 {
		t.Fatalf("%d proposals in the window, want its limit of 6", got)
	}
	m.diskStalls = false
	c.settle()
	if got := m.storage.value("k"); got != 5+3*400 {
		t.Fatalf("value %d, want %d", got, 5+3*400)
	}
	for _, x := range m.clients {
		if x.resolved != 1 || x.err != nil {
			t.Fatalf("resolved %d, %v", x.resolved, x.err)
		}
	}
}

// Where a commit takes long, a proposal does not wait for the one before it longer than the delay.
func TestBatchesDoNotGrowForLongerThanTheDelay(t *testing.T) {
	c := newCluster(t, 1, nil)
	m := c.leader()
	c.pass(2 * time.Second)
	m.diskStalls = true
	m.incr("k", 1)
	m.node.turn()
	begin := c.now
	m.incr("k", 1)
	for range 10 {
		m.node.turn()
		wait, window := m.node.deadline()-begin, m.node.origin.window.len()
		if window != 1 || wait != m.node.pipelineDelay {
			t.Fatalf("%d proposals after %d ns, next turn after %d", window, c.now-begin, wait)
		}
		c.now += m.node.pipelineDelay / 10
	}
	m.node.turn()
	if n := m.node.origin.window.len(); n != 2 {
		t.Fatalf("%d proposals after the delay, want 2", n)
	}
}

func TestWindowIsSentAgainToANewLeaderAndCountsOnce(t *testing.T) {
	c := newCluster(t, 3, nil)
	old := c.leader()
	origin := c.follower()
	c.pass(time.Second)
	// The leader takes the proposal, replicates it, and dies before anybody hears that it
	// committed.
	x := origin.incr("k", 1)
	origin.node.turn()
	c.deliver()
	old.work()
	c.deliver()
	old.crash(0)
	y := origin.incr("k", 1)
	c.until("both answers", func() bool { return x.resolved+y.resolved == 2 })
	answered(t, x, 1)
	answered(t, y, 2)
	old.start()
	c.leader()
	c.pass(time.Second)
	c.same()
}

func TestLostForwardsAreSentAgainInOrder(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.leader()
	origin := c.follower()
	c.pass(time.Second)
	lost := 0
	c.network.drop = func(d *delivery) bool {
		if d.proposal != nil && lost < 3 {
			lost++
			return true
		}
		return false
	}
	x, y := origin.incr("k", 1), (*client)(nil)
	origin.node.turn()
	y = origin.incr("k", 1)
	c.until("both answers", func() bool { return x.resolved+y.resolved == 2 })
	answered(t, x, 1)
	answered(t, y, 2)
	if lost != 3 || origin.node.counters.resent == 0 {
		t.Fatalf("lost %d, sent again %d", lost, origin.node.counters.resent)
	}
	c.same()
}

func TestRefusedForwardIsRetriedSoon(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.leader()
	origin := c.follower()
	c.pass(time.Second)
	refusals := 0
	c.network.refuse = func(raftcore.NodeID) bool { refusals++; return refusals <= 3 }
	x := origin.incr("k", 1)
	c.pass(5 * retryInterval)
	answered(t, x, 1)
}

func TestWithoutALeaderSubmissionsAreHeldAndThenDone(t *testing.T) {
	c := newCluster(t, 3, nil)
	leader := c.leader()
	m := c.follower()
	c.pass(time.Second)
	c.isolate(m.id)
	c.until("no leader", func() bool { return m.node.leader == 0 })
	before := m.node.origin.next
	x, gone := m.incr("k", 1), m.incr("k", 1)
	gone.gone = true
	c.pass(2 * time.Second)
	if x.resolved != 0 || m.node.origin.next != before {
		t.Fatal("a submission was numbered or answered without a leader")
	}
	if held := m.node.Status().HeldCommands; held != 2 {
		t.Fatalf("status shows %d held commands, want 2", held)
	}
	c.heal()
	c.until("the answer", func() bool { return x.resolved > 0 })
	answered(t, x, 1)
	refused(t, gone, op.ErrNoLeader)
	c.pass(time.Second)
	if v := leader.storage.value("k"); v != 1 {
		t.Fatalf("value %d: the command of a client that is gone was executed", v)
	}
	if m.node.Status().LongestHeldNanos < uint64(2*time.Second) {
		t.Fatal("the wait was not measured")
	}
}

func TestHeldUntilTheDeadlineIsACertainNo(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.leader()
	m := c.follower()
	c.isolate(m.id)
	c.until("no leader", func() bool { return m.node.leader == 0 })
	x := m.incr("k", 1)
	c.pass(9900 * time.Millisecond)
	if x.resolved != 0 {
		t.Fatal("answered too early")
	}
	c.pass(200 * time.Millisecond)
	refused(t, x, op.ErrNoLeader)
	c.heal()
	c.leader()
	c.pass(3 * time.Second)
	if v := m.storage.value("k"); v != 0 {
		t.Fatalf("value %d: what was refused took effect", v)
	}
}

func TestNumberedUntilTheDeadlineIsUnknownAndStillCommits(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.leader()
	m := c.follower()
	c.pass(time.Second)
	c.network.drop = func(d *delivery) bool { return d.proposal != nil }
	x := m.incr("k", 3)
	c.pass(9 * time.Second)
	y := m.incr("k", 1)
	c.pass(1100 * time.Millisecond)
	refused(t, x, op.ErrUncertain)
	if id := fmt.Sprintf("(id n%d/1/", m.id); !strings.Contains(x.err.Error(), id) {
		t.Fatalf("%q does not say which number it had", x.err)
	}
	if y.resolved != 0 || m.node.Status().Uncertain != 1 {
		t.Fatalf("the later one is resolved %d times, %d uncertain",
			y.resolved, m.node.Status().Uncertain)
	}
	c.heal()
	c.until("the later answer", func() bool { return y.resolved > 0 })
	answered(t, y, 4)
	c.pass(time.Second)
	c.same()
}

func TestQueuesAreBoundedAndSaySo(t *testing.T) {
	c := newCluster(t, 1, func(o *Options) {
		o.Limits.SubmissionsMax, o.Limits.PipelineProposalsMax = 3, 2
		o.Limits.ProposalBytesMax, o.Limits.PipelineFullBytes = 100, 100
		o.Limits.EntryBytesMax = 1000
	})
	m := c.leader()
	c.pass(2 * time.Second)
	m.diskStalls = true
	for range 2 { // fill the pipeline
		m.incr("k", 1)
		m.node.turn()
	}
	var held []*client
	for range 3 {
		held = append(held, m.incr("k", 1))
	}
	refused(t, m.incr("k", 1), op.ErrBusy)
	m.node.turn() // taken by the loop, and still counted
	refused(t, m.incr("k", 1), op.ErrBusy)
	refused(t, m.incr("k", 400), op.ErrTooLarge)
	m.diskStalls = false
	c.settle()
	for i, x := range held {
		answered(t, x, int64(3+i))
	}
	x := m.incr("k", 1)
	c.settle()
	answered(t, x, 6)
}

// When the leader's log is full of uncommitted entries, everything waits in order.
func TestBusyLeaderKeepsTheOrder(t *testing.T) {
	c := newCluster(t, 3, func(o *Options) {
		o.Limits.UncommittedBytesMax = 200
		o.Limits.ProposalBytesMax, o.Limits.PipelineFullBytes = 64, 64
	})
	leader, origin := c.leader(), c.follower()
	c.pass(2 * time.Second)
	for _, m := range c.members {
		m.diskStalls = true
	}
	var own, forwarded []*client
	for range 30 {
		own = append(own, leader.incr("own", 5))
		forwarded = append(forwarded, origin.incr("forwarded", 5))
		c.settle()
	}
	for _, m := range c.members {
		m.diskStalls = false
	}
	c.pass(200 * time.Millisecond) // less than it takes to send anything again
	for i := range own {
		first := int64(5*i + 1)
		answered(t, own[i], first, first+1, first+2, first+3, first+4)
		answered(t, forwarded[i], first, first+1, first+2, first+3, first+4)
	}
	if leader.node.counters.resent+origin.node.counters.resent != 0 {
		t.Fatal("something was sent again")
	}
	c.same()
}

func TestProposingAllocatesPerBatchOnly(t *testing.T) {
	c := newCluster(t, 1, nil)
	m := c.leader()
	c.pass(2 * time.Second)
	n := m.node
	sink := silent{}
	ops := (&op.Op{Code: op.CodeAdd, Key: []byte("k"), Delta: 1}).Append(nil)
	submissions := make([]op.Submission, 100)
	batch := func() {
		for i := range submissions {
			submissions[i] = op.Submission{Ops: ops, Count: 1, Sink: sink}
			n.Propose(&submissions[i])
		}
		n.turn() // numbered, appended, handed to the log writer
		for _, task := range m.writes {
			n.landed(task.write.Seq, task.bytes)
			n.recycle(task)
		}
		m.writes = m.writes[:0]
		n.turn() // committed, handed to the applier
		for _, task := range m.applies {
			for _, p := range task.proposals {
				p.resolve(nil)
				n.proposals.Put(p)
			}
			n.applied(task.entries[len(task.entries)-1].Index)
			m.applier.recycle(task)
		}
		m.applies = m.applies[:0]
		n.turn()
	}
	for range 20 {
		batch() // slices grow to their size
	}
	// One is the encoded proposal. The rest is the pools', which the race detector empties at
	// random.
	if perBatch := testing.AllocsPerRun(50, batch); perBatch > 20 {
		t.Fatalf("%.1f allocations for a batch of 100 submissions", perBatch)
	}
}

// silent is a Sink that does nothing.
type silent struct{}

func (silent) Applied(int, *op.Result, op.View) {}
func (silent) Resolve(error)                    {}
func (silent) Gone() bool                       { return false }

// What is numbered before this node goes on from a snapshot may be executed in it, and then nobody
// here knows with what result. So it waits.
func TestNothingIsNumberedBeforeASnapshot(t *testing.T) {
	c := newCluster(t, 3, nil)
	m := c.leader()
	c.pass(time.Second)
	for what, set := range map[string]func(on bool){
		"fetching": func(on bool) {
			if m.node.snapshotting.fetching = nil; on {
				m.node.snapshotting.fetching = &fetchTask{}
			}
		},
		"installing": func(on bool) {
			if m.node.snapshotting.installing = 0; on {
				m.node.snapshotting.installing = 1
			}
		},
	} {
		set(true)
		if !m.node.jumps() {
			t.Errorf("%s: it goes on as usual", what)
		}
		x := m.incr("k", 1)
		m.node.turn()
		if n := m.node.origin.window.len(); n != 0 || x.resolved != 0 {
			t.Errorf("%s: %d proposals are numbered, resolved %d times", what, n, x.resolved)
		}
		set(false)
		m.node.turn()
		c.settle()
		if x.resolved != 1 || x.err != nil {
			t.Errorf("%s: resolved %d times afterwards, %v", what, x.resolved, x.err)
		}
	}
	if m.node.appliedIndex = 0; !m.node.jumps() {
		t.Error("with nothing applied it goes on as usual")
	}
}
