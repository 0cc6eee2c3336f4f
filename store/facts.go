package store

// Facts is what there is to tell of a running Store, for people and their tools.
type Facts struct {
	BlockCacheBytes uint64 // both databases'
	MemtableBytes   uint64 // both databases', those that are being flushed included
	ExpiredKeys     uint64 // deleted since this start because their deadline had come
	OnceEntries     uint64 // first replies of ONCE that are kept

	Snapshots      int    // taken since this start, and not dropped
	SnapshotIndex  uint64 // of the last one taken since this start; 0: none
	TakingSnapshot bool
	StagedBytes    uint64 // arrived of the snapshot that is being received
	StagedBytesAll uint64 // what it will have in all; 0: none is being received
	Installs       uint64 // snapshots that were installed on this node, ever
}

// Facts gathers them. It costs some microseconds, holds nothing up, and is safe for concurrent use
// until Close.
func (s *Store) Facts() Facts {
	d := s.acquire()
	defer d.release()
	state, log := d.db.Metrics(), s.raftLog.db.Metrics()
	snapshots, newest := s.snapshots.count()
	return Facts{
		BlockCacheBytes: uint64(state.BlockCache.Size + log.BlockCache.Size),
		MemtableBytes:   state.MemTable.Size + log.MemTable.Size,
		ExpiredKeys:     s.expiredKeys.Load(),
		OnceEntries:     s.onceEntries.Load(),
		Snapshots:       snapshots,
		SnapshotIndex:   uint64(newest),
		TakingSnapshot:  s.snapshots.busy.Load(),
		StagedBytes:     uint64(s.staging.bytes.Load()),
		StagedBytesAll:  uint64(s.staging.bytesAll.Load()),
		Installs:        s.installs.Load(),
	}
}
