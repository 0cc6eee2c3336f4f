package raftcore

import (
	"fmt"
	"slices"
	"testing"
)

// One test per sentence of figure 2 of the Raft paper (extended version), in the order of the
// figure. The comment of each says the sentence in our own words, and where kelek deviates and
// why. The rules of the sections after it are in paper_sections_test.go.
//
// Kelek deviates from the figure in the large in four ways: a time-out starts a pre-vote before it
// starts an election; the answer to AppendEntries says what is durable, not what was received; the
// answer carries an index (Match or Hint) instead of a bare yes or no; and a candidate's own vote
// counts once it is on its disk.

// --- State ---

// "Updated on stable storage before responding to RPCs." Kelek sends the answer when the write
// that it promises has landed, and works on meanwhile.
func TestPaperPersistentStateIsStableBeforeAnyAnswer(t *testing.T) {
	c := newCluster(t, 3)
	m := c.nodes[1]
	m.slow = true
	c.step(voteFor(2, 2, Pos{1, 1}))
	expect(t, "answers before the sync", len(c.wire), 0)
	c.sync(m, 1)
	expect(t, "answers after it", len(c.wire), 1)
	expect(t, "on disk", m.hard, HardState{2, 2})
	c.wire = nil
	c.step(appendTo(2, Pos{1, 1}, 0, 2))
	for _, answer := range c.wire {
		if answer.Match > 1 {
			t.Fatalf("acknowledged before the sync: %s", answer.String())
		}
	}
	c.wire = nil
	c.sync(m, len(m.writes))
	expect(t, "answers after it", len(c.wire), 1)
	expect(t, "acknowledged", c.wire[0].Match, 2)
}

// "currentTerm: latest term the server has seen, increases monotonically." A restart does not
// forget it.
func TestPaperTheTermNeverDecreases(t *testing.T) {
	c := newCluster(t, 3)
	last := Term(1)
	for _, term := range []Term{5, 3, 7, 1, 6, 9} {
		c.step(appendTo(term, Pos{1, 1}, 0))
		c.crash(1)
		c.restart(1)
		last = max(last, term)
		expect(t, "term", c.nodes[1].core.hard.Term, last)
	}
}

// "votedFor: candidate that received the vote in the current term, or none." A new term has no
// vote; a restart in the same term keeps it.
func TestPaperTheVoteBelongsToItsTerm(t *testing.T) {
	c := newCluster(t, 3)
	c.step(voteFor(2, 2, Pos{1, 1}))
	c.crash(1)
	c.restart(1)
	expect(t, "vote after a restart", c.nodes[1].core.hard, HardState{2, 2})
	c.step(appendTo(3, Pos{1, 1}, 0))
	expect(t, "vote in a newer term", c.nodes[1].core.hard, HardState{3, 0})
}

// "log[]: each entry contains a command and the term when it was received by the leader; the first
// index is 1."
func TestPaperEntriesCarryTheTermOfTheLeaderThatReceivedThem(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.propose(1, "a")
	c.deliver()
	c.lead2(2)
	c.propose(2, "b")
	c.deliver()
	for _, id := range c.ids {
		if got := c.terms(id); !slices.Equal(got, []Term{1, 2, 2, 3, 3}) {
			t.Fatalf("n%d has the terms %v", id, got)
		}
		expect(t, "first index", c.nodes[id].core.log.base.Index+1, 1)
		c.expectApplied(id, "a", "b")
	}
}

// "commitIndex: initialized to 0, increases monotonically." Kelek may start from what it had
// applied durably. A leader that tells less changes nothing.
func TestPaperTheCommitIndexNeverDecreases(t *testing.T) {
	c := newCluster(t, 3)
	c.give(1, HardState{Term: 2}, 1, 2, 2)
	expect(t, "at start", c.nodes[1].core.commit, 0)
	c.step(appendTo(2, Pos{2, 3}, 3))
	c.step(appendTo(2, Pos{2, 3}, 1))
	expect(t, "after a smaller one", c.nodes[1].core.commit, 3)
}

// "lastApplied: initialized to 0, increases monotonically." Each index is handed out once, in
// order.
func TestPaperEachEntryIsAppliedOnceInOrder(t *testing.T) {
	c := newCluster(t, 1)
	var next Index
	m := c.nodes[1]
	for i := range 5 {
		if _, err := m.core.Propose(c.clock, []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		next = m.core.applied + 1
		c.drain(m)
		expect(t, "applied", m.core.applied, next)
	}
}

// "nextIndex: initialized to the leader's last index + 1; matchIndex: to 0." Both anew at each
// election.
func TestPaperALeaderBeginsWithFreshProgress(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.propose(1, "x")
	c.deliver()
	core := c.nodes[1].core
	expect(t, "matchIndex in term 2", core.lead.peer(2).match, 3)
	core.campaign(false, "test")
	c.drain(c.nodes[1])
	grantVote(core, 3)
	expect(t, "role in term 3", core.role, Leader)
	for i := range core.lead.peers {
		expect(t, "nextIndex", core.lead.peers[i].next, 4)
		expect(t, "matchIndex", core.lead.peers[i].match, 0)
	}
}

// --- AppendEntries ---

// "Invoked by the leader to replicate log entries, also used as heartbeat: entries are empty then,
// and may be more than one." (arguments: term, leader, previous position, entries, commit index)
func TestPaperAppendEntriesReplicatesAndIsTheHeartbeat(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(300 * Millisecond)
	for _, data := range []string{"a", "b"} {
		if _, err := c.nodes[1].core.Propose(c.clock, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	c.drain(c.nodes[1])
	sent := c.take(1, 2)
	expect(t, "messages", len(sent), 1)
	m := sent[0]
	expect(t, "kind", m.Kind, AppendEntries)
	expect(t, "term", m.Term, 2)
	expect(t, "leader", m.From, 1)
	expect(t, "entries", len(m.Entries), 2)
	expect(t, "previous", m.Prev, Pos{2, 2})
	expect(t, "commit", m.Commit, 2)
	c.step(m)
	c.deliver()
	c.now += 100 * Millisecond
	c.nodes[1].core.Tick(c.now, c.clock)
	c.drain(c.nodes[1])
	sent = c.take(1, 2)
	expect(t, "heartbeats", len(sent), 1)
	expect(t, "entries of a heartbeat", len(sent[0].Entries), 0)
	expect(t, "position of a heartbeat", sent[0].Prev, Pos{2, 4})
}

// "leaderId: so the follower can redirect clients."
func TestPaperAFollowerKnowsWhoLeads(t *testing.T) {
	c := newCluster(t, 3)
	c.step(appendTo(2, Pos{1, 1}, 0))
	var s Status
	c.nodes[1].core.Status(&s)
	expect(t, "leader", s.Leader, 2)
}

// "Results: term, for the leader to update itself; success, if the follower had the previous
// entry." Kelek's success carries the durable index that it stands for.
func TestPaperTheAnswerToAppendEntriesSaysTermAndSuccess(t *testing.T) {
	c := newCluster(t, 3)
	c.give(1, HardState{Term: 2}, 1, 2)
	answer := c.ask(appendTo(2, Pos{2, 2}, 0))
	expect(t, "term", answer.Term, 2)
	expect(t, "rejected", answer.Reject, false)
	expect(t, "match", answer.Match, 2)
}

// "1. Reply false if term < currentTerm."
func TestPaperAppendEntriesOfAnOlderTermIsRejected(t *testing.T) {
	c := newCluster(t, 3)
	c.give(1, HardState{Term: 3}, 1)
	answer := c.ask(appendTo(2, Pos{1, 1}, 1, 2))
	expect(t, "rejected", answer.Reject, true)
	expect(t, "term", answer.Term, 3)
	expect(t, "last entry", c.nodes[1].core.log.last, Pos{1, 1})
	expect(t, "commit", c.nodes[1].core.commit, 0)
}

// "2. Reply false if the log has no entry at prevLogIndex whose term is prevLogTerm." Kelek adds
// the last position that may still agree, and never looks at what is before the commit index.
func TestPaperAppendEntriesAfterAnUnknownEntryIsRejected(t *testing.T) {
	for _, prev := range []Pos{{2, 4}, {3, 3}} { // beyond the log; of another term
		c := newCluster(t, 3)
		c.give(1, HardState{Term: 3}, 1, 2, 2)
		answer := c.ask(appendTo(3, prev, 0, 3))
		expect(t, "rejected", answer.Reject, true)
		expect(t, "hint", answer.Hint, Pos{2, 3})
		expect(t, "last entry", c.nodes[1].core.log.last, Pos{2, 3})
	}
}

// "3. If an existing entry conflicts with a new one, delete it and all that follow it."
func TestPaperAConflictingEntryAndAllThatFollowAreDeleted(t *testing.T) {
	c := newCluster(t, 3)
	c.give(1, HardState{Term: 3}, 1, 2, 2, 2, 2)
	answer := c.ask(appendTo(3, Pos{2, 2}, 0, 3))
	if got := c.terms(1); !slices.Equal(got, []Term{1, 2, 3}) {
		t.Fatalf("terms %v", got)
	}
	expect(t, "match", answer.Match, 3)
	expect(t, "entries on disk", len(c.nodes[1].entries), 3)
}

// "3., 4.": where nothing conflicts nothing is deleted, however short the message is (it may be
// late).
func TestPaperAnAppendThatConflictsWithNothingDeletesNothing(t *testing.T) {
	c := newCluster(t, 3)
	c.give(1, HardState{Term: 2}, 1, 2, 2, 2)
	c.step(appendTo(2, Pos{1, 1}, 0, 2))
	c.step(appendTo(2, Pos{1, 1}, 0))
	if got := c.terms(1); !slices.Equal(got, []Term{1, 2, 2, 2}) {
		t.Fatalf("terms %v", got)
	}
}

// "4. Append any new entries that are not in the log yet."
func TestPaperOnlyNewEntriesAreAppended(t *testing.T) {
	c := newCluster(t, 3)
	c.give(1, HardState{Term: 2}, 1, 2)
	written := c.nodes[1].core.lastSeq
	answer := c.ask(appendTo(2, Pos{1, 1}, 0, 2, 2, 2))
	expect(t, "match", answer.Match, 4)
	if got := c.terms(1); !slices.Equal(got, []Term{1, 2, 2, 2}) {
		t.Fatalf("terms %v", got)
	}
	c.ask(appendTo(2, Pos{1, 1}, 0, 2, 2, 2))
	expect(t, "writes for the repetition", c.nodes[1].core.lastSeq, written+1)
}

// "5. If leaderCommit > commitIndex, set it to the smaller of leaderCommit and the index of the
// last new entry": beyond that, the log is not known to be the leader's.
func TestPaperTheCommitIndexStopsAtTheLastNewEntry(t *testing.T) {
	c := newCluster(t, 3)
	c.give(1, HardState{Term: 3}, 1, 2, 2, 2)
	c.step(appendTo(3, Pos{1, 1}, 9, 2))
	expect(t, "commit", c.nodes[1].core.commit, 2)
	c.step(appendTo(3, Pos{2, 2}, 3, 2, 2))
	expect(t, "commit", c.nodes[1].core.commit, 3)
}

// --- RequestVote ---

// "Invoked by candidates; arguments: term, candidate, index and term of its last entry."
func TestPaperRequestVoteSaysTermCandidateAndLastEntry(t *testing.T) {
	c := newCluster(t, 3)
	c.give(1, HardState{Term: 4}, 1, 2, 2)
	c.campaign(1)
	for _, ask := range c.take(1, 3) {
		c.step(ask)
	}
	c.deliver2(3, 1)
	asked := c.take(1, 2)
	m := asked[len(asked)-1]
	expect(t, "kind", m.Kind, RequestVote)
	expect(t, "term", m.Term, 5)
	expect(t, "candidate", m.From, 1)
	expect(t, "last entry", m.Prev, Pos{2, 3})
}

// "Results: term, for the candidate to update itself; whether the vote is granted."
func TestPaperACandidateUpdatesItselfFromAnswers(t *testing.T) {
	c := newCluster(t, 3)
	c.reach(Candidate)
	core := c.nodes[1].core
	c.step(Message{Kind: RequestVoteResponse, From: 3, To: 1, Term: 7, Reject: true,
		Round: core.campaignRound})
	expect(t, "term", core.hard.Term, 7)
	expect(t, "role", core.role, Follower)
}

// "1. Reply false if term < currentTerm."
func TestPaperAVoteInAnOlderTermIsRefused(t *testing.T) {
	c := newCluster(t, 3)
	c.give(1, HardState{Term: 3}, 1)
	answer := c.ask(voteFor(2, 2, Pos{2, 9}))
	expect(t, "rejected", answer.Reject, true)
	expect(t, "term", answer.Term, 3)
	expect(t, "state", c.nodes[1].core.hard, HardState{3, 0})
}

// "2. If votedFor is none or the candidate, and its log is at least as up to date, grant." (term
// first, then index: section 5.4.1)
func TestPaperAVoteNeedsAnUpToDateLog(t *testing.T) {
	for _, try := range []struct {
		last    Pos
		granted bool
	}{
		{Pos{2, 3}, true}, {Pos{2, 4}, true}, {Pos{3, 1}, true},
		{Pos{2, 2}, false}, {Pos{1, 9}, false}, {Pos{0, 0}, false},
	} {
		c := newCluster(t, 3)
		c.give(1, HardState{Term: 3}, 1, 2, 2)
		answer := c.ask(voteFor(2, 3, try.last))
		expect(t, fmt.Sprint("vote for ", try.last), !answer.Reject, try.granted)
	}
}

// "2.", the first half: one vote per term, first come first served; the same candidate may ask
// again.
func TestPaperOneVotePerTerm(t *testing.T) {
	c := newCluster(t, 3)
	expect(t, "n2 refused", c.ask(voteFor(2, 2, Pos{1, 1})).Reject, false)
	expect(t, "n3 refused", c.ask(voteFor(3, 2, Pos{1, 1})).Reject, true)
	expect(t, "n2 refused again", c.ask(voteFor(2, 2, Pos{1, 1})).Reject, false)
	c.crash(1)
	c.restart(1)
	expect(t, "n3 refused after a restart", c.ask(voteFor(3, 2, Pos{1, 1})).Reject, true)
}

// --- Rules for all servers ---

// "If commitIndex > lastApplied: apply." Kelek waits for the own disk, too: nothing is applied
// that a crash could take away.
func TestPaperWhatIsCommittedIsApplied(t *testing.T) {
	c := newCluster(t, 3)
	m := c.nodes[1]
	m.slow = true
	c.step(appendTo(2, Pos{1, 1}, 3, 2, 2))
	c.step(appendTo(2, Pos{2, 3}, 3))
	expect(t, "commit", m.core.commit, 3)
	expect(t, "applied before it is durable", m.core.applied, 1)
	c.sync(m, len(m.writes))
	c.drain(m)
	expect(t, "applied", m.core.applied, 3)
}

// "If a request or response contains a newer term: adopt it and convert to follower." Deviations:
// the prospective term of a pre-vote is nobody's term yet; a voter that hears a leader ignores a
// candidate (section 6); a leader ignores those that are no members.
func TestPaperANewerTermMakesAFollower(t *testing.T) {
	for kind := MessageKind(1); kind < messageKinds; kind++ {
		for _, role := range []Role{Follower, PreCandidate, Candidate, Leader} {
			c := newCluster(t, 3)
			c.reach(role)
			core := c.nodes[1].core
			before := core.hard.Term
			m := Message{Kind: kind, From: 2, To: 1, Term: 9, Prev: Pos{1, 1}, Epoch: 1, Force: true}
			if kind == PreVoteResponse {
				m.Reject = true // a grant carries a prospective term
			}
			core.Step(&m)
			term, follows := Term(9), Follower
			switch kind {
			case PreVote:
				term, follows = before, role
			case TimeoutNow:
				term, follows = 10, Candidate // it is told to campaign, in the term after
			}
			expect(t, fmt.Sprint(kind, " to a ", role, ": term"), core.hard.Term, term)
			expect(t, fmt.Sprint(kind, " to a ", role, ": role"), core.role, follows)
		}
	}
}

// --- Followers ---

// "Respond to RPCs from candidates and leaders." A commit index that comes alone needs no answer.
func TestPaperFollowersAnswer(t *testing.T) {
	c := newCluster(t, 3)
	ask := voteFor(3, 2, Pos{1, 1})
	expect(t, "to a vote", c.ask(ask).Kind, RequestVoteResponse)
	ask.Kind, ask.Term = PreVote, 3
	expect(t, "to a pre-vote", c.ask(ask).Kind, PreVoteResponse)
	expect(t, "to an append", c.ask(appendTo(2, Pos{1, 1}, 0, 2)).Kind, AppendEntriesResponse)
}

// "If an election time-out passes without AppendEntries from the current leader or a vote granted:
// convert to candidate." Kelek asks for pre-votes first; whoever granted a vote waits as if it had
// heard a leader.
func TestPaperAFollowerWithoutALeaderCampaigns(t *testing.T) {
	for name, sign := range map[string]*Message{"nothing": nil,
		"append": {Kind: AppendEntries, From: 2, To: 1, Term: 2, Prev: Pos{1, 1}, Epoch: 1},
		"vote":   {Kind: RequestVote, From: 2, To: 1, Term: 2, Prev: Pos{1, 1}}} {
		c := newCluster(t, 3)
		core := c.nodes[1].core
		due := core.electionDeadline
		c.now = due - 1
		if sign != nil {
			core.Tick(c.now, c.clock)
			core.Step(sign)
			if core.electionDeadline < c.now+core.options.ElectionTimeout {
				t.Fatalf("after %s the next time-out is %d ns away", name, core.electionDeadline-c.now)
			}
			due = core.electionDeadline
			core.Tick(due-1, c.clock)
			expect(t, "role a moment before", core.role, Follower)
		}
		core.Tick(due, c.clock)
		expect(t, "role after "+name, core.role, PreCandidate)
	}
}

// --- Candidates ---

// "On conversion to candidate: increment the term, vote for self, reset the election timer, send
// RequestVote to all other servers." It needs a majority of pre-votes first.
func TestPaperACandidateStartsAnElection(t *testing.T) {
	c := newCluster(t, 5)
	c.campaign(1)
	core := c.nodes[1].core
	expect(t, "term of a pre-candidate", core.hard.Term, 1)
	for _, id := range ids(2, 3) {
		c.deliver2(1, id)
	}
	c.wire = slices.DeleteFunc(c.wire, func(m Message) bool { return m.From == 1 })
	core.electionDeadline = c.now
	c.deliver2(2, 1)
	c.deliver2(3, 1)
	expect(t, "role", core.role, Candidate)
	expect(t, "state", core.hard, HardState{2, 1})
	if core.electionDeadline < c.now+core.options.ElectionTimeout {
		t.Fatal("the election timer was not reset")
	}
	for _, id := range ids(2, 3, 4, 5) {
		asked := c.take(1, id)
		expect(t, fmt.Sprint("requests to n", id), len(asked), 1)
		expect(t, "kind", asked[0].Kind, RequestVote)
	}
}

// "If votes come from a majority of servers: become leader." The own vote is one of them, once it
// is durable.
func TestPaperAMajorityOfVotesMakesALeader(t *testing.T) {
	for voters := 1; voters <= 7; voters++ {
		c := newCluster(t, voters)
		c.lead1By(voters/2, t)
	}
}

// lead1By makes n1 a candidate and grants it votes one by one: exactly the last one makes it
// leader.
func (c *cluster) lead1By(others int, t *testing.T) {
	core := c.nodes[1].core
	if others == 0 {
		expect(t, "role of a single voter", core.role, Leader)
		return
	}
	core.campaign(false, "test")
	c.drain(c.nodes[1])
	for id := NodeID(2); id < NodeID(2+others); id++ {
		expect(t, "role so far", core.role, Candidate)
		grantVote(core, id)
	}
	expect(t, "role", core.role, Leader)
}

// "If AppendEntries comes from a new leader: convert to follower."
func TestPaperACandidateFollowsTheLeaderOfItsTerm(t *testing.T) {
	for _, role := range []Role{PreCandidate, Candidate} {
		c := newCluster(t, 3)
		c.reach(role)
		core := c.nodes[1].core
		term := core.hard.Term
		c.step(appendTo(term, Pos{1, 1}, 0))
		expect(t, "role", core.role, Follower)
		expect(t, "leader", core.leader, 2)
		expect(t, "term", core.hard.Term, term)
		if role == Candidate {
			expect(t, "vote in that term", core.hard.VotedFor, 1)
		}
	}
}

// "If the election time-out elapses: start a new election." Kelek asks for pre-votes again: a
// candidate that nobody hears does not raise its term for ever.
func TestPaperACandidateTriesAgain(t *testing.T) {
	c := newCluster(t, 3)
	c.reach(Candidate)
	core := c.nodes[1].core
	round := core.campaignRound
	c.wire = nil
	c.campaign(1)
	expect(t, "role", core.role, PreCandidate)
	expect(t, "term", core.hard.Term, 2)
	if core.campaignRound == round || len(c.take(1, 2)) == 0 {
		t.Fatal("no new campaign")
	}
	c.deliver()
	expect(t, "role in the end", core.role, Leader)
	expect(t, "term in the end", core.hard.Term, 3)
}

// --- Leaders ---

// "Upon election: send an initial heartbeat to each server, repeat in idle times." The first
// message carries the leader's no-op (section 8), which is better than empty.
func TestPaperANewLeaderAnnouncesItselfAndGoesOn(t *testing.T) {
	c := newCluster(t, 3)
	c.campaign(1)
	for c.nodes[1].core.role != Leader {
		m := c.wire[0]
		c.wire = c.wire[1:]
		c.step(m)
	}
	for _, id := range ids(2, 3) {
		sent := c.take(1, id)
		expect(t, "announcement", sent[len(sent)-1].Kind, AppendEntries)
		c.step(sent[len(sent)-1])
	}
	c.deliver()
	c.pass(10 * Second)
	expect(t, "leader after 10 s", c.leader(), 1)
	expect(t, "term after 10 s", c.nodes[1].core.hard.Term, 2)
}

// "If a command comes from a client: append it, answer after it was applied." The core's answer to
// its caller is the position; what the caller answers is decided by its own apply.
func TestPaperACommandIsAppendedThenAppliedWhenCommitted(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	pos, err := c.nodes[1].core.Propose(c.clock, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	c.drain(c.nodes[1])
	expect(t, "position", pos, Pos{2, 3})
	expect(t, "appended", c.nodes[1].core.log.last, pos)
	c.expectApplied(1)
	c.deliver()
	c.expectApplied(1, "x")
}

// "If the last index >= nextIndex for a follower: send entries starting at nextIndex."
func TestPaperALeaderSendsFromNextIndexOn(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(200 * Millisecond)
	p := c.nodes[1].core.lead.peer(2)
	next := p.next
	c.propose(1, "x")
	sent := c.take(1, 2)
	expect(t, "messages", len(sent), 1)
	expect(t, "first entry", sent[0].Entries[0].Index, next)
	expect(t, "nextIndex, on credit", p.next, next+1)
}

// "If successful: update nextIndex and matchIndex."
func TestPaperASuccessMovesTheProgress(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.propose(1, "x")
	c.deliver()
	p := c.nodes[1].core.lead.peer(2)
	expect(t, "matchIndex", p.match, 3)
	expect(t, "nextIndex", p.next, 4)
}

// "If it fails because of log inconsistency: decrement nextIndex and retry." Kelek backs up by a
// whole term at a time, with the follower's hint.
func TestPaperAnInconsistencyMovesNextIndexBack(t *testing.T) {
	c := newCluster(t, 3)
	c.give(1, HardState{Term: 4}, 1, 2, 4, 4)
	c.give(2, HardState{Term: 3}, 1, 2, 3, 3, 3, 3)
	c.crash(3)
	c.lead(1)
	if got := c.terms(2); !slices.Equal(got, []Term{1, 2, 4, 4, 5}) {
		t.Fatalf("n2 has the terms %v", got)
	}
	expect(t, "matchIndex", c.nodes[1].core.lead.peer(2).match, 5)
}

// "If there is an N > commitIndex that a majority matches and log[N] has the current term: commit
// it." The leader's own match is what is on its own disk.
func TestPaperALeaderCommitsWhatAMajorityHoldsInItsTerm(t *testing.T) {
	c := newCluster(t, 5)
	c.lead(1)
	core := c.nodes[1].core
	c.propose(1, "x")
	c.wire = nil
	for i, id := range ids(2, 3) {
		expect(t, fmt.Sprint("commit with ", 1+i, " of 5"), core.commit, 2)
		ackAppend(core, id, 3)
	}
	expect(t, "commit with 3 of 5", core.commit, 3)
}
