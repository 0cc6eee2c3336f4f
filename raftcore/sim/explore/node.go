package explore

import (
	"fmt"
	"slices"

	"kelek/raftcore"
)

// nodeID names one state of one node.
type nodeID uint32

// image is what a disk holds.
type image struct {
	hard raftcore.HardState
	base cellID // the log up to here is compacted
	last cellID
}

// write is in flight: image is what the disk holds when it is done.
type write struct {
	seq   raftcore.Seq
	image image
}

// held is a message that waits for a write. claim is the log that it acknowledges.
type held struct {
	packet packetID
	after  raftcore.Seq
	claim  cellID
}

// node is one state of one node: its core, its disk, and what is between them. A node that is in
// nodes[] is never changed again: steps work on a copy.
type node struct {
	id     raftcore.NodeID
	boot   uint64
	core   *raftcore.Core
	now    raftcore.Instant // on this node's clock
	disk   image
	writes []write
	held   []held
	log    cellID // what the core holds
	base   cellID // what it has compacted
	fetch  raftcore.Fetch
	asked  bool // the core wants a snapshot to be taken
	status raftcore.Status
	seq    raftcore.Seq // last write that the core gave out
	hashes hashes
}

func (n *node) clone() *node {
	d := *n
	d.core = n.core.Clone()
	d.writes = slices.Clone(n.writes)
	d.held = slices.Clone(n.held)
	d.status = raftcore.Status{}
	return &d
}

// intern returns the name of a node's state, and forgets d when there is an equal one.
func (x *explorer) intern(d *node) nodeID {
	d.core.Status(&d.status)
	for r := range renamings {
		d.hashes[r] = x.hashNode(r, d)
	}
	if id, ok := x.nodeOf[d.hashes[0]]; ok {
		if x.twins != nil {
			x.twins(id, d)
		}
		return id
	}
	id := nodeID(len(x.nodes))
	x.nodes = append(x.nodes, d)
	x.nodeOf[d.hashes[0]] = id
	return id
}

func (x *explorer) hashNode(r int, n *node) uint64 {
	h := mix(5, uint64(rename(r, n.id)), n.core.FingerprintLike(x.likeness[r]))
	h = x.hashImage(r, h, &n.disk)
	synced := n.synced()
	for i := range n.writes {
		h = mix(x.hashImage(r, h, &n.writes[i].image), uint64(n.writes[i].seq-synced))
	}
	for _, m := range n.held {
		h = mix(h, x.packets[m.packet].hashes[r], uint64(m.after-synced), x.cells[m.claim].hashes[r])
	}
	asked := uint64(0)
	if n.asked {
		asked = 1
	}
	return mix(h, x.cells[n.log].hashes[r], x.cells[n.base].hashes[r], asked,
		uint64(rename(r, n.fetch.From)), uint64(n.fetch.Term), x.cells[n.fetch.Meta.ID].hashes[r])
}

func (x *explorer) hashImage(r int, h uint64, i *image) uint64 {
	return mix(h, uint64(i.hard.Term), uint64(rename(r, i.hard.VotedFor)),
		x.cells[i.base].hashes[r], x.cells[i.last].hashes[r])
}

// synced is the last write that is done.
func (n *node) synced() raftcore.Seq {
	if len(n.writes) > 0 {
		return n.writes[0].seq - 1
	}
	return n.seq
}

// start makes a node from what its disk holds. Commit and applied index are forgotten: the worst
// that may happen.
func (x *explorer) start(id raftcore.NodeID, boot uint64, now raftcore.Instant, disk image) (
	*node, error) {
	r := raftcore.Restored{HardState: disk.hard, Snapshot: x.snapshotAt(disk.base),
		Last: x.pos(disk.last), LastStamp: x.cells[disk.last].entry.Stamp, Applied: x.index(disk.base)}
	r.Tail = x.entries(disk.base, disk.last)
	for _, e := range r.Tail {
		if len(r.Runs) == 0 || r.Runs[len(r.Runs)-1].Term != e.Term {
			r.Runs = append(r.Runs, raftcore.TermRun{First: e.Index, Term: e.Term})
		}
		if e.Kind == raftcore.EntryConfig {
			config, err := raftcore.DecodeConfig(e.Data)
			if err != nil {
				return nil, err
			}
			r.Configs = append(r.Configs, raftcore.ConfigAt{Pos: e.Pos, Config: config})
		}
	}
	core, err := raftcore.New(x.scope.options(id, boot), r)
	if err != nil {
		return nil, fmt.Errorf("start node %d: %w", id, err)
	}
	return &node{id: id, boot: boot, core: core, now: now, disk: disk, log: disk.last,
		base: disk.base}, nil
}
