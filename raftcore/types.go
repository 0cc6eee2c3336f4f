package raftcore

import (
	"errors"
	"fmt"
)

// The basic vocabulary. Each id has a type of its own, so that the compiler refuses to take a
// term for an index or a peer for a round.
type (
	// NodeID names a Raft member. It is random and new for every empty data directory, so a
	// machine that lost its disk can never vote a second time. Zero is nobody.
	NodeID uint64
	// Term is the election epoch of section 5.1 of the Raft paper.
	Term uint64
	// Index is a position in the log; the first entry has index 1.
	Index uint64
	// LogTime is milliseconds since the Unix epoch, stamped by the leader. It never decreases
	// along the log, and it is the only clock that decides whether a key has expired.
	LogTime uint64
	// Instant is nanoseconds on the caller's monotonic clock, and also a span on it.
	Instant uint64
	// Seq numbers the local writes of one Core: 1, 2, 3...
	Seq uint64
	// ReadID is chosen by the caller of ReadIndex. It is local, and never proof of anything on
	// the wire.
	ReadID uint64
)

// Milliseconds per Instant, for option values.
const (
	Microsecond Instant = 1_000
	Millisecond Instant = 1_000_000
	Second      Instant = 1_000_000_000
)

// Pos is the identity of an entry. Two logs that hold the same Pos hold the same prefix (the Log
// Matching property, section 5.3).
type Pos struct {
	Term  Term
	Index Index
}

// Less orders positions as section 5.4.1 compares logs: by term, then by index. Nothing else in
// kelek compares the two apart.
func (p Pos) Less(q Pos) bool {
	return p.Term < q.Term || p.Term == q.Term && p.Index < q.Index
}

func (p Pos) String() string { return fmt.Sprintf("%d@%d", p.Index, p.Term) }

// Range is the entries First..Last, both included. It is empty when Last < First, and
// when it is zero: there is no entry 0.
type Range struct{ First, Last Index }

// Empty reports whether the range holds no entry.
func (r Range) Empty() bool { return r.Last < r.First || r.Last == 0 }

// EntryKind says who interprets an entry's Data. An unknown kind stops the node: skipping an
// entry that others apply would fork the state.
type EntryKind uint8

const (
	EntryNormal EntryKind = 1 // Data is one proposal of one origin (package store/op)
	EntryNoop   EntryKind = 2 // Data is empty: a new leader's first entry (section 5.4.2, 8)
	EntryConfig EntryKind = 3 // Data is an encoded Config, in force from the moment it is appended
)

// Entry is one position of the replicated log. Data is immutable once the entry exists: it is
// shared by the log, the wire and the applier.
type Entry struct {
	Pos
	Kind  EntryKind
	Stamp LogTime
	Data  []byte
}

// entryOverhead approximates what an entry costs beside its data, in memory and on the wire.
const entryOverhead = 48

// Bytes is the size that every byte limit of this package counts.
func (e *Entry) Bytes() int { return len(e.Data) + entryOverhead }

// HardState is what a node must remember of elections (figure 2, "persistent state"). It is one
// record: a term and a vote that were written apart can come back as two votes in one term.
type HardState struct {
	Term     Term
	VotedFor NodeID
}

// Config is a membership: sorted slices without duplicates. OldVoters is not empty exactly while a
// joint configuration is in force (section 6); a quorum then needs a majority of both.
type Config struct {
	Voters, OldVoters, Learners []NodeID
}

// SnapshotMeta describes what lies before the log: the position up to which entries are gone,
// the stamp of the last of them and the configuration in force there. Of a snapshot that can be
// streamed, ID is the caller's name for it, never 0.
type SnapshotMeta struct {
	ID          uint64
	Pos         Pos
	Stamp       LogTime
	Config      Config
	ConfigIndex Index
}

// TermRun says that entries from First on have Term, until the next run.
type TermRun struct {
	First Index
	Term  Term
}

// ConfigAt is a configuration and the entry that brought it.
type ConfigAt struct {
	Pos    Pos
	Config Config
}

// Restored is what storage found at start.
type Restored struct {
	HardState HardState
	Snapshot  SnapshotMeta // Pos is zero when nothing was ever compacted
	Last      Pos          // last entry of the durable log; Snapshot.Pos when the log is empty
	LastStamp LogTime      // stamp of that entry
	Runs      []TermRun    // terms of the entries Snapshot.Pos.Index+1..Last.Index, ascending
	Configs   []ConfigAt   // config entries of that range, ascending
	Tail      []Entry      // some suffix of the log, possibly empty; older entries come by Load
	Applied   Index        // durable applied index of the state machine; never behind Snapshot.Pos
	Commit    Index        // a commit index that was once known; 0 when unknown. Only a hint
}

// Errors of the calls that can refuse. Each means: nothing was appended, nothing was sent.
var (
	ErrNotLeader    = errors.New("raft: not the leader")
	ErrNoLeader     = errors.New("raft: no leader is known")
	ErrBusy         = errors.New("raft: too many uncommitted entries")
	ErrTooLarge     = errors.New("raft: entry exceeds the size limit")
	ErrTransferring = errors.New("raft: leadership is being transferred")
	ErrNotVoter     = errors.New("raft: the target is not a voter")
	ErrPending      = errors.New("raft: a configuration change is in progress")
	ErrNotCaughtUp  = errors.New("raft: a new voter must be a learner that has caught up")
)
