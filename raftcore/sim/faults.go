package sim

import (
	"slices"

	"kelek/raftcore"
)

// faultKind is something that goes wrong, or a duty of the node that may strike at any moment.
type faultKind uint8

const (
	crashFault     faultKind = iota // the power goes a few effect boundaries from now
	pauseFault                      // the process stands still, then catches up in a burst
	partitionFault                  // see partitionKind
	cutFault                        // one direction of one link is dead
	resetFault                      // a connection breaks
	stallFault                      // a disk takes very long to sync
	clockFault                      // a clock changes its rate or leaps
	transferFault                   // leadership is handed over
	compactFault                    // a node compacts its log
	flushFault                      // a state machine becomes durable
	configFault                     // the membership is changed: see changes.go
	faultKinds
)

func (k faultKind) String() string {
	return [...]string{"crash", "pause", "partition", "cut", "reset", "stall", "clock", "transfer",
		"compact", "flush", "membership"}[k]
}

// startFaults schedules the first fault of each kind.
func (w *World) startFaults() {
	for k := range faultKinds {
		w.nextFault(k)
	}
}

func (w *World) nextFault(k faultKind) {
	if every := w.knobs.every[k]; every > 0 && w.phase == faulty {
		w.scheduleWorld(nil, around(w.rng.faults, every), evFault, uint64(k))
	}
}

// fault strikes once and schedules the next of its kind.
func (w *World) fault(k faultKind) {
	if w.phase != faulty {
		return
	}
	p := w.victim()
	if w.tracing() {
		w.tracef(p, "fault: %v", k)
	}
	switch k {
	case crashFault:
		w.armCrash(p)
	case pauseFault:
		w.pause(p)
	case partitionFault:
		kind := w.knobs.partitions[w.rng.faults.IntN(len(w.knobs.partitions))]
		if w.tracing() {
			w.tracef(nil, "partition: %v", kind)
		}
		w.network.partition(kind)
		w.endLater(k, nil)
	case cutFault:
		if peer := w.victim(); peer != p {
			w.network.links[p.index][peer.index].cut = true
			w.endLater(k, p)
		}
	case resetFault:
		if peer := w.victim(); peer != p {
			w.network.reset(p, peer)
		}
	case stallFault:
		p.disk.stalled = w.now + around(w.rng.faults, w.knobs.lasts[k])
	case clockFault:
		w.disturbClock(p)
	case transferFault:
		w.transfer(p)
	case compactFault:
		w.compact(p)
	case flushFault:
		w.scheduleWorld(p, 0, evFlush, 0)
	case configFault:
		w.changeMembership()
	}
	w.nextFault(k)
}

// victim is a random node, the leader more often than its share.
func (w *World) victim() *process {
	if leader := w.leader(); leader != nil && w.rng.faults.IntN(4) == 0 {
		return leader
	}
	return w.nodes[w.rng.faults.IntN(len(w.nodes))]
}

// leader is the running node that leads the highest term, if any.
func (w *World) leader() (leader *process) {
	for _, p := range w.nodes {
		if p.core != nil && p.state.Role == raftcore.Leader &&
			(leader == nil || p.state.Term > leader.state.Term) {
			leader = p
		}
	}
	return leader
}

func (w *World) endLater(k faultKind, p *process) {
	w.scheduleWorld(p, around(w.rng.faults, w.knobs.lasts[k]), evFaultOff, uint64(k))
}

// faultOff ends a fault that lasts.
func (w *World) faultOff(k faultKind, p *process) {
	if w.phase != faulty {
		return
	}
	switch k {
	case partitionFault:
		w.network.block(func(int, int) bool { return false })
	case cutFault:
		for i := range w.network.links[p.index] {
			w.network.links[p.index][i].cut = false
		}
	}
}

// armCrash lets a node die at one of its next effect boundaries. When it has none for long, it dies
// idle.
func (w *World) armCrash(p *process) {
	if p.core != nil && p.crashIn == 0 {
		p.crashIn = 1 + w.rng.faults.IntN(40)
	}
}

// restartLater starts a crashed process again, after nothing to ten election time-outs.
func (w *World) restartLater(p *process) {
	if w.phase == faulty {
		down := between(w.rng.faults, 0, w.knobs.lasts[crashFault])
		w.scheduleWorld(p, down, evRestart, 0)
	}
}

func (w *World) pause(p *process) {
	if p.core == nil || p.paused {
		return
	}
	p.paused = true
	w.schedule(p, around(w.rng.faults, w.knobs.lasts[pauseFault]), evResume, 0)
}

func (w *World) disturbClock(p *process) {
	g := w.rng.faults
	rate := raftcore.Instant(clockUnit)
	if g.IntN(3) > 0 {
		rate = between(g, clockUnit/2, 2*clockUnit+1)
	}
	leap := raftcore.Instant(0)
	if g.IntN(3) == 0 {
		leap = between(g, 0, 4*w.knobs.election)
	}
	p.clock.change(w.now, leap, rate, g.Int64N(10_000)-5_000)
	if p.core != nil {
		p.arm()
	}
}

// transfer hands leadership over, from the leader if there is one: to the most caught-up voter, to
// a random one, or to itself.
func (w *World) transfer(p *process) {
	if leader := w.leader(); leader != nil {
		p = leader
	}
	if p.core == nil || p.paused {
		return
	}
	to := raftcore.NodeID(0)
	if w.rng.faults.IntN(2) == 0 {
		to = w.nodes[w.rng.faults.IntN(len(w.nodes))].id
	}
	err := p.core.TransferLeadership(to)
	if err == nil {
		w.stats.Transfers++
	}
	if w.tracing() {
		w.tracef(p, "transfer to n%d: %v", w.indexOf(to)+1, err)
	}
	p.inputTaken()
}

// flush makes the state machine durable as it is: a batch boundary, as the applied index is in it.
func (w *World) flush(p *process) {
	if p.core != nil {
		p.flushed = p.machine
	}
}

// compact shortens a log as far as nobody needs it: up to the durable applied index, and not past
// what every member holds, since without snapshots a member that falls behind is lost.
func (w *World) compact(p *process) {
	if p.core == nil {
		return
	}
	upTo := p.flushed.applied
	for _, q := range w.nodes {
		upTo = min(upTo, w.checker.agreed(q))
	}
	first := p.disk.durable.snapshot.Pos.Index
	if upTo <= first {
		return
	}
	upTo -= raftcore.Index(w.rng.faults.Uint64N(uint64(upTo - first)))
	w.stats.Compacted += int(upTo - first)
	p.disk.issueCompact(upTo)
	p.sync()
	p.core.Compact(upTo)
	p.inputTaken()
}

// syncLatency draws how long a sync takes.
func (w *World) syncLatency(d *disk) raftcore.Instant {
	g := w.rng.disk
	latency := around(g, w.knobs.syncMean) * d.slowness
	if w.phase != faulty {
		return min(latency, w.promptly())
	}
	if chance(g, w.knobs.syncTailPermille) {
		latency += between(g, 0, w.knobs.syncTailMax)
	}
	if d.stalled > w.now {
		latency += d.stalled - w.now
	}
	return latency
}

// promptly bounds every delay of a healed cluster: Raft promises progress only while a vote takes
// much less than an election time-out (section 5.6).
func (w *World) promptly() raftcore.Instant { return w.knobs.election / 8 }

// heal ends all faults. In the first phase a random quorum is connected and the others are gone or
// alone: the quorum must make progress by itself. In the second everybody is back.
func (w *World) heal() {
	w.phase++
	w.healedAt = w.now
	w.healBy = w.now + healTimeouts*w.knobs.election
	w.progress = 0
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
	n, extra := len(w.nodes), 0
	if w.rng.faults.IntN(3) == 0 {
		extra = w.rng.faults.IntN(n - n/2)
	}
	order := w.rng.faults.Perm(n)
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
	p.crashIn = 0
	p.disk.stalled = 0
	p.clock.change(w.now, 0, clockUnit, 0)
	p.isolated = !connected
	if !connected {
		if w.rng.faults.IntN(2) == 0 {
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

// becomeIdle waits for the last packet of the faulty phase, and then lets the cluster alone.
func (w *World) becomeIdle() {
	if settled := w.network.late + w.knobs.election; w.now < settled {
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
	if progress := w.checker.progress(); progress > w.progress {
		w.progress = progress
		w.healBy = min(w.now+healTimeouts*w.knobs.election,
			w.healedAt+healTimeoutsMax*w.knobs.election)
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
