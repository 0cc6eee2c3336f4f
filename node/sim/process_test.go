package sim

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"kelek/node"
	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store"
	"kelek/store/op"
)

// machine is a computer: it has a disk, and a process while it runs.
type machine struct {
	w        *world
	id       raftcore.NodeID
	name     string
	disk     *disk
	last     *disk // that of the process before; nil: there was none
	promised *promises
	boot     uint64
	process  *process      // nil: down
	asks     wire.JoinKind // what it wants to become
	joins    []op.Member   // whom it was told of when it was let in
	skew     raftcore.LogTime
	ahead    raftcore.Instant // of where its clock should be
	rate     raftcore.Instant // its clock runs faster than the slowest by so much, in parts per thousand
	stalled  int              // for so many rounds no sync ends
	damaged  bool             // its disk is, so it may end by that
	broken   error            // why it does not run and is not started again
}

func (w *world) newMachine(id raftcore.NodeID, name string) *machine {
	m := &machine{w: w, id: id, name: name, promised: &promises{}, asks: wire.JoinVoter,
		disk: newDisk(vfs.NewCrashableMem(), w.rng.Uint64())}
	w.machines = append(w.machines, m)
	return m
}

func (m *machine) self() op.Member {
	return op.Member{ID: uint64(m.id), Name: m.name, PeerAddr: m.name + ":7380", Addr: m.name + ":6380"}
}

// process is one start of a machine. What it does happens on a goroutine of its own, one step at a
// time while the world waits; so when a step ends in the middle, because the process has, the world
// goes on, and the rest of that step is heard by nobody.
type process struct {
	w       *world
	m       *machine
	node    *node.Node
	driver  *node.Driver
	storage *recorder
	disk    *disk
	calls   map[*call]bool  // without an outcome
	ctx     context.Context // ends with the process
	cancel  context.CancelFunc

	steps  chan func()
	ended  chan struct{} // after each step
	within bool          // a step that was begun has not been seen to end
	dies   sync.Once     // several goroutines may fail at once
	died   chan struct{} // closed by fatal
	failed atomic.Bool   // fatal was called
	reason error         // why; written before failed
	gone   bool          // the world has taken note of the end

	lingering bool // after a failure, and after the step that it was in
}

func (p *process) String() string { return fmt.Sprintf("%s(boot %d)", p.m.name, p.m.boot) }

// mute reports that nothing this process says counts. Called with the world's lock.
func (p *process) mute() bool { return p.gone || p.failed.Load() || p.disk.cut.Load() }

// excused: it has reason to say that it cannot read something, or to end.
func (p *process) excused() bool { return p.m.damaged || p.disk.hit() != "" }

// fatal is where the real process exits. This one goes on, so that it can be seen to be silent.
func (p *process) fatal(err error) {
	p.dies.Do(func() {
		p.reason = err
		p.failed.Store(true)
		close(p.died)
	})
}

// do takes a step. It returns early when the process dies of it.
func (p *process) do(step func()) {
	p.within = true
	p.steps <- step
	p.w.mu.Unlock()
	defer p.w.mu.Lock()
	select {
	case <-p.ended:
		p.within = false
	case <-p.died:
	}
}

func (p *process) run() {
	for step := range p.steps {
		p.safely(step)
		p.ended <- struct{}{}
	}
}

// safely makes a panic a finding, and the end of the process.
func (p *process) safely(step func()) {
	defer func() {
		if cause := recover(); cause != nil {
			p.w.mu.Lock()
			p.w.check.violate("%s panics: %v\n%s", p, cause, debug.Stack())
			p.w.mu.Unlock()
			p.fatal(fmt.Errorf("panic: %v", cause))
		}
	}()
	step()
}

// start boots a machine that is down.
func (m *machine) start() {
	w := m.w
	if len(m.joins) == 0 && !w.founders.IsVoter(m.id) {
		return // it waits to be invited
	}
	m.boot++
	p := &process{w: w, m: m, disk: m.disk, calls: map[*call]bool{}, steps: make(chan func(), 1),
		ended: make(chan struct{}, 2), died: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	m.process = p
	go p.run()
	var err error
	p.do(func() { err = p.open() })
	switch {
	case p.failed.Load():
		w.note("%s fails at its start: %v", p, p.reason)
		w.failed(p, p.reason)
	case m.disk.cut.Load():
		w.stats.cutAtStart++
		w.bury(p)
	case err != nil && w.random && m.disk.hit() != "": // it may be started again
		w.note("%s does not start: %v", p, err)
		w.stats.errors++
		w.bury(p)
	case err != nil:
		w.note("%s does not start: %v", p, err)
		m.broken = err
		m.process = nil
		p.cancel()
		close(p.steps)
	default:
		w.note("%s starts: %s", p, p.storage.Restored().Last)
		w.connected(m)
	}
}

// open is the start of a real node, from the databases on.
func (p *process) open() error {
	w, m := p.w, p.m
	s, err := store.Open("data", store.Options{FS: m.disk.fs(), Logger: zerolog.Nop(), Fatal: p.fatal,
		LogMemTableBytes: 256 << 10, StateMemTableBytes: 256 << 10, GatherBytes: 4 << 10, CacheBytes: 1 << 20,
		RowBytes: 1 << 16, CompactBytesMin: 1, TailBytesMax: 4 << 10})
	if err != nil {
		return err
	}
	p.storage = newRecorder(s, p)
	restored := s.Restored()
	if err := m.promised.kept(&restored); err != nil && w.trusting {
		w.mu.Lock()
		w.check.violate("%s: %v", p, err)
		w.mu.Unlock()
	}
	p.storage.note(func(x *promises) { x.found(&restored) })
	if p.node, err = node.New(p.options(), p.storage); err != nil {
		return err
	}
	formed := node.FormResult{ClusterID: clusterID, Members: m.joins}
	if restored.Last.Index == 0 && w.founders.IsVoter(m.id) {
		if formed.First, err = p.found(); err != nil {
			return err
		}
	}
	p.driver, err = p.node.Drive(&endpoint{w, p}, formed)
	return err
}

// found writes the first entry of the cluster. The power may go meanwhile, so that the next start
// finds nothing, and does it again.
func (p *process) found() (*raftcore.Entry, error) {
	first := raftcore.Entry{Pos: raftcore.Pos{Term: 1, Index: 1}, Kind: raftcore.EntryConfig,
		Stamp: startClock, Data: raftcore.EncodeConfig(p.w.founders)}
	if err := node.AppendFirst(p.storage.Storage, first); err != nil {
		return nil, err
	}
	p.storage.note(func(x *promises) { x.extend([]raftcore.Pos{first.Pos}) })
	return &first, nil
}

func (p *process) options() node.Options {
	w, m := p.w, p.m
	drift := 0
	if w.leases {
		drift = clockDrift
	}
	return node.Options{
		LeaseDrift: drift,
		Self:       m.self(), Boot: m.boot, Seed: w.seed<<16 + uint64(m.id)<<8 + m.boot, Logger: zerolog.Nop(),
		ElectionTimeout: 100 * time.Millisecond, Heartbeat: 20 * time.Millisecond,
		FastElection: 20 * time.Millisecond, RequestTimeout: time.Second,
		PromoteAfter: 300 * time.Millisecond,
		LogKeepBytes: 3 << 10, FlushLogBytes: 1 << 10,
		Limits: node.Limits{CompactEntriesMin: 10, LogTailBytesMax: 4 << 10, ApplyBatchBytesMax: 2 << 10},
		Clock: func() (raftcore.Instant, raftcore.LogTime) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.now + w.now*m.rate/1000 + m.ahead,
				startClock + raftcore.LogTime(w.now/raftcore.Millisecond) + m.skew
		},
	}
}

// clockDrift is by how much one clock runs faster than another, in parts per thousand, and what
// leases allow for.
const clockDrift = 50

const startClock raftcore.LogTime = 1_700_000_000_000

var clusterID = [16]byte{1}

func (m *machine) hello() wire.Hello {
	self := m.self()
	h := wire.Hello{NodeID: m.id, Boot: max(m.boot, 1), Name: self.Name, PeerAddr: self.PeerAddr,
		Addr: self.Addr}
	if m.process != nil {
		h.ClusterID = clusterID
	}
	if !m.w.check.model.known[m.id] {
		h.Join = m.asks
	}
	return h
}

// bury ends a process whose end has come, and leaves its machine with the disk that it left.
func (w *world) bury(p *process) {
	m := p.m
	p.gone = true
	p.cancel()
	m.process = nil
	for x := range p.calls {
		x.unknown()
	}
	m.disk.cutPower(w.kept()) // unless the power has gone before
	if p.failed.Load() {
		go p.linger()
	} else {
		p.end()
	}
	m.last, m.disk = m.disk, m.disk.next()
	w.disconnected(m)
}

// end lets a process close its databases, and takes no further step of it.
func (p *process) end() {
	if p.node != nil {
		p.do(p.close)
	}
	close(p.steps)
}

// close gives back what the databases hold. What it does to their disk is seen by nobody, and so is
// what fails: a database may find that its disk was lying, or is broken.
func (p *process) close() {
	if p.driver != nil {
		p.driver.Close()
	}
	_ = p.storage.Close()
}

// linger takes some steps after the first failure: a node that answers now speaks of what it does
// not know. It may block in a lock that Pebble has died with.
func (p *process) linger() {
	if p.within {
		<-p.ended
	}
	close(p.steps)
	if p.driver == nil {
		return
	}
	p.w.mu.Lock()
	p.lingering = true
	p.w.mu.Unlock()
	p.safely(func() {
		for range 5 {
			for j := range node.Jobs {
				p.driver.Do(node.Job(j))
			}
		}
	})
	p.w.mu.Lock()
	p.w.stats.lingered++
	p.w.mu.Unlock()
}
