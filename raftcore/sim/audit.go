package sim

import (
	"fmt"
	"slices"

	"kelek/raftcore"
)

// everything is the slow half of the checker: each running node against its disk, the limits, and
// the core's own asserts. It runs every fullCheckEvery events.
func (c *checker) everything() {
	for _, p := range c.w.nodes {
		c.audit(&p.disk, auditWindow)
		c.purged(p)
		if p.core != nil && !p.dirty {
			p.core.Check()
			c.memory(p)
			c.limits(p)
		}
	}
}

// auditWindow is how many entries at the end of a log each audit recomputes; the last one takes
// all.
const auditWindow = 64

// audit recomputes the chain over the last entries of a durable log.
func (c *checker) audit(d *disk, window int) {
	m := &d.durable
	chain, last := m.base, m.snapshot.Pos
	from := max(0, len(m.log)-window)
	if from > 0 {
		chain, last = m.log[from-1].chain, m.log[from-1].entry.Pos
	}
	for i := from; i < len(m.log); i++ {
		e := &m.log[i].entry
		chain = chainOf(chain, e)
		if e.Index != last.Index+1 || e.Term < last.Term || chain != m.log[i].chain {
			c.w.fail(3, "a disk holds %v after %v, chain %x", e.Pos, last, chain)
		}
		last = e.Pos
	}
	if m.hard.Term < last.Term {
		c.w.fail(7, "a disk holds %v in term %d", last, m.hard.Term)
	}
}

// memory compares what the core has in memory with what it wrote, and its configuration with the
// one recomputed from the log (invariant 8). A clone must be equal, or exploration would lie.
func (c *checker) memory(p *process) {
	p.core.Status(&p.status)
	s := &p.status
	last := s.Last.Index
	r := raftcore.Range{First: max(s.First, last-min(last, 8)), Last: last}
	entries, _ := p.core.Slice(r, nil)
	for i := range entries {
		e := &entries[i]
		before, ok := p.disk.chainAt(e.Index - 1)
		now, known := p.disk.chainAt(e.Index)
		if ok && (!known || chainOf(before, e) != now) {
			c.w.fail(3, "%s: has another entry %v in memory than on disk", p.name(), e.Pos)
		}
	}
	config := p.disk.config()
	if !s.Config.Equal(&config) {
		c.w.fail(8, "%s: config %v, the log says %v", p.name(), s.Config, config)
	}
	if c.w.events%cloneEvery == 0 && p.core.Clone().Fingerprint() != p.core.Fingerprint() {
		c.w.fail(8, "%s: a clone differs", p.name())
	}
}

// limits is invariant 13.
func (c *checker) limits(p *process) {
	s, k := &p.status, p.build
	for i := range s.Peers {
		if n := s.Peers[i].Inflight; n > k.inflightMessages {
			c.w.fail(13, "%s: %d messages in flight, limit %d", p.name(), n, k.inflightMessages)
		}
	}
	overhead := (&raftcore.Entry{}).Bytes()
	configs := 2 * (overhead + len(raftcore.EncodeConfig(s.Config)) + 8*nodesMax)
	more := c.w.knobs.entryBytesMax() + 2*overhead + configs // one entry, and the no-op
	most := k.uncommittedBytes + more
	if s.Uncommitted > most {
		c.w.fail(13, "%s: %d uncommitted bytes, limit %d", p.name(), s.Uncommitted, most)
	}
	if s.Reads > k.pendingReads*len(c.w.nodes) {
		c.w.fail(13, "%s: %d reads wait, limit %d", p.name(), s.Reads, k.pendingReads)
	}
}

// settled is invariant 14: what is still wrong with a healed cluster, "" when nothing is.
func (c *checker) settled() string {
	if old := c.w.unreplaced(); old != nil {
		return fmt.Sprintf("the lost n%d is still a member", old.index+1)
	}
	leader := c.w.leader()
	if leader == nil {
		return "there is no leader"
	}
	if c.config.Joint() {
		return "the joint configuration is not left"
	}
	for _, p := range c.w.nodes {
		if p.away() || !c.member(p) {
			continue
		}
		if p.core == nil || p.state.Leader != leader.id || p.state.Term != leader.state.Term {
			return fmt.Sprintf("%s does not follow %s", p.name(), leader.name())
		}
		if o := &p.origin; len(o.unresolved) > 0 || len(o.waiting) > 0 || len(p.reads) > 0 {
			return fmt.Sprintf("%s has %d proposals, %d ops and %d reads without an answer", p.name(),
				len(o.unresolved), len(o.waiting), len(p.reads))
		}
		if !c.w.clients.idle(p) {
			return fmt.Sprintf("clients of %s are not served", p.name())
		}
		last := raftcore.Index(len(c.committed) - 1)
		if p.machine.applied != last || c.nodes[p.index].last.Index != last {
			return fmt.Sprintf("%s has applied %d of %d, and its log ends at %v", p.name(),
				p.machine.applied, last, c.nodes[p.index].last)
		}
		if problem := c.atRest(p); problem != "" {
			return problem
		}
	}
	return ""
}

// member reports whether a node belongs to the cluster by the last committed configuration. The
// others run on, and nobody owes them anything.
func (c *checker) member(p *process) bool { return c.config.IsMember(p.id) }

// quiet is invariant 16: an idle cluster stays as it is, and sends heartbeats only: one message and
// one answer per peer.
func (c *checker) quiet(problem string) {
	if problem != "" {
		c.w.fail(16, "left alone, the cluster is no longer whole: %s", problem)
	}
	sent := c.w.network.sent - c.w.packets
	lasted := idleHeartbeats * c.w.knobs.heartbeat
	beats := uint64(lasted/c.w.leader().build.heartbeat) + 4 // some are under way at either end
	if most := beats * 2 * uint64(len(c.config.Members())-1); sent > most {
		c.w.fail(16, "%d messages within %d heartbeats of an idle cluster, at most %d are due", sent,
			beats, most)
	}
}

// progress is how far the connected members that are furthest behind have come: what all of them
// have applied, and what all of them have on disk, since a follower that has much to catch up with
// may be needed before anything is committed.
func (c *checker) progress() raftcore.Index {
	applied := raftcore.Index(len(c.committed))
	last := applied + opsMax
	for _, p := range c.w.nodes {
		if !p.away() && c.member(p) {
			applied = min(applied, p.machine.applied)
			last = min(last, p.disk.durable.last().Index)
		}
	}
	return applied + last
}

// atRest is the second half of invariant 13: when nothing is under way, nothing is counted as such.
func (c *checker) atRest(p *process) string {
	p.core.Status(&p.status)
	s := &p.status
	if s.Fetching != 0 {
		return fmt.Sprintf("%s fetches snapshot %d at rest", p.name(), s.Fetching)
	}
	if away := slices.ContainsFunc(c.w.nodes, (*process).away); s.Held != 0 && !away {
		return fmt.Sprintf("%s holds its log from %d at rest", p.name(), s.Held)
	}
	if s.Uncommitted != 0 || s.Reads != 0 {
		return fmt.Sprintf("%s counts %d bytes uncommitted and %d reads at rest", p.name(),
			s.Uncommitted, s.Reads)
	}
	for i := range s.Peers {
		q := &s.Peers[i]
		away := c.w.nodes[c.w.indexOf(q.ID)].away()
		if !away && (q.State == "snapshot" || q.Inflight != 0 || q.Match != s.Last.Index) {
			return fmt.Sprintf("%s: at rest, its view of n%d is %+v", p.name(), c.w.indexOf(q.ID)+1, *q)
		}
	}
	return ""
}

// atEnd is what can be said when all is over: every acked write is on every member, and counters
// lie between what was acked and what may have happened.
func (c *checker) atEnd() {
	c.everything()
	for _, p := range c.w.nodes {
		c.audit(&p.disk, len(p.disk.durable.log))
	}
	var acknowledged, possible [counterCount]uint64
	for id := range c.w.clients.ops {
		op := &c.w.clients.ops[id]
		key := op.key % counterCount
		switch {
		case op.state == acked && op.code != opRead && op.executed != 1:
			c.w.fail(11, "operation %d was acknowledged and took effect %d times", id, op.executed)
		case op.state == refused && op.executed > 0:
			c.w.fail(12, "operation %d was refused and took effect", id)
		case op.code != opAdd:
		case op.state == acked:
			acknowledged[key] += op.value
			possible[key] += op.value
		case op.state == unknown, op.state == numbered: // numbered: its node was removed
			possible[key] += op.value
		}
	}
	for key, sum := range c.reference.counters {
		if sum < acknowledged[key] || sum > possible[key] {
			c.w.fail(11, "counter %d is %d, between %d acknowledged and %d possible", key, sum,
				acknowledged[key], possible[key])
		}
	}
}
