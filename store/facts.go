package store

// Facts is what there is to tell of a running Store, for people and their tools.
type Facts struct {
	BlockCacheBytes uint64 // both databases'
	MemtableBytes   uint64 // both databases', those that are being flushed included
	ExpiredKeys     uint64 // deleted since this start because their deadline had come
	OnceEntries     uint64 // first replies of ONCE that are kept
}

// Facts gathers them. It costs some microseconds, holds nothing up, and is safe for concurrent use
// until Close.
func (s *Store) Facts() Facts {
	state, log := s.machine.db.Metrics(), s.raftLog.db.Metrics()
	return Facts{
		BlockCacheBytes: uint64(state.BlockCache.Size + log.BlockCache.Size),
		MemtableBytes:   state.MemTable.Size + log.MemTable.Size,
		ExpiredKeys:     s.expiredKeys.Load(),
		OnceEntries:     s.onceEntries.Load(),
	}
}
