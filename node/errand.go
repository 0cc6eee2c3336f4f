package node

import (
	"sync/atomic"

	"kelek/raftcore"
	"kelek/store/op"
)

// errand is an op that this node proposes for itself, one at a time. It takes the same way as those
// of clients, so that it is numbered, re-sent and executed once like them.
type errand struct {
	busy       atomic.Bool
	done       bool  // it was run since succeeded was last asked; written by the loop
	err        error // of the last one; the loop reads it while busy is false
	submission op.Submission
	wake       func()
}

// Applied implements op.Sink.
func (e *errand) Applied(int, *op.Result, op.View) {}

// Resolve implements op.Sink. Whatever the outcome is, the loop looks again whether there is
// something to do.
func (e *errand) Resolve(err error) {
	e.err = err
	e.busy.Store(false)
	e.wake()
}

// succeeded reports, once, that the last errand took effect.
func (e *errand) succeeded() bool {
	if e.busy.Load() || !e.done {
		return false
	}
	e.done = false
	return e.err == nil
}

// Gone implements op.Sink.
func (e *errand) Gone() bool { return false }

// run submits x, unless the last errand is still under way.
func (e *errand) run(n *Node, x *op.Op) bool {
	if !e.busy.CompareAndSwap(false, true) {
		return false
	}
	e.wake, e.done = n.wakeUp, true
	e.submission = op.Submission{Ops: x.Append(nil), Count: 1, Sink: e}
	if n.submissions.put(&e.submission, 1, len(e.submission.Ops)) != putAccepted {
		e.done = false
		e.busy.Store(false)
		return false
	}
	return true
}

// purging deletes keys whose deadline has passed. The leader alone proposes it, against its clock,
// which is the one that log time follows; every node then deletes the same keys at the same place
// of the log.
type purging struct {
	errand  errand
	last    raftcore.LogTime // the deadline that caused the last purge
	lastEnd raftcore.Instant // when that one may be repeated
}

// maybePurge proposes a purge as soon as a deadline has passed, so that a TTL is accurate to a few
// milliseconds.
func (n *Node) maybePurge() {
	p := &n.purging
	at := n.nextPurge()
	if at > n.now {
		return
	}
	p.last = n.storage.NextDeadline()
	p.lastEnd = n.now + raftcore.Instant(purgeAgain)
	p.errand.run(n, &op.Op{Code: op.CodePurge, Delta: int64(n.options.Limits.PurgeKeysMax)})
}

// nextPurge is when the next purge is due on this node.
func (n *Node) nextPurge() raftcore.Instant {
	p := &n.purging
	if !n.leading() || n.stopping || p.errand.busy.Load() {
		return never
	}
	due := n.storage.NextDeadline()
	switch {
	case due == 0:
		return never
	case due > n.clock:
		return n.now + raftcore.Instant(due-n.clock)*raftcore.Millisecond
	case due == p.last:
		return p.lastEnd
	}
	return n.now
}

func (n *Node) purgeDeadline() raftcore.Instant { return n.nextPurge() }
