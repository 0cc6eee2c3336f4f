package explore

import (
	"slices"

	"kelek/raftcore"
)

// nodes is the size of every cluster here; ids are 1..nodes.
const nodes = 3

// renamings are all ways to call the nodes by each other's names, the identity first. Two states
// that differ by a renaming only are one.
var renamings = [...][nodes]raftcore.NodeID{
	{1, 2, 3}, {1, 3, 2}, {2, 1, 3}, {2, 3, 1}, {3, 1, 2}, {3, 2, 1},
}

// hashes are those of one thing under each renaming.
type hashes [len(renamings)]uint64

func rename(r int, id raftcore.NodeID) raftcore.NodeID {
	if id == 0 {
		return 0
	}
	return renamings[r][id-1]
}

// mix hashes words into h: a step of a linear generator, then SplitMix64's finalizer.
func mix(h uint64, words ...uint64) uint64 {
	for _, w := range words {
		h = h*0x9e3779b97f4a7c15 + w + 0xbf58476d1ce4e5b9
		h = (h ^ h>>32) * 0xd6e8feb86659fd93
		h ^= h >> 32
	}
	return h
}

// cellID names a cell; 0 is the empty log.
type cellID uint32

// cell is a log: one entry and, by prev, all before it. Logs that share a prefix share its cells,
// so two logs agree up to a position exactly when they have the same cell there.
type cell struct {
	prev        cellID
	entry       raftcore.Entry
	config      raftcore.Config // in force after the entry
	configIndex raftcore.Index
	hashes      hashes
}

type cellKey struct {
	prev cellID
	term raftcore.Term
	kind raftcore.EntryKind
	data string
}

// extend returns the log that has e after the log at prev.
func (x *explorer) extend(prev cellID, e *raftcore.Entry) cellID {
	key := cellKey{prev, e.Term, e.Kind, string(e.Data)}
	if id, ok := x.cellOf[key]; ok {
		return id
	}
	before := &x.cells[prev]
	c := cell{prev: prev, entry: *e, config: before.config, configIndex: before.configIndex}
	c.entry.Data = slices.Clone(e.Data)
	if e.Kind == raftcore.EntryConfig {
		config, err := raftcore.DecodeConfig(e.Data)
		if err != nil {
			panic(err)
		}
		c.config, c.configIndex = config, e.Index
	}
	for r := range renamings {
		c.hashes[r] = mix(before.hashes[r], hashEntry(r, e))
	}
	id := cellID(len(x.cells))
	x.cells = append(x.cells, c)
	x.cellOf[key] = id
	return id
}

func hashEntry(r int, e *raftcore.Entry) uint64 {
	h := mix(1, uint64(e.Term), uint64(e.Index), uint64(e.Kind))
	if e.Kind == raftcore.EntryConfig {
		config, err := raftcore.DecodeConfig(e.Data)
		if err != nil {
			panic(err)
		}
		return mix(h, hashConfig(r, &config))
	}
	for _, b := range e.Data {
		h = mix(h, uint64(b))
	}
	return h
}

func hashConfig(r int, c *raftcore.Config) uint64 {
	h := uint64(2)
	for _, ids := range [3][]raftcore.NodeID{c.Voters, c.OldVoters, c.Learners} {
		set := uint64(0)
		for _, id := range ids {
			set += mix(3, uint64(rename(r, id)))
		}
		h = mix(h, set)
	}
	return h
}

func (x *explorer) index(c cellID) raftcore.Index { return x.cells[c].entry.Index }

func (x *explorer) pos(c cellID) raftcore.Pos { return x.cells[c].entry.Pos }

// at returns the log at c up to index i. It must be that long.
func (x *explorer) at(c cellID, i raftcore.Index) cellID {
	for x.index(c) > i {
		c = x.cells[c].prev
	}
	return c
}

// holds reports whether the log at c has the log at prefix as a prefix.
func (x *explorer) holds(c, prefix cellID) bool {
	return x.index(c) >= x.index(prefix) && x.at(c, x.index(prefix)) == prefix
}

// entries returns those of the log at c after the log at base.
func (x *explorer) entries(base, c cellID) (es []raftcore.Entry) {
	for ; c != base; c = x.cells[c].prev {
		es = append(es, x.cells[c].entry)
	}
	slices.Reverse(es)
	return es
}

// snapshotAt describes the state after the log at c. The ID says which log that is.
func (x *explorer) snapshotAt(c cellID) raftcore.SnapshotMeta {
	if c == 0 {
		return raftcore.SnapshotMeta{}
	}
	at := &x.cells[c]
	return raftcore.SnapshotMeta{ID: uint64(c), Pos: at.entry.Pos, Stamp: at.entry.Stamp,
		Config: at.config, ConfigIndex: at.configIndex}
}
