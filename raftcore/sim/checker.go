package sim

import (
	"fmt"

	"kelek/raftcore"
)

// coreAssertion is the "invariant" of a panic inside the core: its own asserts, or a plain bug.
const coreAssertion = 0

// Violation is the end of a run that broke an invariant.
type Violation struct {
	Invariant int // its number in doc.go; coreAssertion for a panic of the core
	Text      string
	Stack     string
	At        raftcore.Instant
	Event     uint64
}

func (v *Violation) Error() string {
	what := fmt.Sprintf("invariant %d", v.Invariant)
	if v.Invariant == coreAssertion {
		what = "panic"
	}
	return fmt.Sprintf("%s at event %d, %.6f s: %s", what, v.Event, float64(v.At)/1e9, v.Text)
}

// checker knows what no node knows: everything that ever happened. It keeps, per index, what was
// committed there first, and per term, who led it and who voted for whom.
type checker struct {
	w         *World
	leaders   map[raftcore.Term]start
	votes     [nodesMax]map[raftcore.Term]raftcore.NodeID
	history   [][]termChain // by index: the chain hash that each term's entry there has
	committed []commitment  // by index, 0 included
	reference machine       // every committed entry, once, in order
	hashes    []uint64      // by index: the reference's hash after it
	nodes     [nodesMax]watch
	readIDs   uint64
	config    raftcore.Config // the last one that is committed
	floor     raftcore.Index  // the highest that a leader has found
	// open are the configurations that were proposed and may yet be committed.
	open []raftcore.ConfigAt
	// configs are all that were committed.
	configs []raftcore.ConfigAt
}

// start is one life of one node.
type start struct {
	index  int
	starts uint32
}

type termChain struct {
	term  raftcore.Term
	chain uint64
}

// commitment is what was committed at an index, and in which leader's term that became known.
type commitment struct {
	chain uint64
	by    raftcore.Term
}

// watch is what one start of a node has shown so far, and must not take back.
type watch struct {
	hard     raftcore.HardState // last one written
	commit   raftcore.Index
	applying raftcore.Index // last index handed to the applier
	first    raftcore.Index
	role     raftcore.Role
	term     raftcore.Term
	stamp    raftcore.LogTime // of the last entry
	last     raftcore.Pos
	configs  []raftcore.ConfigAt // of the log, ascending; the bottom is the snapshot's
	changed  bool                // configs grew since the last Drain
	floor    raftcore.Index
}

func (c *checker) init(w *World) {
	c.w = w
	c.config = w.founded
	c.leaders = make(map[raftcore.Term]start)
	for i := range c.votes {
		c.votes[i] = make(map[raftcore.Term]raftcore.NodeID)
	}
	c.history = make([][]termChain, 1, 1024)
	c.committed = make([]commitment, 1, 1024)
	c.hashes = make([]uint64, 1, 1024)
	for _, p := range w.nodes {
		for i := range p.disk.durable.log {
			s := &p.disk.durable.log[i]
			c.remember(p, &s.entry, s.chain)
		}
	}
}

// started begins to watch a new start of a node: what its disk holds is what it must stand by.
func (c *checker) started(p *process) {
	m := &p.disk.durable
	c.durableVote(p, m.hard)
	n := &c.nodes[p.index]
	*n = watch{
		hard: m.hard, applying: p.machine.applied, last: m.last(), stamp: m.snapshot.Stamp,
		configs: configsOf(m, n.configs[:0]),
	}
	if k := len(m.log); k > 0 {
		n.stamp = m.log[k-1].entry.Stamp
	}
	n.term = m.hard.Term
}

// purged is the part of invariant 7 that a crash brings to light: the log still has everything that
// the state machine has not durably applied.
func (c *checker) purged(p *process) {
	if base := p.disk.durable.snapshot.Pos.Index; base > p.disk.state.applied {
		c.w.fail(7, "%s: the log is gone up to %d, the state is durable up to %d", p.name(), base,
			p.disk.state.applied)
	}
}

// reaches is the other part of it: the state machine is not ahead of the log, and of the same log.
func (c *checker) reaches(p *process) {
	m, applied := &p.disk.durable, p.disk.state.applied
	if applied > m.last().Index {
		c.w.fail(7, "%s: the state is durable up to %d, the log up to %v", p.name(), applied, m.last())
	}
	if chain, ok := m.chainAt(applied); applied > 0 && ok && chain != c.committed[applied].chain {
		c.w.fail(4, "%s: the state is durable up to %d, and the log has another entry there", p.name(),
			applied)
	}
}

// landing sees the writes that are about to become durable.
func (c *checker) landing(p *process) {
	for i := range p.disk.covers {
		if w := &p.disk.pending[i]; w.hardSet {
			c.durableVote(p, w.hard)
		}
	}
}

// durableVote is invariant 2: one vote per node and term, over all starts of the node.
func (c *checker) durableVote(p *process, h raftcore.HardState) {
	if h.VotedFor == 0 {
		return
	}
	if old, ok := c.votes[p.index][h.Term]; ok && old != h.VotedFor {
		c.w.fail(2, "%s voted for n%d and n%d in term %d", p.name(), c.w.indexOf(old)+1,
			c.w.indexOf(h.VotedFor)+1, h.Term)
	}
	c.votes[p.index][h.Term] = h.VotedFor
}

// written checks a Write against everything before it and returns its entries with chain hashes.
func (c *checker) written(p *process, w *raftcore.Write) []slot {
	n := &c.nodes[p.index]
	if w.Seq != p.disk.issued+1 {
		c.w.fail(15, "%s: write %d after %d", p.name(), w.Seq, p.disk.issued)
	}
	if w.HardState != nil {
		c.hardStateWritten(p, n, *w.HardState)
	}
	if w.Snapshot != nil {
		c.installs(p, n, w)
	}
	if w.TruncateFrom != 0 {
		c.truncated(p, n, w.TruncateFrom)
	}
	if len(w.Append) == 0 {
		return nil
	}
	before := w.Append[0].Index - 1
	chain, ok := p.disk.chainAt(before)
	if w.TruncateFrom != 0 && before >= w.TruncateFrom || !ok || n.last.Index != before {
		c.w.fail(3, "%s: appends %v to a log that ends at %v", p.name(), w.Append[0].Pos, n.last)
	}
	slots := p.disk.buffer()
	for i := range w.Append {
		e := &w.Append[i]
		if e.Index != n.last.Index+1 || e.Term < n.last.Term || e.Stamp < n.stamp {
			c.w.fail(7, "%s: entry %v, stamp %d, after %v, stamp %d", p.name(), e.Pos, e.Stamp,
				n.last, n.stamp)
		}
		chain = chainOf(chain, e)
		c.remember(p, e, chain)
		slots = append(slots, slot{entry: *e, chain: chain})
		if e.Kind == raftcore.EntryConfig {
			c.configWritten(p, n, e)
		}
		n.last, n.stamp = e.Pos, e.Stamp
	}
	return slots
}

// hardStateWritten is the part of invariants 2 and 7 that a single node can break.
func (c *checker) hardStateWritten(p *process, n *watch, h raftcore.HardState) {
	if h.Term < n.hard.Term {
		c.w.fail(7, "%s: term %d after %d", p.name(), h.Term, n.hard.Term)
	}
	if h.Term == n.hard.Term && n.hard.VotedFor != 0 && h.VotedFor != n.hard.VotedFor {
		c.w.fail(2, "%s: vote for n%d becomes n%d in term %d", p.name(),
			c.w.indexOf(n.hard.VotedFor)+1, c.w.indexOf(h.VotedFor)+1, h.Term)
	}
	n.hard = h
}

// truncated is the first half of invariant 3, a leader's log only grows, and guards what is
// committed.
func (c *checker) truncated(p *process, n *watch, from raftcore.Index) {
	c.w.stats.Truncated++
	if n.role == raftcore.Leader && p.core != nil && n.term == n.hard.Term {
		c.w.fail(3, "%s: the leader of term %d truncates from %d", p.name(), n.term, from)
	}
	if from <= n.commit {
		c.w.fail(4, "%s: truncates from %d, committed %d", p.name(), from, n.commit)
	}
	n.truncateConfigs(from)
	s := p.disk.entry(from - 1)
	if s == nil {
		if from-1 != p.disk.durable.snapshot.Pos.Index {
			c.w.fail(3, "%s: truncates from %d, past the end at %v", p.name(), from, n.last)
		}
		n.last, n.stamp = p.disk.durable.snapshot.Pos, p.disk.durable.snapshot.Stamp
		return
	}
	n.last, n.stamp = s.entry.Pos, s.entry.Stamp
}

// remember is the second half of invariant 3, Log Matching: the same position has the same chain
// hash on every node, for ever.
func (c *checker) remember(p *process, e *raftcore.Entry, chain uint64) {
	for raftcore.Index(len(c.history)) <= e.Index {
		c.history = append(c.history, nil)
	}
	for _, h := range c.history[e.Index] {
		if h.term == e.Term {
			if h.chain != chain {
				c.w.fail(3, "%s: the log up to %v differs from another with that entry", p.name(), e.Pos)
			}
			return
		}
	}
	c.history[e.Index] = append(c.history[e.Index], termChain{e.Term, chain})
}

// drained checks what one Drain has shown, after its Write was issued and before anything else of
// it happens.
func (c *checker) drained(p *process, e *raftcore.Effects) {
	n := &c.nodes[p.index]
	p.core.Status(&p.status)
	s := &p.status
	if s.Term != n.hard.Term || s.Last != n.last {
		c.w.fail(15, "%s: in term %d, last %v; written were term %d, last %v", p.name(), s.Term,
			s.Last, n.hard.Term, n.last)
	}
	if s.Commit < n.commit || s.First < n.first || s.Commit > s.Last.Index {
		c.w.fail(7, "%s: commit %d after %d, first %d after %d, last %v", p.name(), s.Commit,
			n.commit, s.First, n.first, s.Last)
	}
	c.stable(p, s.Stable)
	if s.Role == raftcore.Leader && (n.role != raftcore.Leader || n.term != s.Term) {
		c.elected(p, s.Term)
	}
	led := n.role == raftcore.Leader || s.Role == raftcore.Leader
	n.role, n.term, n.first = s.Role, s.Term, s.First
	if s.Commit > n.commit {
		c.commits(p, s)
		n.commit = s.Commit
	}
	c.floors(p, n, s, led)
	c.configuration(p, n, s)
	if !e.Apply.Empty() {
		c.handedOut(p, n, e.Apply)
	}
	for i := range e.Messages {
		c.promised(p, &e.Messages[i])
	}
}

// stable is the core's half of invariant 9: what it takes for durable is durable, as it is now.
func (c *checker) stable(p *process, i raftcore.Index) {
	durable, ok := p.disk.durable.chainAt(i)
	now, known := p.disk.chainAt(i)
	if s := p.disk.installing(); s != nil && i == s.meta.Pos.Index {
		return // nothing is said of the log before that is durable: see acknowledges
	}
	if !ok || known && durable != now {
		c.w.fail(9, "%s: takes %d for durable; the disk ends at %v", p.name(), i,
			p.disk.durable.last())
	}
}

// elected is invariant 1, with what makes it true: a quorum of durable votes, the own one included.
// A node that leads a term twice, before and after a crash, would use its positions twice.
func (c *checker) elected(p *process, term raftcore.Term) {
	me := start{p.index, p.starts}
	if old, ok := c.leaders[term]; ok && old != me {
		c.w.fail(1, "term %d: n%d leads it, n%d led it", term, p.index+1, old.index+1)
	}
	c.leaders[term] = me
	c.w.stats.Elections++
	config := &c.nodes[p.index].config().Config
	voted := func(id raftcore.NodeID) bool { return c.votes[c.w.indexOf(id)][term] == p.id }
	if !isQuorum(config, voted) || !voted(p.id) {
		c.w.fail(1, "%s leads term %d without a quorum of durable votes of %s (own: %t)", p.name(),
			term, c.w.describeConfig(config), voted(p.id))
	}
	if c.w.mixed(config) {
		c.w.stats.Mixed++
	}
	c.complete(p, term)
}

// complete is invariant 4: a new leader has everything that was committed in earlier terms.
func (c *checker) complete(p *process, term raftcore.Term) {
	i := raftcore.Index(len(c.committed) - 1)
	for i > 0 && c.committed[i].by >= term {
		i--
	}
	if i < p.disk.base() {
		return // it is part of the snapshot before the log
	}
	if chain, ok := p.disk.chainAt(i); i > 0 && (!ok || chain != c.committed[i].chain) {
		c.w.fail(4, "%s leads term %d without the committed entry %d", p.name(), term, i)
	}
}

// commits compares what a node takes for committed with what was committed there first, or notes it
// when it is the first.
func (c *checker) commits(p *process, s *raftcore.Status) {
	known := raftcore.Index(len(c.committed) - 1)
	i := min(s.Commit, known)
	if chain, ok := p.disk.chainAt(i); i > 0 && (!ok || chain != c.committed[i].chain) {
		c.w.fail(4, "%s: takes another log up to %d for committed", p.name(), i)
	}
	if s.Commit <= known {
		return
	}
	c.quorumHolds(p, s.Commit)
	for i = known + 1; i <= s.Commit; i++ {
		slot := p.disk.entry(i)
		c.committed = append(c.committed, commitment{slot.chain, s.Term})
		c.execute(&slot.entry)
		if slot.entry.Kind == raftcore.EntryConfig {
			c.configs = append(c.configs,
				raftcore.ConfigAt{Pos: slot.entry.Pos, Config: decodeConfig(slot.entry.Data)})
			if i > 1 {
				c.configCommitted(&slot.entry)
			}
		}
	}
	c.w.stats.Committed = len(c.committed) - 1
}

// quorumHolds is invariant 5: at the first commit a quorum of the configuration in force there has
// the entry on disk, crashed disks included. What lies behind a joint configuration may be decided
// by the one that its leader has left it for: that was proposed when the joint one was committed.
func (c *checker) quorumHolds(p *process, i raftcore.Index) {
	chain, _ := p.disk.chainAt(i)
	has := func(id raftcore.NodeID) bool {
		held, ok := c.w.nodes[c.w.indexOf(id)].kept().chainAt(i)
		return ok && held == chain
	}
	n := &c.nodes[p.index]
	config := n.inForce(i)
	if isQuorum(config, has) || config.Joint() && isQuorum(&n.config().Config, has) {
		return
	}
	c.w.fail(5, "%s commits %d, which is not durable on a quorum of %s", p.name(), i,
		c.w.describeConfig(config))
}

// execute lets the reference machine take a committed entry, and counts effects: invariants 11, 12.
func (c *checker) execute(e *raftcore.Entry) {
	proposal, took, err := c.reference.apply(e, e.Stamp, c.executed)
	if err != nil {
		c.w.fail(6, "reference: %v", err)
	}
	if proposal.origin != 0 && !took {
		c.w.stats.Skipped++
	}
	c.hashes = append(c.hashes, c.reference.hash)
}

func (c *checker) executed(id opID, code opCode, result uint64) {
	op := &c.w.clients.ops[id]
	if op.executed++; op.executed > 1 {
		c.w.fail(11, "operation %d took effect %d times", id, op.executed)
	}
	if op.state == refused || op.state == waiting {
		c.w.fail(12, "operation %d was never proposed, and took effect", id)
	}
	if code == opOnce {
		c.w.clients.once.executed(c.w, op, result)
	}
}

// handedOut: ranges reach the applier without gap or overlap, committed and durable here (9).
func (c *checker) handedOut(p *process, n *watch, r raftcore.Range) {
	if r.First != n.applying+1 || r.Last > n.commit {
		c.w.fail(6, "%s: applies %d..%d after %d, committed %d", p.name(), r.First, r.Last,
			n.applying, n.commit)
	}
	if chain, ok := p.disk.durable.chainAt(r.Last); !ok || chain != c.committed[r.Last].chain {
		c.w.fail(9, "%s: applies up to %d, which is not durable here", p.name(), r.Last)
	}
	n.applying = r.Last
}

// indexOf returns the index of a node, or -1.
func (w *World) indexOf(id raftcore.NodeID) int {
	for i, p := range w.nodes {
		if p.id == id {
			return i
		}
	}
	return -1
}
