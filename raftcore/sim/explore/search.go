package explore

import (
	"fmt"
	"slices"

	"kelek/raftcore"
)

// explorer holds everything that was ever seen. Nodes, packets, logs and histories are kept once
// and named by numbers, so a state is some fifty bytes, and a step that was made once is looked
// up.
type explorer struct {
	scope     Scope
	likeness  [len(renamings)]raftcore.Likeness
	renamings int // how many of them apply

	cells     []cell
	cellOf    map[cellKey]cellID
	packets   []packet
	packetOf  map[uint64]packetID
	nodes     []*node
	nodeOf    map[uint64]nodeID
	histories []history
	historyOf map[history]historyID
	steps     map[stepKey]*outcome
	// twins, when not nil, is told of each node that is like an earlier one.
	twins func(kept nodeID, forgotten *node)

	seen   table
	parent []uint32 // of each state, by number
	via    []event
}

func newExplorer(scope Scope) *explorer {
	x := &explorer{scope: scope, renamings: len(renamings), cells: make([]cell, 1),
		histories: make([]history, 1), cellOf: map[cellKey]cellID{}, packetOf: map[uint64]packetID{},
		nodeOf: map[uint64]nodeID{}, historyOf: map[history]historyID{}, steps: map[stepKey]*outcome{}}
	if scope.Leases {
		x.renamings = 1 // time-outs are drawn by the node's id
	}
	for r := range renamings {
		x.likeness[r] = raftcore.Likeness{Timeless: !scope.Leases,
			Rename: func(id raftcore.NodeID) raftcore.NodeID { return rename(r, id) }}
	}
	return x
}

// Limits of a search. It stops at the first that is reached.
type Limits struct {
	States int         // distinct ones
	Stop   func() bool // asked now and then; nil: never
}

// Result of a search.
type Result struct {
	Scope       Scope
	States      int // distinct, up to the names of nodes
	Transitions int // that led to a state, new or not
	Depth       int // events from the beginning, of the last layer that was begun
	Complete    bool
	Nodes       int // distinct states of single nodes
	Steps       int // distinct steps of single nodes
	Reached     Reached
	Problem     *Problem
	Trace       []string // a shortest run to the problem
}

// Reached says how far the paths went, over all: a search that never gets anywhere finds nothing.
type Reached struct {
	Led         raftcore.Term  // the highest term that had a leader
	Committed   raftcore.Index // the highest committed index
	Reads       int            // steps that answered a read
	Installs    int            // steps that installed a snapshot
	Truncations int            // steps that cut a log
}

func (x *explorer) reached() (r Reached) {
	for _, n := range x.nodes {
		if n.status.Role == raftcore.Leader {
			r.Led = max(r.Led, n.status.Term)
		}
	}
	for i := range x.histories {
		r.Committed = max(r.Committed, x.index(x.histories[i].log))
	}
	for key, out := range x.steps {
		if out.refused || out.problem != nil {
			continue
		}
		before, after := x.nodes[key.node], x.nodes[out.next]
		r.Reads += len(out.ready)
		switch {
		case key.ev.kind == crash:
		case key.ev.kind == fetched && after.base != before.base:
			r.Installs++
		case !x.holds(after.log, before.log):
			r.Truncations++
		}
	}
	return r
}

func (r *Result) String() string {
	how := "stopped at a limit"
	if r.Complete {
		how = "complete"
	}
	if r.Problem != nil {
		how = fmt.Sprintf("invariant %d: %s", r.Problem.Invariant, r.Problem.What)
	}
	return fmt.Sprintf("%s: %d states, %d transitions, depth %d, %d node states, %d node steps, "+
		"reached %+v: %s", r.Scope.Name, r.States, r.Transitions, r.Depth, r.Nodes, r.Steps,
		r.Reached, how)
}

// Run searches breadth-first from the scope's setup, so the first problem that it finds has a
// shortest trace.
func Run(scope Scope, limits Limits) (Result, error) {
	x := newExplorer(scope)
	begin, err := x.setup()
	if err != nil {
		return Result{}, err
	}
	r := Result{Scope: scope}
	x.discover(begin, 0, event{})
	layer := []*state{begin}
	for ; len(layer) > 0; r.Depth++ {
		if layer = x.expand(layer, limits, &r); r.Problem != nil || layer == nil {
			break
		}
	}
	r.Complete = r.Problem == nil && layer != nil
	r.States, r.Nodes, r.Steps, r.Reached = len(x.parent), len(x.nodes), len(x.steps), x.reached()
	return r, nil
}

// expand returns the new states that one event makes of those of a layer; nil at a limit.
func (x *explorer) expand(layer []*state, limits Limits, r *Result) []*state {
	next := make([]*state, 0, 2*len(layer))
	var events []event
	for n, s := range layer {
		if len(x.parent) >= limits.States || n%1024 == 0 && limits.Stop != nil && limits.Stop() {
			return nil
		}
		events = x.enabled(s, events[:0])
		for _, ev := range events {
			t, p := x.apply(s, ev)
			if p != nil {
				r.Problem, r.Trace = p, x.explain(s, ev, p)
				return nil
			}
			if t == nil {
				continue
			}
			r.Transitions++
			if x.discover(t, s.number, ev) {
				next = append(next, t)
			}
		}
		layer[n] = nil
	}
	return next
}

// discover notes a state, and reports whether it is new.
func (x *explorer) discover(s *state, parent uint32, ev event) bool {
	if !x.seen.add(x.signature(s)) {
		return false
	}
	s.number = uint32(len(x.parent))
	x.parent = append(x.parent, parent)
	x.via = append(x.via, ev)
	return true
}

// enabled appends the events that the bounds allow.
func (x *explorer) enabled(s *state, events []event) []event {
	left := func(b Budget) bool { return b == free || s.used[b] < x.scope.Bounds[b] }
	add := func(ev event, b Budget) {
		if !left(b) {
			return
		}
		events = append(events, ev)
		if left(Delays) && len(x.nodes[s.nodes[ev.node]].writes) == 0 {
			ev.slow = true
			events = append(events, ev)
		}
	}
	for i, p := range s.wire {
		if i > 0 && p == s.wire[i-1] {
			continue
		}
		ev := event{kind: deliver, node: uint8(x.packets[p].message.To - 1), arg: uint32(p)}
		add(ev, free)
		ev.keep = true
		add(ev, Duplicates)
	}
	for i, id := range s.nodes {
		x.enabledAt(s, uint8(i), x.nodes[id], add)
	}
	if x.scope.Leases && left(Passes) {
		events = append(events, event{kind: pass})
	}
	return events
}

// free is a budget of what costs nothing.
const free = budgets

// enabledAt adds what one node may do by itself.
func (x *explorer) enabledAt(s *state, i uint8, n *node, add func(event, Budget)) {
	if len(n.writes) > 0 {
		add(event{kind: syncOne, node: i}, free)
	}
	for survivors := range len(n.writes) + 1 {
		add(event{kind: crash, node: i, arg: uint32(survivors)}, Crashes)
	}
	if n.fetch.Meta.ID != 0 {
		add(event{kind: fetched, node: i}, free)
	}
	if n.asked || n.status.Applied > x.index(n.base) {
		add(event{kind: snapshot, node: i}, Snapshots)
	}
	add(event{kind: read, node: i, arg: uint32(s.used[Reads])}, Reads)
	if x.scope.Leases {
		add(event{kind: tick, node: i}, Heartbeats)
	} else {
		x.enabledTime(i, n, add)
	}
	if n.status.Role != raftcore.Leader {
		return
	}
	add(event{kind: propose, node: i, arg: uint32(s.used[Proposals])}, Proposals)
	for arg := range uint32(changeArgs) {
		wanted := changeOf(arg, &n.status.Config)
		if !slices.Equal(wanted.Voters, n.status.Config.Voters) {
			add(event{kind: change, node: i, arg: arg}, Changes)
		}
	}
	for to := raftcore.NodeID(1); to <= nodes; to++ {
		if to != n.id {
			add(event{kind: transfer, node: i, arg: uint32(to)}, Transfers)
		}
	}
}

// enabledTime adds the time-outs of a node whose clock is its own.
func (x *explorer) enabledTime(i uint8, n *node, add func(event, Budget)) {
	if n.status.Role == raftcore.Leader {
		add(event{kind: heartbeat, node: i}, Heartbeats)
		add(event{kind: resign, node: i}, Timeouts)
		return
	}
	add(event{kind: timeout, node: i}, Timeouts)
	if n.status.Role == raftcore.Follower && n.status.Leader != 0 {
		add(event{kind: lapse, node: i}, Lapses)
	}
}

// A change is one of these on one node: arg is the action times nodes plus the node's index.
const (
	remove = iota
	promote
	demote
	changeArgs = 3 * nodes
)

// changeOf is the membership that a change asks for, in a given configuration.
func changeOf(arg uint32, c *raftcore.Config) raftcore.ConfigChange {
	action, id := arg/nodes, raftcore.NodeID(arg%nodes+1)
	out := func(ids []raftcore.NodeID) []raftcore.NodeID {
		return slices.DeleteFunc(slices.Clone(ids), func(i raftcore.NodeID) bool { return i == id })
	}
	in := func(ids []raftcore.NodeID) []raftcore.NodeID {
		ids = append(out(ids), id)
		slices.Sort(ids)
		return ids
	}
	wanted := raftcore.ConfigChange{Voters: out(c.Voters), Learners: out(c.Learners)}
	switch action {
	case promote:
		wanted.Voters = in(c.Voters)
	case demote:
		wanted.Learners = in(c.Learners)
	}
	return wanted
}

// table is the set of signatures that were seen: open addressing, half empty at least.
type table struct {
	slots []uint64
	count int
}

// add reports whether the signature is new.
func (t *table) add(signature uint64) bool {
	if 2*t.count >= len(t.slots) {
		t.grow()
	}
	i := t.find(signature)
	if t.slots[i] != 0 {
		return false
	}
	t.slots[i] = signature
	t.count++
	return true
}

// find returns the slot of a signature, or the free one where it belongs. 0 is no signature: it
// would take 2^64 states to meet it.
func (t *table) find(signature uint64) uint64 {
	mask := uint64(len(t.slots) - 1)
	i := signature & mask
	for t.slots[i] != 0 && t.slots[i] != signature {
		i = (i + 1) & mask
	}
	return i
}

func (t *table) grow() {
	old := t.slots
	t.slots = make([]uint64, max(1<<12, 2*len(old)))
	for _, signature := range old {
		if signature != 0 {
			t.slots[t.find(signature)] = signature
		}
	}
}
