package node

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kelek/raftcore"
	"kelek/store/op"
)

// stop does what Stop does before it waits.
func (m *member) stop() { m.node.lifecycle.phase.Store(stopping) }

func (m *member) isQuiet() bool {
	select {
	case <-m.node.lifecycle.quiet:
		return true
	default:
		return false
	}
}

// Nobody waits for a node that waits for nobody: it leads, applies and says so within no time.
func TestSingleVoterServesAtOnce(t *testing.T) {
	c := newCluster(t, 1, nil)
	m := c.members[0]
	for range 2 {
		x := m.incr("k", 1)
		c.settle()
		if x.resolved != 1 || x.err != nil {
			t.Fatalf("resolved %d times with %v", x.resolved, x.err)
		}
		if s := m.node.Status(); s.Role != "leader" || s.Applied == 0 {
			t.Fatalf("status says %s, applied %d", s.Role, s.Applied)
		}
		m.crash(0)
		m.start()
	}
}

func TestStoppingLeaderHandsOverAndFinishesWhatIsInFlight(t *testing.T) {
	c := newCluster(t, 3, nil)
	old := c.leader()
	c.pass(time.Second)
	x := old.incr("k", 1)
	r := old.read("k")
	old.node.turn() // numbered
	old.stop()
	refused(t, old.incr("k", 1), op.ErrStopping)
	start := c.now
	c.until("quiet", old.isQuiet)
	if took := time.Duration(c.now - start); took > 200*time.Millisecond {
		t.Fatalf("handing over took %s", took)
	}
	answered(t, x, 1)
	if r.resolved != 1 || r.err != nil {
		t.Fatalf("the read: %d, %v", r.resolved, r.err)
	}
	if old.node.leading() {
		t.Fatal("still leads")
	}
	if !old.node.Status().Stopping {
		t.Fatal("status does not say that it stops")
	}
	if next := c.leader(); next == old {
		t.Fatal("nobody else leads")
	}
}

func TestStoppingWithoutAQuorumTellsWhatIsUnknown(t *testing.T) {
	c := newCluster(t, 3, nil)
	m := c.leader()
	c.pass(time.Second)
	c.isolate(m.id)
	numbered := m.incr("k", 1)
	m.node.turn()
	c.pass(3 * time.Second)
	waiting := m.incr("k", 1)
	late := m.read("k")
	m.node.turn()
	m.stop()
	c.pass(time.Second)
	refused(t, waiting, op.ErrStopping)
	if m.isQuiet() || numbered.resolved != 0 {
		t.Fatal("something without an outcome was taken for done")
	}
	if unknown := m.node.answerRest(); unknown != 1 {
		t.Fatalf("%d unknown outcomes, want 1", unknown)
	}
	refused(t, numbered, op.ErrUncertain)
	if late.resolved != 1 || late.err != op.ErrStopping {
		t.Fatalf("the read: %d, %v", late.resolved, late.err)
	}
	refused(t, m.incr("k", 1), op.ErrStopping)
}

// forming is a node that was not started, and who waits for a command and a read of it.
func forming(t *testing.T, requestTimeout time.Duration) (*Node, *waiter) {
	t.Helper()
	n, err := New(Options{Self: op.Member{ID: 1, Name: "n1"}, Boot: 1,
		ElectionTimeout: 20 * time.Millisecond, Heartbeat: 5 * time.Millisecond,
		RequestTimeout: requestTimeout}, newFakeStorage())
	if err != nil {
		t.Fatal(err)
	}
	w := &waiter{done: make(chan error, 2)}
	n.Propose(&op.Submission{Ops: []byte{9, 0}, Count: 1, Sink: w})
	n.Read(&op.ReadRequest{Resolve: w.Resolve})
	return n, w
}

// A node that is still forming holds commands as one without a leader does.
func TestBeforeStartCommandsAreHeld(t *testing.T) {
	n, w := forming(t, 50*time.Millisecond)
	n.Messages(2, []raftcore.Message{{From: 2, To: 1}})
	n.Forwarded(2, []byte{1})
	if s := n.Status(); s.Role != "forming" || len(s.Members) != 1 {
		t.Fatalf("status %+v", s)
	}
	for range 2 { // at the request timeout
		if err := <-w.done; err != op.ErrNoLeader {
			t.Fatalf("resolved with %v", err)
		}
	}
	n, w = forming(t, time.Hour)
	if err := n.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-w.done; err != op.ErrStopping {
			t.Fatalf("resolved with %v", err)
		}
	}
	<-n.Done()
	if n.Now() == 0 {
		t.Fatal("the clock stands")
	}
}

func TestHeldCommandsAreDoneOnceTheNodeHasStarted(t *testing.T) {
	storage := newFakeStorage()
	w := &waiter{done: make(chan error, 1)}
	ops := (&op.Op{Code: op.CodeAdd, Key: []byte("k"), Delta: 1}).Append(nil)
	n := startReal(t, storage, func(n *Node) {
		n.Propose(&op.Submission{Ops: ops, Count: 1, Sink: w})
	})
	if err := <-w.done; err != nil || w.last.Load() != 1 {
		t.Fatalf("resolved with %v, result %d", err, w.last.Load())
	}
	if err := n.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// startReal runs a single node with its goroutines and the machine's clock.
func startReal(t testing.TB, s Storage, before func(*Node)) *Node {
	t.Helper()
	o := Options{Self: op.Member{ID: 1, Name: "n1", PeerAddr: "here"}, Boot: 1, Logger: zerolog.Nop(),
		ElectionTimeout: 20 * time.Millisecond, Heartbeat: 5 * time.Millisecond,
		FastElection: time.Millisecond}
	n, err := New(o, s)
	if err != nil {
		t.Fatal(err)
	}
	first := firstEntryOf(1)
	if err := AppendFirst(s, first); err != nil {
		t.Fatal(err)
	}
	if before != nil {
		before(n)
	}
	formed := FormResult{First: &first, Members: []op.Member{o.Self}}
	if err := n.Start(&fakeTransport{network: &fakeNetwork{}, self: 1}, formed); err != nil {
		t.Fatal(err)
	}
	return n
}

func firstEntryOf(voter raftcore.NodeID) raftcore.Entry {
	return raftcore.Entry{Pos: raftcore.Pos{Term: 1, Index: 1}, Kind: raftcore.EntryConfig, Stamp: 1,
		Data: raftcore.EncodeConfig(raftcore.Config{Voters: []raftcore.NodeID{voter}})}
}

// waiter is a Sink that a goroutine can wait for.
type waiter struct {
	last atomic.Int64
	done chan error
}

func (w *waiter) Applied(_ int, r *op.Result, _ op.View) { w.last.Store(r.Int) }
func (w *waiter) Resolve(err error)                      { w.done <- err }
func (w *waiter) Gone() bool                             { return false }

func TestRealGoroutinesAnswerEverySubmissionOnce(t *testing.T) {
	storage := newFakeStorage()
	n := startReal(t, storage, nil)
	const conns, each = 8, 50
	var running sync.WaitGroup
	for range conns {
		running.Add(1)
		go func() {
			defer running.Done()
			w := &waiter{done: make(chan error, 1)}
			ops := (&op.Op{Code: op.CodeAdd, Key: []byte("k"), Delta: 1}).Append(nil)
			for range each {
				n.Propose(&op.Submission{Ops: ops, Count: 1, Sink: w})
				if err := <-w.done; err != nil {
					t.Error(err)
				}
				floor := w.last.Load()
				n.Read(&op.ReadRequest{Resolve: func(err error) { w.done <- err }})
				if err := <-w.done; err != nil || storage.value("k") < floor {
					t.Errorf("read: %v, value %d after %d", err, storage.value("k"), floor)
				}
			}
		}()
	}
	running.Wait()
	if v := storage.value("k"); v != conns*each {
		t.Fatalf("value %d, want %d", v, conns*each)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if storage.waiting != 0 {
		t.Fatalf("%d writes were started and never waited for", storage.waiting)
	}
	if err := n.Stop(ctx); err != nil {
		t.Fatalf("the second Stop: %v", err)
	}
}

// Stop comes while everybody sends: each command gets one answer, and each acknowledged one counts.
func TestStopUnderLoadLeavesNobodyWaiting(t *testing.T) {
	storage := newFakeStorage()
	n := startReal(t, storage, nil)
	var running sync.WaitGroup
	var acked, unknown atomic.Int64
	for range 8 {
		running.Add(1)
		go func() {
			defer running.Done()
			w := &waiter{done: make(chan error, 2)}
			ops := (&op.Op{Code: op.CodeAdd, Key: []byte("k"), Delta: 1}).Append(nil)
			for ended := false; !ended; {
				n.Propose(&op.Submission{Ops: ops, Count: 1, Sink: w})
				switch err := <-w.done; {
				case err == nil:
					acked.Add(1)
				case errors.Is(err, op.ErrUncertain):
					unknown.Add(1)
				default:
					ended = err == op.ErrStopping
				}
				n.Read(&op.ReadRequest{Resolve: func(err error) { w.done <- err }})
				<-w.done
			}
			if len(w.done) != 0 {
				t.Error("a second answer")
			}
		}()
	}
	for acked.Load() < 100 {
		time.Sleep(time.Millisecond)
	}
	if err := n.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	running.Wait()
	v, low := storage.value("k"), acked.Load()
	if v < low || v > low+unknown.Load() {
		t.Fatalf("value %d, acknowledged %d, unknown %d", v, low, unknown.Load())
	}
}

// A peer's reader that waits since the inbox is full is let go when the loop has ended.
func TestFullInboxMakesReadersWaitUntilTheLoopEnds(t *testing.T) {
	c := newCluster(t, 1, func(o *Options) {
		o.Limits.InboxMessagesMax, o.Limits.InflightMessagesMax = 2, 1
	})
	n := c.leader().node
	var waiting sync.WaitGroup
	for range 3 {
		waiting.Add(1)
		go func() { defer waiting.Done(); n.Messages(2, make([]raftcore.Message, 1)) }()
	}
	for n.inbox.blocked() == 0 {
		time.Sleep(time.Millisecond)
	}
	if len(n.inbox.items) != 2 {
		t.Fatalf("%d letters in an inbox for 2", len(n.inbox.items))
	}
	n.closeInputs()
	waiting.Wait()
}

func TestRealGoroutinesEndAfterAFailure(t *testing.T) {
	storage := newFakeStorage()
	n := startReal(t, storage, nil)
	w := &waiter{done: make(chan error, 1)}
	ops := (&op.Op{Code: op.CodeAdd, Key: []byte("k"), Delta: 1}).Append(nil)
	n.Propose(&op.Submission{Ops: ops, Count: 1, Sink: w})
	if err := <-w.done; err != nil {
		t.Fatal(err)
	}
	storage.mu.Lock()
	storage.failAt["wait"] = 1
	storage.mu.Unlock()
	n.Propose(&op.Submission{Ops: ops, Count: 1, Sink: w})
	<-n.Done()
	if err := n.Stop(context.Background()); !errors.Is(err, errInjected) {
		t.Fatalf("Stop says %v", err)
	}
	select {
	case err := <-w.done:
		t.Fatalf("answered %v after the failure", err)
	default:
	}
}

func TestFirstEntryMustBeFirst(t *testing.T) {
	s := newFakeStorage()
	if err := AppendFirst(s, firstEntryOf(1)); err != nil {
		t.Fatal(err)
	}
	r := s.Restored()
	again := firstEntryOf(1)
	if err := withFirst(&r, &again); err == nil {
		t.Fatal("a second first entry was accepted")
	}
	var empty raftcore.Restored
	bad := raftcore.Entry{Pos: again.Pos, Kind: again.Kind, Data: []byte{255}}
	if err := withFirst(&empty, &bad); err == nil {
		t.Fatal("a configuration that cannot be read was accepted")
	}
	s.failAt["Write"] = 1
	if err := AppendFirst(s, again); !errors.Is(err, errInjected) {
		t.Fatalf("AppendFirst says %v", err)
	}
}
