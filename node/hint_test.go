package node

import (
	"testing"
	"time"

	"kelek/raftcore"
)

// sentTo counts what a node sends from now on, by receiver: AppendEntries with and without entries.
func (c *cluster) sentTo(from *member) (with, without map[raftcore.NodeID]int) {
	with, without = map[raftcore.NodeID]int{}, map[raftcore.NodeID]int{}
	c.network.drop = func(d *delivery) bool {
		for i := range d.messages {
			switch m := &d.messages[i]; {
			case d.from != from.id || m.Kind != raftcore.AppendEntries:
			case len(m.Entries) > 0:
				with[d.to]++
			default:
				without[d.to]++
			}
		}
		return false
	}
	return with, without
}

// quiet returns a cluster of which nobody has asked for anything lately, and its leader.
func quiet(t *testing.T, nodes int) (*cluster, *member) {
	c := newCluster(t, nodes, nil)
	m := c.leader()
	m.incr("k", 1)
	c.pass(2 * time.Duration(askedFor))
	if c.leader() != m {
		t.Fatal("another node leads now")
	}
	return c, m
}

// A follower through which nobody writes hears of a commit with the next entries, or a moment later.
func TestCommitsAreToldWithTheNextEntries(t *testing.T) {
	c, leader := quiet(t, 3)
	with, without := c.sentTo(leader)
	const writes = 5
	for range writes {
		x := leader.incr("k", 1)
		c.settle()
		if x.resolved != 1 || x.err != nil {
			t.Fatalf("resolved %d times, %v", x.resolved, x.err)
		}
	}
	for _, m := range c.members {
		if m != leader && (with[m.id] != writes || without[m.id] != 0) {
			t.Errorf("n%d gets %d messages with entries and %d without, want %d and 0", m.id, with[m.id],
				without[m.id], writes)
		}
	}
	if last := leader.storage.value("k"); c.follower().storage.value("k") != last-1 {
		t.Errorf("a follower has %d while the leader has %d", c.follower().storage.value("k"), last)
	}
	c.pass(2 * time.Duration(hintDelay))
	for _, m := range c.members {
		if got, want := m.storage.value("k"), leader.storage.value("k"); got != want {
			t.Errorf("n%d has %d, want %d", m.id, got, want)
		}
	}
}

// Heartbeats of a cluster with nothing to do go out at once: what is kept costs a turn of its own.
func TestHeartbeatsAreNotKept(t *testing.T) {
	c, leader := quiet(t, 3)
	for range 100 {
		c.pass(5 * time.Millisecond)
		if leader.node.hints.due != 0 {
			t.Fatal("a heartbeat is kept back")
		}
	}
}

// A follower whose clients wait hears of commits at once: no time passes here.
func TestWhoAsksIsToldAtOnce(t *testing.T) {
	c, leader := quiet(t, 3)
	follower := c.follower()
	leader.incr("k", 1)
	c.settle()
	for range 3 {
		r := follower.read("k")
		c.settle()
		if want := leader.storage.value("k"); r.resolved != 1 || r.err != nil || r.value != want {
			t.Fatalf("read %d, resolved %d times, %v; want %d", r.value, r.resolved, r.err, want)
		}
		for _, m := range []*member{follower, leader} {
			x := m.incr("k", 1)
			c.settle()
			if x.resolved != 1 || x.err != nil {
				t.Fatalf("resolved %d times, %v", x.resolved, x.err)
			}
		}
		if got, want := follower.storage.value("k"), leader.storage.value("k"); got != want {
			t.Fatalf("the follower has %d, want %d", got, want)
		}
	}
}

// A round of reads asks as many peers as make a majority, and others when those do not answer.
func TestARoundAsksAMajority(t *testing.T) {
	for nodes, asked := range map[int]int{2: 1, 3: 1, 5: 2} {
		c, leader := quiet(t, nodes)
		_, without := c.sentTo(leader)
		const rounds = 20
		for range rounds {
			r := leader.read("k")
			c.settle()
			if r.resolved != 1 || r.err != nil {
				t.Fatalf("%d nodes: resolved %d times, %v", nodes, r.resolved, r.err)
			}
		}
		var first []raftcore.NodeID
		for _, m := range c.members {
			switch {
			case without[m.id] >= rounds-1:
				first = append(first, m.id)
			case without[m.id] > 1:
				t.Errorf("%d nodes: n%d was told of %d of %d rounds", nodes, m.id, without[m.id], rounds)
			}
		}
		if len(first) != asked {
			t.Fatalf("%d nodes: %v were asked, want %d of them", nodes, first, asked)
		}
		if nodes == 2 {
			continue // there is nobody else
		}
		c.isolate(first[0])
		late := leader.read("k")
		if c.settle(); late.resolved != 0 {
			t.Fatalf("%d nodes: a round is decided without %v", nodes, first[0])
		}
		c.pass(2 * time.Duration(hintDelay))
		if late.resolved != 1 || late.err != nil {
			t.Fatalf("%d nodes: resolved %d times, %v, though others could be asked", nodes, late.resolved,
				late.err)
		}
		next := leader.read("k")
		if c.settle(); next.resolved != 1 || next.err != nil {
			t.Errorf("%d nodes: the one that does not answer is asked again: %v", nodes, next.err)
		}
	}
}

// Under a lease a read is answered without a round, so what was kept has to go out for it.
func TestWhatWasKeptGoesToWhoAsks(t *testing.T) {
	c, leader := quiet(t, 3)
	leader.incr("k", 1)
	c.settle()
	_, without := c.sentTo(leader)
	to := c.follower().id
	leader.node.peerAsked(to)
	c.settle()
	leader.node.peerAsked(to)
	c.settle()
	if without[to] != 1 {
		t.Errorf("%d messages, want 1", without[to])
	}
	if got, want := c.follower().storage.value("k"), leader.storage.value("k"); got != want {
		t.Errorf("the follower has %d, want %d", got, want)
	}
}

// Rounds are counted anew in each term: who was ahead in the last one, and is dead, would be asked
// first for ever.
func TestRoundsOfAnOlderTermDoNotCount(t *testing.T) {
	h := hint{term: 2, round: 100, echoed: 100}
	h.sent(&raftcore.Message{Kind: raftcore.AppendEntries, Term: 2, Round: 101}, 0)
	if h.echoed != 100 {
		t.Errorf("echoed %d, want 100", h.echoed)
	}
	h.sent(&raftcore.Message{Kind: raftcore.AppendEntries, Term: 3, Round: 1}, 0)
	if h.echoed != 0 || h.round != 1 {
		t.Errorf("echoed %d of round %d", h.echoed, h.round)
	}
}

// Who is asked first is found by looking at all peers, at some of them for the first time. What is
// kept for another one meanwhile is not lost by that.
func TestLookingAtAPeerLosesNothing(t *testing.T) {
	c, leader := quiet(t, 5)
	last := c.members[4]
	if last == leader {
		last = c.members[3]
	}
	n := leader.node
	n.hints = hints{}
	n.sendTo(last.id, []raftcore.Message{{Kind: raftcore.AppendEntries, To: last.id, Term: n.term}})
	n.sendTo(last.id, []raftcore.Message{{Kind: raftcore.AppendEntries, To: last.id, Term: n.term,
		Round: 7}}) // of which the others make a majority
	if h := n.hints.of(last.id); n.hints.due == 0 || !h.keeps || h.kept.Round != 7 {
		t.Errorf("due %d, kept %t: %+v", n.hints.due, h.keeps, h.kept)
	}
}
