package sim

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"kelek/raftcore"
	"kelek/store/op"
)

// checker knows everything that was committed, promised and answered, and says when two of them do
// not agree.
type checker struct {
	entries  []raftcore.Entry // as first applied anywhere
	model    *model
	hashes   map[raftcore.Index]uint64
	leaders  map[raftcore.Term]raftcore.NodeID
	votes    map[vote]raftcore.NodeID
	answered raftcore.Index // the highest index of which a client was told
	violated []string
}

type vote struct {
	term  raftcore.Term
	voter raftcore.NodeID
}

func newChecker() *checker {
	return &checker{model: newModel(), hashes: map[raftcore.Index]uint64{},
		leaders: map[raftcore.Term]raftcore.NodeID{}, votes: map[vote]raftcore.NodeID{}}
}

func (c *checker) violate(format string, args ...any) {
	c.violated = append(c.violated, fmt.Sprintf(format, args...))
}

// committed takes entries that a node is about to apply. What is committed never changes, and when
// it is applied for the first time a majority of its configuration has it on the disk.
func (c *checker) committed(w *world, p *process, entries []raftcore.Entry) {
	for i := range entries {
		e := &entries[i]
		switch at := int(e.Index); {
		case at <= len(c.entries):
			if first := &c.entries[at-1]; first.Pos != e.Pos || first.Kind != e.Kind ||
				first.Stamp != e.Stamp || !bytes.Equal(first.Data, e.Data) {
				c.violate("%s applies %s, and another node applied %s", p, e.Pos, first.Pos)
			}
		case at > len(c.entries)+1:
			c.violate("%s applies %s, and nobody applied entry %d", p, e.Pos, len(c.entries)+1)
			return
		default:
			kept := *e
			kept.Data = bytes.Clone(e.Data)
			c.entries = append(c.entries, kept)
			if err := c.model.apply(&kept); err != nil {
				c.violate("entry %s: %v", e.Pos, err)
			}
			c.durable(w, e.Pos)
		}
	}
}

// durable checks that a majority has promised an entry. Behind the entry that began a joint
// configuration, the one that ends it may be in the leader's log and in force already, though it is
// not committed: then the new half alone decides.
func (c *checker) durable(w *world, at raftcore.Pos) {
	halves := [][]raftcore.NodeID{c.model.config.Voters}
	if at.Index == c.model.configIndex {
		halves = append(halves, c.model.config.OldVoters)
	}
	for _, half := range halves {
		have := 0
		for _, m := range slices.Concat(w.machines, w.replaced) {
			if slices.Contains(half, m.id) && m.promised.holds(at) {
				have++
			}
		}
		if len(half) > 0 && have <= len(half)/2 {
			c.violate("entry %s is applied, and %d of %d disks hold it", at, have, len(half))
		}
	}
}

// hash checks that the nodes agree on the state at an index.
func (c *checker) hash(p *process, index raftcore.Index, hash uint64) {
	if first, ok := c.hashes[index]; ok && first != hash {
		c.violate("%s has hash %016x at %d, and another node %016x", p, hash, index, first)
	}
	c.hashes[index] = hash
}

// result checks what a node says that an op did.
func (c *checker) result(p *process, index raftcore.Index, i int, r *op.Result) {
	results := c.model.results[index-1]
	if i >= len(results) {
		c.violate("%s executes op %d of entry %d, which has %d to execute", p, i, index, len(results))
		return
	}
	if want := &results[i]; want.Kind != 0 && (want.Kind != r.Kind || want.Int != r.Int || want.Error != r.Error) {
		c.violate("%s answers op %d of entry %d with %+v, wanted %+v", p, i, index, *r, *want)
	}
}

// value checks what a node shows of a key, having applied an index.
func (c *checker) value(p *process, index raftcore.Index, key []byte, got op.Value) {
	if int(index) > len(c.entries) || index == 0 {
		c.violate("%s shows a state at %d of %d", p, index, len(c.entries))
		return
	}
	want := c.model.at(key, index, c.model.stamps[index-1])
	there := got.Type != op.TypeNone
	if there != want.there || !bytes.Equal(got.Bytes, want.value) ||
		got.Deadline != uint64(want.deadline) {
		c.violate("%s shows %s = %.40q (%v, until %d) at %d, wanted %.40q (%v, until %d)", p, key,
			got.Bytes, there, got.Deadline, index, want.value, want.there, want.deadline)
	}
}

// sent checks a message as it leaves.
func (c *checker) sent(p *process, m *raftcore.Message) {
	if m.After > p.storage.durable {
		c.violate("%s sends %d promising write %d, and %d is durable", p, m.Kind, m.After,
			p.storage.durable)
	}
	switch {
	case m.From != p.m.id:
		c.violate("%s sends as %d", p, m.From)
	case m.Kind == raftcore.AppendEntries:
		c.say(c.leaders[m.Term], m.From, "term %d is led by %d and by %d", m.Term)
		c.leaders[m.Term] = m.From
	case m.Kind == raftcore.RequestVoteResponse && !m.Reject:
		v := vote{m.Term, m.From}
		c.say(c.votes[v], m.To, "vote %+v goes to %d and to %d", v)
		c.votes[v] = m.To
	}
}

func (c *checker) say(before, now raftcore.NodeID, format string, what any) {
	if before != 0 && before != now {
		c.violate(format, what, before, now)
	}
}

// promises is what the storage of a machine has reported as durable, over all its starts.
type promises struct {
	base raftcore.Index // up to here by a snapshot
	log  []raftcore.Pos // ascending and consecutive
	hard raftcore.HardState
}

// holds reports whether an entry was promised.
func (x *promises) holds(at raftcore.Pos) bool {
	if at.Index <= x.base {
		return true
	}
	_, found := slices.BinarySearchFunc(x.log, at, func(a, b raftcore.Pos) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.Term, b.Term))
	})
	return found
}

// last is the end of what was promised.
func (x *promises) last() raftcore.Pos {
	if len(x.log) == 0 {
		return raftcore.Pos{Index: x.base}
	}
	return x.log[len(x.log)-1]
}

// truncate takes back what a leader cuts off: from the start of the write on, either may be found.
func (x *promises) truncate(from raftcore.Index) {
	for len(x.log) > 0 && x.last().Index >= from {
		x.log = x.log[:len(x.log)-1]
	}
}

func (x *promises) extend(appended []raftcore.Pos) {
	for _, pos := range appended {
		x.truncate(pos.Index)
		x.log = append(x.log, pos)
	}
}

// install is a snapshot that has replaced the log.
func (x *promises) install(at raftcore.Pos) { x.base, x.log = at.Index, nil }

// found is what a start has found, whether it was promised before or not: the node builds on it.
func (x *promises) found(r *raftcore.Restored) {
	x.install(r.Snapshot.Pos)
	x.hard = r.HardState
	for i, run := range r.Runs {
		end := r.Last.Index
		if i+1 < len(r.Runs) {
			end = r.Runs[i+1].First - 1
		}
		for index := max(run.First, x.base+1); index <= end; index++ {
			x.log = append(x.log, raftcore.Pos{Term: run.Term, Index: index})
		}
	}
}

// kept checks what a start finds.
func (x *promises) kept(r *raftcore.Restored) error {
	last := x.last()
	if r.Last.Index < last.Index || r.Last.Less(last) {
		return fmt.Errorf("the log ends at %s, and %s was durable", r.Last, last)
	}
	if r.HardState.Term < x.hard.Term ||
		r.HardState.Term == x.hard.Term && x.hard.VotedFor != 0 && r.HardState.VotedFor != x.hard.VotedFor {
		return fmt.Errorf("the hard state is %+v, and %+v was durable", r.HardState, x.hard)
	}
	return nil
}
