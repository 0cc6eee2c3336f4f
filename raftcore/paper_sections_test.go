package raftcore

import (
	"fmt"
	"slices"
	"testing"
)

// The rules of sections 5 to 8 of the Raft paper that figure 2 does not say, one test each.
// Kelek has the joint configurations of section 6 only, takes them when they are appended, and
// makes every new voter a learner first.

// 5.2: "Election time-outs are chosen randomly from a fixed interval": here one to two time-outs.
func TestPaperTimeoutsAreSpreadOverAFixedInterval(t *testing.T) {
	c := newCluster(t, 3)
	core := c.nodes[1].core
	low, high := Instant(1<<63), Instant(0)
	for range 1000 {
		core.resetElectionDeadline()
		low, high = min(low, core.electionDeadline-c.now), max(high, core.electionDeadline-c.now)
	}
	if low < Second || high >= 2*Second || low > 1100*Millisecond || high < 1900*Millisecond {
		t.Fatalf("from %d to %d ms", low/Millisecond, high/Millisecond)
	}
}

// 5.2: votes may be split, then "this term ends with no leader", and a new election follows soon.
func TestPaperASplitVoteIsRepeated(t *testing.T) {
	c := newCluster(t, 4)
	for _, id := range ids(1, 4) {
		c.nodes[id].core.campaign(false, "test")
		c.drain(c.nodes[id])
	}
	c.deliver2(1, 2)
	c.deliver2(4, 3)
	c.deliver()
	expect(t, "leader after a split vote", c.leader(), 0)
	c.pass(10 * Second)
	if c.leader() == 0 {
		t.Fatalf("no leader after 10 s\n%s", c.describe())
	}
}

// 5.3: "A leader never overwrites or deletes entries in its log; it only appends."
func TestPaperALeaderOnlyAppends(t *testing.T) {
	c := newCluster(t, 3)
	c.give(1, HardState{Term: 4}, 1, 2, 4)
	c.give(2, HardState{Term: 3}, 1, 3, 3, 3, 3)
	c.give(3, HardState{Term: 4}, 1, 2)
	c.lead(1)
	c.propose(1, "x")
	c.deliver()
	if got := c.terms(1); !slices.Equal(got, []Term{1, 2, 4, 5, 5}) {
		t.Fatalf("terms %v", got)
	}
}

// 5.3, figure 7: a leader makes the logs of all followers its own, whatever they hold. It backs
// up by a term per round trip, so few are needed.
func TestPaperFigure7EveryDivergentLogIsRepaired(t *testing.T) {
	for name, follower := range map[string][]Term{
		"a, one entry short":           {1, 1, 1, 4, 4, 5, 5, 6, 6},
		"b, many short":                {1, 1, 1, 4},
		"c, one too many":              {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6},
		"d, entries of a later leader": {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7},
		"e, some of its own":           {1, 1, 1, 4, 4, 4, 4},
		"f, nothing but its own":       {1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3},
	} {
		c := newCluster(t, 3)
		leader := []Term{1, 1, 1, 4, 4, 5, 5, 6, 6, 6}
		c.give(1, HardState{Term: 7}, leader...)
		c.give(2, HardState{Term: 7}, follower...)
		c.crash(3)
		core := c.nodes[1].core
		core.campaign(true, "test")
		c.drain(c.nodes[1])
		c.wire = nil
		grantVote(core, 3)
		c.drain(c.nodes[1])
		trips := 0
		for ; core.lead.peer(2).match < 11; trips++ {
			if trips > 5 {
				t.Fatalf("%s: %d round trips\n%s", name, trips, c.describe())
			}
			c.deliver2(1, 2)
			c.deliver2(2, 1)
		}
		if got := c.terms(2); !slices.Equal(got, append(leader, 8)) {
			t.Errorf("%s: terms %v", name, got)
		}
	}
}

// 5.3: "The leader keeps track of the highest index it knows to be committed and includes it in
// future AppendEntries, so that the others find out." Kelek sends it at once.
func TestPaperFollowersLearnTheCommitIndex(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.propose(1, "x")
	c.deliver()
	for _, id := range c.ids {
		expect(t, fmt.Sprint("commit of n", id), c.nodes[id].core.commit, 3)
	}
}

// 5.3, 5.5: "If followers crash or run slowly, or packets are lost, the leader retries
// indefinitely."
func TestPaperALeaderRetriesForEver(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.crash(3)
	c.propose(1, "x")
	c.pass(60 * Second)
	c.expectApplied(1, "x")
	c.restart(3)
	c.pass(Second)
	c.expectApplied(3, "x")
}

// 5.5: "RPCs are idempotent": every message may come twice, and late.
func TestPaperRepeatedMessagesDoNoHarm(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	for i := range 5 {
		c.propose(1, fmt.Sprint(i))
		twice := append(slices.Clone(c.wire), c.wire...)
		c.wire = twice
		late := slices.Clone(twice)
		c.deliver()
		c.wire = late
		c.deliver()
	}
	for _, id := range c.ids {
		c.expectApplied(id, "0", "1", "2", "3", "4")
		expect(t, fmt.Sprint("last of n", id), c.nodes[id].core.log.last, Pos{2, 7})
	}
}

// 5.4.2, figure 8: "Raft never commits entries of previous terms by counting replicas"; they are
// committed with the first entry of the own term.
func TestPaperEntriesOfOlderTermsAreCommittedIndirectly(t *testing.T) {
	c := newCluster(t, 5)
	c.give(1, HardState{Term: 3}, 1, 2)
	core := c.nodes[1].core
	core.campaign(true, "test")
	c.drain(c.nodes[1])
	for _, id := range ids(2, 3) {
		grantVote(core, id)
	}
	c.drain(c.nodes[1])
	for _, match := range []Index{2, 3} {
		expect(t, "commit", core.commit, 0)
		for _, id := range ids(2, 3) {
			ackAppend(core, id, match)
		}
	}
	expect(t, "commit with one of the own term", core.commit, 3)
}

// 5.6: "broadcast time << election time-out": a heartbeat is at most a quarter of it.
func TestPaperTheElectionTimeoutIsLongAgainstAHeartbeat(t *testing.T) {
	o := testOptions(1, 1)
	o.ElectionTimeout = 4*o.Heartbeat - 1
	if err := o.validate(); err == nil {
		t.Fatal("accepted")
	}
}

// 6: "A server uses the latest configuration in its log, whether or not it is committed."
func TestPaperAConfigurationIsInForceWhenItIsAppended(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(100 * Millisecond)
	if err := c.change(ids(1, 2), nil); err != nil {
		t.Fatal(err)
	}
	c.deliver2(1, 3)
	for _, id := range ids(1, 3) {
		core := c.nodes[id].core
		at := core.configs.current()
		if !at.Config.Joint() || at.Pos.Index <= core.commit {
			t.Fatalf("n%d has %v at %s, commit %d", id, at.Config, at.Pos, core.commit)
		}
	}
}

// 6: "Agreement (for elections and entry commitment) requires separate majorities from both the
// old and the new configuration."
func TestPaperAJointDecisionNeedsBothMajorities(t *testing.T) {
	c := newCluster(t, 5)
	c.lead(1)
	c.pass(100 * Millisecond)
	if err := c.change(ids(1, 2), ids(3, 4, 5)); err != nil {
		t.Fatal(err)
	}
	c.wire = nil
	core := c.nodes[1].core
	ack := func(id NodeID) {
		ackAppend(core, id, 3)
	}
	ack(3)
	ack(4)
	expect(t, "commit with the old majority alone", core.commit, 2)
	ack(2)
	expect(t, "commit with both", core.commit, 3)

	for _, half := range [2][]NodeID{ids(3, 4), ids(2)} { // the old majority alone; the new one alone
		c := newCluster(t, 5)
		core := c.nodes[1].core
		core.configs.current().Config = Config{Voters: ids(1, 2), OldVoters: ids(1, 2, 3, 4, 5)}
		core.campaign(false, "test")
		c.drain(c.nodes[1])
		grant := func(id NodeID) {
			grantVote(core, id)
		}
		for _, id := range half {
			grant(id)
		}
		expect(t, fmt.Sprint("role with the votes of ", half), core.role, Candidate)
		for _, id := range ids(2, 3, 4) {
			grant(id)
		}
		expect(t, "role with both", core.role, Leader)
	}
}

// 6: "Once C-old,new is committed it is safe to create C-new", and not before.
func TestPaperTheNewConfigurationFollowsTheCommittedJointOne(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(100 * Millisecond)
	if err := c.change(ids(1, 2), nil); err != nil {
		t.Fatal(err)
	}
	core := c.nodes[1].core
	expect(t, "joint before the commit", core.config().Joint(), true)
	c.deliver2(1, 2)
	c.deliver2(2, 1)
	expect(t, "joint after it", core.config().Joint(), false)
	if core.configs.current().Pos.Index <= core.commit {
		t.Fatal("the new configuration is committed with the joint one")
	}
}

// 6: "New servers join as non-voting members: they get the log and are not counted for
// majorities."
func TestPaperLearnersAreNotCounted(t *testing.T) {
	c := newCluster(t, 1)
	c.add(2)
	if err := c.change(ids(1), ids(2)); err != nil {
		t.Fatal(err)
	}
	c.propose(1, "x")
	c.expectApplied(1, "x")
	c.deliver()
	c.expectApplied(2, "x")
	c.crash(1)
	c.pass(10 * Second)
	expect(t, "role of a learner that is alone", c.nodes[2].core.role, Follower)
	expect(t, "term of a learner that is alone", c.nodes[2].core.hard.Term, 2)
}

// 6: "A leader that is not in C-new manages a cluster that does not include itself: it replicates
// but does not count itself, and steps down when C-new is committed."
func TestPaperALeaderOutsideTheNewConfigurationDoesNotCountItself(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(100 * Millisecond)
	if err := c.change(ids(2, 3), nil); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids(2, 3) {
		c.deliver2(1, id)
		c.deliver2(id, 1)
	}
	core := c.nodes[1].core
	expect(t, "joint", core.config().Joint(), false)
	leave := core.configs.current().Pos.Index
	c.deliver2(1, 2)
	c.deliver2(2, 1)
	expect(t, "role with n2's disk and its own", core.role, Leader)
	if core.commit >= leave {
		t.Fatalf("commit %d counts the leader itself", core.commit)
	}
	c.deliver()
	expect(t, "role in the end", core.role, Follower)
	for _, id := range ids(2, 3) {
		if c.nodes[id].core.commit < leave {
			t.Fatalf("n%d does not know that the change is done\n%s", id, c.describe())
		}
	}
}

// 6: "Servers disregard RequestVote when they believe a current leader exists", within the
// minimum election time-out of hearing it. A leader itself believes so, too; TimeoutNow's
// campaign is exempt.
func TestPaperVotersThatHearALeaderDisregardCandidates(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(100 * Millisecond)
	for _, id := range ids(1, 2) {
		ask := Message{Kind: RequestVote, From: 3, To: id, Term: 9, Prev: Pos{9, 9}, Round: 1}
		c.step(ask)
		expect(t, "term after a disregarded request", c.nodes[id].core.hard.Term, 2)
	}
	core := c.nodes[2].core
	c.now = core.contact + core.options.ElectionTimeout
	core.Tick(c.now, c.clock)
	c.wire = nil
	c.step(Message{Kind: RequestVote, From: 3, To: 2, Term: 9, Prev: Pos{9, 9}, Round: 1})
	expect(t, "state after the time-out", core.hard, HardState{9, 3})
}

// 8: "Each leader commits a blank no-op at the start of its term."
func TestPaperALeaderBeginsWithANoop(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	core := c.nodes[1].core
	expect(t, "kind", core.log.entry(2).Kind, EntryNoop)
	expect(t, "commit", core.commit, 2)
}

// 8: "A leader must exchange heartbeats with a majority before it answers a read-only request."
func TestPaperAReadNeedsAMajority(t *testing.T) {
	c := newCluster(t, 5)
	c.lead(1)
	m := c.nodes[1]
	if err := m.core.ReadIndex(1); err != nil {
		t.Fatal(err)
	}
	c.drain(m)
	for _, id := range ids(2, 3) {
		expect(t, "reads so far", len(m.reads), 0)
		c.deliver2(1, id)
		c.deliver2(id, 1)
	}
	expect(t, "index", m.reads[1], 2)
}

// 8: "A leader may not know which entries are committed at the start of its term": until one of
// its own is, a read has no index.
func TestPaperAReadWaitsForTheNoop(t *testing.T) {
	c := newCluster(t, 3)
	c.give(1, HardState{Term: 2}, 1, 2)
	m := c.nodes[1]
	m.core.campaign(false, "test")
	c.drain(m)
	grantVote(m.core, 2)
	c.drain(m)
	if err := m.core.ReadIndex(1); err != nil {
		t.Fatal(err)
	}
	c.drain(m)
	for _, id := range ids(2, 3) { // they echo the round, and do not hold the log
		m.core.Step(&Message{Kind: AppendEntriesResponse, From: id, To: 1, Term: 3, Match: 1, Epoch: 1,
			Round: m.core.lead.round})
		c.drain(m)
	}
	expect(t, "reads", len(m.reads), 0)
	c.pass(300 * Millisecond)
	expect(t, "index", m.reads[1], 3)
}

// 7, figure 13: "1. Reply immediately if term < currentTerm."
func TestPaperASnapshotOfAnOlderLeaderIsRejected(t *testing.T) {
	c := newCluster(t, 3)
	c.give(2, HardState{Term: 5}, 1)
	answer := c.ask(c.offer(2, 7, Pos{1, 9}))
	expect(t, "rejected", answer.Reject, true)
	expect(t, "term", answer.Term, 5)
	expect(t, "last entry", c.nodes[2].core.log.last, Pos{1, 1})
}

// 7, figure 13: "6. If the log has the snapshot's last entry, retain what follows it and reply."
// Kelek does not even fetch such a snapshot: the log will do.
func TestPaperASnapshotThatTheLogHoldsChangesNothing(t *testing.T) {
	c := newCluster(t, 3)
	c.give(2, HardState{Term: 1}, 1, 1, 1, 1)
	answer := c.ask(c.offer(2, 7, Pos{1, 3}))
	expect(t, "match", answer.Match, 3)
	expect(t, "last entry", c.nodes[2].core.log.last, Pos{1, 4})
	expect(t, "fetches", c.nodes[2].snapshots.fetches, 0)
}

// 7, figure 13: "7. Discard the entire log. 8. Reset the state machine to the snapshot's, and load
// its configuration." The files of 2 to 5 travel on a connection of their own.
func TestPaperASnapshotThatTheLogDoesNotHoldReplacesIt(t *testing.T) {
	c := newCluster(t, 3)
	c.give(2, HardState{Term: 2}, 1, 2, 2, 2, 2, 2)
	c.give(1, HardState{Term: 3}, 1)
	answer := c.ask(c.offer(2, 7, Pos{3, 5}))
	core := c.nodes[2].core
	expect(t, "match", answer.Match, 5)
	expect(t, "last entry", core.log.last, Pos{3, 5})
	expect(t, "commit", core.commit, 5)
	expect(t, "applied", core.applied, 5)
	expect(t, "entries on disk", len(c.nodes[2].entries), 0)
	expect(t, "entry of the configuration", core.configs.current().Pos.Index, 1)
}

// 7: "The leader sends a snapshot when it has discarded the next entry that it needs to send."
func TestPaperALeaderOffersASnapshotForWhatItHasDiscarded(t *testing.T) {
	c, _ := lagging(t, 10)
	c.heal()
	c.now += 100 * Millisecond
	c.nodes[1].core.Tick(c.now, c.clock)
	c.drain(c.nodes[1])
	expect(t, "offers to n2", c.sent(InstallSnapshot, 2), 0)
	expect(t, "offers to n3", c.sent(InstallSnapshot, 3), 1)
}
