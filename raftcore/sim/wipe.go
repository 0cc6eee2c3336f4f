package sim

import (
	"slices"

	"kelek/raftcore"
)

// Lost disks. A node whose disk is gone, or is damaged, never speaks again under its id. Its
// machine may come back with an empty disk: as another node, which replaces the old one without an
// operator. That is the work of the node above the core; the rule is the same here.

// lost reports whether a node cannot be counted on any more.
func (p *process) lost() bool { return p.gone || p.doomed }

// kept is what a disk holds, or held when it was lost: that counts for what was acknowledged
// before.
func (p *process) kept() *image {
	if p.gone {
		return &p.remains
	}
	return &p.disk.durable
}

// away reports whether a healed cluster has to do without a node: for now, or for ever.
func (p *process) away() bool { return p.isolated || p.gone }

func (w *World) someLost() bool { return slices.ContainsFunc(w.nodes, (*process).lost) }

// unlost are the indexes of the nodes that are not lost, but for one more.
func (w *World) unlost(but *process) (indexes []int) {
	for i, p := range w.nodes {
		if !p.lost() && p != but {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

// mayLose reports whether the cluster can do without a node for ever: the others are a quorum of
// every configuration that may yet be in force. Then what is committed is on one of them, too. A
// cluster that is not founded yet has a single disk that knows of it.
func (w *World) mayLose(p *process) bool {
	founded := len(w.checker.committed) > 1
	return founded && !p.lost() && w.decide(w.unlost(p), w.checker.possibleConfigs())
}

// wipe loses a disk, if the cluster can do without.
func (w *World) wipe(p *process) {
	if w.mayLose(p) {
		p.lose()
	}
}

// lose ends a node for ever. Where the membership may change, its machine comes back.
func (p *process) lose() {
	w := p.w
	p.crash()
	p.remains = p.disk.durable
	p.disk = disk{slowness: p.disk.slowness}
	p.gone, p.doomed = true, false
	w.stats.Lost++
	if w.tracing() {
		w.tracef(p, "is lost")
	}
	if w.knobs.joiners == 0 || w.knobs.reAdd {
		return
	}
	if next := w.join(); next != nil {
		next.replaces = p
		if w.stats.Returned++; !w.tending {
			w.tending = true
			w.scheduleWorld(nil, w.knobs.election, evTend, 0)
		}
	}
}

// scrub finds all damage that is left when the faults end.
func (w *World) scrub() {
	for _, p := range w.nodes {
		if !p.doomed {
			continue
		}
		if at, err := p.disk.damaged(); err != nil {
			p.fence(at, err)
		} else if p.core == nil && p.amnesic() {
			p.fence(p.disk.state.applied, errAhead)
		}
		p.doomed = false // the record was compacted or cut off
	}
}

// tend lets the leader look after machines that came back: a new node is added as a learner, and
// takes the place of the lost one when it has caught up.
func (w *World) tend() {
	if leader := w.leader(); leader != nil && !leader.paused {
		leader.core.Status(&leader.status)
		for _, p := range w.nodes {
			if p.replaces != nil && !p.gone && w.tendTo(leader, p) {
				break
			}
		}
		leader.inputTaken()
	}
	if w.phase < idle {
		w.scheduleWorld(nil, w.knobs.election/2, evTend, 0)
	}
}

// tendTo proposes the next step for one of them. It reports whether that was appended.
func (w *World) tendTo(leader, p *process) bool {
	now := &leader.status.Config
	old := p.predecessorIn(now)
	if old == nil || now.Joint() {
		return false
	}
	c := raftcore.ConfigChange{
		Voters: slices.Clone(now.Voters), Learners: slices.Clone(now.Learners),
	}
	is := func(id raftcore.NodeID) func(raftcore.NodeID) bool {
		return func(other raftcore.NodeID) bool { return other == id }
	}
	switch voted := slices.Contains(now.Voters, old.id); {
	case !now.IsMember(p.id):
		c.Learners = append(c.Learners, p.id)
	case voted && !slices.Contains(now.Voters, p.id):
		c.Voters = append(slices.DeleteFunc(c.Voters, is(old.id)), p.id)
		c.Learners = slices.DeleteFunc(c.Learners, is(p.id))
	default:
		c.Voters = slices.DeleteFunc(c.Voters, is(old.id))
		c.Learners = slices.DeleteFunc(c.Learners, is(old.id))
	}
	slices.Sort(c.Voters)
	slices.Sort(c.Learners)
	if w.proposeConfig(leader, replaceSome, c) != nil {
		return false
	}
	if now.IsMember(p.id) {
		w.stats.Replaced++
	}
	return true
}

// predecessorIn is the member that was on the same machine before its disk was lost.
func (p *process) predecessorIn(config *raftcore.Config) *process {
	for old := p.replaces; old != nil; old = old.replaces {
		if config.IsMember(old.id) {
			return old
		}
	}
	return nil
}

// unreplaced is a lost node that is still a member of the healed cluster, although its machine came
// back. While only a quorum is connected, that may be nobody's to see.
func (w *World) unreplaced() *process {
	for _, p := range w.nodes {
		if p.replaces != nil && !p.gone && w.phase > partial && !p.retired {
			if old := p.predecessorIn(&w.checker.config); old != nil {
				return old
			}
		}
	}
	return nil
}

// wipeAndRejoin loses a node's disk and starts it blank under its old id, see reAdd.
func (w *World) wipeAndRejoin(p *process) {
	p.crash()
	p.disk = disk{slowness: p.disk.slowness}
	p.retired = false
	w.stats.Wiped++
	w.scheduleWorld(p, 0, evRestart, 0)
}
