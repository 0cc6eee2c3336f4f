package sim

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"kelek/node"
	"kelek/raftcore"
	"kelek/store/op"
)

// world is some machines, a network and a clock. Its lock is held by the test, except while a
// process takes a step.
type world struct {
	t    *testing.T
	seed uint64
	rng  *rand.Rand

	mu       sync.Mutex
	now      raftcore.Instant
	rounds   int
	founders raftcore.Config
	machines []*machine
	replaced []*machine // whose disks are out of use
	network  network
	check    *checker
	calls    []*call
	trace    []string
	stats    stats

	trusting bool // what was reported durable is looked for at each start
	leases   bool
	random   bool // faults come and go
	healed   bool // none is to come; who has met one before starts again

	requests    map[uint64]bool // ONCE without an answer
	lastRequest uint64
	values      int
}

// stats is what a run has met.
type stats struct {
	acked, unknown, refused, reads                 int
	crashes, blackouts, cutAtStart, kept0, kept100 int
	installs, garbled, dropped, starts, lingered   int
	errors, leaseReads, changes                    int
	terms                                          raftcore.Term
}

func (s *stats) add(o *stats) {
	for i, x := range []*int{&s.acked, &s.unknown, &s.refused, &s.reads, &s.crashes, &s.blackouts,
		&s.cutAtStart, &s.kept0, &s.kept100, &s.installs, &s.garbled, &s.dropped, &s.starts, &s.lingered,
		&s.errors, &s.leaseReads, &s.changes} {
		*x += *[]*int{&o.acked, &o.unknown, &o.refused, &o.reads, &o.crashes, &o.blackouts,
			&o.cutAtStart, &o.kept0, &o.kept100, &o.installs, &o.garbled, &o.dropped, &o.starts,
			&o.lingered, &o.errors, &o.leaseReads, &o.changes}[i]
	}
	s.terms += o.terms
}

// newWorld starts three nodes.
func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0x6b656c656b)), now: raftcore.Second,
		check: newChecker(), requests: map[uint64]bool{}, trusting: true, leases: seed%2 == 1}
	w.mu.Lock()
	for id := raftcore.NodeID(1); id <= 3; id++ {
		w.founders.Voters = append(w.founders.Voters, id)
		m := w.newMachine(id, fmt.Sprint("n", id))
		m.skew = raftcore.LogTime(w.rng.IntN(100))
		m.rate = raftcore.Instant(w.rng.IntN(1 + clockDrift))
	}
	for _, m := range w.machines {
		m.start()
	}
	return w
}

// end closes what still runs, and tells what went wrong.
func (w *world) end() {
	for _, m := range w.machines {
		if m.process != nil {
			w.stop(m.process)
		}
	}
	defer w.mu.Unlock()
	if len(w.check.violated) > 0 {
		w.t.Errorf("seed %d, round %d: %s\nkept in %s: repeat it with -seed %d (goroutines of the "+
			"databases may make another run of it)", w.seed, w.rounds,
			strings.Join(w.check.violated[:min(len(w.check.violated), 5)], "\n"), w.keep(), w.seed)
	}
}

// stop ends a process in order, as far as its storage is concerned.
func (w *world) stop(p *process) {
	p.gone = true
	p.cancel()
	p.m.process = nil
	p.end()
}

// keep writes trace, history and disks to a directory.
func (w *world) keep() string {
	dir, err := os.MkdirTemp("", fmt.Sprintf("node-sim-%d-", w.seed))
	if err != nil {
		return err.Error()
	}
	var history strings.Builder
	for _, x := range w.calls {
		fmt.Fprintf(&history, "%s: ops %+v read %q\n", x, x.ops, x.read)
	}
	for name, text := range map[string]string{"trace": strings.Join(w.trace, "\n"),
		"history": history.String(), "violations": strings.Join(w.check.violated, "\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err.Error()
		}
	}
	for _, m := range w.machines {
		if _, err := vfs.Clone(m.disk.mem, vfs.Default, "data", filepath.Join(dir, m.name)); err != nil {
			return err.Error()
		}
	}
	return dir
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%6d %8.3f  ", w.rounds, float64(w.now)/1e9)+
		fmt.Sprintf(format, args...))
}

func (w *world) machine(id raftcore.NodeID) *machine {
	for _, m := range w.machines {
		if m.id == id {
			return m
		}
	}
	return nil
}

// connected tells everybody in reach of a machine that has started.
func (w *world) connected(m *machine) {
	w.stats.starts++
	for _, o := range w.machines {
		if o != m && o.process != nil && o.process.node != nil && !w.network.parted(o.id, m.id) {
			o.process.node.Connected(m.hello())
			m.process.node.Connected(o.hello())
		}
	}
}

func (w *world) disconnected(m *machine) {
	for _, o := range w.machines {
		if o.process != nil && o.process.node != nil && !w.network.parted(o.id, m.id) {
			o.process.node.Disconnected(m.id)
		}
	}
}

// kept is how much of what was not synced survives a power cut, in percent.
func (w *world) kept() int {
	switch w.rng.IntN(3) {
	case 0:
		w.stats.kept0++
		return 0
	case 1:
		w.stats.kept100++
		return 100
	}
	return w.rng.IntN(100)
}

// round lets a little time pass: frames arrive, and each process takes some steps.
func (w *world) round() {
	w.rounds++
	w.now += raftcore.Instant(w.rng.IntN(5)) * raftcore.Millisecond
	w.deliver()
	machines := w.machines
	for _, i := range w.rng.Perm(len(machines)) {
		m := machines[i]
		switch {
		case w.check.model.gone(m.id) && w.rng.IntN(100) == 0:
			w.retire(m) // somebody has told it; it may have found out by itself before
		case m.process == nil && m.broken == nil && (w.healed || m.boot == 0 && len(m.joins) > 0):
			m.start()
		}
		if m.process != nil {
			w.work(m.process)
		}
	}
}

// work lets a process take steps, in an order that nobody has chosen.
func (w *world) work(p *process) {
	jobs := make([]node.Job, 0, 8)
	for range 2 + w.rng.IntN(6) {
		if j := node.Job(w.rng.IntN(node.Jobs)); j != node.JobAwait || p.m.stalled == 0 {
			jobs = append(jobs, j)
		}
	}
	jobs = append(jobs, node.JobTurn)
	p.m.stalled = max(p.m.stalled-1, 0)
	p.do(func() {
		for _, j := range jobs {
			if p.driver.Do(j); p.disk.cut.Load() || p.failed.Load() {
				return
			}
		}
	})
	w.reap(p)
}

// reap buries a process whose power has gone, or that has failed.
func (w *world) reap(p *process) {
	switch {
	case p.failed.Load():
		w.note("%s fails: %v", p, p.reason)
		w.stats.errors++
		w.failed(p, p.reason)
	case p.disk.cut.Load():
		w.note("%s loses its power at a sync", p)
		w.stats.crashes++
		w.bury(p)
	case node.ExitCode(p.node.Err()) == node.ExitRemoved && w.check.model.gone(p.m.id):
		w.note("%s: %v", p, p.node.Err())
		w.retire(p.m)
	case p.node.Err() != nil:
		w.note("%s stops: %v", p, p.node.Err())
		if !p.excused() {
			w.check.violate("%s stops: %v", p, p.node.Err())
		}
		w.failed(p, p.node.Err())
	}
}

// failed buries a process that has failed. A damaged disk is not tried again.
func (w *world) failed(p *process, why error) {
	w.bury(p)
	if p.m.damaged {
		p.m.broken = why
	}
}

// crash cuts the power between two steps.
func (w *world) crash(m *machine) {
	m.disk.cutPower(w.kept())
	w.note("%s loses its power", m.process)
	w.stats.crashes++
	w.bury(m.process)
}

// strike begins and ends faults.
func (w *world) strike() {
	for _, m := range w.machines {
		switch {
		case m.process == nil && m.broken == nil && w.rng.IntN(200) == 0:
			w.restart(m)
		case m.process == nil:
		case w.rng.IntN(300) == 0:
			m.disk.planCut(1+w.rng.IntN(30), w.rng.IntN(2) == 0, w.kept())
		case w.rng.IntN(500) == 0:
			m.disk.set(w.anyFault())
		case w.rng.IntN(300) == 0:
			w.flush(m.process)
		case w.rng.IntN(500) == 0:
			m.stalled = w.rng.IntN(60)
		case w.rng.IntN(3000) == 0:
			w.crash(m)
		}
	}
	n := &w.network
	switch w.rng.IntN(400) {
	case 0:
		n.cut = []raftcore.NodeID{w.machines[w.rng.IntN(len(w.machines))].id}
		w.note("alone: %v", n.cut)
	case 1, 2, 3:
		n.cut = nil
	case 4:
		n.lossy = 3 + w.rng.IntN(20)
	case 5, 6:
		n.lossy = 0
	case 7:
		w.blackout()
	case 8:
		n.frames = nil // every connection breaks
	}
}

// anyFault lets one file operation fail, whichever it is.
func (w *world) anyFault() *fault {
	kinds := []errorfs.OpKind{errorfs.OpCreate, errorfs.OpLink, errorfs.OpOpen, errorfs.OpOpenDir,
		errorfs.OpRemove, errorfs.OpRename, errorfs.OpReuseForWrite, errorfs.OpMkdirAll, errorfs.OpList,
		errorfs.OpStat, errorfs.OpFileRead, errorfs.OpFileReadAt, errorfs.OpFileReadAt,
		errorfs.OpFileWrite, errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpFileSync,
		errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpFileClose}
	f := &fault{random: true, kinds: []errorfs.OpKind{kinds[w.rng.IntN(len(kinds))]}, skip: w.rng.IntN(20),
		err: errorfs.ErrInjected}
	if w.rng.IntN(4) == 0 {
		f.err = syscall.ENOSPC
	}
	return f
}

// blackout takes the power from everybody at once, now and then.
func (w *world) blackout() {
	if w.rng.IntN(4) > 0 {
		return
	}
	w.stats.blackouts++
	for _, m := range w.machines {
		if m.process != nil {
			w.crash(m)
		}
	}
	for _, m := range w.machines {
		if m.broken == nil && w.rng.IntN(4) > 0 {
			w.restart(m)
		}
	}
}

// restart boots a machine, whose power may go while it does.
func (w *world) restart(m *machine) {
	if w.rng.IntN(4) == 0 {
		m.disk.planCut(1+w.rng.IntN(8), w.rng.IntN(2) == 0, w.kept())
	}
	m.start()
}

// flush makes the state durable, so that the log may be compacted.
func (w *world) flush(p *process) {
	p.do(func() {
		if err := p.storage.FlushState(); err != nil && !p.failed.Load() {
			p.fatal(err)
		}
	})
	w.reap(p)
}

// heal ends all faults. What they do to a process may be seen only in its next step.
func (w *world) heal() {
	w.note("heal")
	w.healed = true
	w.network.cut, w.network.lossy = nil, 0
	for _, m := range w.machines {
		m.disk.heal()
		m.stalled = 0
		if m.process == nil && m.broken == nil {
			m.start()
		}
	}
}

// until lets time pass until something holds. It reports whether it came to that. The goroutines of
// the databases live in another time: one for which there is no processor gets some of it.
func (w *world) until(what string, holds func() bool) bool {
	for round := range 20_000 {
		if round > 2000 {
			time.Sleep(time.Millisecond)
		}
		if len(w.check.violated) > 0 {
			return false
		}
		if holds() {
			return true
		}
		w.round()
	}
	w.check.violate("waited in vain for %s: %s", what, w.status())
	return false
}

// running is the processes.
func (w *world) running() (list []*process) {
	for _, m := range w.machines {
		if m.process != nil {
			list = append(list, m.process)
		}
	}
	return list
}

// resting reports that nothing is open, and everybody has applied the same.
func (w *world) resting() bool {
	for _, p := range w.running() {
		index, _ := p.storage.Applied()
		if len(p.calls) > 0 || int(index) != len(w.check.entries) || p.node.Status().Inflight > 0 {
			return false
		}
	}
	return true
}

// serves reports that each running node has answered a write and a read that were asked for now.
func (w *world) serves() bool {
	var open []*call
	for _, p := range w.running() {
		open = append(open, w.submit(p), w.ask(p, w.key()))
	}
	done := func() bool {
		for _, x := range open {
			if x.outcome == pending {
				return false
			}
		}
		return true
	}
	return w.until("answers", done) && w.allAcked(open)
}

func (w *world) allAcked(list []*call) bool {
	for _, x := range list {
		if x.outcome != acked {
			return false
		}
	}
	return true
}

// calm heals, and waits for a cluster that serves on every node and comes to rest.
func (w *world) calm() bool {
	w.heal()
	return w.settles() && w.until("rest", w.resting)
}

// settles waits until the cluster serves on every node. What is asked for too early may be refused.
func (w *world) settles() bool {
	for range 50 {
		if w.serves() || len(w.check.violated) > 0 {
			return len(w.check.violated) == 0
		}
	}
	w.check.violate("not every node serves: %s", w.status())
	return false
}

func (w *world) status() string {
	var b strings.Builder
	for _, m := range w.machines {
		if m.process == nil {
			fmt.Fprintf(&b, "%s down (%v) ", m.name, m.broken)
			continue
		}
		s := m.process.node.Status()
		fmt.Fprintf(&b, "%s %s term %d applied %d of %d..%d commit %d calls %d; ", m.name, s.Role, s.Term,
			s.Applied, s.FirstIndex, s.LastIndex, s.CommitIndex, len(m.process.calls))
	}
	return b.String()
}

// verdict judges the run as a whole: what is there now against what clients were told, without the
// model where that is possible.
func (w *world) verdict() {
	least, most := map[string]int64{}, map[string]int64{}
	for _, x := range w.calls {
		if x.outcome == pending {
			w.check.violate("%s", x)
		}
		for key, sum := range x.adds {
			if x.outcome == acked {
				least[key] += sum
			}
			if x.outcome != refused {
				most[key] += sum
			}
		}
	}
	most["once"] = int64(w.lastRequest)
	least["once"] = int64(w.lastRequest) - int64(len(w.requests))
	for token, times := range w.check.model.effects {
		var call int
		if _, err := fmt.Sscanf(token, "%d.", &call); err != nil || times > 1 ||
			w.calls[call].outcome == refused {
			w.check.violate("value %s was written %d times, %s", token, times, w.calls[call])
		}
	}
	for _, p := range w.running() {
		w.final(p, least, most)
	}
	w.stats.terms = w.check.entries[len(w.check.entries)-1].Term
}

// final looks at everything that a node holds.
func (w *world) final(p *process, least, most map[string]int64) {
	index, _ := p.storage.Applied()
	values, err := w.everything(p)
	if err != nil && !p.excused() {
		w.check.violate("%s: %v", p, err)
	}
	if err != nil {
		return
	}
	for key, v := range values {
		w.check.value(p, index, []byte(key), v)
		if _, counted := most[key]; !counted {
			continue
		}
		var sum int64
		if _, err := fmt.Sscan(string(v.Bytes), &sum); v.Type != op.TypeNone && err != nil ||
			sum < least[key] || sum > most[key] {
			w.check.violate("%s: %s is %s, and %d to %d was added", p, key, v.Bytes, least[key], most[key])
		}
	}
	for key, sum := range least {
		if sum != 0 && len(w.check.model.keys[key]) == 0 {
			w.check.violate("%s: %s is not there, and %d was added", p, key, sum)
		}
	}
}

// everything reads all keys from a node, in a step of its own.
func (w *world) everything(p *process) (map[string]op.Value, error) {
	values, err := map[string]op.Value{}, error(nil)
	p.do(func() {
		view := p.node.View(true)
		defer view.Close()
		for key := range w.check.model.keys {
			if values[key], err = view.Get(0, []byte(key), nil); err != nil {
				return
			}
		}
	})
	if p.failed.Load() {
		return nil, p.reason
	}
	return values, err
}
