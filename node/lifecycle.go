package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"kelek/raftcore"
	"kelek/store/op"
)

// lifecycle is the part of a Node that starts and ends it. Safe for every goroutine.
//
//	created --Start--> serving --Stop--> stopping -> stopped
//	                      └-----a storage error-----> broken: nothing is answered any more
type lifecycle struct {
	phase    atomic.Int32
	forming  atomic.Bool // heldUntilStart has a timer
	failure  atomic.Pointer[error]
	broken   chan struct{} // closed with the first failure
	halt     chan struct{} // closed to end the loop
	haltOnce sync.Once
	loopDone chan struct{} // the loop has ended; who stopped it owns its fields now
	quiet    chan struct{} // closed by the loop: nothing is in flight any more
	removed  chan struct{} // closed with the first proof that the cluster has removed this node
	removal  atomic.Pointer[error]
	finish   chan struct{}   // closed after the loop: helpers end when nothing waits
	fetches  context.Context // ends with the loop: nothing is fetched any more
	endFetch context.CancelFunc
	done     chan struct{} // everything has ended
	doneOnce sync.Once
	helpers  sync.WaitGroup
}

const (
	created int32 = iota
	serving
	stopping
	stopped
)

func (l *lifecycle) init() {
	l.broken = make(chan struct{})
	l.halt = make(chan struct{})
	l.loopDone = make(chan struct{})
	l.quiet = make(chan struct{})
	l.removed = make(chan struct{})
	l.finish = make(chan struct{})
	l.fetches, l.endFetch = context.WithCancel(context.Background())
	l.done = make(chan struct{})
}

func (l *lifecycle) failed() bool { return l.failure.Load() != nil }

func (l *lifecycle) stopLoop() { l.haltOnce.Do(func() { close(l.halt) }) }

func (n *Node) started() bool { return n.lifecycle.phase.Load() != created }

// refusing says why nothing is accepted now; nil when it is.
func (n *Node) refusing() error {
	switch phase := n.lifecycle.phase.Load(); {
	case n.Removal() != nil:
		return op.ErrStopping
	case phase == serving, phase == created: // held
		return nil
	}
	return op.ErrStopping
}

// heldUntilStart sees to it that what was accepted before Start does not wait for longer than the
// request timeout, though no loop runs yet. What came later than the first goes along with it: it
// is a certain no in any case.
func (n *Node) heldUntilStart() {
	if n.started() || !n.lifecycle.forming.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(n.options.RequestTimeout, func() {
		n.lifecycle.forming.Store(false)
		if !n.started() {
			n.refuseUntaken(op.ErrNoLeader)
		}
	})
}

// refuseUntaken ends what waits in the channels of clients and never got to the loop.
func (n *Node) refuseUntaken(err error) {
	n.submissions.each(func(s *op.Submission) {
		n.submissions.release(1, len(s.Ops))
		s.Sink.Resolve(err)
	})
	n.reads.each(func(r *op.ReadRequest) {
		n.reads.release(1, 0)
		r.Resolve(err)
	})
}

// refuseForGood closes the channels of clients: what was accepted before is in them, and is told
// here; what comes later is told by Propose and Read.
func (n *Node) refuseForGood() {
	n.submissions.close()
	n.reads.close()
	n.refuseUntaken(op.ErrStopping)
}

// Start makes the node a member of the cluster that Form entered, and runs it until Stop. The
// transport may deliver to the node before.
func (n *Node) Start(t Transport, formed FormResult) error {
	if err := n.prepare(t, formed); err != nil {
		return err
	}
	n.startHelpers()
	n.lifecycle.phase.Store(serving)
	go n.run()
	return nil
}

// prepare is Start without goroutines. helpers must be set before the first turn.
func (n *Node) prepare(t Transport, formed FormResult) error {
	if formed.First != nil {
		if err := withFirst(&n.restored, formed.First); err != nil {
			return err
		}
	}
	core, err := raftcore.New(n.options.core(), n.restored)
	if err != nil {
		return err
	}
	n.core, n.transport = core, t
	n.clusterID, n.founders = formed.ClusterID, formed.Members
	n.appliedIndex = n.restored.Applied
	n.postedApplied.number.Store(uint64(n.restored.Applied))
	n.restored.Tail = nil // the core has its copy
	n.passConfig(&n.restored.Snapshot.Config)
	n.passConfigs(raftcore.Range{First: 1, Last: n.restored.Applied})
	n.joining.joined = n.wasMember(&n.restored)
	var status raftcore.Status
	core.Status(&status)
	n.term, n.config = status.Term, cloneConfig(&status.Config)
	n.origin.leaderless = true
	n.winding.deadline = never
	n.seen.stale = true
	n.now, n.clock = n.options.Clock()
	n.membersChanged()
	return nil
}

// withFirst adds the entry that Form has just written to what the log held when it was opened.
func withFirst(r *raftcore.Restored, first *raftcore.Entry) error {
	if r.Last.Index != 0 {
		return fmt.Errorf("node: the log ends with %s, so %s cannot be its first entry",
			r.Last, first.Pos)
	}
	config, err := raftcore.DecodeConfig(first.Data)
	if err != nil {
		return fmt.Errorf("node: first configuration: %w", err)
	}
	r.HardState.Term = max(r.HardState.Term, first.Term)
	r.Last, r.LastStamp = first.Pos, first.Stamp
	r.Runs = []raftcore.TermRun{{First: first.Index, Term: first.Term}}
	r.Configs = []raftcore.ConfigAt{{Pos: first.Pos, Config: config}}
	r.Tail = []raftcore.Entry{*first}
	return nil
}

// AppendFirst writes the first entry of a new cluster and waits until it is durable. It is what
// FormOptions.Append needs; the node must not have been started.
func AppendFirst(s Storage, first raftcore.Entry) error {
	hard := raftcore.HardState{Term: first.Term}
	w := raftcore.Write{HardState: &hard, Append: []raftcore.Entry{first}, Sync: true}
	wait, err := s.Write(&w)
	if err != nil {
		return err
	}
	return wait()
}

// crew is what works around the loop: production gives each of it a goroutine, a Driver none.
type crew struct {
	writer    *logWriter
	apply     *worker[*applyTask]
	load      *worker[raftcore.LoadRequest]
	chores    *worker[choreRequest]
	snapshots *worker[snapshotTask]
	fetches   *worker[*fetchTask]
}

// newCrew makes the helpers hand their work to a crew.
func (n *Node) newCrew() *crew {
	c := &crew{
		writer:    newLogWriter(n),
		apply:     newWorker((&applier{node: n}).apply),
		load:      newWorker(n.doLoads),
		chores:    newWorker(n.doChores),
		snapshots: newWorker(n.doSnapshots),
		fetches:   newWorker(n.doFetches),
	}
	n.helpers = helpers{
		write:  c.writer.starter.hand,
		apply:  c.apply.hand,
		load:   c.load.hand,
		chores: c.chores.hand,

		snapshot: c.snapshots.hand,
		fetch:    c.fetches.hand,
		compact: func(upTo raftcore.Index) {
			t := n.writeTasks.Get().(*writeTask)
			*t = writeTask{compact: upTo}
			n.helpers.write(t)
		},
	}
	return c
}

// startHelpers starts the goroutines around the loop.
func (n *Node) startHelpers() {
	c, l := n.newCrew(), &n.lifecycle
	l.helpers.Add(7)
	go c.writer.run(l.finish, &l.helpers)
	go c.writer.await(&l.helpers)
	go c.apply.run(l.finish, l.broken, &l.helpers)
	go c.load.run(l.finish, l.broken, &l.helpers)
	go c.chores.run(l.finish, l.broken, &l.helpers)
	go c.snapshots.run(l.finish, l.broken, &l.helpers)
	go c.fetches.run(l.finish, l.broken, &l.helpers)
}

// fail stops the node because of an error after which nothing it says could be trusted. Nobody is
// answered any more: clients see their connections close with the process.
func (n *Node) fail(err error) {
	if !n.lifecycle.failure.CompareAndSwap(nil, &err) {
		return
	}
	n.logger.Error().Err(err).Msg("the node stops and answers nothing any more")
	close(n.lifecycle.broken)
	n.lifecycle.endFetch()
	n.lifecycle.stopLoop()
	n.lifecycle.doneOnce.Do(func() { close(n.lifecycle.done) })
}

// Done is closed when the node has ended, by Stop or by a failure; Err then says which.
func (n *Node) Done() <-chan struct{} { return n.lifecycle.done }

// Err is why the node stopped by itself; nil if it did not.
func (n *Node) Err() error {
	if err := n.lifecycle.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// winding is the loop's way down, once Stop was called.
type winding struct {
	handOver raftcore.Instant // until then another leader is waited for
	deadline raftcore.Instant // when to look again though nothing happens; never without a stop
	done     bool
}

// Stop ends the node in order: nothing new is accepted (ErrStopping), leadership goes to the most
// caught-up voter, and what is in flight gets its outcome. What has none when ctx ends is told
// ErrUncertain, or ErrStopping if it certainly will not happen. When Stop returns every submission
// and read has been resolved, unless the node had failed, and no goroutine of the node runs. The
// transport must still work meanwhile; it and the storage are closed by who opened them.
func (n *Node) Stop(ctx context.Context) error {
	l := &n.lifecycle
	if l.phase.CompareAndSwap(created, stopped) {
		n.refuseForGood()
		l.doneOnce.Do(func() { close(l.done) })
		return nil
	}
	if !l.phase.CompareAndSwap(serving, stopping) {
		<-l.done
		return n.Err()
	}
	n.wakeUp()
	select {
	case <-l.quiet:
	case <-l.broken:
	case <-ctx.Done():
	}
	l.stopLoop()
	<-l.loopDone
	unknown := n.answerRest()
	l.endFetch()
	close(l.finish)
	l.helpers.Wait()
	l.phase.Store(stopped)
	l.doneOnce.Do(func() { close(l.done) })
	if err := n.Err(); err != nil {
		return err
	}
	if unknown > 0 {
		return fmt.Errorf("node: stopped with %d writes whose outcome is not known: %w",
			unknown, ctx.Err())
	}
	return nil
}

// beginStop runs in the first turn after Stop was called.
func (n *Node) beginStop() {
	if n.stopping || n.lifecycle.phase.Load() != stopping {
		return
	}
	n.stopping = true
	n.seen.stale = true
	n.winding.deadline = n.now
	if n.core.TransferLeadership(0) == nil {
		n.winding.handOver = n.now + transferTimeouts*n.electionTimeout
		n.logger.Info().Msg("stopping: hands leadership over")
	}
}

// windDown refuses what was never proposed, and tells Stop when nothing is in flight and another
// node leads.
func (n *Node) windDown() {
	if !n.stopping || n.winding.done || n.lifecycle.failed() {
		return
	}
	n.refuseWaiting(op.ErrStopping)
	n.winding.deadline = n.now + raftcore.Instant(retryInterval)
	busy := n.origin.expired < n.origin.window.len() || n.reading.awaited()
	if busy || n.leading() && n.now < n.winding.handOver {
		return
	}
	n.winding.done, n.winding.deadline = true, never
	close(n.lifecycle.quiet)
}

// answerRest runs after the loop, and resolves everything that waits. It returns how many
// submissions had to be told that their outcome is not known.
func (n *Node) answerRest() (unknown int) {
	if n.lifecycle.failed() {
		return 0
	}
	n.refuseForGood()
	n.refuseWaiting(op.ErrStopping)
	n.refuseReads(op.ErrStopping)
	return n.tellUnknown()
}

// refuseWaiting ends what has no number.
func (n *Node) refuseWaiting(err error) {
	for n.origin.waiting.len() > 0 {
		n.refuseOldest(err)
	}
}

// tellUnknown ends the wait for what has a number, and returns for how many submissions. The
// proposals stay in the window: their entries may still come.
func (n *Node) tellUnknown() (unknown int) {
	o := &n.origin
	for ; o.expired < o.window.len(); o.expired++ {
		p := *o.window.at(o.expired)
		unknown += len(p.parts) - p.told
		p.resolve(n.uncertain(p))
	}
	n.counters.uncertain += uint64(unknown)
	return unknown
}
