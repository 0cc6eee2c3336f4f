package node

import (
	"testing"
	"time"

	"kelek/raftcore"
	"kelek/store/op"
)

func proposalOf(origin, boot, seq uint64) []byte {
	ops := (&op.Op{Code: op.CodeAdd, Key: []byte("k"), Delta: 1}).Append(nil)
	p := op.Proposal{Origin: origin, Boot: boot, Seq: seq, Count: 1, Ops: ops}
	return op.AppendProposal(nil, &p)
}

// lastIndex is how long the log of a node is.
func lastIndex(m *member) raftcore.Index {
	var s raftcore.Status
	m.node.core.Status(&s)
	return s.Last.Index
}

// A forwarded copy costs no log space, and nothing that is needed is dropped for ever.
func TestLeaderAppendsForwardedProposalsOnce(t *testing.T) {
	c := newCluster(t, 3, nil)
	m, other := c.leader(), uint64(c.follower().id)
	c.pass(2 * time.Second)
	for i, x := range []struct {
		boot, seq uint64
		appended  bool
		why       string
	}{
		{5, 1, true, "the first of an origin"},
		{5, 1, false, "a copy"},
		{5, 2, true, "the next"},
		{5, 3, true, "the next"},
		{5, 2, false, "a copy of one in the middle"},
		{5, 7, true, "a gap: an earlier leader may have filled it"},
		{5, 3, true, "before the new range: it may have been lost"},
		{5, 4, true, "the next"},
		{4, 9, false, "an older boot"},
		{6, 1, true, "a newer boot"},
		{5, 5, false, "the boot before"},
	} {
		before := lastIndex(m)
		m.node.Forwarded(raftcore.NodeID(other), proposalOf(other, x.boot, x.seq))
		m.node.turn()
		if got := lastIndex(m) > before; got != x.appended {
			t.Fatalf("step %d, %d/%d: appended %v: %s", i, x.boot, x.seq, got, x.why)
		}
	}
}

func TestNodesThatDoNotLeadDropForwardedProposals(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.leader()
	m := c.follower()
	c.pass(2 * time.Second)
	before, sent := m.node.forwardsDropped.Load(), c.network.forwarded
	m.node.Forwarded(9, proposalOf(9, 1, 1))
	c.settle()
	if m.node.forwardsDropped.Load() != before+1 || c.network.forwarded != sent {
		t.Fatal("a forwarded proposal was kept or passed on")
	}
}

func TestForwardedNonsenseIsDroppedAndCounted(t *testing.T) {
	c := newCluster(t, 3, func(o *Options) {
		o.Limits.EntryBytesMax = 600 << 10
		o.Limits.ForwardedMax = 64
	})
	m, other := c.leader(), uint64(c.follower().id)
	c.pass(2 * time.Second)
	m.node.Forwarded(9, []byte("no proposal"))
	m.node.Forwarded(9, make([]byte, 601<<10))
	for seq := range uint64(70) {
		m.node.Forwarded(raftcore.NodeID(other), proposalOf(other, 9, seq+1))
	}
	before := lastIndex(m)
	m.node.turn()
	if got := lastIndex(m) - before; got != 63 { // the nonsense took one place
		t.Fatalf("%d appended, want 63", got)
	}
	if got := m.node.forwardsDropped.Load(); got != 1+1+7 {
		t.Fatalf("%d dropped, want 9", got)
	}
}

// What a node proposes that is no member would be skipped by every replica: it is not appended.
func TestProposalsOfStrangersAreDropped(t *testing.T) {
	c := newCluster(t, 3, nil)
	m := c.leader()
	c.pass(2 * time.Second)
	before, dropped := lastIndex(m), m.node.forwardsDropped.Load()
	m.node.Forwarded(9, proposalOf(9, 1, 1))
	m.node.turn()
	if lastIndex(m) != before || m.node.forwardsDropped.Load() != dropped+1 {
		t.Fatalf("%d appended, %d dropped", lastIndex(m)-before, m.node.forwardsDropped.Load()-dropped)
	}
}

// Messages that claim another sender than their connection's are not stepped.
func TestMessagesOfAnotherSenderAreDropped(t *testing.T) {
	c := newCluster(t, 3, nil)
	m := c.leader()
	term := m.node.term
	m.node.Messages(9, []raftcore.Message{
		{Kind: raftcore.AppendEntries, From: 3, To: m.id, Term: term + 9},
	})
	m.node.turn()
	if m.node.term != term || m.node.counters.misdirected != 1 {
		t.Fatalf("term %d after %d, %d misdirected", m.node.term, term, m.node.counters.misdirected)
	}
}
