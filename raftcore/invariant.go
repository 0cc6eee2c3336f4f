package raftcore

import "fmt"

// broken stops the node when one of the core's own rules is. It stays on in production: a node that
// goes on after a broken invariant can lose data, a node that stops cannot.
//
// Hot: callers test the condition themselves, because arguments that are passed are allocated
// (TestSteadyStatePathsDoNotAllocate). assert is for the paths that do not mind.
func broken(format string, args ...any) {
	panic("raft: broken invariant: " + fmt.Sprintf(format, args...))
}

func assert(ok bool, format string, args ...any) {
	if !ok {
		broken(format, args...)
	}
}

// check asserts everything that can be said of one core alone. Simulators call it often, the node
// never: it costs time proportional to the log's tail.
func (c *Core) check() {
	l := &c.log
	assert(l.base.Index <= c.applied && c.applied <= c.applying && c.applying <= c.commit,
		"base %d, applied %d, applying %d, commit %d", l.base.Index, c.applied, c.applying, c.commit)
	assert(c.commit <= l.last.Index, "commit %d past the last entry %s", c.commit, l.last)
	assert(l.stable <= l.written && l.written <= l.last.Index && l.stable >= l.base.Index,
		"stable %d, written %d, last %s", l.stable, l.written, l.last)
	assert(c.applying <= l.stable, "applying %d, durable %d", c.applying, l.stable)
	assert(l.last.Term <= c.hard.Term, "last entry %s in term %d", l.last, c.hard.Term)
	bytes, index := 0, l.tailFirst()
	for _, e := range l.tail[l.head:] {
		term, ok := l.termAt(e.Index)
		assert(e.Index == index && ok && term == e.Term, "tail entry %s at %d", e.Pos, index)
		bytes, index = bytes+e.Bytes(), index+1
	}
	assert(bytes == l.tailBytes, "tail has %d bytes, counted %d", bytes, l.tailBytes)
	c.checkConfigs()
	c.checkSnapshots()
	assert((c.role == Leader) == (c.leader == c.options.ID), "role %s, leader %x", c.role, c.leader)
	if c.role == Leader {
		c.checkLeader()
	}
}

// checkConfigs: the bottom is that of the compacted prefix, all others are of entries in the log.
func (c *Core) checkConfigs() {
	below := c.log.base.Index
	for i := range c.configs.stack {
		at := c.configs.stack[i].Pos.Index
		assert(i == 0 && at <= below || i > 0 && at > below && at <= c.log.last.Index,
			"configuration %d of %d is of entry %d, log %s..%s", i, len(c.configs.stack), at,
			c.log.base, c.log.last)
		below = max(below, at)
	}
}

// checkSnapshots: a fetch belongs to the leader of this term and leads beyond the log; nothing is
// applied after a snapshot that is not durable yet.
func (c *Core) checkSnapshots() {
	f := &c.fetch
	assert(f.Meta.ID == 0 || c.role == Follower && f.From == c.leader && f.Term == c.hard.Term,
		"%s@%d of leader %x fetches from %x@%d", c.role, c.hard.Term, c.leader, f.From, f.Term)
	assert(f.Meta.ID != 0 || !f.staged, "a snapshot without an id is staged")
	assert(!c.installing() || c.applying == c.log.base.Index && c.applied == c.applying,
		"applying %d after a snapshot at %s that is not durable", c.applying, c.log.base)
}

func (c *Core) checkLeader() {
	lead := &c.lead
	members := c.config().Members()
	assert(len(lead.peers) <= len(members), "%d peers, %d members", len(lead.peers), len(members))
	for i := range lead.peers {
		p := &lead.peers[i]
		assert(p.match < p.next && p.next <= c.log.last.Index+1 && p.flights.count >= 0,
			"peer %x: match %d, next %d, last %s", p.id, p.match, p.next, c.log.last)
		assert(p.flights.bytes >= 0 && (p.flights.count > 0 || p.flights.bytes == 0),
			"peer %x: %d messages, %d bytes in flight", p.id, p.flights.count, p.flights.bytes)
		assert(p.state == snapshotting || p.snapshot.ID == 0,
			"peer %x: snapshot %x offered while %s", p.id, p.snapshot.ID, p.state)
		assert(p.state != snapshotting || p.flights.count == 0 && p.match < c.log.base.Index,
			"peer %x waits for a snapshot: match %d, log after %s", p.id, p.match, c.log.base)
	}
	bytes := 0
	for i := max(c.commit, lead.firstOwn-1) + 1; i <= c.log.last.Index; i++ {
		if e := c.log.entry(i); e != nil {
			bytes += e.Bytes()
		}
	}
	assert(bytes == lead.uncommittedBytes, "uncommitted %d bytes, counted %d", bytes, lead.uncommittedBytes)
}

// Check asserts the invariants of this core, panicking on the first that does not hold. For tests.
func (c *Core) Check() { c.check() }
