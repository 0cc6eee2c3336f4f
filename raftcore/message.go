package raftcore

// MessageKind is the type of a Message. The numbers are the wire format's: they never change.
type MessageKind uint8

// Who sends each kind, and why.
const (
	// A node that believes the leader is gone asks whether it could win, before it raises its
	// term (dissertation, 9.6). Term is the term it would campaign in.
	PreVote MessageKind = 1 + iota
	// A grant echoes the term asked for, a rejection carries the voter's own term.
	PreVoteResponse
	// A candidate asks for a vote (section 5.2). Prev is its last position. Force is set when the
	// leader itself asked for the campaign.
	RequestVote
	RequestVoteResponse
	// The leader replicates entries, spreads its commit index and asks for an echo of Round;
	// without entries it is the heartbeat.
	AppendEntries
	// Match is the follower's durable index under this leader's log; a rejection carries a Hint,
	// and as Match what is committed and durable.
	AppendEntriesResponse
	// A follower asks the leader for a read index. Round is the follower's own number.
	ReadIndex
	// Match is the index to wait for; Round echoes the follower's number.
	ReadIndexResponse
	// The leader asks the receiver to campaign at once; Prev is the leader's last position.
	TimeoutNow
	// The leader offers a snapshot to a peer whose next entry is compacted, once per heartbeat: it
	// is the heartbeat of such a peer, too. The files travel on a connection of their own.
	InstallSnapshot
	// Match is the follower's durable committed index, offer or no offer; a rejection tells a
	// deposed leader the term. Snapshot echoes the ID and position of the offer.
	InstallSnapshotResponse

	messageKinds // number of kinds plus one
)

// Message is a flat value; raftcore/wire turns it to bytes. Which fields a kind uses is said above.
type Message struct {
	Kind     MessageKind
	From, To NodeID
	Term     Term
	Prev     Pos     // AppendEntries: the position before Entries; votes, TimeoutNow: the last one
	Entries  []Entry // AppendEntries only
	Commit   Index   // AppendEntries: the leader's commit index; it counts up to where the logs agree
	Match    Index   // responses: see the kinds; AppendEntries: every member holds this much durably
	Reject   bool
	Force    bool   // RequestVote: the leader asked for it; ReadIndex: no lease will do
	Hint     Pos    // a rejected append: the last position of the follower's log that may still agree
	Epoch    Index  // config index at which the leader created the peer's progress; echoed
	Round    uint64 // leader-local (ReadIndex: follower-local) number, echoed by every response
	// Lease is a promise, in responses to the leader: for so long after the sender heard Round it
	// grants no vote but a forced one (lease.go). 0: none.
	Lease    Instant
	Snapshot SnapshotMeta // InstallSnapshot: what is offered; its response: ID and Pos of that
	After    Seq          // local only: may leave once Durable >= After; 0 means at once
}
