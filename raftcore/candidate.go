package raftcore

import "slices"

// vote is one voter's answer in the current campaign.
type vote struct {
	id     NodeID
	ballot ballot
}

// ballotOf returns what id has answered in the current campaign.
func (c *Core) ballotOf(id NodeID) ballot {
	for _, v := range c.ballots[:c.ballotCount] {
		if v.id == id {
			return v.ballot
		}
	}
	return pending
}

// record notes the first answer of a voter.
func (c *Core) record(id NodeID, b ballot) {
	if !c.config().IsVoter(id) || c.ballotOf(id) != pending {
		return
	}
	c.ballots[c.ballotCount] = vote{id, b}
	c.ballotCount++
}

func (c *Core) voteResult() ballot { return voteResult(c.config(), c.ballotOf) }

// sticky voters do not help to replace a leader that they hear (dissertation, 4.2.3), or to which
// they have given a promise. A leader counts as hearing itself: it steps down on its own when it
// loses its quorum.
func (c *Core) sticky() bool {
	if c.role == Leader || c.promised() {
		return true
	}
	return c.leader != 0 && c.heard && c.now < c.contact+c.options.ElectionTimeout
}

// upToDate is the election restriction of section 5.4.1.
func (c *Core) upToDate(last Pos) bool {
	if planted(8) {
		return last.Index >= c.log.last.Index
	}
	return !last.Less(c.log.last)
}

// resetElectionDeadline draws the next time-out from one to two election time-outs (section 5.2).
func (c *Core) resetElectionDeadline() {
	t := c.options.ElectionTimeout
	c.electionDeadline = c.now + c.random.between(t, 2*t)
}

// hurryAttempts bounds how often a campaign is retried quickly after a leader's connection broke.
// The window doubles each time, so a disk slower than the first window gets its chance.
const hurryAttempts = 6

// Disconnected says that the connection to a peer broke. When that peer led, its process is
// probably gone: the node stops counting its last message as fresh and asks for pre-votes within
// FastElection. If the leader lives, the other voters still hear it and refuse: safety and
// stability rest on votes, this only saves the wait.
func (c *Core) Disconnected(peer NodeID) {
	if c.role == Leader {
		if p := c.lead.peer(peer); p != nil && p.state == replicating {
			p.becomeProbing(p.match + 1)
		}
		return
	}
	if c.role != Follower || peer != c.leader || !c.heard || c.promised() {
		return
	}
	c.heard = false
	if c.promotable() {
		c.hurry = hurryAttempts
		c.electionDeadline = min(c.electionDeadline, c.now+c.random.between(0, c.options.FastElection))
	}
}

// campaignDeadline is when the current attempt counts as failed.
func (c *Core) campaignDeadline() {
	if c.hurry == 0 {
		c.resetElectionDeadline()
		return
	}
	window := c.options.FastElection << (hurryAttempts - c.hurry)
	c.hurry--
	c.electionDeadline = c.now + c.random.between(window, 3*window)
}

// electionTimedOut starts a campaign, for the first time or again.
func (c *Core) electionTimedOut() {
	if !c.promotable() {
		c.resetElectionDeadline()
		return
	}
	if c.promised() {
		c.electionDeadline = c.promisedUntil + c.random.between(0, c.options.Heartbeat)
		return
	}
	reason := "election timeout"
	if c.hurry > 0 {
		reason = "connection to the leader lost"
	}
	c.preCampaign(reason)
}

// preCampaign asks whether this node could win, without touching its term (dissertation, 9.6).
func (c *Core) preCampaign(reason string) {
	c.becomeFollower(0, reason)
	c.role = PreCandidate
	c.startCampaign(reason)
	c.record(c.options.ID, granted)
	c.poll(PreVote, c.hard.Term+1, false)
	c.maybeCampaign()
}

func (c *Core) startCampaign(reason string) {
	c.campaignRound++
	if c.role == PreCandidate || !planted(4) {
		c.ballotCount = 0
	}
	c.campaignDeadline()
	c.elections++
	c.trace(Event{Kind: EventCampaign, Role: c.role, Term: c.hard.Term, Reason: reason})
}

// poll asks every other voter of both halves.
func (c *Core) poll(kind MessageKind, term Term, force bool) {
	config := c.config()
	for i, half := range [2][]NodeID{config.Voters, config.OldVoters} {
		for _, id := range half {
			if id == c.options.ID || i == 1 && slices.Contains(config.Voters, id) {
				continue
			}
			c.send(Message{Kind: kind, To: id, Term: term, Prev: c.log.last,
				Round: c.campaignRound, Force: force}, nothing)
		}
	}
}

func (c *Core) maybeCampaign() {
	switch c.voteResult() {
	case granted:
		c.campaign(false, c.reason)
	case refused:
		c.campaignLost()
	}
}

// campaign raises the term and asks for votes (section 5.2). force carries the old leader's wish
// past sticky voters; it is bound to this one term.
func (c *Core) campaign(force bool, reason string) {
	c.setTerm(c.hard.Term + 1)
	c.becomeFollower(0, reason)
	c.role = Candidate
	c.setVote(c.options.ID)
	c.startCampaign(reason)
	c.poll(RequestVote, c.hard.Term, force)
	c.maybeCountOwnVote()
}

// maybeCountOwnVote counts the candidate's own vote once it is durable, and not before.
func (c *Core) maybeCountOwnVote() {
	if !c.hardDurable() && !planted(5) {
		return
	}
	c.record(c.options.ID, granted)
	c.maybeWin()
}

// maybeWin ends a campaign that is decided. A win waits for the own vote, even when the others'
// suffice: a node that leads a term, crashes and forgets the term could win it a second time, and
// use its positions twice.
func (c *Core) maybeWin() {
	switch c.voteResult() {
	case granted:
		if c.hardDurable() || planted(5) {
			c.becomeLeader()
		}
	case refused:
		c.campaignLost()
	}
}

// campaignLost ends an attempt that a majority refused. The next one waits for its time.
func (c *Core) campaignLost() { c.becomeFollower(0, "campaign refused") }

// countPreVote takes an answer to a PreVote. A rejection from a newer term was adopted in Step
// already (mistake 8): then this node is a follower by now and the answer is ignored there.
func (c *Core) countPreVote(m *Message) {
	if m.Round != c.campaignRound {
		c.drop(m, "answers an older campaign")
		return
	}
	if m.Reject {
		c.record(m.From, refused)
	} else if m.Term == c.hard.Term+1 {
		c.record(m.From, granted)
	}
	c.maybeCampaign()
}

// countVote takes an answer to a RequestVote of this very campaign.
func (c *Core) countVote(m *Message) {
	if m.Round != c.campaignRound {
		c.drop(m, "answers an older campaign")
		return
	}
	if m.Reject {
		c.record(m.From, refused)
	} else {
		c.record(m.From, granted)
	}
	c.maybeWin()
}

// answerPreVote says whether this node would vote for the sender in that term. It changes nothing:
// not the term, not the vote, not the time-out (mistake 4).
func (c *Core) answerPreVote(m *Message) {
	if m.Term > c.hard.Term && !c.sticky() && c.upToDate(m.Prev) {
		c.send(Message{Kind: PreVoteResponse, To: m.From, Term: m.Term, Round: m.Round}, nothing)
		return
	}
	c.send(Message{Kind: PreVoteResponse, To: m.From, Term: c.hard.Term, Round: m.Round,
		Reject: true}, hardState)
}

// answerRequestVote grants one vote per term to a candidate whose log is up to date (section 5.2,
// 5.4.1). The term is equal: Step has settled it. The candidate's own configuration decides
// whether the vote counts, not the voter's (mistake 41).
func (c *Core) answerRequestVote(m *Message) {
	free := c.hard.VotedFor == 0 || c.hard.VotedFor == m.From
	free = free && (m.Force || !c.promised())
	if !free || c.leader != 0 || !c.upToDate(m.Prev) {
		c.send(Message{Kind: RequestVoteResponse, To: m.From, Term: c.hard.Term, Round: m.Round,
			Reject: true}, hardState)
		return
	}
	c.setVote(m.From)
	c.resetElectionDeadline()
	promise := hardState
	if planted(5) {
		promise = nothing
	}
	c.send(Message{Kind: RequestVoteResponse, To: m.From, Term: c.hard.Term, Round: m.Round}, promise)
}

// candidateAppend: the sender won this term, or leads it already (section 5.2).
func (c *Core) candidateAppend(m *Message) {
	c.becomeFollower(m.From, "another node leads this term")
	c.followerAppend(m)
}
