package node

import (
	"time"

	"kelek/raftcore"
)

// run owns the core, the proposals and the counters: no other goroutine touches them. Whatever
// comes first ends the wait and begins a turn; gather takes what else waits by then, so that a
// burst is one turn, one write and one message per peer, whichever arm won.
func (n *Node) run() {
	defer close(n.lifecycle.loopDone)
	defer n.closeInputs()
	n.alarm = newAlarm()
	defer n.alarm.timer.Stop()
	for {
		select {
		case <-n.alarm.timer.C:
			n.tick().alarm.rang()
		case x := <-n.inbox.items:
			n.tick().takeMessages(x)
		case <-n.postedDurable.news:
			n.tick().takeDurable()
		case <-n.postedApplied.news:
			n.tick().takeApplied()
		case x := <-n.events.items:
			n.tick().takeEvent(x)
		case x := <-n.loads.items:
			n.tick().takeLoad(x)
		case x := <-n.reports.items:
			n.tick().takeReport(x)
		case x := <-n.snapshots.items:
			n.tick().takeNews(x)
		case x := <-n.forwarded.items:
			n.tick().takeForwarded(x)
		case x := <-n.tasks.items:
			n.tick().takeTask(x)
		case x := <-n.submissions.items:
			n.tick().takeSubmission(x)
		case x := <-n.reads.items:
			n.tick().takeRead(x)
		case <-n.wake:
			n.tick()
		case <-n.lifecycle.halt:
			return
		}
		n.gather()  // what else is waiting already
		n.advance() // the only place where effects leave the core
		n.finish()
		n.alarm.set(n.now, n.deadline())
	}
}

// turn is what run does at one instant, for whoever has no select: tests and simulators.
func (n *Node) turn() {
	n.tick()
	n.gather()
	n.advance()
	n.finish()
}

// tick begins a turn: it reads the clocks, once, and does what is due. It returns n for the arm
// that is taken next.
func (n *Node) tick() *Node {
	n.now, n.clock = n.options.Clock()
	n.core.Tick(n.now, n.clock)
	n.beginStop()
	n.progressTimedOut()
	n.maybeStartChores()
	return n
}

// gather takes what waits, up to the limits of the mailboxes, and never waits itself. Numbers that
// move others forward come before what they might unblock.
func (n *Node) gather() {
	discard(n.wake)
	n.inbox.each(n.takeMessages)
	n.takeDurable()
	n.takeApplied()
	n.events.each(n.takeEvent)
	n.loads.each(n.takeLoad)
	n.reports.each(n.takeReport)
	n.snapshots.each(n.takeNews)
	n.forwarded.each(n.takeForwarded)
	n.tasks.each(n.takeTask)
	n.submissions.each(n.takeSubmission)
	n.reads.each(n.takeRead)
}

func (n *Node) takeMessages(x letter) {
	n.inbox.release(len(x.messages), x.bytes)
	for i := range x.messages {
		m := &x.messages[i]
		if m.From != x.from {
			n.counters.misdirected++
			continue
		}
		n.heard(m)
		n.core.Step(m)
	}
}

func (n *Node) takeDurable() {
	if seq := raftcore.Seq(n.postedDurable.take()); seq != n.durableSeq {
		n.durableSeq = seq
		n.core.Durable(seq)
		n.maybeInstalled()
	}
}

func (n *Node) takeApplied() {
	if index := raftcore.Index(n.postedApplied.take()); index > n.appliedIndex {
		if n.appliedIndex == 0 {
			n.seen.stale = true // the node is ready now: who waits for it shall not wait longer
		}
		n.appliedIndex = index
		n.core.Applied(index)
	}
}

func (n *Node) takeEvent(x event) {
	n.events.release(1, 0)
	n.connectionChanged(&x)
}

// finish ends a turn.
func (n *Node) finish() {
	n.expire()
	n.windDown()
	n.refreshStatus()
}

// expire answers what has waited for too long, after the turn had its chance to answer it.
func (n *Node) expire() {
	if n.lifecycle.failed() {
		return
	}
	n.refuseLeaving()
	n.expireSubmissions()
	n.expireReads()
}

// deadline is when the next turn has something to do though nothing happens.
func (n *Node) deadline() raftcore.Instant {
	return min(n.core.Deadline(), n.proposalDeadline(), n.readDeadline(), n.purgeDeadline(),
		n.manageDeadline(), n.snapshotting.lookAt, n.keeping.next, n.winding.deadline,
		n.hintDeadline())
}

// alarm is the timer of the loop. It is set anew only when it would fire too late: firing early
// costs a turn, and setting it costs as much in every turn.
type alarm struct {
	timer *time.Timer
	at    raftcore.Instant // when it fires; 0: it has fired
}

func newAlarm() alarm { return alarm{timer: time.NewTimer(0)} }

// minSleep keeps a deadline that lies in the past from turning the loop into a busy one.
const minSleep = 100 * raftcore.Microsecond

func (a *alarm) set(now, at raftcore.Instant) {
	if now < a.at && a.at <= at {
		return
	}
	a.at = max(at, now+minSleep)
	a.timer.Reset(time.Duration(a.at - now))
}

func (a *alarm) rang() { a.at = 0 }
