package sim

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"

	"kelek/raftcore"
)

// Case names a run completely: the same case gives the same events, bit by bit.
type Case struct {
	Seed      uint64
	Profile   string
	Overrides Overrides
	History   bool              // keep what clients asked and were told
	Trace     func(line string) // nil: no trace, which costs nothing
}

// Result is what a run leaves behind.
type Result struct {
	Case    Case
	Nodes   int
	Events  uint64
	Hash    uint64 // over every event and every effect, in order
	Virtual raftcore.Instant
	Stats   Stats
	Strikes []Strike    // all faults, in order
	History []operation // when asked for
	Failure *Violation  // nil: all invariants held
}

// Stats counts what a run met, so that a test can prove that the faults happen.
type Stats struct {
	Crashes    [boundaryCount]int // by the effect boundary at which they struck
	Elections  int                // terms that had a leader
	Committed  int                // entries
	Acked      int                // writes
	Unknown    int                // writes without a known outcome
	Refused    int                // writes that were certainly not proposed
	Reads      int                // linearizable ones that were served
	Skipped    int                // proposals that were repeated or came after a gap
	Repeated   int                // requests that were repeated and not executed again
	Expired    int                // of those, whose reply was dropped
	Truncated  int                // writes that cut the log
	Torn       int                // crashes that left a torn record behind
	Dropped    int                // packets
	Duplicated int                // packets
	Loads      int                // reads of old entries for slow peers
	Compacted  int                // entries
	Transfers  int                // leadership transfers that were accepted
	Stopped    int                // nodes that stopped in order
	Flipped    int                // packets that were refused for their checksum
	Upgraded   int                // starts as another build than before
	Mixed      int                // leaders of members of two builds
	Newer      int                // packets of an unknown version, kind or field: all were refused

	Changes        int // of membership, that a leader has appended
	ChangesRefused int
	Configs        int // committed, joint ones included
	Joined         int // nodes that began blank
	Retired        int // nodes whose removal was committed
	LeadersRemoved int // of those, while they led
	Wiped          int // disks lost and added again under the old id
	RetiredRefused int // changes that would have brought an old id back

	Snapshots  int // taken
	Installs   int // snapshots that replaced a state
	Parts      int // of snapshots that arrived
	Mismatches int // files that started over
	Resumed    int // transfers that went on with what was staged
	Aborted    int // transfers that the core lost interest in
	GivenUp    int // transfers that failed
	Jumped     int // operations whose results a snapshot jumped over

	Strangers  int // calls of other clusters and of removed nodes: all were refused
	TooLarge   int // proposals over the limit: all were refused
	LongStalls int // of a disk: a second and more
	DiskErrors int // of a sync, a write or a read: each stopped a node
	Damaged    int // records spoilt after they were synced
	LostWrites int // entries that a disk forgot after they were synced
	Fenced     int // nodes that found damage and never ran again
	Lost       int // nodes whose disk is lost, those included
	Returned   int // machines that came back as a new node after that
	Replaced   int // of those, that took the place of the old one
	Graphs     int // partial partitions with a fully connected quorum
}

// streams are the random numbers, one stream per concern, so that a change to one concern does not
// shift the decisions of the others.
type streams struct {
	setup, network, disk, faults, clients, seeds, heal *rand.Rand
	// strike is seeded anew for every fault, see Strike.
	strike    *rand.Rand
	strikePCG *rand.PCG
}

func newStreams(seed, salt uint64) streams {
	stream := func(n, salt uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n^salt<<32)) }
	pcg := rand.NewPCG(seed, 8)
	return streams{
		setup: stream(1, 0), network: stream(2, salt), disk: stream(3, salt), faults: stream(4, 0),
		clients: stream(5, salt), seeds: stream(6, salt), heal: stream(7, 0),
		strike: rand.New(pcg), strikePCG: pcg,
	}
}

// phase of a run.
type phase uint8

const (
	faulty  phase = iota // faults and load
	partial              // healed: a random connected quorum must make progress
	whole                // healed: every node must catch up
	idle                 // nothing to do: heartbeats only
	done
)

// World is one simulated cluster. One goroutine owns it, and nothing in it depends on the wall
// clock, on map order or on addresses.
type World struct {
	run      Case
	profile  *Profile
	knobs    knobs
	rng      streams
	heap     heap
	now      raftcore.Instant
	events   uint64
	hash     uint64
	phase    phase
	healedAt raftcore.Instant // since when faults are off
	healBy   raftcore.Instant // when the healed cluster must be whole
	healEnds raftcore.Instant // when it must be, however much it goes forward
	progress raftcore.Index   // of the healed cluster at the last look
	changed  int              // configurations that were committed at that look
	packets  uint64           // sent when the idle phase began
	strikes  []Strike         // that have struck, or are to strike, see strike.go
	struck   int              // of the strikes of a script
	// Numbers given to snapshots and to transfers of them.
	snapshots, fetches uint64
	tending            bool // the leader looks after machines that came back, see wipe.go
	// graphSince is when the cluster that is partly connected was last asked for progress.
	graphSince raftcore.Instant

	nodes     []*process
	clusterID [16]byte
	founded   raftcore.Config // the first configuration
	network   network
	clients   clients
	checker   checker
	stats     Stats
	scratch   raftcore.Message // a message being decoded
	// A copy of eventTable: resume needs it, and a table that refers to itself does not compile.
	runnable [eventKinds]func(w *World, p *process, e *event)
	striking *[faultKinds]fault // faults, for the same reason
}

// Run plays one case to its end.
func Run(c Case) Result {
	w := newWorld(c)
	failure := w.play()
	r := Result{
		Case: c, Nodes: len(w.nodes), Events: w.events, Hash: w.hash, Virtual: w.now,
		Stats: w.stats, Strikes: w.strikes, Failure: failure,
	}
	if c.History {
		r.History = w.clients.ops[1:]
	}
	return r
}

func newWorld(c Case) *World {
	rng := newStreams(c.Seed, uint64(c.Overrides.Salt))
	w := &World{run: c, profile: profileByName(c.Profile), rng: rng}
	w.knobs = drawKnobs(w.rng.setup, w.profile)
	c.Overrides.adjust(&w.knobs)
	w.runnable, w.striking = eventTable, &faults
	w.formCluster()
	w.network.init(w)
	w.clients.init(w)
	w.checker.init(w)
	return w
}

// eventTable says who takes which event. Kinds that belong to a process reach it only while the
// same start of it is still alive, and are kept back while it is paused.
var eventTable = [eventKinds]func(w *World, p *process, e *event){
	evTimer:      func(_ *World, p *process, e *event) { p.timer(e.at) },
	evDeliver:    func(w *World, p *process, e *event) { w.network.deliver(p, e.slot) },
	evSynced:     func(_ *World, p *process, e *event) { p.syncEvent(e) },
	evApply:      func(_ *World, p *process, _ *event) { p.applyNext() },
	evLoaded:     func(_ *World, p *process, e *event) { p.loaded(int(e.arg)) },
	evStop:       func(_ *World, p *process, _ *event) { p.stopped() },
	evTake:       func(_ *World, p *process, e *event) { p.takeNow(e.arg != 0) },
	evFetch:      func(_ *World, p *process, e *event) { p.fetchTimedOut(e.arg>>16, e.arg&0xffff) },
	evFetched:    func(_ *World, p *process, e *event) { p.fetched(e) },
	evAdvance:    func(_ *World, p *process, _ *event) { p.gathered() },
	evResend:     func(_ *World, p *process, _ *event) { p.resend() },
	evSession:    func(w *World, _ *process, e *event) { w.clients.session(e.arg) },
	evDisconnect: func(_ *World, p *process, e *event) { p.disconnected(raftcore.NodeID(e.arg)) },
	evFault:      func(w *World, _ *process, e *event) { w.nextStrike(faultKind(e.arg)) },
	evFaultOff:   func(w *World, p *process, e *event) { w.faultOff(faultKind(e.arg), p) },
	evRestart:    func(_ *World, p *process, _ *event) { p.start() },
	evResume:     func(_ *World, p *process, _ *event) { p.resume() },
	evHealed:     func(w *World, _ *process, _ *event) { w.checkHealed() },
	evTend:       func(w *World, _ *process, _ *event) { w.tend() },
	evGraph:      func(w *World, _ *process, e *event) { w.checkGraph(int(e.arg)) },
}

// formCluster draws the members. Either every disk holds the founding entry, or only the creator's:
// then the others are blank, learn the configuration from their first AppendEntries, and vote
// before that for a candidate whose configuration they have never seen.
func (w *World) formCluster() {
	binary.LittleEndian.PutUint64(w.clusterID[:], w.rng.setup.Uint64())
	for range w.knobs.nodes {
		id := raftcore.NodeID(w.rng.setup.Uint64() | 1)
		w.founded.Voters = append(w.founded.Voters, id)
	}
	slices.Sort(w.founded.Voters)
	founding := raftcore.Entry{
		Pos:  raftcore.Pos{Term: 1, Index: 1},
		Kind: raftcore.EntryConfig, Data: raftcore.EncodeConfig(w.founded), Stamp: epoch,
	}
	creator := w.rng.setup.IntN(w.knobs.nodes)
	for i, id := range w.founded.Voters {
		p := newProcess(w, i, id)
		p.disk.slowness = 1
		if w.knobs.uneven {
			p.disk.slowness += raftcore.Instant(w.rng.setup.IntN(8))
		}
		if !w.knobs.blank || i == creator {
			p.disk.found(founding)
		}
		w.nodes = append(w.nodes, p)
	}
}

// schedule adds an event for a process; it dies with this start of the process.
func (w *World) schedule(p *process, delay raftcore.Instant, kind eventKind, arg uint64) {
	w.heap.push(event{
		at: w.now + delay, kind: kind, arg: arg, node: int8(p.index), boot: p.starts, slot: -1,
	})
}

// scheduleWorld adds an event that no crash cancels.
func (w *World) scheduleWorld(p *process, delay raftcore.Instant, kind eventKind, arg uint64) {
	node := int8(-1)
	if p != nil {
		node = int8(p.index)
	}
	w.heap.push(event{at: w.now + delay, kind: kind, arg: arg, node: node, slot: -1})
}

// play runs events until the healed cluster is where it has to be, or an invariant breaks.
func (w *World) play() (failure *Violation) {
	defer func() {
		if r := recover(); r != nil {
			failure = w.violationOf(r)
		}
	}()
	for _, p := range w.nodes {
		w.scheduleWorld(p, between(w.rng.setup, 0, 20*raftcore.Millisecond), evRestart, 0)
	}
	w.startFaults()
	w.clients.start()
	for w.phase != done {
		e := w.heap.pop()
		w.now = e.at
		over := w.phase != faulty || w.now >= w.knobs.duration || len(w.clients.ops) > opsMax
		if over && e.kind == evFault {
			continue // it comes too late, and is no part of the run
		}
		if over && w.phase == faulty {
			w.heal()
		}
		w.take(&e)
	}
	w.checker.atEnd()
	return nil
}

// take runs one event and then looks at the node it touched.
func (w *World) take(e *event) {
	w.events++
	w.fold(uint64(e.at))
	w.fold(uint64(e.kind)<<48 ^ uint64(uint8(e.node))<<40 ^ e.arg)
	if e.node < 0 {
		w.runnable[e.kind](w, nil, e)
	} else {
		w.takeFor(w.nodes[e.node], e)
	}
	if w.events%fullCheckEvery == 0 {
		w.checker.everything()
	}
	if w.events > eventsMax {
		w.fail(14, "the run does not end: %d events", w.events)
	}
}

func (w *World) takeFor(p *process, e *event) {
	if e.boot != 0 && (p.core == nil || e.boot != p.starts) {
		return
	}
	if p.paused && loopEvents[e.kind] {
		p.keep(e)
		return
	}
	w.runnable[e.kind](w, p, e)
}

// loopEvents are the kinds that a paused process does not notice before it runs again.
var loopEvents = [eventKinds]bool{
	evTimer: true, evDeliver: true, evSynced: true, evApply: true, evLoaded: true,
	evAdvance: true, evResend: true, evDisconnect: true,
	evTake: true, evFetch: true, evFetched: true,
}

func (w *World) fold(x uint64) { w.hash = mix(w.hash, x) }

func (w *World) tracing() bool { return w.run.Trace != nil }

// tracef adds a line to the trace. Callers ask tracing first, so that the arguments of a line that
// nobody wants are never boxed.
func (w *World) tracef(p *process, format string, args ...any) {
	who := "world"
	if p != nil {
		who = p.name()
	}
	line := fmt.Sprintf(format, args...)
	w.run.Trace(fmt.Sprintf("%12.6f #%-7d %-7s %s", float64(w.now)/1e9, w.events, who, line))
}

// fail stops the run: an invariant, by its number in doc.go, does not hold.
func (w *World) fail(invariant int, format string, args ...any) {
	panic(&Violation{Invariant: invariant, Text: fmt.Sprintf(format, args...)})
}

// violationOf turns a recovered panic into a result. An assertion of the core is a finding, too.
func (w *World) violationOf(r any) *Violation {
	v, ok := r.(*Violation)
	if !ok {
		v = &Violation{Invariant: coreAssertion, Text: fmt.Sprint(r), Stack: stack()}
	}
	v.At, v.Event = w.now, w.events
	return v
}

const (
	fullCheckEvery = 1000
	cloneEvery     = 10 * fullCheckEvery
	eventsMax      = 1_000_000
	// opsMax ends the faulty phase of a run with fast clients, so that all runs are alike in
	// length.
	opsMax = 6_000
	// foundersMax is the largest cluster that any profile founds, nodesMax what it may become with
	// those that were removed.
	foundersMax = 7
	nodesMax    = 16
	// epoch is the log time at which worlds begin.
	epoch raftcore.LogTime = 1_700_000_000_000
)

// between draws from [low, high), low when that is empty.
func between(g *rand.Rand, low, high raftcore.Instant) raftcore.Instant {
	if high <= low {
		return low
	}
	return low + raftcore.Instant(g.Uint64N(uint64(high-low)))
}

// around draws from half to one and a half of mean.
func around(g *rand.Rand, mean raftcore.Instant) raftcore.Instant {
	return between(g, mean/2, mean+mean/2)
}

// chance is true n times out of a thousand.
func chance(g *rand.Rand, permille int) bool { return permille > 0 && g.IntN(1000) < permille }
