package node

import (
	"context"
	"fmt"
	"sync"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// shelf is the snapshots that this node has taken and can stream. The loop puts them there and
// takes them away; streams borrow them. Safe for every goroutine.
//
// Invariant: what storage was told to drop is not on the shelf, and nobody reads it.
type shelf struct {
	mu    sync.Mutex
	items []*shelved // oldest first
}

// shelved is one snapshot. Once it is given up, its streams end, and with the last of them it.
type shelved struct {
	meta    raftcore.SnapshotMeta
	files   []wire.SnapshotFile
	bytes   int64
	streams int
	ctx     context.Context // its end is that of the streams
	giveUp  context.CancelFunc
}

func (s *shelf) put(meta raftcore.SnapshotMeta, files []wire.SnapshotFile) {
	x := &shelved{meta: meta, files: files}
	x.ctx, x.giveUp = context.WithCancel(context.Background())
	for i := range files {
		x.bytes += files[i].Bytes
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, x)
}

// borrow begins a stream.
func (s *shelf) borrow(id uint64) (*shelved, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.items {
		if x.meta.ID == id && x.ctx.Err() == nil {
			x.streams++
			return x, true
		}
	}
	return nil, false
}

// giveBack ends a stream. It reports whether the snapshot is to be dropped now.
func (s *shelf) giveBack(id uint64) (drop bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range s.items {
		if x.meta.ID != id {
			continue
		}
		x.streams--
		if drop = x.streams == 0 && x.ctx.Err() != nil; drop {
			s.items = append(s.items[:i], s.items[i+1:]...)
		}
		return drop
	}
	return false
}

// clear gives up every snapshot for which unwanted holds, and returns those that are to be dropped
// now. The others are when their streams have ended.
func (s *shelf) clear(unwanted func(*shelved) bool) (drop []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.items[:0]
	for _, x := range s.items {
		if unwanted(x) {
			x.giveUp()
			if x.streams == 0 {
				drop = append(drop, x.meta.ID)
				continue
			}
		}
		kept = append(kept, x)
	}
	clear(s.items[len(kept):])
	s.items = kept
	return drop
}

// use is how many streams there are, and the size of the largest snapshot.
func (s *shelf) use() (streams int, bytesMost int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.items {
		streams += x.streams
		bytesMost = max(bytesMost, x.bytes)
	}
	return streams, bytesMost
}

// BeginSnapshot implements SnapshotSource. A receiver that was offered a snapshot which is no
// longer here is offered another one: the loop is told.
func (n *Node) BeginSnapshot(to raftcore.NodeID, id uint64) (context.Context, []wire.SnapshotFile,
	error) {
	x, ok := n.shelf.borrow(id)
	if !ok {
		n.snapshots.put(snapshotNews{what: streamRefused, peer: to}, 1, 0)
		return nil, nil, fmt.Errorf("%w: %x is not on %s, or not any more", wire.ErrNoSnapshot, id,
			n.options.Self.Name)
	}
	return x.ctx, x.files, nil
}

// OpenSnapshotFile implements SnapshotSource.
func (n *Node) OpenSnapshotFile(id uint64, name string) (op.SnapshotReader, error) {
	return n.storage.OpenSnapshotFile(id, name)
}

// EndSnapshot implements SnapshotSource.
func (n *Node) EndSnapshot(to raftcore.NodeID, id uint64, sentBytes int64, why error) {
	n.streamed.bytesSent.Add(uint64(sentBytes))
	if why == nil {
		n.streamed.sent.Add(1)
	} else {
		n.streamed.sendsFailed.Add(1)
	}
	if n.shelf.giveBack(id) {
		n.helpers.snapshot(snapshotTask{drop: id})
	}
}
