package explore

import (
	"fmt"
	"slices"

	"kelek/raftcore"
)

// kind of an event.
type kind uint8

const (
	deliver   kind = iota // arg: packet
	timeout               // the election time-out of a node that does not lead
	lapse                 // a follower has not heard its leader for an election time-out
	heartbeat             // a leader's
	resign                // a leader hears nobody for an election time-out
	propose               // arg: number of the proposal
	change                // arg: changeArg
	read                  // arg: number of the read
	syncOne               // the oldest write in flight is done
	crash                 // and restart; arg: writes in flight that survive
	transfer              // arg: to whom
	snapshot              // taken at the applied index; the log before is compacted
	fetched               // all files of the snapshot are here
	tick                  // the node looks at the common clock
	pass                  // the common clock advances
)

// event is one transition. slow: what it writes stays in flight. keep: the message stays on the
// wire.
type event struct {
	kind kind
	node uint8 // index of the node; for pass, 0
	slow bool
	keep bool
	arg  uint32
}

// outcome is what an event does to its node and sends.
type outcome struct {
	next     nodeID
	sent     []packetID
	ready    []raftcore.ReadReady
	lost     []raftcore.ReadID
	nothing  bool // no change, nothing sent
	refused  bool // the core refused it
	delayed  bool // a write stayed in flight that need not have
	leads    bool // the node has become leader
	restart  bool
	problem  *Problem
	resulted *node
}

// Problem is a broken invariant, numbered as in package sim.
type Problem struct {
	Invariant int
	What      string
}

func problem(invariant int, format string, args ...any) *Problem {
	return &Problem{invariant, fmt.Sprintf(format, args...)}
}

// run is one step in progress: a copy of a node, and what comes out of it.
type run struct {
	x    *explorer
	n    *node
	out  outcome
	e    raftcore.Effects
	slow bool
	mute bool // what is sent is lost
}

// step performs an event on a node. The same event on the same node has the same outcome, whatever
// the other nodes do, so it is computed once.
func (x *explorer) step(id nodeID, now raftcore.Instant, ev event) *outcome {
	key := stepKey{id, ev, now}
	if out, ok := x.steps[key]; ok {
		return out
	}
	before := x.nodes[id]
	r := &run{x: x, n: before.clone(), slow: ev.slow || len(before.writes) > 0}
	r.perform(before, now, ev)
	if r.out.problem == nil && !r.out.refused {
		r.out.problem = r.inspect(before)
	}
	if r.out.problem == nil && !r.out.refused {
		r.out.next = x.intern(r.n)
		next := x.nodes[r.out.next]
		r.out.nothing = r.out.next == id && len(r.out.sent)+len(r.out.ready)+len(r.out.lost) == 0
		r.out.leads = next.status.Role == raftcore.Leader &&
			(before.status.Role != raftcore.Leader || before.status.Term != next.status.Term)
	}
	out := &r.out
	x.steps[key] = out
	return out
}

type stepKey struct {
	node nodeID
	ev   event
	now  raftcore.Instant
}

// perform turns a panic of the core, which is one of its asserts, into a broken invariant.
func (r *run) perform(before *node, now raftcore.Instant, ev event) {
	defer func() {
		if p := recover(); p != nil {
			r.out.problem = problem(0, "%v", p)
		}
	}()
	r.look(now)
	if err := r.input(ev, now); err != nil {
		r.out.refused = true
		return
	}
	r.look(now)
	r.drain()
	r.out.delayed = len(before.writes) == 0 && len(r.n.writes) > 0
	r.n.core.Check()
}

// look tells the common clock: before an event, as the node may have slept, and after it, since
// what is promised or answered under a lease counts from then.
func (r *run) look(now raftcore.Instant) {
	if now != 0 {
		r.n.now = now
		r.n.core.Tick(now, wallClock)
	}
}

// input gives one event to the core. An error is a refusal.
func (r *run) input(ev event, now raftcore.Instant) (err error) {
	n := r.n
	switch ev.kind {
	case deliver:
		m := r.x.packets[ev.arg].message
		n.core.Step(&m)
	case timeout, lapse, resign:
		r.timePasses(ev.kind)
	case heartbeat:
		n.now = n.core.Deadline()
		n.core.Tick(n.now, wallClock)
	case propose:
		_, err = n.core.Propose(wallClock, []byte{byte('a' + ev.arg)})
	case change:
		_, err = n.core.ProposeConfig(changeOf(ev.arg, &n.status0().Config))
	case read:
		err = n.core.ReadIndex(raftcore.ReadID(ev.arg))
	case syncOne:
		r.land()
	case crash:
		err = r.restart(int(ev.arg), now)
	case transfer:
		err = n.core.TransferLeadership(raftcore.NodeID(ev.arg))
	case snapshot:
		n.asked = false
		at := r.x.at(n.log, n.status0().Applied)
		n.core.SnapshotTaken(r.x.snapshotAt(at))
		n.core.Compact(r.x.index(at))
		n.base = at
		if !n.compactWrites(r.x, at) {
			n.disk.base = at
		}
	case fetched:
		n.core.SnapshotFetched(n.fetch.Meta)
		n.fetch = raftcore.Fetch{}
	}
	return err
}

// status0 is a fresh status: that of a copy is empty.
func (n *node) status0() *raftcore.Status {
	n.core.Status(&n.status)
	return &n.status
}

// timePasses is the three events that are nothing but time. First the node sleeps for longer than
// any time-out, so that it has heard nobody lately; it wakes up with a short grace, and then its
// clock goes from deadline to deadline until the time-out in question. What it sends on the way
// (heartbeats to nobody, reads that it repeats) is lost.
func (r *run) timePasses(k kind) {
	n := r.n
	r.mute = true
	elections := n.status0().Elections
	n.now += 4 * timeoutFree
	n.core.Tick(n.now, wallClock)
	for range 20 {
		s := n.status0()
		if k == lapse || k == resign && s.Role != raftcore.Leader ||
			k == timeout && s.Elections > elections {
			break
		}
		r.drain()
		n.now = n.core.Deadline()
		n.core.Tick(n.now, wallClock)
	}
	r.mute = k == resign || k == lapse
}

// restart replaces the node by a new one from its disk.
func (r *run) restart(survivors int, now raftcore.Instant) error {
	old := r.n
	disk := old.disk
	if survivors > 0 {
		disk = old.writes[survivors-1].image
	}
	if now == 0 {
		now = 1
	}
	n, err := r.x.start(old.id, old.boot+1, now, disk)
	if err != nil {
		return err
	}
	r.n, r.out.restart = n, true
	n.core.Tick(now, wallClock)
	return nil
}

// drain performs effects until there are none.
func (r *run) drain() {
	for {
		more := r.n.core.Drain(&r.e)
		if busy := r.effects(); !more && !busy {
			return
		}
	}
}

// effects performs one Effects; it reports whether the core was told something.
func (r *run) effects() (busy bool) {
	n, e := r.n, &r.e
	if e.Write != nil {
		r.launch(e.Write)
	}
	for i := range e.Messages {
		r.send(&e.Messages[i])
	}
	r.out.ready = append(r.out.ready, e.Reads...)
	r.out.lost = append(r.out.lost, e.LostReads...)
	if e.Fetch != nil {
		n.fetch = *e.Fetch
	}
	n.asked = n.asked || e.TakeSnapshot
	apply := e.Apply
	for _, load := range slices.Clone(e.Load) {
		from, to := r.x.at(n.log, load.Range.First-1), r.x.at(n.log, load.Range.Last)
		n.core.Loaded(load, r.x.entries(from, to))
		busy = true
	}
	if !apply.Empty() {
		n.core.Applied(apply.Last)
		busy = true
	}
	for !r.slow && len(n.writes) > 0 {
		r.land()
		busy = true
	}
	return busy
}

// launch puts a write in flight.
func (r *run) launch(w *raftcore.Write) {
	n := r.n
	image := n.disk
	if len(n.writes) > 0 {
		image = n.writes[len(n.writes)-1].image
	}
	if w.Snapshot != nil {
		at := cellID(w.Snapshot.ID)
		n.log, n.base = at, at
		image.base, image.last = at, at
	}
	if w.TruncateFrom != 0 {
		n.log = r.x.at(n.log, w.TruncateFrom-1)
	}
	for i := range w.Append {
		n.log = r.x.extend(n.log, &w.Append[i])
	}
	image.last = n.log
	if w.HardState != nil {
		if image.hard.Term > w.HardState.Term || image.hard.Term == w.HardState.Term &&
			image.hard.VotedFor != 0 && image.hard.VotedFor != w.HardState.VotedFor {
			r.fail(2, "node %d writes %+v over %+v", n.id, *w.HardState, image.hard)
		}
		image.hard = *w.HardState
	}
	n.seq = w.Seq
	n.writes = append(n.writes, write{w.Seq, image})
}

// compactWrites moves the base of what is in flight; it reports whether the disk's stays for now,
// because it does not hold the log up to there yet.
func (n *node) compactWrites(x *explorer, at cellID) (stays bool) {
	for i := range n.writes {
		if x.holds(n.writes[i].image.last, at) {
			n.writes[i].image.base = at
		}
	}
	return !x.holds(n.disk.last, at)
}

// land makes the oldest write durable, and lets go what waited for it.
func (r *run) land() {
	n := r.n
	w := n.writes[0]
	n.writes = n.writes[1:]
	n.disk = w.image
	waiting := n.held
	n.held = nil
	for _, h := range waiting {
		if h.after > w.seq {
			n.held = append(n.held, h)
		} else {
			r.leave(h.packet, h.claim)
		}
	}
	n.core.Durable(w.seq)
}

// send lets a message leave, or holds it until its write is done.
func (r *run) send(m *raftcore.Message) {
	n := r.n
	if r.mute {
		return
	}
	p := r.x.pack(m)
	claim := cellID(0)
	if !m.Reject && m.Match <= r.x.index(n.log) && m.Match >= r.x.index(n.base) {
		claim = r.x.at(n.log, m.Match)
	}
	if m.After > n.synced() {
		n.held = append(n.held, held{p, m.After, claim})
		return
	}
	r.leave(p, claim)
}

func (r *run) fail(invariant int, format string, args ...any) {
	if r.out.problem == nil {
		r.out.problem = problem(invariant, format, args...)
	}
}

// leave checks that a message promises nothing that a crash could undo, and sends it.
func (r *run) leave(p packetID, claim cellID) {
	m, disk := &r.x.packets[p].message, &r.n.disk
	switch m.Kind {
	case raftcore.RequestVoteResponse:
		vote := raftcore.HardState{Term: m.Term, VotedFor: m.To}
		if !m.Reject && disk.hard.Term <= m.Term && disk.hard != vote {
			r.fail(2, "%s leaves, on disk is %+v", m.String(), disk.hard)
		}
	case raftcore.AppendEntriesResponse, raftcore.InstallSnapshotResponse:
		if disk.hard.Term < m.Term || !m.Reject && !r.x.holds(disk.last, claim) {
			r.fail(9, "%s leaves, on disk are %+v and the log up to %s", m.String(), disk.hard,
				r.x.pos(disk.last))
		}
	}
	r.out.sent = append(r.out.sent, p)
}

// installs reports whether a snapshot is being installed: then the core speaks of its position as
// if it were durable, and lets nothing leave that says so (leave would notice).
func (n *node) installs() bool {
	return len(n.writes) > 0 && n.writes[len(n.writes)-1].image.base != n.disk.base
}

// inspect checks what can be said of one node alone.
func (r *run) inspect(before *node) *Problem {
	n, x := r.n, r.x
	s := n.status0()
	at := &x.cells[n.log]
	switch {
	case s.Last != at.entry.Pos || s.First != x.index(n.base)+1:
		return problem(3, "node %d says that its log is %d..%s, it wrote %d..%s", n.id, s.First, s.Last,
			x.index(n.base)+1, at.entry.Pos)
	case !s.Config.Equal(&at.config) || s.ConfigIndex != at.configIndex:
		return problem(8, "node %d is in configuration %v of entry %d, its log says %v of %d", n.id,
			s.Config, s.ConfigIndex, at.config, at.configIndex)
	case !x.holds(n.disk.last, x.at(n.log, s.Stable)) &&
		!(n.installs() && s.Stable == x.index(n.base)):
		return problem(9, "node %d takes %s for durable, its disk has the log up to %s", n.id,
			x.pos(x.at(n.log, s.Stable)), x.pos(n.disk.last))
	case !r.out.restart && s.Commit < before.status.Commit:
		return problem(7, "node %d: commit index %d after %d", n.id, s.Commit, before.status.Commit)
	case s.Commit > s.Last.Index:
		return problem(7, "node %d: commit index %d, last entry %s", n.id, s.Commit, s.Last)
	}
	return nil
}
