package node

import (
	"context"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// Storage is what the node needs from the two databases. Implemented by store.Store, and by a fake
// with exact crash semantics in tests. The first error of any method is terminal: the node stops
// before it answers anything else.
type Storage interface {
	// Restored is what the log held when it was opened. Valid until the first Write.
	Restored() raftcore.Restored
	// Write starts one atomic write to the log and returns a function that waits until it is durable.
	// Writes are called by one goroutine, in order of Seq; several may be waiting at once, and waits
	// are called in order, by one other goroutine. w and what it points to (entries' Data excepted)
	// may be reused after Write returns.
	Write(w *raftcore.Write) (wait func() error, err error)
	// Entries reads the entries of r from the log, in order, stopping after about maxBytes (at least
	// one). Safe for concurrent use. An entry that is missing or fails its checksum is an error;
	// op.ErrCompacted, which is not terminal, when it was compacted or replaced by a snapshot.
	Entries(r raftcore.Range, maxBytes int) ([]raftcore.Entry, error)
	// Compact forgets entries up to and including upTo, which is never past DurableApplied. Same
	// goroutine as Write.
	Compact(upTo raftcore.Index) error
	// LogBytes is roughly how much the entries after the compacted position occupy. Safe for
	// concurrent use.
	LogBytes() int64

	// Apply applies consecutive committed entries in one batch. observers[i], when not nil, is told of
	// each op of entries[i]; a proposal that the origin rule of design.md 5 skips calls no observer.
	// Called by one goroutine.
	Apply(entries []raftcore.Entry, observers []op.Observer) error
	// Applied is the last applied index and its stamp; visible to views. Safe for concurrent use.
	Applied() (raftcore.Index, raftcore.LogTime)
	// DurableApplied is the applied index that would survive a power cut now. Safe for concurrent use.
	DurableApplied() (raftcore.Index, error)
	// FlushState makes everything applied so far durable in the background or at once; used to let the
	// log shrink.
	FlushState() error
	// NextDeadline is the earliest deadline of any key, possibly of a key that was since overwritten;
	// 0 when there is none. Safe for concurrent use.
	NextDeadline() raftcore.LogTime
	// ApplyHash is the running hash over all applied effects, and the index it stands at. Safe for
	// concurrent use.
	ApplyHash() (raftcore.Index, uint64)
	// Members lists the recorded members. Safe for concurrent use.
	Members() ([]op.Member, error)
	// Retired lists the nodes that have left for good. Safe for concurrent use.
	Retired() ([]op.Retired, error)
	// OriginOf is the last proposal of a node that the state has seen; false: none. Safe for
	// concurrent use.
	OriginOf(id uint64) (boot, seq uint64, ok bool)
	// View opens a read view of what is applied now. Unless stable is set, two Gets of one view may
	// see different, ever newer states; each of them is a state that was current during the call.
	View(stable bool) op.View

	// CompactTarget is the smallest index after which the entries occupy at most keepBytes; 0 when all
	// of them do. Safe for concurrent use.
	CompactTarget(keepBytes int64) raftcore.Index
	// TakeSnapshot takes a snapshot of the state as it is durable now, under an ID that was never
	// used. Writes and reads go on meanwhile. An error is not terminal. Called by one goroutine.
	TakeSnapshot(id uint64) (raftcore.SnapshotMeta, error)
	// SnapshotFiles lists the files of a snapshot, by name. Safe for concurrent use, as is the next.
	SnapshotFiles(id uint64) ([]wire.SnapshotFile, error)
	OpenSnapshotFile(id uint64, name string) (op.SnapshotReader, error)
	// DropSnapshot removes a snapshot. An error is not terminal. Called by one goroutine.
	DropSnapshot(id uint64) error
	// Stage begins to receive a snapshot, or goes on with what is here of it; what is here of another
	// one is removed. An error is not terminal. Called by one goroutine.
	Stage(meta raftcore.SnapshotMeta, files []wire.SnapshotFile) (op.Stage, error)
	// Install makes the complete staged snapshot the state, and empties the log after it, in one step
	// that a crash leaves undone or done. It is durable on return. Same goroutine as Write and in
	// order with it, while nothing is applied. Views that are open stay as they are.
	Install(meta raftcore.SnapshotMeta, hard *raftcore.HardState) error
	Close() error
}

// Transport carries frames between nodes. Implemented by transport.Transport and by a simulated
// network. Sending never blocks: a full queue or an unknown peer drops the frame and counts it.
type Transport interface {
	// Send sends messages to one peer, in order. The messages and their Entries slices are not kept;
	// Data is.
	Send(to raftcore.NodeID, messages []raftcore.Message)
	// Forward sends an encoded proposal to the leader. proposal is immutable. False: dropped.
	Forward(to raftcore.NodeID, proposal []byte) bool
	// SetPeers says which members there are and how to reach them; connections to others are closed.
	SetPeers(members []op.Member)
	// Invite sends an invitation to a node that belongs to no cluster. False: dropped.
	Invite(to raftcore.NodeID, inv wire.Invite) bool
	// Announce tells everybody that our hello has changed, and closes the connections to those whom we
	// no longer accept.
	Announce()
	// Seek says at which addresses nodes may be found that are not members: they are dialled until the
	// next call.
	Seek(addrs []string)
	// Peers reports the connections, for status.
	Peers() []wire.PeerStatus
	// Hellos is the last hello of each node that is connected, whoever dialled.
	Hellos() []wire.Hello
	// FetchSnapshot brings what a stage lacks of a snapshot here, over one connection of its own;
	// stage is asked for once the files are known. Any other end than nil leaves the stage as it is,
	// to go on with by another call; one that is wire.ErrNoSnapshot says that it would be in vain. It
	// blocks, until ctx ends at the latest.
	FetchSnapshot(ctx context.Context, from raftcore.NodeID, id uint64,
		stage func(files []wire.SnapshotFile) (op.Stage, error)) error
	Close() error
}

// SnapshotSource is what a Transport asks for when a node wants a snapshot of ours. Node implements
// it. Safe for concurrent use.
type SnapshotSource interface {
	// BeginSnapshot begins a stream, which has to end with the context. An error that is
	// wire.ErrNoSnapshot is for good.
	BeginSnapshot(to raftcore.NodeID, id uint64) (context.Context, []wire.SnapshotFile, error)
	OpenSnapshotFile(id uint64, name string) (op.SnapshotReader, error)
	// EndSnapshot is called once for each that was begun. nil: the receiver has all it wanted.
	EndSnapshot(to raftcore.NodeID, id uint64, sentBytes int64, why error)
}
