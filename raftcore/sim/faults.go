package sim

import (
	"errors"

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
	clogFault                       // one direction of one link delivers nothing for a while, then all
	stallFault                      // a disk takes very long to sync
	clockFault                      // a clock changes its rate or leaps
	transferFault                   // leadership is handed over
	stopFault                       // a node hands over and stops, as it does when it is told to
	compactFault                    // a node compacts its log
	flushFault                      // a state machine becomes durable
	snapshotFault                   // a snapshot is taken, or those that are kept get lost
	syncErrorFault                  // one sync fails
	fullFault                       // a disk is full: the next write fails
	readErrorFault                  // the next read of old entries fails
	upgradeFault                    // a node stops, and starts as another build: see build.go
	strangerFault                   // a node of another cluster calls: see stranger.go
	tooLargeFault                   // a proposal over the limit
	// Those below strike only where a profile wants them.
	configFault // the membership is changed: see changes.go
	rotFault    // a synced record is damaged: see media.go
	lieFault    // a disk forgets what it has synced last: see media.go
	wipeFault   // a disk is lost, and its machine comes back as a new node: see wipe.go
	graphFault  // some links are gone, and a fully connected quorum stays: see graph.go
	faultKinds
)

// fault is what a kind is called and does, to a victim where it needs one.
type fault struct {
	name   string
	strike func(w *World, p *process)
}

var faults = [faultKinds]fault{
	crashFault:     {"crash", (*World).armCrash},
	pauseFault:     {"pause", (*World).pause},
	partitionFault: {"partition", (*World).partition},
	cutFault:       {"cut", (*World).cut},
	resetFault:     {"reset", (*World).resetLink},
	clogFault:      {"clog", (*World).clog},
	stallFault:     {"stall", (*World).stall},
	clockFault:     {"clock", (*World).disturbClock},
	transferFault:  {"transfer", (*World).transfer},
	stopFault:      {"stop", (*World).stopGracefully},
	compactFault:   {"compact", (*World).compact},
	flushFault:     {"flush", (*World).flush},
	snapshotFault:  {"snapshot", (*World).takeAny},
	syncErrorFault: {"sync-error", (*World).failSync},
	fullFault:      {"disk-full", (*World).fillDisk},
	readErrorFault: {"read-error", (*World).failRead},
	upgradeFault:   {"upgrade", (*World).upgrade},
	strangerFault:  {"stranger", (*World).callWrongly},
	tooLargeFault:  {"too-large", (*World).proposeTooMuch},
	configFault:    {"membership", (*World).changeMembership},
	rotFault:       {"rot", (*World).damage},
	lieFault:       {"lost-write", (*World).loseWrites},
	wipeFault:      {"wipe", (*World).wipe},
	graphFault:     {"graph", (*World).installGraph},
}

func (k faultKind) String() string { return faults[k].name }

// strike does what a fault of one kind does. All that it decides comes from the strike's own
// generator.
func (w *World) strike(k faultKind) {
	p := w.victim()
	if w.tracing() {
		w.tracef(p, "fault: %v", k)
	}
	w.striking[k].strike(w, p)
}

func (w *World) partition(*process) {
	kind := w.knobs.partitions[w.rng.strike.IntN(len(w.knobs.partitions))]
	if w.tracing() {
		w.tracef(nil, "partition: %v", kind)
	}
	w.network.partition(kind)
	w.endLater(partitionFault, nil)
}

func (w *World) cut(p *process) {
	if peer := w.victim(); peer != p {
		w.network.links[p.index][peer.index].cut = true
		w.endLater(cutFault, p)
	}
}

func (w *World) clog(p *process) {
	if peer := w.victim(); peer != p {
		l := &w.network.links[p.index][peer.index]
		l.clogged = w.now + around(w.rng.strike, w.knobs.lasts[clogFault])
	}
}

// stopGracefully ends a node in order: leadership goes first, for as long as that may take.
func (w *World) stopGracefully(p *process) {
	if p.core == nil || p.paused {
		return
	}
	w.drawDown(p)
	if p.state.Role == raftcore.Leader && p.core.TransferLeadership(0) == nil {
		w.stats.Transfers++
		p.inputTaken()
	}
	w.schedule(p, around(w.rng.strike, w.knobs.election/2), evStop, 0)
}

// stopped is the end of that: what was to be synced is, since the writer is closed before the node
// is.
func (p *process) stopped() {
	if p.w.phase != faulty {
		return // whoever told it to has thought better of it
	}
	p.w.stats.Stopped++
	if len(p.disk.pending) > 0 {
		p.land()
	}
	p.crash()
	p.w.restartLater(p)
}

func (w *World) resetLink(p *process) {
	if peer := w.victim(); peer != p {
		w.network.reset(p, peer)
	}
}

// stall lets a disk hang, now and then for much longer than anybody waits for it.
func (w *World) stall(p *process) {
	lasts := around(w.rng.strike, w.knobs.lasts[stallFault])
	if w.rng.strike.IntN(16) == 0 {
		lasts = between(w.rng.strike, sec, 60*sec)
		w.stats.LongStalls++
	}
	p.disk.stalled = w.now + lasts
}

// victim is a random node, the leader more often than its share.
func (w *World) victim() *process {
	if leader := w.leader(); leader != nil && w.rng.strike.IntN(4) == 0 {
		return leader
	}
	return w.nodes[w.rng.strike.IntN(len(w.nodes))]
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
	w.scheduleWorld(p, around(w.rng.strike, w.knobs.lasts[k]), evFaultOff, uint64(k))
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
		p.crashIn = 1 + w.rng.strike.IntN(40)
		w.drawDown(p)
	}
}

// drawDown draws how long a node that is about to die stays down.
func (w *World) drawDown(p *process) {
	p.downFor = between(w.rng.strike, 0, w.knobs.lasts[crashFault])
}

// restartLater starts a crashed process again, after nothing to ten election time-outs.
func (w *World) restartLater(p *process) {
	if w.phase == faulty {
		w.scheduleWorld(p, p.downFor, evRestart, 0)
	}
}

func (w *World) pause(p *process) {
	if p.core == nil || p.paused {
		return
	}
	p.paused, p.ticksFirst = true, w.rng.strike.IntN(2) == 0
	w.schedule(p, around(w.rng.strike, w.knobs.lasts[pauseFault]), evResume, 0)
}

func (w *World) disturbClock(p *process) {
	g := w.rng.strike
	rate := raftcore.Instant(clockUnit)
	drift := raftcore.Instant(w.knobs.clockDrift)
	switch {
	case drift > 0: // as slow as it may be, as fast as it may be, or between
		rate += pick(g, 0, drift, between(g, 0, drift))
	case g.IntN(3) > 0:
		rate = between(g, clockUnit/2, 2*clockUnit+1)
	}
	leap := raftcore.Instant(0)
	if g.IntN(3) == 0 && drift == 0 {
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
	if w.rng.strike.IntN(2) == 0 {
		to = w.nodes[w.rng.strike.IntN(len(w.nodes))].id
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

// proposeTooMuch asks for an entry that is a little over the limit, or far over it. Whoever leads
// must refuse it for that, and nobody else may take it.
func (w *World) proposeTooMuch(p *process) {
	if leader := w.leader(); leader != nil {
		p = leader
	}
	if p.core == nil || p.paused {
		return
	}
	leads := p.state.Role == raftcore.Leader && !p.dirty
	over := pick(w.rng.strike, 1, w.knobs.entryBytesMax())
	_, err := p.core.Propose(p.clock.wall(w.now), make([]byte, w.knobs.entryBytesMax()+over))
	switch {
	case err == nil || leads && !errors.Is(err, raftcore.ErrTooLarge):
		w.fail(13, "%s: %d bytes over the limit: %v", p.name(), over, err)
	case errors.Is(err, raftcore.ErrTooLarge):
		w.stats.TooLarge++
	}
}

// flush makes the state machine durable as it is: a batch boundary, as the applied index is in it.
func (w *World) flush(p *process) {
	if p.core == nil {
		return
	}
	before := p.disk.state
	p.disk.state = p.machine
	if planted(19) {
		p.disk.state.applied, p.disk.state.stamp = before.applied, before.stamp
	}
}

// compact shortens a log to any index up to what the state machine holds durably, whoever may still
// need what goes; but, most of the time, not past what a peer with a snapshot will go on from.
func (w *World) compact(p *process) {
	if p.core == nil || p.disk.installing() != nil {
		return
	}
	upTo := p.disk.state.applied
	if planted(31) {
		upTo = p.machine.applied
	}
	p.core.Status(&p.status)
	if held := p.status.Held; held != 0 && w.rng.strike.IntN(8) > 0 {
		upTo = min(upTo, held)
	}
	first := p.disk.durable.snapshot.Pos.Index
	if upTo <= first {
		return
	}
	upTo -= raftcore.Index(w.rng.strike.Uint64N(uint64(upTo - first)))
	w.stats.Compacted += int(upTo - first)
	p.disk.issueCompact(upTo)
	p.sync()
	p.core.Compact(upTo)
	p.inputTaken()
}

// installSyncs is how many syncs it takes to install a snapshot: of directories, mostly.
const installSyncs = 6

// syncLatency draws how long a sync takes.
func (w *World) syncLatency(d *disk) raftcore.Instant {
	g := w.rng.disk
	latency := around(g, w.knobs.syncMean) * d.slowness
	if d.installing() != nil {
		latency *= installSyncs
	}
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
