package explore

import (
	"slices"

	"kelek/raftcore"
)

// historyID names what is committed; 0 is nothing.
type historyID uint32

// history is the committed log, and the term in which each entry of it was first committed
// anywhere. It is kept apart from the nodes, since they may forget it.
type history struct {
	prev   historyID
	log    cellID
	term   raftcore.Term
	hashes hashes
}

// termsMax bounds Scope.Terms.
const termsMax = 4

// readsMax bounds the reads of a path.
const readsMax = 2

// state is one state of the whole cluster.
type state struct {
	number  uint32 // in the order of discovery
	nodes   [nodes]nodeID
	history historyID
	leaders [termsMax + 2]raftcore.NodeID // who has led each term
	used    Bounds
	clock   uint8                    // steps that the common clock has made
	floors  [readsMax]raftcore.Index // what was committed before each read; 0: it is answered
	wire    []packetID               // ascending
}

func (x *explorer) addHistory(prev historyID, log cellID, term raftcore.Term) historyID {
	key := history{prev: prev, log: log, term: term}
	if id, ok := x.historyOf[key]; ok {
		return id
	}
	h := key
	for r := range renamings {
		h.hashes[r] = mix(x.histories[prev].hashes[r], x.cells[log].hashes[r], uint64(term))
	}
	id := historyID(len(x.histories))
	x.histories = append(x.histories, h)
	x.historyOf[key] = id
	return id
}

// committed is the log that is committed somewhere.
func (x *explorer) committed(s *state) cellID { return x.histories[s.history].log }

// signature is equal for two states when they are the same but for the names of the nodes.
func (x *explorer) signature(s *state) uint64 {
	common := mix(6, uint64(s.clock))
	for i := 0; i < len(s.used); i += 4 {
		common = mix(common, uint64(s.used[i])<<24|uint64(s.used[i+1])<<16|uint64(s.used[i+2])<<8|
			uint64(s.used[i+3]))
	}
	for _, floor := range s.floors {
		common = mix(common, uint64(floor))
	}
	least := ^uint64(0)
	for r := range x.renamings {
		sum := uint64(0)
		for _, id := range s.nodes {
			sum += mix(7, x.nodes[id].hashes[r])
		}
		for _, p := range s.wire {
			sum += mix(8, x.packets[p].hashes[r])
		}
		leaders := uint64(0)
		for _, id := range s.leaders {
			leaders = leaders<<2 | uint64(rename(r, id))
		}
		least = min(least, mix(common, sum, leaders, x.histories[s.history].hashes[r]))
	}
	return least
}

// apply performs an event on the whole cluster. It returns nil when nothing changes that could
// matter, when a bound is reached, or with a problem when an invariant does not hold.
func (x *explorer) apply(s *state, ev event) (*state, *Problem) {
	if ev.kind == pass {
		t := *s
		t.used[Passes]++
		t.clock++
		return &t, nil
	}
	out := x.step(s.nodes[ev.node], x.now(s), ev)
	if out.problem != nil {
		return nil, out.problem
	}
	next := x.nodes[out.next]
	if out.refused || out.nothing || ev.slow && !out.delayed || next.status.Term > x.scope.Terms+1 {
		return nil, nil
	}
	t := *s
	t.nodes[ev.node] = out.next
	t.used.charge(ev)
	if ev.kind == read {
		t.floors[ev.arg] = x.index(x.committed(s))
	}
	if p := x.settleReads(&t, out, ev); p != nil {
		return nil, p
	}
	t.wire = x.rewire(s, &t, ev, out)
	return &t, x.judge(s, &t, int(ev.node), out)
}

// now is what the common clock shows; 0 without leases.
func (x *explorer) now(s *state) raftcore.Instant {
	if !x.scope.Leases {
		return 0
	}
	return passTimed * (1 + raftcore.Instant(s.clock))
}

// charge counts an event against the bounds.
func (b *Bounds) charge(ev event) {
	switch ev.kind {
	case timeout, resign:
		b[Timeouts]++
	case heartbeat, tick:
		b[Heartbeats]++
	case lapse:
		b[Lapses]++
	case propose:
		b[Proposals]++
	case crash:
		b[Crashes]++
	case change:
		b[Changes]++
	case read:
		b[Reads]++
	case transfer:
		b[Transfers]++
	case snapshot:
		b[Snapshots]++
	}
	if ev.keep {
		b[Duplicates]++
	}
	if ev.slow {
		b[Delays]++
	}
}

// rewire is the wire after an event: without what was delivered, with what was sent, and without
// what cannot have an effect any more. A message that is never delivered is a lost one, so a
// message need not be removed to be lost.
func (x *explorer) rewire(s, t *state, ev event, out *outcome) []packetID {
	wire := make([]packetID, 0, len(s.wire)+len(out.sent))
	delivered := ev.kind != deliver || ev.keep
	add := func(p packetID) {
		to := x.packets[p].message.To
		if !x.dead(p, x.nodes[t.nodes[to-1]]) {
			wire = append(wire, p)
		}
	}
	for _, p := range s.wire {
		if !delivered && p == packetID(ev.arg) {
			delivered = true
			continue
		}
		add(p)
	}
	for _, p := range out.sent {
		add(p)
	}
	slices.Sort(wire)
	return wire
}

// settleReads checks the reads that were answered, and forgets those that never will be.
func (x *explorer) settleReads(t *state, out *outcome, ev event) *Problem {
	for _, r := range out.ready {
		if r.Index < t.floors[r.ID] {
			return problem(10, "node %d reads at %d, %d was committed before it asked", ev.node+1,
				r.Index, t.floors[r.ID])
		}
		t.floors[r.ID] = 0
	}
	for _, id := range out.lost {
		t.floors[id] = 0
	}
	return nil
}

// judge checks what concerns more than one node, after node i has changed. It also notes what
// became committed.
func (x *explorer) judge(s, t *state, i int, out *outcome) *Problem {
	n, before := x.nodes[t.nodes[i]], x.nodes[s.nodes[i]]
	if out.leads {
		if p := x.judgeLeader(t, n); p != nil {
			return p
		}
	}
	if n.log != before.log || n.base != before.base {
		for j, id := range t.nodes {
			if other := x.nodes[id]; j != i {
				if p := x.judgeLogs(n, other); p != nil {
					return p
				}
			}
		}
	}
	if p := x.judgeCommit(t, n); p != nil {
		return p
	}
	if n.disk != before.disk || t.history != s.history {
		return x.judgeDurability(t)
	}
	return nil
}

// judgeLeader: one leader per term, who has everything that was committed in earlier terms.
func (x *explorer) judgeLeader(t *state, n *node) *Problem {
	term := n.status.Term
	if other := t.leaders[term]; other != 0 {
		return problem(1, "node %d leads term %d, as did node %d", n.id, term, other)
	}
	t.leaders[term] = n.id
	h := &x.histories[t.history]
	for h.log != 0 && h.term >= term {
		h = &x.histories[h.prev]
	}
	if !x.holds(n.log, h.log) {
		return problem(4, "node %d leads term %d without %s, which was committed in term %d", n.id,
			term, x.pos(h.log), h.term)
	}
	return nil
}

// judgeLogs: equal positions have equal logs before them.
func (x *explorer) judgeLogs(n, m *node) *Problem {
	top := min(x.index(n.log), x.index(m.log))
	for i := top; i > max(x.index(n.base), x.index(m.base)); i-- {
		a, b := x.at(n.log, i), x.at(m.log, i)
		if a == b {
			return nil
		}
		if x.pos(a) == x.pos(b) {
			return problem(3, "nodes %d and %d have different logs up to %s", n.id, m.id, x.pos(a))
		}
	}
	return nil
}

// judgeCommit: what is committed never changes. It extends the history by what is new.
func (x *explorer) judgeCommit(t *state, n *node) *Problem {
	log := x.committed(t)
	mine := x.at(n.log, n.status.Commit)
	if x.index(mine) <= x.index(log) {
		if x.at(log, x.index(mine)) != mine {
			return problem(4, "node %d commits %s, elsewhere it was %s", n.id, x.pos(mine),
				x.pos(x.at(log, x.index(mine))))
		}
		return nil
	}
	if !x.holds(mine, log) {
		return problem(4, "node %d commits %s, but does not hold %s", n.id, x.pos(mine), x.pos(log))
	}
	for i := x.index(log) + 1; i <= x.index(mine); i++ {
		t.history = x.addHistory(t.history, x.at(mine, i), n.status.Term)
	}
	return nil
}

// judgeDurability: what is committed is on the disks of a quorum of the configuration in force
// there.
func (x *explorer) judgeDurability(t *state) *Problem {
	log := x.committed(t)
	config := &x.cells[log].config
	for _, half := range [2][]raftcore.NodeID{config.Voters, config.OldVoters} {
		hold := 0
		for _, id := range half {
			if x.holds(x.nodes[t.nodes[id-1]].disk.last, log) {
				hold++
			}
		}
		if len(half) > 0 && hold <= len(half)/2 {
			return problem(5, "%s is committed, %d of %d voters have it on disk", x.pos(log), hold,
				len(half))
		}
	}
	return nil
}
