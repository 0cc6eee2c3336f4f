package raftcore

// handler is what a node in one role does with one kind of message. The term is settled already:
// the message has the node's term, or its kind says otherwise in Step.
type handler func(*Core, *Message)

// The transition table: role x message kind. Every cell is filled.
//
//	ignore      legal and stale, or not for this role: dropped and counted
//	impossible  cannot happen unless a node breaks the protocol: stops this node
//
// A PreVote is answered by every role, and changes nothing. Only a leader serves ReadIndex, so a
// read is forwarded once at most.
var table = [roleCount][messageKinds]handler{
	Follower: {
		PreVote:                 (*Core).answerPreVote,
		PreVoteResponse:         ignore,
		RequestVote:             (*Core).answerRequestVote,
		RequestVoteResponse:     ignore,
		AppendEntries:           (*Core).followerAppend,
		AppendEntriesResponse:   ignore,
		ReadIndex:               ignore,
		ReadIndexResponse:       (*Core).readIndexAnswered,
		TimeoutNow:              (*Core).timeoutNow,
		InstallSnapshot:         (*Core).followerSnapshot,
		InstallSnapshotResponse: ignore,
	},
	PreCandidate: {
		PreVote:                 (*Core).answerPreVote,
		PreVoteResponse:         (*Core).countPreVote,
		RequestVote:             (*Core).answerRequestVote,
		RequestVoteResponse:     ignore,
		AppendEntries:           (*Core).candidateAppend,
		AppendEntriesResponse:   ignore,
		ReadIndex:               ignore,
		ReadIndexResponse:       ignore,
		TimeoutNow:              (*Core).timeoutNow,
		InstallSnapshot:         (*Core).candidateSnapshot,
		InstallSnapshotResponse: ignore,
	},
	Candidate: {
		PreVote:                 (*Core).answerPreVote,
		PreVoteResponse:         ignore,
		RequestVote:             (*Core).answerRequestVote,
		RequestVoteResponse:     (*Core).countVote,
		AppendEntries:           (*Core).candidateAppend,
		AppendEntriesResponse:   ignore,
		ReadIndex:               ignore,
		ReadIndexResponse:       ignore,
		TimeoutNow:              ignore,
		InstallSnapshot:         (*Core).candidateSnapshot,
		InstallSnapshotResponse: ignore,
	},
	Leader: {
		PreVote:                 (*Core).answerPreVote,
		PreVoteResponse:         ignore,
		RequestVote:             (*Core).answerRequestVote,
		RequestVoteResponse:     ignore,
		AppendEntries:           impossible,
		AppendEntriesResponse:   (*Core).appendAnswered,
		ReadIndex:               (*Core).leaderReadIndex,
		ReadIndexResponse:       ignore,
		TimeoutNow:              ignore,
		InstallSnapshot:         impossible,
		InstallSnapshotResponse: (*Core).snapshotAnswered,
	},
}

func ignore(c *Core, m *Message) { c.drop(m, "not for a "+c.role.String()) }

func impossible(c *Core, m *Message) {
	broken("%s in term %d from %x reached a %s", m.Kind, m.Term, m.From, c.role)
}

// Step takes one message from a peer. The message is not kept; the Data of its entries is, and so
// is the configuration of a snapshot. Step settles the term, which is the only comparison of terms
// outside the log, and then dispatches once.
func (c *Core) Step(m *Message) {
	if m.To != c.options.ID || m.From == c.options.ID || m.From == 0 ||
		m.Kind == 0 || m.Kind >= messageKinds {
		c.drop(m, "misdirected")
		return
	}
	switch {
	case m.Kind == PreVote:
		// The prospective term of another node is nobody's term yet.
	case m.Kind == PreVoteResponse && (!m.Reject || m.Term <= c.hard.Term || planted(6)):
		// A grant echoes the prospective term; countPreVote compares it.
	case m.Term > c.hard.Term:
		if !c.adoptTerm(m) {
			return
		}
	case m.Term < c.hard.Term:
		c.answerStale(m)
		return
	}
	table[c.role][m.Kind](c, m)
}

// adoptTerm follows a message of a newer term (section 5.1), unless it is a campaign that a live
// leader makes pointless, or comes from a node that a leader does not count as a member.
func (c *Core) adoptTerm(m *Message) bool {
	if m.Kind == RequestVote && !m.Force && c.sticky() {
		c.drop(m, "there is a live leader")
		return false
	}
	if c.role == Leader && !c.config().IsMember(m.From) {
		c.drop(m, "a newer term from a node that is no member")
		return false
	}
	c.setTerm(m.Term)
	c.becomeFollower(0, "newer term")
	return true
}

// answerStale tells the sender of an old term what the term is now, so that a deposed leader or a
// late candidate gives up. Everything else of an old term is dropped.
func (c *Core) answerStale(m *Message) {
	if planted(10) && m.Kind == AppendEntriesResponse && c.role == Leader {
		c.appendAnswered(m)
		return
	}
	switch m.Kind {
	case AppendEntries, InstallSnapshot, RequestVote: // the response's kind follows the request's
		c.send(Message{Kind: m.Kind + 1, To: m.From, Term: c.hard.Term, Reject: true}, hardState)
	}
	c.drop(m, "older term")
}
