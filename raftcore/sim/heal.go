package sim

import (
	"slices"

	"kelek/raftcore"
)

// How a run ends: the faults stop, a quorum has to make progress by itself, then everybody has to
// become equal, and then there is nothing to do.

// promptly bounds every delay of a healed cluster: Raft promises progress only while a vote takes
// much less than an election time-out (section 5.6).
func (w *World) promptly() raftcore.Instant { return w.knobs.election / 8 }

// heal ends all faults. In the first phase a random quorum is connected and the others are gone or
// alone: the quorum must make progress by itself. In the second everybody is back.
func (w *World) heal() {
	w.phase++
	w.healedAt = w.now
	w.healBy = w.now + healTimeouts*w.knobs.electionMax()
	w.healEnds = w.now + w.healLongest()
	w.progress = 0
	w.scrub()
	members := w.nodes
	if w.phase == partial {
		members = w.drawQuorum()
	}
	connected := func(p *process) bool {
		for _, q := range members {
			if p == q {
				return true
			}
		}
		return false
	}
	for i := range w.network.links {
		for j := range w.network.links[i] {
			w.network.links[i][j].cut = false
		}
	}
	w.network.block(func(a, b int) bool {
		return !connected(w.nodes[a]) || !connected(w.nodes[b])
	})
	for _, p := range w.nodes {
		w.healNode(p, connected(p))
	}
	if w.tracing() {
		w.tracef(nil, "healed: %d of %d nodes are connected", len(members), len(w.nodes))
	}
	w.scheduleWorld(nil, w.knobs.election, evHealed, 0)
}

// drawQuorum picks who is connected in the first healed phase: often as few as can be. It is a
// quorum of every configuration that may turn out to be in force.
func (w *World) drawQuorum() []*process {
	order := w.unlost(nil)
	n, extra := len(order), 0
	if w.rng.heal.IntN(3) == 0 {
		extra = w.rng.heal.IntN(n - n/2)
	}
	w.rng.heal.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
	configs := w.checker.possibleConfigs()
	size := 1
	for size < n && !w.decide(order[:size], configs) {
		size++
	}
	members := make([]*process, 0, n)
	founded := false
	for _, i := range order[:min(n, size+extra)] {
		members = append(members, w.nodes[i])
		founded = founded || w.nodes[i].disk.durable.last().Index > 0
	}
	if !founded {
		return w.nodes // a quorum of blank nodes has never heard of its cluster
	}
	return members
}

// decide reports whether a set of nodes is a quorum of each configuration.
func (w *World) decide(set []int, configs []raftcore.Config) bool {
	in := func(id raftcore.NodeID) bool { return slices.Contains(set, w.indexOf(id)) }
	for i := range configs {
		if !isQuorum(&configs[i], in) {
			return false
		}
	}
	return true
}

// healNode ends what ails one node. One that is not connected is down, or runs on alone.
func (w *World) healNode(p *process, connected bool) {
	if p.gone {
		return
	}
	p.crashIn = 0
	p.disk.stalled, p.disk.syncFails, p.disk.full, p.disk.readFails = 0, false, false, false
	p.clock.change(w.now, 0, clockUnit, 0)
	if p.core != nil && p.disk.syncing && p.disk.syncEnds > w.now+w.promptly() {
		p.syncTakes(w.promptly())
	}
	if p.core != nil && p.fetch.syncEnds > w.now+w.promptly() {
		p.fetchTakes(w.promptly())
	}
	p.isolated = !connected
	if !connected {
		if w.rng.heal.IntN(2) == 0 {
			p.crash()
		}
		return
	}
	if p.paused {
		w.schedule(p, 0, evResume, 0)
	}
	w.scheduleWorld(p, 0, evRestart, 0)
	w.clients.probe(p)
	if p.core != nil {
		p.arm()
	}
}

// A healed cluster must be whole within healTimeouts election time-outs, or, when a member has much
// to catch up with, must come closer within each; but not for ever.
const (
	healTimeouts    = 100
	healTimeoutsMax = 20 * healTimeouts
	// idleHeartbeats is how long the idle phase lasts.
	idleHeartbeats = 20
)

// healLongest bounds how long a healed cluster may take at all. Messages of one entry, one at a
// time, bring forward one entry per time that it takes to read, send, sync and acknowledge it.
func (w *World) healLongest() raftcore.Instant {
	last := raftcore.Index(0)
	for i := range w.nodes {
		last = max(last, w.checker.nodes[i].last.Index)
	}
	return healTimeoutsMax*w.knobs.electionMax() + 4*w.promptly()*raftcore.Instant(last)
}

// becomeIdle waits for the last packet of the faulty phase, and then lets the cluster alone.
func (w *World) becomeIdle() {
	if settled := w.network.late + w.knobs.electionMax(); w.now < settled {
		w.scheduleWorld(nil, settled-w.now, evHealed, 0)
		return
	}
	w.phase, w.packets = idle, w.network.sent
	w.scheduleWorld(nil, idleHeartbeats*w.knobs.heartbeat, evHealed, 0)
}

// checkHealed looks whether the healed cluster is where it has to be, and moves on when it is.
func (w *World) checkHealed() {
	problem := w.checker.settled()
	if w.phase == idle {
		w.checker.quiet(problem)
		w.phase = done
		return
	}
	if n := len(w.checker.configs); n != w.changed {
		w.changed, w.progress = n, 0 // a new member has all of it to catch up with
	}
	if progress := w.checker.progress(); progress > w.progress {
		w.progress = progress
		w.healBy = min(w.now+healTimeouts*w.knobs.electionMax(), w.healEnds)
	}
	switch {
	case problem == "":
		if w.tracing() {
			w.tracef(nil, "settled after %d ms", (w.now-w.healedAt)/raftcore.Millisecond)
		}
		if w.phase == partial {
			w.heal()
			return
		}
		w.becomeIdle()
	case w.now >= w.healBy:
		w.fail(14, "%d election time-outs after healing: %s", (w.now-w.healedAt)/w.knobs.election,
			problem)
	default:
		w.scheduleWorld(nil, w.knobs.election/2, evHealed, 0)
	}
}
