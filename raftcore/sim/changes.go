package sim

import (
	"errors"
	"slices"

	"kelek/raftcore"
)

// Changes of membership, proposed to whoever leads at random moments: what an operator, or the
// node above the core, may ask for. New nodes begin blank and learn everything from the leader.
// Removed nodes run on for ever, with clients that nobody serves, and campaign if they never heard
// of their removal.

// changeKind is a wish for another membership.
type changeKind uint8

const (
	addLearners  changeKind = iota // one or two blank nodes
	promoteSome                    // one to three learners become voters
	demoteSome                     // a voter becomes a learner
	removeSome                     // one to three voters go
	removeLeader                   // the leader goes
	replaceSome                    // a learner takes the place of a voter, in one change
	dropLearner                    // a learner goes
	forbidden                      // must be refused
	changeKinds
)

func (k changeKind) String() string {
	return [...]string{"add learners", "promote", "demote", "remove", "remove the leader", "replace",
		"drop a learner", "forbidden"}[k]
}

// votersWanted bounds the voters of simulated clusters.
const votersWanted = 7

// changeMembership proposes a change, and sometimes sees to it that it is not the end of the story:
// the leader dies at one of its next effects, or is cut off with the change in its log alone.
func (w *World) changeMembership(*process) {
	p := w.proposer()
	if p == nil {
		return
	}
	p.core.Status(&p.status)
	kind, change := w.drawChange(p, &p.status.Config)
	if err := w.proposeConfig(p, kind, change); err != nil {
		w.stats.ChangesRefused++
	} else {
		w.changeAccepted(p, kind)
	}
	p.inputTaken()
}

// proposeConfig does what the node above the core does: it refuses ids that were removed once,
// which it only knows of when it has applied the configuration in force, and changes that would
// leave too few voters that are not lost.
func (w *World) proposeConfig(p *process, kind changeKind, change raftcore.ConfigChange) error {
	p.core.Status(&p.status)
	err := p.refuses(change)
	if err == nil {
		_, err = p.core.ProposeConfig(change)
	}
	if w.tracing() {
		w.tracef(p, "membership: %v: %s: %v", kind, w.describeConfig(&raftcore.Config{
			Voters: change.Voters, Learners: change.Learners}), err)
	}
	return err
}

var (
	errRetired    = errors.New("sim: a retired id")
	errNotApplied = errors.New("sim: the configuration in force is not applied yet")
	errTooFew     = errors.New("sim: too few voters would be left")
)

func (p *process) refuses(change raftcore.ConfigChange) error {
	if p.w.knobs.reAdd {
		return nil
	}
	if p.machine.applied < p.status.ConfigIndex {
		return errNotApplied
	}
	for _, id := range slices.Concat(change.Voters, change.Learners) {
		if !p.status.Config.IsMember(id) && slices.Contains(p.machine.retired[:], id) {
			p.w.stats.RetiredRefused++
			return errRetired
		}
	}
	next := []raftcore.Config{{Voters: change.Voters, OldVoters: p.status.Config.Voters}}
	if len(change.Voters) > 0 && p.w.someLost() && !p.w.decide(p.w.unlost(nil), next) {
		return errTooFew
	}
	return nil
}

func (w *World) changeAccepted(p *process, kind changeKind) {
	if kind == forbidden {
		w.fail(8, "%s: accepts a change that must be refused", p.name())
	}
	w.stats.Changes++
	if w.knobs.reAdd {
		return
	}
	switch w.rng.strike.IntN(8) {
	case 0, 1:
		w.armCrash(p)
	case 2:
		w.network.partition(isolateLeader)
		w.endLater(partitionFault, nil)
	}
}

// proposer is a node that believes it leads, deposed ones included; now and then one that does not.
func (w *World) proposer() *process {
	var able []*process
	anybody := !w.knobs.reAdd && w.rng.strike.IntN(16) == 0
	for _, p := range w.nodes {
		if p.core != nil && !p.paused && (anybody || p.state.Role == raftcore.Leader) {
			able = append(able, p)
		}
	}
	if len(able) == 0 {
		return nil
	}
	return able[w.rng.strike.IntN(len(able))]
}

// drawChange draws a change of the configuration that a node has in force.
func (w *World) drawChange(p *process, now *raftcore.Config) (changeKind, raftcore.ConfigChange) {
	c := raftcore.ConfigChange{
		Voters: slices.Clone(now.Voters), Learners: slices.Clone(now.Learners),
	}
	if w.knobs.reAdd {
		return w.reAdd(p, &c), c
	}
	kind := changeKind(w.rng.strike.IntN(int(changeKinds)))
	switch few := len(c.Voters) < 3; {
	case len(c.Learners) > 0 && (few || len(c.Learners) > 3):
		kind = promoteSome
	case few && w.rng.strike.IntN(2) == 0:
		kind = addLearners
	}
	w.makeChange(p, kind, &c)
	slices.Sort(c.Voters)
	slices.Sort(c.Learners)
	return kind, c
}

// makeChange edits a membership. What is not possible leaves it as it is: a change to the same
// configuration is legal, too.
func (w *World) makeChange(p *process, kind changeKind, c *raftcore.ConfigChange) {
	g := w.rng.strike
	switch kind {
	case addLearners:
		for range 1 + g.IntN(2) {
			w.addLearner(p, c)
		}
	case promoteSome:
		for range 1 + g.IntN(3) {
			w.promote(c)
		}
	case demoteSome:
		c.Learners = append(c.Learners, w.takeVoter(c)...)
	case removeSome:
		for range 1 + g.IntN(3) {
			w.takeVoter(c)
		}
	case removeLeader:
		if i := slices.Index(c.Voters, p.id); i >= 0 && len(c.Voters) > 1 {
			c.Voters = slices.Delete(c.Voters, i, i+1)
		}
	case replaceSome:
		if len(c.Learners) > 0 {
			gone := w.takeVoter(c)
			w.promote(c)
			if g.IntN(2) == 0 {
				c.Learners = append(c.Learners, gone...)
			}
		}
	case dropLearner:
		w.takeLearner(c)
	case forbidden:
		w.forbid(c)
	}
}

// forbid makes a change that every leader must refuse: nobody votes, or somebody votes who never
// was a learner, or who is a learner as well; or somebody comes back who was removed.
func (w *World) forbid(c *raftcore.ConfigChange) {
	switch w.rng.strike.IntN(6) {
	default:
		if w.checker.reference.retired[0] != 0 {
			c.Learners = append(c.Learners, w.checker.reference.retired[0])
			return
		}
		fallthrough
	case 0:
		c.Voters = nil
	case 1:
		c.Voters = append(c.Voters, raftcore.NodeID(w.rng.strike.Uint64()|1))
	case 2:
		c.Learners = append(c.Learners, c.Voters...)
		slices.Sort(c.Learners)
		c.Learners = slices.Compact(c.Learners)
	}
}

// takeVoter removes a random voter, unless it is the last.
func (w *World) takeVoter(c *raftcore.ConfigChange) []raftcore.NodeID {
	if len(c.Voters) < 2 {
		return nil
	}
	return w.takeFrom(&c.Voters)
}

func (w *World) takeLearner(c *raftcore.ConfigChange) []raftcore.NodeID {
	if len(c.Learners) == 0 {
		return nil
	}
	return w.takeFrom(&c.Learners)
}

func (w *World) takeFrom(ids *[]raftcore.NodeID) []raftcore.NodeID {
	i := w.rng.strike.IntN(len(*ids))
	id := (*ids)[i]
	*ids = slices.Delete(*ids, i, i+1)
	return []raftcore.NodeID{id}
}

func (w *World) promote(c *raftcore.ConfigChange) {
	if len(c.Voters) < votersWanted {
		c.Voters = append(c.Voters, w.takeLearner(c)...)
	}
}

// addLearner adds a node that never was a member as far as the leader's log goes: one whose adding
// came to nothing, or a new one.
func (w *World) addLearner(leader *process, c *raftcore.ConfigChange) {
	for _, p := range w.nodes {
		if !slices.Contains(c.Learners, p.id) && !w.checker.nodes[leader.index].knows(p.id) {
			c.Learners = append(c.Learners, p.id)
			return
		}
	}
	if p := w.join(); p != nil {
		c.Learners = append(c.Learners, p.id)
	}
}

// join makes a new, blank node, while there may be more.
func (w *World) join() *process {
	if len(w.nodes) == w.knobs.nodes+w.knobs.joiners {
		return nil
	}
	g := w.rng.strike
	p := newProcess(w, len(w.nodes), raftcore.NodeID(g.Uint64()|1))
	p.disk.slowness = 1
	if w.knobs.uneven {
		p.disk.slowness += raftcore.Instant(g.IntN(8))
	}
	w.nodes = append(w.nodes, p)
	w.stats.Joined++
	w.network.join(p)
	if !w.knobs.reAdd {
		w.clients.join(p)
	}
	w.scheduleWorld(p, between(g, 0, w.knobs.election), evRestart, 0)
	return p
}

// reAdd does what kelek forbids above the core: a learner is removed, loses its disk and is added
// again under its old id. The core must not take what the first life has acknowledged for what the
// second one has. The nodes were never voters, and have no clients: then nothing but liveness is at
// stake, or else the wrong re-add would be as unsafe as it is forbidden.
func (w *World) reAdd(leader *process, c *raftcore.ConfigChange) changeKind {
	for _, p := range w.nodes[w.knobs.nodes:] {
		if p.retired {
			w.wipeAndRejoin(p)
			c.Learners = append(c.Learners, p.id)
			slices.Sort(c.Learners)
			return addLearners
		}
	}
	if len(c.Learners) > 0 {
		w.takeLearner(c)
		return dropLearner
	}
	w.addLearner(leader, c)
	slices.Sort(c.Learners)
	return addLearners
}
