package node

import (
	"fmt"
	"sort"

	"kelek/raftcore"
	"kelek/store/op"
)

// applyTask is a range of committed entries on its way to the state machine, with the own proposals
// among them. From the hand-over on the proposals are the applier's.
type applyTask struct {
	entries   []raftcore.Entry
	observers []op.Observer // of each entry; nil: nobody
	proposals []*proposal   // those in observers, in order
	bytes     int
	replay    raftcore.Range // not empty: read these entries from the log; there are no observers
}

// startApply hands committed entries to the applier. What is not in memory was in the log when this
// node started: replay, which carries nothing of this boot.
func (n *Node) startApply(r raftcore.Range) {
	if r.Empty() {
		return
	}
	if first := n.firstInMemory(r); first > r.First {
		if first-1 > n.restored.Last.Index {
			n.fail(fmt.Errorf("node: entry %d was appended by this start and is not in memory", first-1))
			return
		}
		t := n.applyTasks.Get().(*applyTask)
		t.replay = raftcore.Range{First: r.First, Last: first - 1}
		n.passConfigs(t.replay)
		n.helpers.apply(t)
		r.First = first
	}
	if r.Empty() {
		return
	}
	t := n.applyTasks.Get().(*applyTask)
	t.entries, _ = n.core.Slice(r, t.entries[:0])
	for i := range t.entries {
		e := &t.entries[i]
		t.bytes += e.Bytes()
		if p := n.matched(e); p != nil {
			t.observers = append(t.observers, p)
			t.proposals = append(t.proposals, p)
		} else {
			t.observers = append(t.observers, nil)
		}
	}
	n.helpers.apply(t)
}

// firstInMemory is the first entry of r that the core has in memory; one past r when there is none.
// The core keeps a suffix of the log in memory, so a search finds it.
func (n *Node) firstInMemory(r raftcore.Range) raftcore.Index {
	inMemory := func(i raftcore.Index) bool {
		_, ok := n.core.Slice(raftcore.Range{First: i, Last: i}, n.one[:0])
		return ok
	}
	if inMemory(r.First) {
		return r.First
	}
	count := int(r.Last - r.First + 1)
	return r.First + raftcore.Index(sort.Search(count, func(i int) bool {
		return inMemory(r.First + raftcore.Index(i))
	}))
}

// applier is the goroutine that changes the state machine. What waits is merged into one batch of
// the store, and then every submission in it is answered.
type applier struct {
	node   *Node
	group  []*applyTask // of the next batch
	bytes  int
	merged applyTask // scratch
}

func (a *applier) apply(tasks []*applyTask) {
	for _, t := range tasks {
		if !t.replay.Empty() {
			a.flush()
			a.replay(t.replay)
			a.recycle(t)
			continue
		}
		if a.bytes+t.bytes > a.node.options.Limits.ApplyBatchBytesMax {
			a.flush()
		}
		a.group = append(a.group, t)
		a.bytes += t.bytes
	}
	a.flush()
}

// flush applies the group as one batch.
func (a *applier) flush() {
	if len(a.group) == 0 {
		return
	}
	t := a.group[0]
	if len(a.group) > 1 {
		t = &a.merged
		for _, x := range a.group {
			t.entries = append(t.entries, x.entries...)
			t.observers = append(t.observers, x.observers...)
			t.proposals = append(t.proposals, x.proposals...)
		}
	}
	a.perform(t)
	if t == &a.merged {
		t.reset()
	}
	for _, x := range a.group {
		a.recycle(x)
	}
	clear(a.group)
	a.group, a.bytes = a.group[:0], 0
}

// perform applies entries and then, with the state visible, answers. The index is posted first: the
// reads that wait for it need not wait for the answers.
func (a *applier) perform(t *applyTask) {
	n := a.node
	if n.lifecycle.failed() {
		return
	}
	if err := n.storage.Apply(t.entries, t.observers); err != nil {
		n.fail(err)
		return
	}
	for _, p := range t.proposals {
		if p.applied != p.count {
			n.fail(fmt.Errorf("node: proposal %d/%d was executed for %d of its %d ops: "+
				"the store and the origin disagree about what was applied before",
				n.options.Boot, p.seq, p.applied, p.count))
			return
		}
	}
	if n.lifecycle.failed() {
		return
	}
	n.applied(t.entries[len(t.entries)-1].Index)
	for _, p := range t.proposals {
		p.resolve(nil)
		p.data = nil
		n.proposals.Put(p)
	}
}

// applied posts that everything up to i is applied and visible.
func (n *Node) applied(i raftcore.Index) {
	n.postedApplied.post(uint64(i))
}

// replay applies entries that the log held when the node started.
func (a *applier) replay(r raftcore.Range) {
	n := a.node
	for !r.Empty() && !n.lifecycle.failed() {
		entries, err := n.storage.Entries(r, n.options.Limits.ApplyBatchBytesMax)
		if err == nil && len(entries) == 0 {
			err = fmt.Errorf("node: the log has no entry %d to replay", r.First)
		}
		if err != nil {
			n.fail(err)
			return
		}
		a.perform(&applyTask{entries: entries, observers: make([]op.Observer, len(entries))})
		r.First = entries[len(entries)-1].Index + 1
	}
}

func (a *applier) recycle(t *applyTask) {
	t.reset()
	a.node.applyTasks.Put(t)
}

// reset empties t and drops what it refers to, but keeps its memory.
func (t *applyTask) reset() {
	clear(t.entries)
	clear(t.observers)
	clear(t.proposals)
	*t = applyTask{entries: t.entries[:0], observers: t.observers[:0], proposals: t.proposals[:0]}
}
