package sim

import (
	"math/bits"
	"slices"

	"kelek/raftcore"
)

// What must hold of configurations. The checker keeps its own stack of those in each log, from the
// writes of the node, and never asks the core which quorum it counts with.

// configsOf is the stack of a log on a disk: the compacted prefix's, then one per config entry.
func configsOf(m *image, into []raftcore.ConfigAt) []raftcore.ConfigAt {
	bottom := raftcore.Pos{Term: m.snapshot.Pos.Term, Index: m.snapshot.ConfigIndex}
	into = append(into, raftcore.ConfigAt{Pos: bottom, Config: m.snapshot.Config})
	for i := range m.log {
		if e := &m.log[i].entry; e.Kind == raftcore.EntryConfig {
			into = append(into, raftcore.ConfigAt{Pos: e.Pos, Config: decodeConfig(e.Data)})
		}
	}
	return into
}

// config is the configuration that a log has in force: the last one in it.
func (n *watch) config() *raftcore.ConfigAt { return &n.configs[len(n.configs)-1] }

// inForce is the configuration in force at an index of the log.
func (n *watch) inForce(i raftcore.Index) *raftcore.Config { return &n.configAt(i).Config }

func (n *watch) configAt(i raftcore.Index) *raftcore.ConfigAt { return lastUpTo(n.configs, i) }

// configAt is the configuration in force at a committed index.
func (c *checker) configAt(i raftcore.Index) *raftcore.ConfigAt { return lastUpTo(c.configs, i) }

func lastUpTo(configs []raftcore.ConfigAt, i raftcore.Index) *raftcore.ConfigAt {
	k := len(configs) - 1
	for k > 0 && configs[k].Pos.Index > i {
		k--
	}
	return &configs[k]
}

// knows reports whether a node is or ever was a member by this log.
func (n *watch) knows(id raftcore.NodeID) bool {
	for i := range n.configs {
		if n.configs[i].Config.IsMember(id) {
			return true
		}
	}
	return false
}

// configWritten takes a config entry that a node appends to its log.
func (c *checker) configWritten(p *process, n *watch, e *raftcore.Entry) {
	next := raftcore.ConfigAt{Pos: e.Pos, Config: decodeConfig(e.Data)}
	before := &n.config().Config
	if len(before.Voters) > 0 && !shareQuorums(before, &next.Config) {
		c.w.fail(8, "%s: %v has quorums without a node of those of %v before it", p.name(),
			c.w.describeConfig(&next.Config), c.w.describeConfig(before))
	}
	n.configs = append(n.configs, next)
	n.changed = true
	if !slices.ContainsFunc(c.open, func(at raftcore.ConfigAt) bool { return at.Pos == e.Pos }) {
		c.open = append(c.open, next)
	}
}

// installs checks a Write that installs a snapshot: it is one that was committed, and was staged
// here; it brings the node forward, and nothing else comes with it.
func (c *checker) installs(p *process, n *watch, w *raftcore.Write) {
	m, s := w.Snapshot, p.disk.stage.whole
	if s == nil || s.meta.ID != m.ID || w.TruncateFrom != 0 || len(w.Append) > 0 {
		c.w.fail(15, "%s: installs snapshot %d, staged is %d; truncate %d, append %d", p.name(), m.ID,
			p.disk.stage.meta.ID, w.TruncateFrom, len(w.Append))
	}
	i := m.Pos.Index
	if i <= n.commit || i <= n.applying {
		c.w.fail(7, "%s: installs a snapshot at %v over commit %d, applying %d", p.name(), m.Pos,
			n.commit, n.applying)
	}
	if i >= raftcore.Index(len(c.committed)) || s.base != c.committed[i].chain ||
		s.meta.Pos != m.Pos || s.state.applied != i || s.meta.Stamp != m.Stamp {
		c.w.fail(4, "%s: installs a snapshot at %v that is not of the committed log", p.name(), m.Pos)
	}
	if at := c.configAt(i); !at.Config.Equal(&m.Config) || at.Pos.Index != m.ConfigIndex {
		c.w.fail(8, "%s: installs a snapshot at %v with configuration %d, %s", p.name(), m.Pos,
			m.ConfigIndex, c.w.describeConfig(&m.Config))
	}
	bottom := raftcore.Pos{Term: m.Pos.Term, Index: m.ConfigIndex}
	n.configs = append(n.configs[:0], raftcore.ConfigAt{Pos: bottom, Config: cloneConfig(&m.Config)})
	n.last, n.stamp, n.applying = m.Pos, m.Stamp, i
}

func (n *watch) truncateConfigs(from raftcore.Index) {
	for len(n.configs) > 1 && n.config().Pos.Index >= from {
		n.configs = n.configs[:len(n.configs)-1]
	}
}

// configuration is invariant 8, as one Drain shows it: the core's configuration is the one its log
// says; a leader has at most one that is not committed, and none before it has committed an entry
// of its own term; it leads no longer than until its own removal is committed and told, which
// takes another Drain.
func (c *checker) configuration(p *process, n *watch, s *raftcore.Status) {
	top := n.config()
	if s.ConfigIndex != top.Pos.Index || !s.Config.Equal(&top.Config) {
		c.w.fail(8, "%s: config %d is %s, the log says %d, %s", p.name(), s.ConfigIndex,
			c.w.describeConfig(&s.Config), top.Pos.Index, c.w.describeConfig(&top.Config))
	}
	if s.Role != raftcore.Leader {
		return
	}
	if top.Pos.Index <= s.Commit {
		if !p.dirty && !top.Config.Joint() && !top.Config.IsVoter(p.id) {
			c.w.fail(8, "%s: leads on after its removal is committed: config %d, %s", p.name(),
				top.Pos.Index, c.w.describeConfig(&top.Config))
		}
		return
	}
	if k := len(n.configs) - 2; k >= 0 && n.configs[k].Pos.Index > s.Commit &&
		!c.isCommitted(p, n.configs[k].Pos.Index) {
		c.w.fail(8, "%s: configs %d and %d are both uncommitted, commit is %d", p.name(),
			n.configs[k].Pos.Index, top.Pos.Index, s.Commit)
	}
	if top.Pos.Term != s.Term {
		return
	}
	if p.disk.termAt(s.Commit) != s.Term {
		c.w.fail(8, "%s: appends config %d before an entry of its term is committed", p.name(),
			top.Pos.Index)
	}
}

// floors: what a leader says every member holds, every member of its configuration holds durably,
// as committed; and nobody says more than some leader has found. led: until this Drain at least.
func (c *checker) floors(p *process, n *watch, s *raftcore.Status, led bool) {
	changed := n.changed
	n.changed = false
	if s.Floor <= n.floor {
		return
	}
	n.floor = s.Floor
	if led && s.Floor > c.floor {
		held := c.heldBy(&n.config().Config, s.Floor)
		if k := len(n.configs) - 2; !held && changed && k >= 0 { // changed after it was found
			held = c.heldBy(&n.configs[k].Config, s.Floor)
		}
		if held {
			c.floor = s.Floor
		}
	}
	if s.Floor > c.floor {
		c.w.fail(8, "%s: floor %d, which not every member holds durably; %d is", p.name(), s.Floor,
			c.floor)
	}
}

// heldBy reports whether every member has the committed log up to i on disk.
func (c *checker) heldBy(config *raftcore.Config, i raftcore.Index) bool {
	for _, id := range config.Members() {
		// What a disk has lost was told before, and nobody can take it back.
		if p := c.w.nodes[c.w.indexOf(id)]; !c.holds(p, i) && i > p.forgot {
			return false
		}
	}
	return i < raftcore.Index(len(c.committed))
}

// isCommitted reports whether the entry at i of a node's log is committed, durable there or not.
func (c *checker) isCommitted(p *process, i raftcore.Index) bool {
	chain, ok := p.disk.chainAt(i)
	return ok && i < raftcore.Index(len(c.committed)) && chain == c.committed[i].chain
}

func (c *checker) holds(p *process, i raftcore.Index) bool {
	m := p.kept()
	if i < m.snapshot.Pos.Index {
		return true
	}
	chain, ok := m.chainAt(i)
	return ok && i < raftcore.Index(len(c.committed)) && chain == c.committed[i].chain
}

// configCommitted notes who is a member now, and who has left for good.
func (c *checker) configCommitted(e *raftcore.Entry) {
	next := decodeConfig(e.Data)
	for _, p := range c.w.nodes {
		if c.config.IsMember(p.id) && !next.IsMember(p.id) {
			p.retired = true
			c.w.stats.Retired++
			if p.state.Role == raftcore.Leader {
				c.w.stats.LeadersRemoved++
			}
		}
	}
	c.config = next
	c.open = slices.DeleteFunc(c.open, func(at raftcore.ConfigAt) bool {
		return at.Pos.Index <= e.Index
	})
	c.w.stats.Configs++
}

// isQuorum reports whether the nodes that are in form a quorum: a majority, of both halves when
// joint. It is written apart from raftcore's on purpose.
func isQuorum(config *raftcore.Config, in func(raftcore.NodeID) bool) bool {
	for _, half := range [2][]raftcore.NodeID{config.Voters, config.OldVoters} {
		count := 0
		for _, id := range half {
			if in(id) {
				count++
			}
		}
		if len(half) > 0 && count <= len(half)/2 {
			return false
		}
	}
	return len(config.Voters) > 0
}

// shareQuorums reports whether every quorum of one configuration has a node of every quorum of the
// other, by trying all subsets: none may be a quorum of one while the rest is one of the other.
func shareQuorums(a, b *raftcore.Config) bool {
	all := slices.Concat(a.Voters, a.OldVoters, b.Voters, b.OldVoters)
	slices.Sort(all)
	all = slices.Compact(all)
	halves := [2][2]uint{
		{maskOf(all, a.Voters), maskOf(all, a.OldVoters)},
		{maskOf(all, b.Voters), maskOf(all, b.OldVoters)},
	}
	for subset := range uint(1) << len(all) {
		if isQuorumMask(halves[0], subset) && isQuorumMask(halves[1], ^subset) {
			return false
		}
	}
	return true
}

// maskOf is a set of nodes as bits: bit i stands for all[i].
func maskOf(all, ids []raftcore.NodeID) (mask uint) {
	for _, id := range ids {
		mask |= 1 << slices.Index(all, id)
	}
	return mask
}

func isQuorumMask(halves [2]uint, in uint) bool {
	for _, half := range halves {
		if half != 0 && bits.OnesCount(half&in) <= bits.OnesCount(half)/2 {
			return false
		}
	}
	return true
}

// possibleConfigs are those that may yet be in force in a cluster that is left alone: the one that
// is committed, the last one in each log, and those that may be under way. One of a leader that was
// paused before it could write it is nowhere but in its core, and takes effect when that goes on.
func (c *checker) possibleConfigs() []raftcore.Config {
	configs := []raftcore.Config{c.config}
	for i := range c.open {
		configs = append(configs, c.open[i].Config)
	}
	for _, p := range c.w.nodes {
		configs = append(configs, p.disk.config())
		if p.core != nil && p.dirty {
			p.core.Status(&p.status)
			configs = append(configs, p.status.Config)
		}
	}
	return slices.DeleteFunc(configs, func(config raftcore.Config) bool {
		return len(config.Voters) == 0 // a blank node's
	})
}
