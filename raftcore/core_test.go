package raftcore

import (
	"fmt"
	"slices"
	"testing"
)

func TestThreeNodesElectReplicateAndApply(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	for i := range 10 {
		if err := c.propose(1, fmt.Sprint("x", i)); err != nil {
			t.Fatal(err)
		}
	}
	c.deliver()
	for _, id := range c.ids {
		c.expectApplied(id, "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9")
	}
}

func TestAClusterElectsALeaderByItself(t *testing.T) {
	for n := 1; n <= 9; n++ {
		c := newCluster(t, n)
		c.pass(5 * Second)
		if c.leader() == 0 {
			t.Fatalf("%d nodes have no leader after 5 s\n%s", n, c.describe())
		}
	}
}

func TestASingleVoterLeadsAtOnceButOnlyWhenItsVoteIsDurable(t *testing.T) {
	c := newCluster(t, 1)
	if c.nodes[1].core.role != Leader {
		t.Fatal(c.describe())
	}
	c.crash(1)
	c.nodes[1].slow = true
	c.restart(1)
	if c.nodes[1].core.role != Candidate {
		t.Fatalf("leads before its vote is durable\n%s", c.describe())
	}
	c.sync(c.nodes[1], 1)
	c.drain(c.nodes[1])
	if c.nodes[1].core.role != Leader {
		t.Fatal(c.describe())
	}
}

func TestASingleVoterCommitsWhatIsDurableAndNothingElse(t *testing.T) {
	c := newCluster(t, 1)
	c.nodes[1].slow = true
	c.propose(1, "x")
	c.expectApplied(1)
	c.sync(c.nodes[1], 1)
	c.drain(c.nodes[1])
	c.expectApplied(1, "x")
}

func TestABrokenConnectionToTheLeaderStartsACampaignWithinTheFastWindow(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(200 * Millisecond)
	c.crash(1)
	for _, id := range []NodeID{2, 3} {
		c.nodes[id].core.Disconnected(1)
	}
	before := c.now
	for c.leader() == 0 && c.now < before+5*Second {
		c.pass(10 * Millisecond)
	}
	if took := c.now - before; took > 300*Millisecond {
		t.Fatalf("no leader for %d ms after the connection broke\n%s", took/Millisecond, c.describe())
	}
}

func TestABrokenConnectionToALiveLeaderDisturbsNobody(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	term := c.nodes[1].core.hard.Term
	c.nodes[2].core.Disconnected(1)
	c.cut[[2]NodeID{1, 2}] = true
	c.pass(2 * Second)
	c.heal()
	c.pass(2 * Second)
	if c.leader() != 1 || c.nodes[1].core.hard.Term != term {
		t.Fatal(c.describe())
	}
}

func TestALeaderWithoutAQuorumStepsDown(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.partition(1)
	c.pass(3 * Second)
	if c.nodes[1].core.role == Leader {
		t.Fatal(c.describe())
	}
	if c.leader() == 0 {
		t.Fatalf("the other side has no leader\n%s", c.describe())
	}
}

func TestABridgeDoesNotKeepAUselessLeader(t *testing.T) {
	// n1 leads and reaches only n2; n2..n5 reach each other (openraft#2080).
	c := newCluster(t, 5)
	c.lead(1)
	for _, id := range []NodeID{3, 4, 5} {
		c.cut[[2]NodeID{1, id}], c.cut[[2]NodeID{id, 1}] = true, true
	}
	c.pass(10 * Second)
	leader := c.leader()
	if leader == 0 || leader == 1 {
		t.Fatal(c.describe())
	}
	c.propose(leader, "x")
	c.pass(Second)
	c.expectApplied(leader, "x")
}

func TestEveryNodeKnowsHowMuchOfTheLogAllMembersHold(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(300 * Millisecond)
	c.partition(3)
	for range 10 {
		c.propose(1, "x")
		c.deliver()
	}
	c.pass(300 * Millisecond)
	for _, id := range ids(1, 2) {
		if floor := c.nodes[id].core.floor; floor != 2 {
			t.Fatalf("n%d may forget up to %d, n3 has 2", id, floor)
		}
	}
	c.heal()
	c.pass(500 * Millisecond)
	for _, id := range c.ids {
		if floor := c.nodes[id].core.floor; floor != 12 {
			t.Fatalf("n%d may forget up to %d of 12", id, floor)
		}
	}
}

func TestProposalsAreBounded(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.partition(1)
	if err := c.propose(1, string(make([]byte, 1<<16+1))); err != ErrTooLarge {
		t.Fatal(err)
	}
	var err error
	n := 0
	for ; err == nil; n++ {
		err = c.propose(1, string(make([]byte, 1<<15)))
	}
	if err != ErrBusy || n < 30 || n > 34 {
		t.Fatalf("%d proposals of 32 KiB, then %v", n, err)
	}
	c.heal()
	c.pass(Second)
	if err := c.propose(1, "x"); err != nil {
		t.Fatalf("still %v after everything committed", err)
	}
	if err := c.propose(2, "x"); err != ErrNotLeader {
		t.Fatal(err)
	}
}

func TestASlowPeerIsFedFromDiskOnceMemoryHasLetGo(t *testing.T) {
	c := newCluster(t, 3)
	for _, id := range c.ids {
		c.nodes[id].core.options.LogTailBytes = 1000
	}
	c.lead(1)
	c.partition(3)
	var want []string
	for i := range 200 {
		want = append(want, fmt.Sprint("value number ", i))
		c.propose(1, want[i])
		c.deliver()
	}
	if first := c.nodes[1].core.log.tailFirst(); first < 100 {
		t.Fatalf("the leader still has everything after %d in memory", first)
	}
	c.heal()
	c.pass(Second)
	c.expectApplied(3, want...)
}

// After a probe few messages are in flight, and each that is acknowledged lets one more follow. See
// windowMin.
func TestTheWindowOpensWithAcknowledgements(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	leader := c.nodes[1].core
	leader.options.MaxAppendBytes, leader.options.MaxInflightMessages = 1, 16
	p := c.peer(3)
	c.partition(3)
	for i := range 100 {
		c.propose(1, fmt.Sprint("value number ", i))
		c.deliver()
	}
	c.heal()
	p.becomeProbing(p.match + 1)
	var windows []int
	for range 200 { // one message at a time
		c.now += Millisecond
		leader.Tick(c.now, c.clock)
		c.drain(c.nodes[1])
		if p.state == replicating && (len(windows) == 0 || windows[len(windows)-1] < p.flights.count) {
			windows = append(windows, p.flights.count)
		}
		c.deliver2(1, 3)
		c.deliver2(3, 1)
		if p.match == leader.log.last.Index {
			break
		}
	}
	want := []int{windowMin}
	for want[len(want)-1] < 16 {
		want = append(want, min(2*want[len(want)-1], 16))
	}
	if !slices.Equal(windows, want) {
		t.Errorf("%v messages in flight, want %v", windows, want)
	}
	expect(t, "match", p.match, leader.log.last.Index)
	p.becomeProbing(p.match + 1)
	expect(t, "acknowledged since the probe", p.acked, 0)
}

// A disk that says that it has synced what it has not shows at the next start: the node lacks what
// it acknowledged. It is sent again, by the same leader, whether something else is proposed or not.
func TestWhatALyingDiskHasLostIsSentAgain(t *testing.T) {
	for _, busy := range []bool{false, true} {
		c := newCluster(t, 3)
		c.lead(1)
		want := []string{"a", "b", "c"}
		for _, data := range want {
			c.propose(1, data)
		}
		c.pass(Second)
		c.crash(3)
		m := c.nodes[3]
		m.entries = m.entries[:len(m.entries)-2]
		c.restart(3)
		if busy {
			want = append(want, "d")
			c.propose(1, "d")
		}
		c.pass(Second)
		c.expectApplied(3, want...)
		expect(t, "leader", c.leader(), 1)
		expect(t, "match", c.peer(3).match, c.nodes[1].core.log.last.Index)
	}
}

// A rejection that left before what was acknowledged later is late, and takes nothing back.
func TestALateRejectionDoesNotTakeBackWhatWasAcknowledged(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.propose(1, "a")
	c.pass(Second)
	leader := c.nodes[1].core
	p := c.peer(3)
	last := leader.log.last
	c.step(Message{Kind: AppendEntriesResponse, From: 3, To: 1, Term: leader.hard.Term, Prev: last,
		Reject: true, Epoch: p.epoch, Round: p.moved})
	expect(t, "match", p.match, last.Index)
	expect(t, "state", p.state, replicating)
}

func TestLogTimeNeverGoesBack(t *testing.T) {
	c := newCluster(t, 3)
	c.clock = 50_000
	c.lead(1)
	c.clock = 10 // the clock of the next leader is far behind
	c.lead2(2)
	c.propose(2, "x")
	c.deliver()
	if stamp := c.nodes[2].core.log.lastStamp; stamp != 50_000 {
		t.Fatalf("stamp %d", stamp)
	}
}

// lead2 transfers leadership to id.
func (c *cluster) lead2(id NodeID) {
	if err := c.nodes[c.leader()].core.TransferLeadership(id); err != nil {
		c.t.Fatal(err)
	}
	c.drain(c.nodes[c.leader()])
	c.deliver()
	if c.nodes[id].core.role != Leader {
		c.t.Fatalf("n%d does not lead\n%s", id, c.describe())
	}
}

func TestTransferGoesToTheNamedOrTheMostCaughtUpVoter(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.lead2(3)
	c.pass(200 * Millisecond)
	c.partition(1)
	c.propose(3, "x")
	c.deliver()
	if err := c.nodes[3].core.TransferLeadership(0); err != nil {
		t.Fatal(err)
	}
	c.drain(c.nodes[3])
	c.deliver()
	if c.leader() != 2 {
		t.Fatal(c.describe())
	}
	if err := c.nodes[2].core.TransferLeadership(2); err != ErrNotVoter {
		t.Fatal(err)
	}
	if err := c.nodes[1].core.TransferLeadership(0); err != ErrNotLeader {
		t.Fatal(err)
	}
}

func TestATransferThatGetsNowhereIsGivenUp(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(100 * Millisecond)
	c.partition(3)
	c.propose(1, "a")
	if err := c.nodes[1].core.TransferLeadership(3); err != nil {
		t.Fatal(err)
	}
	if err := c.propose(1, "b"); err != ErrTransferring {
		t.Fatal(err)
	}
	c.pass(1100 * Millisecond)
	if err := c.propose(1, "b"); err != nil || c.leader() != 1 {
		t.Fatal(err, c.describe())
	}
}

// Mistake 65, M20: a transfer belongs to the term it was begun in.
func TestATransferThatATermChangeInterruptsIsForgotten(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(100 * Millisecond)
	c.cut[[2]NodeID{1, 3}], c.cut[[2]NodeID{3, 1}] = true, true
	if err := c.nodes[1].core.TransferLeadership(3); err != nil {
		t.Fatal(err)
	}
	c.campaignOthers(2)
	c.heal()
	c.pass(200 * Millisecond)
	c.campaignOthers(1)
	if err := c.propose(1, "x"); err != nil {
		t.Fatal(err)
	}
	c.deliver()
	c.expectApplied(1, "x")
}

func TestATransferGoesToAVoterOfTheNewHalf(t *testing.T) {
	c := newCluster(t, 5)
	c.lead(1)
	c.pass(100 * Millisecond)
	c.nodes[1].slow = true
	c.partition(4)
	if err := c.change(ids(1, 4, 5), nil); err != nil {
		t.Fatal(err)
	}
	c.deliver()
	if to := c.nodes[1].core.mostCaughtUp(); to != 5 { // 4 is behind, 2 and 3 are on their way out
		t.Fatalf("n%d would lead next\n%s", to, c.describe())
	}
}

// Mistake 26, M26: what a heartbeat says of the commit index counts up to where the logs agree.
func TestAHeartbeatCommitsNothingThatDoesNotMatch(t *testing.T) {
	c := newCluster(t, 3)
	c.give(1, HardState{Term: 2}, 1, 1, 2, 2)
	answer := c.ask(Message{Kind: AppendEntries, From: 2, To: 1, Term: 3, Prev: Pos{3, 4},
		Commit: 4, Epoch: 1, Round: 1})
	expect(t, "rejected", answer.Reject, true)
	expect(t, "commit", c.nodes[1].core.commit, 0)
	c.ask(Message{Kind: AppendEntries, From: 2, To: 1, Term: 3, Prev: Pos{1, 2}, Commit: 4,
		Epoch: 1, Round: 2})
	expect(t, "commit", c.nodes[1].core.commit, 2)
}

func TestReadsOnLeaderAndFollowerSeeEveryEarlierCommit(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.propose(1, "x")
	c.deliver()
	commit := c.nodes[1].core.commit
	for _, id := range c.ids {
		m := c.nodes[id]
		if err := m.core.ReadIndex(7); err != nil {
			t.Fatal(id, err)
		}
		c.drain(m)
		c.deliver()
		if m.reads[7] < commit {
			t.Fatalf("n%d reads at %d, committed %d", id, m.reads[7], commit)
		}
	}
}

func TestAReadWaitsForAnEntryOfTheLeadersOwnTerm(t *testing.T) {
	for _, n := range []int{1, 3} {
		c := newCluster(t, n)
		c.lead(1)
		c.propose(1, "x")
		c.deliver()
		m := c.nodes[1]
		c.crash(1)
		m.slow = true
		c.restart(1)
		c.campaignSlowly(m)
		if err := m.core.ReadIndex(1); err != nil {
			t.Fatal(err)
		}
		c.drain(m)
		c.deliver()
		if len(m.reads) != 0 {
			t.Fatalf("%d nodes: served at %d before the no-op was committed", n, m.reads[1])
		}
		m.slow = false
		c.sync(m, len(m.writes))
		c.drain(m)
		c.pass(200 * Millisecond)
		if m.reads[1] < m.core.lead.firstOwn {
			t.Fatalf("%d nodes: read at %d, no-op at %d", n, m.reads[1], m.core.lead.firstOwn)
		}
	}
}

// campaignSlowly elects m, whose disk is slow, and leaves its no-op unsynced and unsent.
func (c *cluster) campaignSlowly(m *member) {
	for _, id := range c.ids {
		c.nodes[id].core.heard = false
	}
	if m.core.role == Follower {
		c.campaign(m.id)
	}
	c.deliver()
	c.sync(m, len(m.writes))
	c.drain(m)
	c.wire = nil
	if m.core.role != Leader {
		c.t.Fatal(c.describe())
	}
}

func TestADeposedLeaderServesNoReads(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(200 * Millisecond)
	c.partition(1)
	old := c.nodes[1]
	c.campaignOthers(2)
	c.propose(2, "x")
	c.deliver()
	c.expectApplied(2, "x")
	if err := old.core.ReadIndex(1); err != nil {
		t.Fatal(err)
	}
	c.drain(old)
	c.pass(300 * Millisecond)
	if len(old.reads) != 0 {
		t.Fatalf("a deposed leader served a read at %d", old.reads[1])
	}
	c.heal()
	c.pass(2 * Second)
	if len(old.reads) != 0 || len(old.lost) != 1 {
		t.Fatalf("reads %v, lost %v", old.reads, old.lost)
	}
}

// campaignOthers elects id although the old leader was heard a moment ago.
func (c *cluster) campaignOthers(id NodeID) {
	for _, other := range c.ids {
		c.nodes[other].core.heard = false
	}
	c.lead(id)
}

func TestAFollowerReadIsAnsweredOverALinkSlowerThanItsRetry(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(200 * Millisecond)
	m := c.nodes[2]
	if err := m.core.ReadIndex(1); err != nil {
		t.Fatal(err)
	}
	c.drain(m)
	asked := c.take(2, 1)
	for range 5 { // the request travels for half a second, and is repeated meanwhile
		c.now += 100 * Millisecond
		m.core.electionDeadline = c.now + Second
		m.core.Tick(c.now, c.clock)
		c.drain(m)
		if len(asked) == 1 {
			if err := m.core.ReadIndex(2); err != nil {
				t.Fatal(err)
			}
		}
		asked = append(asked, c.take(2, 1)...)
	}
	if len(asked) < 3 {
		t.Fatalf("asked %d times", len(asked))
	}
	c.step(asked[0])
	for _, message := range c.take(1, 3) { // the round is confirmed by n3
		c.step(message)
	}
	for _, message := range c.take(3, 1) {
		c.step(message)
	}
	for _, message := range c.take(1, 2) {
		c.step(message)
	}
	if _, ok := m.reads[1]; !ok {
		t.Fatal("the answer to the first asking was dropped")
	}
	if _, ok := m.reads[2]; ok {
		t.Fatal("a read was served by an answer to a request that left before it came")
	}
}

func TestACommitIsToldAtOnceAndAnsweredByNobody(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(100 * Millisecond)
	c.propose(1, "x")
	c.deliver()
	c.expectApplied(2, "x")
	c.expectApplied(3, "x")
	m := c.nodes[2]
	before := m.core.lastSeq
	c.step(Message{Kind: AppendEntries, From: 1, To: 2, Term: m.core.hard.Term, Prev: m.core.log.last,
		Commit: m.core.commit, Epoch: 1, Round: m.core.roundEchoed})
	if len(c.wire) != 0 || m.core.lastSeq != before {
		t.Fatalf("a bare commit index was answered: %v", c.wire)
	}
}

func TestACommitTravelsWithTheNextProposal(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(100 * Millisecond)
	m := c.nodes[1]
	c.propose(1, "a")
	for _, id := range ids(2, 3) {
		for _, message := range c.take(1, id) {
			c.step(message)
		}
	}
	for _, message := range c.take(2, 1) { // n2's answer commits "a"
		m.core.Step(&message)
	}
	if more := m.core.Drain(&m.effects); !more || len(m.effects.Messages) != 0 || m.effects.Apply.Empty() {
		t.Fatalf("more %v, messages %v, apply %v", more, m.effects.Messages, m.effects.Apply)
	}
	c.perform(m, &m.effects)
	if _, err := m.core.Propose(c.clock, []byte("b")); err != nil {
		t.Fatal(err)
	}
	c.drain(m)
	sent := c.take(1, 2)
	if len(sent) != 1 || len(sent[0].Entries) != 1 || sent[0].Commit != sent[0].Prev.Index {
		t.Fatalf("sent %v", sent)
	}
}

func TestAnIdleClusterSendsHeartbeatsOnly(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(Second)
	sent := 0
	for range 100 {
		c.now += 10 * Millisecond
		for _, id := range c.ids {
			c.nodes[id].core.Tick(c.now, c.clock)
			c.drain(c.nodes[id])
		}
		sent += len(c.wire)
		for _, m := range c.wire {
			if m.Kind != AppendEntries || len(m.Entries) != 0 {
				t.Fatalf("idle, and yet %s", m.String())
			}
		}
		c.deliver()
	}
	if sent != 2*10 {
		t.Fatalf("%d heartbeats in 1 s, want 20", sent)
	}
}

// A caller that ticks only when something is due is always on time, though long silent.
func TestANodeThatHearsNothingCampaignsWhenItsTimeIsUp(t *testing.T) {
	c := newCluster(t, 3)
	o := testOptions(2, 2)
	o.Heartbeat = o.ElectionTimeout / 4
	c.crash(2)
	c.start(c.nodes[2], o)
	core := c.nodes[2].core
	core.Tick(c.now+1, c.clock)
	for range 3 {
		core.Tick(core.Deadline(), c.clock)
	}
	if core.elections == 0 {
		t.Fatal("no campaign at three deadlines in a row")
	}
}
