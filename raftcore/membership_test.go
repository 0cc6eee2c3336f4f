package raftcore

import (
	"slices"
	"testing"
)

// change proposes a membership on the leader and lets it happen.
func (c *cluster) change(voters, learners []NodeID) error {
	c.t.Helper()
	leader := c.nodes[c.leader()]
	_, err := leader.core.ProposeConfig(ConfigChange{voters, learners})
	c.drain(leader)
	return err
}

// add starts an empty node that nobody counts yet.
func (c *cluster) add(id NodeID) {
	c.nodes[id] = &member{id: id, reads: map[ReadID]Index{}}
	c.ids = append(c.ids, id)
	c.start(c.nodes[id], testOptions(id, 1))
}

func ids(list ...NodeID) []NodeID { return list }

func TestOneVoterGrowsToThreeThroughLearners(t *testing.T) {
	c := newCluster(t, 1)
	c.propose(1, "x")
	c.add(2)
	c.add(3)
	if err := c.change(ids(1, 2, 3), nil); err != ErrNotCaughtUp {
		t.Fatalf("voters that never were learners: %v", err)
	}
	if err := c.change(ids(1), ids(2, 3)); err != nil {
		t.Fatal(err)
	}
	c.pass(300 * Millisecond)
	if err := c.change(ids(1, 2, 3), nil); err != nil {
		t.Fatal(err)
	}
	c.pass(300 * Millisecond)
	for _, id := range c.ids {
		config := c.nodes[id].core.config()
		if config.Joint() || !slices.Equal(config.Voters, ids(1, 2, 3)) {
			t.Fatalf("n%d has %v", id, *config)
		}
		c.expectApplied(id, "x")
	}
	c.crash(1)
	c.pass(5 * Second)
	if c.leader() == 0 {
		t.Fatalf("the new voters do not elect\n%s", c.describe())
	}
}

func TestASecondChangeIsRefusedWhileOneIsOpen(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(100 * Millisecond)
	if err := c.change(ids(1, 2), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.change(ids(1, 3), nil); err != ErrPending {
		t.Fatal(err)
	}
	c.deliver()
	if err := c.change(ids(1, 2), ids(3)); err != nil {
		t.Fatal(err)
	}
}

func TestALeaderThatIsRemovedHandsOverAndStepsDown(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(100 * Millisecond)
	if err := c.change(ids(2, 3), nil); err != nil {
		t.Fatal(err)
	}
	c.pass(500 * Millisecond)
	leader := c.leader()
	if leader != 2 && leader != 3 {
		t.Fatal(c.describe())
	}
	if err := c.propose(leader, "x"); err != nil {
		t.Fatal(err)
	}
	c.pass(10 * Second)
	c.expectApplied(2, "x")
	c.expectApplied(3, "x")
	if c.nodes[1].core.role != Follower || c.nodes[1].core.promotable() {
		t.Fatalf("a removed node campaigns\n%s", c.describe())
	}
}

func TestANewLeaderLeavesAJointConfigurationThatAnOldOneOpened(t *testing.T) {
	c := newCluster(t, 5)
	c.lead(1)
	c.pass(100 * Millisecond)
	if err := c.change(ids(1, 2, 3), ids(4, 5)); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids(2, 3, 4, 5) {
		for _, m := range c.take(1, id) {
			c.step(m)
		}
	}
	c.wire = nil
	c.crash(1)
	c.pass(5 * Second)
	leader := c.leader()
	if leader == 0 {
		t.Fatal(c.describe())
	}
	config := c.nodes[leader].core.config()
	if config.Joint() || !slices.Equal(config.Voters, ids(1, 2, 3)) || !slices.Equal(config.Learners, ids(4, 5)) {
		t.Fatalf("stuck with %v", *config)
	}
}

func TestATruncatedConfigurationIsNoLongerInForce(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(100 * Millisecond)
	c.partition(1)
	if err := c.change(ids(1), nil); err != nil {
		t.Fatal(err)
	}
	if !c.nodes[1].core.config().Joint() {
		t.Fatal("a configuration is in force from its append on")
	}
	c.pass(3 * Second)
	c.heal()
	c.pass(3 * Second)
	if config := c.nodes[1].core.config(); config.Joint() || len(config.Voters) != 3 {
		t.Fatalf("n1 still has %v", *config)
	}
}

func TestNoChangeBeforeAnEntryOfTheOwnTermIsCommitted(t *testing.T) {
	c := newCluster(t, 3)
	for _, id := range c.ids {
		c.nodes[id].slow = id != 1
	}
	c.campaign(1)
	for range 5 {
		c.deliver()
		for _, id := range c.ids[1:] {
			if c.nodes[1].core.role != Leader {
				c.sync(c.nodes[id], min(1, len(c.nodes[id].writes)))
			}
		}
	}
	if c.nodes[1].core.role != Leader || c.nodes[1].core.commit >= 2 {
		t.Fatal(c.describe())
	}
	if err := c.change(ids(1, 2), nil); err != ErrPending {
		t.Fatal(err)
	}
}

// A leader removes itself and loses its leadership while the entry that says so is in its log
// alone. The other voter cannot win without its vote, and cannot have it: its log is shorter.
func TestALeaderThatRemovedItselfMayBeTheOnlyOneWhoCanLead(t *testing.T) {
	c := newCluster(t, 2)
	c.lead(1)
	c.pass(100 * Millisecond)
	if err := c.change(ids(2), nil); err != nil {
		t.Fatal(err)
	}
	for c.nodes[1].core.config().Joint() {
		message := c.wire[0]
		c.wire = c.wire[1:]
		c.step(message)
	}
	c.wire = nil
	c.crash(1)
	c.restart(1)
	c.pass(10 * Second)
	config := c.nodes[2].core.config()
	if c.leader() != 2 || config.Joint() || !slices.Equal(config.Voters, ids(2)) {
		t.Fatalf("n2 has %v\n%s", *config, c.describe())
	}
	if n1 := c.nodes[1].core; n1.role == Leader || n1.promotable() && n1.commit >= n1.log.last.Index {
		t.Fatalf("n1 goes on after its removal\n%s", c.describe())
	}
}

func TestReadsOfARemovedNodeAreNotServed(t *testing.T) {
	c := newCluster(t, 2)
	c.lead(1)
	c.pass(100 * Millisecond)
	core := c.nodes[1].core
	round, dropped := core.lead.round, core.dropped
	core.Step(&Message{Kind: ReadIndex, From: 9, To: 1, Term: core.hard.Term, Round: 1})
	c.drain(c.nodes[1])
	if core.lead.round != round || core.dropped != dropped+1 {
		t.Fatalf("round %d after %d, %d dropped", core.lead.round, round, core.dropped-dropped)
	}
}

// A lost message is found out by sending one more, once per heartbeat: an answer that is repeated
// must not send one each time, or messages breed.
func TestRepeatedAnswersOpenOneSlotPerHeartbeat(t *testing.T) {
	c := newCluster(t, 2)
	c.lead(1)
	c.pass(100 * Millisecond)
	leader := c.nodes[1]
	leader.core.options.MaxInflightMessages, leader.core.options.MaxAppendBytes = 1, 1
	for range 10 {
		c.propose(1, "x")
	}
	sent := len(c.take(1, 2))
	answer := Message{Kind: AppendEntriesResponse, From: 2, To: 1, Term: leader.core.hard.Term,
		Match: leader.core.lead.peer(2).match, Epoch: leader.core.lead.peer(2).epoch}
	for range 10 {
		leader.core.Step(&answer)
		c.drain(leader)
	}
	if again := len(c.take(1, 2)); sent != 1 || again != 1 {
		t.Fatalf("%d messages, then %d", sent, again)
	}
}

func TestALeaderWhoseRemovalIsCommittedChangesNothingMore(t *testing.T) {
	c := newCluster(t, 2)
	c.lead(1)
	c.pass(100 * Millisecond)
	if err := c.change(ids(2), nil); err != nil {
		t.Fatal(err)
	}
	leader := c.nodes[1]
	for !leader.core.lead.leaving {
		message := c.wire[0]
		c.wire = c.wire[1:]
		if message.To != 1 {
			c.step(message)
			continue
		}
		leader.core.Step(&message)
		if !leader.core.lead.leaving {
			c.drain(leader)
		}
	}
	if _, err := leader.core.ProposeConfig(ConfigChange{Voters: ids(1, 2)}); err != ErrNotLeader {
		t.Fatal(err)
	}
}

// Mistake 41: the candidate's configuration decides whose vote counts. A voter that is still a
// learner by its own log, or knows no configuration at all, has to vote.
func TestAVoterThatDoesNotKnowItIsOneVotes(t *testing.T) {
	c := newCluster(t, 2)
	c.lead(1)
	c.add(3)
	if err := c.change(ids(1, 2), ids(3)); err != nil {
		t.Fatal(err)
	}
	c.pass(300 * Millisecond)
	c.cut[[2]NodeID{1, 3}] = true // n3 learns nothing of its promotion
	if err := c.change(ids(1, 2, 3), nil); err != nil {
		t.Fatal(err)
	}
	c.pass(300 * Millisecond)
	if config := c.nodes[3].core.config(); config.IsVoter(3) {
		t.Fatalf("n3 knows %v", *config)
	}
	c.crash(1)
	c.pass(5 * Second)
	if c.leader() != 2 {
		t.Fatal(c.describe())
	}
}

// Mistake 43: one voter in one half does not make a lone voter.
func TestALoneVoterDecidesNothingAloneOnceTheOtherHalfHasThree(t *testing.T) {
	c := newCluster(t, 1)
	c.add(2)
	c.add(3)
	if err := c.change(ids(1), ids(2, 3)); err != nil {
		t.Fatal(err)
	}
	c.pass(300 * Millisecond)
	c.partition(1)
	if err := c.change(ids(1, 2, 3), nil); err != nil {
		t.Fatal(err)
	}
	commit := c.nodes[1].core.commit
	if err := c.nodes[1].core.ReadIndex(1); err != nil {
		t.Fatal(err)
	}
	c.propose(1, "x")
	c.pass(500 * Millisecond)
	if m := c.nodes[1]; m.core.commit != commit || len(m.reads) != 0 {
		t.Fatalf("n1 commits up to %d and reads at %v alone", m.core.commit, m.reads)
	}
	c.pass(2 * Second)
	if c.nodes[1].core.role == Leader {
		t.Fatal("n1 leads alone")
	}
}
