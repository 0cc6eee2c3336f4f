package raftcore

// Write is what one Drain wants on disk: one atomic batch. The caller performs Writes one after
// the other, in order, and reports the last durable one with Durable.
//
// Order inside the batch: snapshot, truncate, append, hard state. Sync is false only for a Write
// that carries nothing but a commit hint.
type Write struct {
	Seq          Seq
	HardState    *HardState // nil: unchanged
	TruncateFrom Index      // delete entries at and after this index first; 0: nothing to delete
	Append       []Entry    // consecutive, first index >= TruncateFrom when both are set
	CommitHint   Index      // may be stored with the batch; never relied on. 0: none
	// Snapshot installs what SnapshotFetched has reported: the state becomes the snapshot's, and
	// the log is empty after Snapshot.Pos. Such a Write carries nothing else but HardState; a crash
	// leaves all of it or nothing.
	Snapshot *SnapshotMeta
	Sync     bool
}

// ReadReady says that a read may be served from any state that has applied Index or more.
type ReadReady struct {
	ID    ReadID
	Index Index
}

// Role of a node.
type Role uint8

const (
	Follower Role = iota
	PreCandidate
	Candidate
	Leader
	roleCount
)

func (r Role) String() string {
	return [...]string{"follower", "pre-candidate", "candidate", "leader"}[r]
}

// StateChange tells the caller who leads. It is emitted whenever one of its fields changes.
type StateChange struct {
	Role   Role
	Term   Term
	Leader NodeID // 0: unknown
	Config Config // the one in force
	Reason string // why the role changed, for the log: "election timeout", "connection lost", ...
}

// Effects is everything the core wants done. It is one reusable value: the caller passes the same
// one to each Drain, and may keep what it points to only until the next Drain (entries' Data
// excepted, which is immutable).
//
// The order contract, field by field:
//
//	Write     hand to the one FIFO writer, in order of Seq. Nothing waits for it here.
//	Messages  After == 0: send now, in parallel with the write. Otherwise hold, in order, until
//	          Durable(After) has been called. A message may be lost, never invented.
//	Apply     committed and durable here: hand to the applier, in order, each index once.
//	Load      read these entries from disk and answer with Loaded; the core never waits.
//	Reads     serve once applied >= Index.
//	LostReads these reads got no answer (leadership changed); ask again.
//	State     when not nil: role, leader, term or config changed.
//	TakeSnapshot  a peer needs a snapshot, and none that the caller holds will do. Said once, until
//	          SnapshotTaken or SnapshotFailed with the own id.
//	Fetch     when not nil: fetch this snapshot from that node, and report SnapshotFetched or
//	          SnapshotFailed. It replaces an earlier Fetch. Meta.ID == 0: abort what is under way.
type Effects struct {
	Write     *Write
	Messages  []Message
	Apply     Range
	Load      []LoadRequest
	Reads     []ReadReady
	LostReads []ReadID
	State     *StateChange
	Trace     []Event

	TakeSnapshot bool
	Fetch        *Fetch

	write    Write // storage behind Write
	hard     HardState
	state    StateChange
	fetch    Fetch
	snapshot SnapshotMeta
}

// Fetch asks the caller to bring all files of a snapshot here, verified and synced.
type Fetch struct {
	From NodeID
	Term Term
	Meta SnapshotMeta
}

// LoadRequest asks for entries that are no longer in memory. Peer is who needs them.
type LoadRequest struct {
	Peer  NodeID
	Range Range
	Bytes int // stop after about this many bytes; at least one entry is wanted
}
