package sim

import (
	"fmt"

	"kelek/raftcore"
)

// boundary is a place between two effects of a node, where a power cut is interesting.
type boundary uint8

const (
	beforeWrite   boundary = iota // drained, nothing done yet
	afterWrite                    // written, not synced, nothing sent
	afterSync                     // durable, and nobody knows
	betweenSends                  // some messages left, others never will
	beforeApply                   // committed entries at the applier's door
	afterApply                    // applied, not reported, clients not answered
	afterRead                     // read from disk for a slow peer, not sent
	afterSnapshot                 // a snapshot is taken, or is here, and nobody knows
	boundaryCount
)

func (b boundary) String() string {
	return [...]string{"before the write", "between write and sync", "between sync and sends",
		"between sends", "before apply", "after apply", "after a read",
		"after a snapshot"}[b]
}

// process is one node: a disk that outlives it, and, while it runs, a core with everything that the
// real node's loop keeps around it. Its methods are the loop's arms: feed one input, then advance.
type process struct {
	w     *World
	index int
	id    raftcore.NodeID

	// What survives a crash: the log, and the state machine as it was last flushed.
	disk disk

	// What does not. core is nil while the process is down.
	core    *raftcore.Core
	starts  uint32 // number of this start; the boot of proposals and reads
	build   *build // that this start runs
	upgrade bool   // the next start is to run the other build
	diedAt  raftcore.Instant
	machine machine
	effects raftcore.Effects
	held    []heldPacket // messages waiting for durability, in order
	queue   []applyRange // committed ranges at the applier, in order
	loads   []raftcore.LoadRequest
	origin  origin
	reads   []read
	// Snapshots that others may fetch, and what this node fetches: see snapshot.go and stream.go.
	snapshots []*snapshot
	taking    bool
	jumped    bool // a snapshot was installed, and the core does not know that it is durable
	fetch     fetch
	state     raftcore.StateChange // last announced; Config is not kept
	status    raftcore.Status

	results []uint64 // of the ops of the entry being applied
	told    effect   // appends to results

	clock    clock
	timerAt  raftcore.Instant // world time of the armed timer; 0: none
	dirty    bool             // the core took an input since the last Drain
	gather   bool             // an evAdvance is scheduled
	paused   bool
	backlog  []event          // events that arrived during the pause
	burst    bool             // the backlog is being worked off without asking the clock
	retired  bool             // its removal is committed
	doomed   bool             // its disk is damaged, which nobody has noticed yet
	forgot   raftcore.Index   // its disk held the log up to there, and lost a part of it
	gone     bool             // its disk is lost: it never runs again
	remains  image            // what its disk held then
	replaces *process         // the node that its machine was before it lost its disk
	isolated bool             // left out of the first healed phase
	crashIn  int              // boundaries until the power goes; 0: it stays
	downFor  raftcore.Instant // how long it stays down after that
	// ticksFirst: after the pause it looks at the clock before it looks at its messages.
	ticksFirst bool
}

// heldPacket is a message that may leave once the write it names is durable.
type heldPacket struct {
	after raftcore.Seq
	slot  int32
}

// applyRange is work for the applier. entries is nil when memory did not hold them all.
type applyRange struct {
	r       raftcore.Range
	entries []raftcore.Entry
}

func newProcess(w *World, index int, id raftcore.NodeID) *process {
	p := &process{w: w, index: index, id: id, clock: clock{rate: clockUnit}, build: &w.knobs.build}
	p.told = func(_ opID, _ opCode, result uint64) { p.results = append(p.results, result) }
	return p
}

func (p *process) name() string { return fmt.Sprintf("n%d@%d", p.index+1, p.state.Term) }

// start boots the process from what its disk holds.
func (p *process) start() {
	if p.core != nil || p.gone {
		return
	}
	if at, err := p.disk.damaged(); err != nil && !p.tornByMistake(at) {
		p.fence(at, err)
		return
	}
	if p.amnesic() {
		p.fence(p.disk.state.applied, errAhead)
		return
	}
	p.disk.recover()
	p.w.checker.purged(p)
	p.w.checker.reaches(p)
	p.starts++
	p.machine = p.disk.state
	applied := p.machine.applied
	if planted(30) && applied > p.disk.durable.snapshot.Pos.Index {
		applied--
	}
	restored := p.disk.restored(applied, p.w.rng.disk)
	p.chooseBuild()
	core, err := raftcore.New(p.options(p.w.rng.seeds.Uint64()), restored)
	if err != nil {
		p.w.fail(coreAssertion, "%s does not start: %v", p.name(), err)
	}
	p.core, p.dirty = core, true
	p.state = raftcore.StateChange{Term: restored.HardState.Term}
	if p.w.tracing() {
		p.w.tracef(p, "starts (%d), log %v..%v, applied %d", p.starts, restored.Snapshot.Pos,
			restored.Last, restored.Applied)
	}
	p.w.checker.started(p)
	p.tick()
	p.advance()
	p.w.clients.nodeUp(p)
}

// crash ends the process here and now. The disk keeps what it likes of what was not synced.
func (p *process) crash() {
	if p.core == nil {
		return
	}
	lied := p.disk.lies
	if p.disk.crash(p.w.rng.disk) {
		p.w.stats.Torn++
	}
	if lied {
		p.forget()
	}
	for _, h := range p.held {
		p.w.network.release(h.slot)
	}
	for i := range p.backlog {
		p.w.network.release(p.backlog[i].slot)
	}
	p.core, p.held, p.queue, p.loads = nil, p.held[:0], nil, nil
	p.snapshots, p.taking, p.jumped, p.fetch = nil, false, false, fetch{}
	p.timerAt, p.gather, p.paused, p.crashIn = 0, false, false, 0
	p.backlog = p.backlog[:0]
	p.diedAt = p.w.now
	p.w.clients.nodeDown(p)
	p.w.network.processGone(p)
	if p.w.tracing() {
		p.w.tracef(p, "crashed, durable log ..%v", p.disk.durable.last())
	}
}

// at passes an effect boundary. It reports whether the process died there.
func (p *process) at(b boundary) (dead bool) {
	if p.core == nil {
		return true
	}
	if p.crashIn == 0 {
		return false
	}
	if p.crashIn--; p.crashIn > 0 {
		return false
	}
	p.w.stats.Crashes[b]++
	if p.w.tracing() {
		p.w.tracef(p, "loses power %v", b)
	}
	p.crash()
	p.w.restartLater(p)
	return true
}

// tick tells the core what time it is here.
func (p *process) tick() {
	p.core.Tick(p.clock.local(p.w.now), p.clock.wall(p.w.now))
	p.dirty = true
}

// timer is the core's deadline, unless it was armed anew since.
func (p *process) timer(at raftcore.Instant) {
	if at != p.timerAt {
		return
	}
	p.timerAt = 0
	p.tick()
	p.advance()
}

// arm makes sure that a timer fires when the core wants its next Tick. A timer that turns out to be
// early is harmless, so a deadline that moves away costs no event until then.
func (p *process) arm() {
	at := p.clock.world(p.core.Deadline())
	if every := p.build.tickEvery; every > 0 {
		at = (at + every - 1) / every * every
	}
	at = max(at, p.w.now+raftcore.Microsecond)
	if p.timerAt == 0 || at < p.timerAt {
		p.timerAt = at
		p.w.schedule(p, at-p.w.now, evTimer, 0)
	}
}

// step feeds one message.
func (p *process) step(m *raftcore.Message) {
	if p.w.tracing() {
		p.w.tracef(p, "⇐ %s", p.w.describe(m))
	}
	p.core.Step(m)
	p.inputTaken()
}

// disconnected is the end of the connection from a peer.
func (p *process) disconnected(peer raftcore.NodeID) {
	if p.core == nil {
		return
	}
	p.tick()
	p.core.Disconnected(peer)
	p.inputTaken()
}

// resume ends a pause. The backlog comes in a burst; the timer may come before or after it.
func (p *process) resume() {
	if p.core == nil || !p.paused {
		return
	}
	p.paused = false
	backlog := p.backlog
	p.backlog = nil
	if p.ticksFirst {
		p.tick()
		p.advance()
	}
	p.burst = true
	for i := range backlog {
		e := &backlog[i]
		if p.core == nil || p.paused || e.boot != 0 && e.boot != p.starts {
			p.w.network.release(e.slot)
			continue
		}
		p.w.runnable[e.kind](p.w, p, e)
	}
	p.burst = false
	if p.core != nil {
		p.tick()
		p.advance()
	}
}

// keep stores an event until the pause ends. A sync finishes meanwhile: the platter does not pause.
func (p *process) keep(e *event) {
	if e.kind == evSynced && e.arg == 0 {
		if !p.syncEnded(e) {
			return
		}
		e.arg = uint64(p.land())
	}
	p.backlog = append(p.backlog, *e)
}

func (p *process) trace(e *raftcore.Effects) {
	if !p.w.tracing() {
		return
	}
	for i := range e.Trace {
		p.w.tracef(p, "%s", p.w.describeEvent(e.Trace[i]))
	}
	if w := e.Write; w != nil {
		p.w.tracef(p, "writes #%d%s", w.Seq, describeWrite(w))
	}
	if !e.Apply.Empty() {
		p.w.tracef(p, "hands out %d..%d", e.Apply.First, e.Apply.Last)
	}
	for i := range e.Messages {
		p.w.tracef(p, "→ %s", p.w.describe(&e.Messages[i]))
	}
}

// tornByMistake is a planted bug: a record that was damaged after it was synced is taken for one
// that a crash has torn, and the log is cut there.
func (p *process) tornByMistake(at raftcore.Index) bool {
	if !planted(217) {
		return false
	}
	p.disk.durable.log = p.disk.durable.log[:at-p.disk.durable.snapshot.Pos.Index-1]
	return true
}
