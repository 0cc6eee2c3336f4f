package raftcore

import "slices"

// What the nodes of a test cluster do about snapshots: take, fetch and install them at once, unless
// a test wants to do one of these steps itself.

// snapshotFiles stands for every file system of the cluster.
type snapshotFiles struct {
	manual bool             // the test takes and fetches
	lastID uint64           // of the snapshots taken so far
	data   map[Index]string // what a state machine at an index is made of
}

func newSnapshotFiles() snapshotFiles { return snapshotFiles{data: map[Index]string{}} }

// snapshotWork is what one node's core wants done.
type snapshotWork struct {
	wanted  int   // TakeSnapshot was said so often
	fetch   Fetch // the newest
	fetches int   // Fetch was said so often
}

// noted keeps what is wanted. It reports whether there is something to fetch.
func (w *snapshotWork) noted(e *Effects) (fetch bool) {
	if e.TakeSnapshot {
		w.wanted++
	}
	if e.Fetch == nil {
		return false
	}
	w.fetch = *e.Fetch
	w.fetches++
	return w.fetch.Meta.ID != 0
}

func (c *cluster) workOnSnapshots(m *member, wanted, fetch bool) {
	if wanted {
		c.takeSnapshot(m)
	}
	if fetch {
		m.core.SnapshotFetched(m.snapshots.fetch.Meta)
	}
}

// takeSnapshot takes one at the applied index.
func (c *cluster) takeSnapshot(m *member) SnapshotMeta {
	c.files.lastID++
	meta := m.metaAt(m.applied)
	meta.ID = c.files.lastID
	m.core.SnapshotTaken(meta)
	return meta
}

// metaAt describes the state after the entry at i.
func (m *member) metaAt(i Index) SnapshotMeta {
	meta := SnapshotMeta{Pos: m.base.Pos, Stamp: m.base.Stamp}
	for _, e := range m.entries {
		if e.Index == i {
			meta.Pos, meta.Stamp = e.Pos, e.Stamp
		}
	}
	for _, at := range m.core.configs.stack {
		if at.Pos.Index <= i {
			meta.Config, meta.ConfigIndex = at.Config, at.Pos.Index
		}
	}
	return meta
}

// installState makes a node's state machine that of a snapshot at i.
func (c *cluster) installState(m *member, i Index) {
	m.applied, m.log = i, nil
	for n := Index(1); n <= i; n++ {
		if data, ok := c.files.data[n]; ok {
			m.log = append(m.log, data)
		}
	}
}

// compact forgets a node's log up to upTo, on disk as well.
func (c *cluster) compact(id NodeID, upTo Index) {
	m := c.nodes[id]
	m.base = m.metaAt(upTo)
	m.core.Compact(upTo)
	m.entries = slices.DeleteFunc(m.entries, func(e Entry) bool { return e.Index <= upTo })
}
