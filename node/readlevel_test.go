package node

import (
	"errors"
	"testing"
	"time"

	"kelek/store/op"
)

// ask reads with a promise of its own.
func (m *member) ask(key string, level op.ReadLevel, maxAgeMs uint64) *reader {
	r := &reader{m: m, key: key}
	m.node.Read(&op.ReadRequest{Level: level, MaxAgeMs: maxAgeMs, Resolve: func(err error) {
		r.resolved++
		if r.err = err; err == nil {
			r.value = m.storage.value(key)
		}
	}})
	return r
}

// A stale read asks nobody: it is served by a node that is cut off, until its bound says no.
func TestStaleReadsAreServedAsLongAsTheyMayBe(t *testing.T) {
	c := newCluster(t, 3, nil)
	leader := c.leader()
	x := leader.incr("k", 1)
	c.until("the write", func() bool { return x.resolved > 0 })
	c.pass(time.Second)
	m := c.follower()
	c.isolate(m.id)
	rounds := m.node.counters.readRounds
	expect := func(when string, maxAgeMs uint64, fine bool) {
		t.Helper()
		r := m.ask("k", op.ReadStale, maxAgeMs)
		c.settle()
		var old op.TooStaleError
		switch {
		case r.resolved != 1:
			t.Fatalf("%s: resolved %d times", when, r.resolved)
		case fine && (r.err != nil || r.value != 1):
			t.Fatalf("%s: %v, value %d", when, r.err, r.value)
		case !fine && (!errors.As(r.err, &old) || old.AgeMs <= maxAgeMs || old.MaxAgeMs != maxAgeMs):
			t.Fatalf("%s: %v", when, r.err)
		}
	}
	expect("at once", 300, true)
	c.pass(400 * time.Millisecond)
	expect("after 400 ms", 300, false)
	expect("after 400 ms, with time", 1000, true)
	c.pass(3 * time.Second)
	expect("in an election", 1000, false)
	expect("without a bound", 0, true)
	if n := m.node.counters.readRounds - rounds; n != 0 {
		t.Fatalf("%d rounds were asked for", n)
	}
	c.heal()
	c.until("a leader", func() bool { return m.node.leader != 0 })
	c.pass(100 * time.Millisecond)
	expect("healed", 300, true)
	if m.node.reads.mu.Lock(); m.node.reads.count != 0 {
		t.Errorf("%d reads are still counted", m.node.reads.count)
	}
	m.node.reads.mu.Unlock()
}

// A node that was just started has heard of nobody, however young it is; a leader hears of itself
// by its quorum.
func TestAStaleReadNeedsALeaderToHaveBeenHeardOf(t *testing.T) {
	c := newCluster(t, 3, nil)
	leader := c.leader()
	c.pass(time.Second)
	m := c.follower()
	m.crash(0)
	c.isolate(m.id)
	m.start()
	r := m.ask("k", op.ReadStale, 60_000)
	c.settle()
	if r.resolved != 1 || r.err != (op.TooStaleError{MaxAgeMs: 60_000}) {
		t.Fatalf("resolved %d times, %v", r.resolved, r.err)
	}
	r = leader.ask("k", op.ReadStale, 200)
	c.settle()
	if r.resolved != 1 || r.err != nil {
		t.Fatalf("the leader: resolved %d times, %v", r.resolved, r.err)
	}
	c.isolate(leader.id)
	c.pass(400 * time.Millisecond)
	if r = leader.ask("k", op.ReadStale, 200); r.err != nil {
		t.Fatal(r.err)
	}
	c.settle()
	if !errors.As(r.err, new(op.TooStaleError)) {
		t.Fatalf("a leader without a quorum: resolved %d times, %v", r.resolved, r.err)
	}
}

// Under a lease the leader answers without a message; a linearizable read asks all the same, and
// one with leases off is a linearizable one.
func TestLeaseReadsNeedNoRound(t *testing.T) {
	for _, drift := range []int{0, 50} {
		c := newCluster(t, 3, func(o *Options) { o.LeaseDrift = drift })
		leader := c.leader()
		x := leader.incr("k", 1)
		c.until("the write", func() bool { return x.resolved > 0 })
		c.pass(time.Second)
		sent := 0
		c.network.drop = func(*delivery) bool { sent++; return true }
		lease := leader.ask("k", op.ReadLease, 0)
		c.settle()
		if (lease.resolved == 1) != (drift > 0) || (sent == 0) != (drift > 0) {
			t.Fatalf("drift %d: a lease read was resolved %d times, with %d frames", drift,
				lease.resolved, sent)
		}
		round := leader.ask("k", op.ReadLinearizable, 0)
		c.pass(100 * time.Millisecond)
		if round.resolved != 0 {
			t.Fatalf("drift %d: a linearizable read was served without an answer of the others", drift)
		}
		c.heal()
		c.until("both", func() bool { return lease.resolved == 1 && round.resolved == 1 })
		served(t, lease, 1)
		served(t, round, 1)
	}
}

// Steps of a transaction reach the connection that sent it, counted from its own first op.
func TestStepsReachTheirSubmission(t *testing.T) {
	first, second := &steps{}, &steps{}
	p := &proposal{count: 3, parts: []part{{sink: first, count: 1}, {sink: second, count: 2}}}
	r := &op.Result{Kind: op.ResultOK}
	p.Applied(0, r, nil)
	p.Applied(1, r, nil)
	p.Step(2, 0, nil, nil)
	p.Step(2, 1, r, nil)
	p.Applied(2, r, nil)
	if first.seen != "a0" || second.seen != "a0s1.0s1.1a1" || p.applied != 3 {
		t.Errorf("%q, %q, %d ops", first.seen, second.seen, p.applied)
	}
	told := &proposal{count: 1, told: 1, parts: []part{{sink: nil, count: 1}}}
	told.Step(0, 0, nil, nil) // answered at its deadline: nobody listens
	told.Applied(0, r, nil)
	silentOne := &proposal{count: 1, parts: []part{{sink: silent{}, count: 1}}}
	silentOne.Step(0, 0, nil, nil) // it does not ask for steps
}

// steps notes what it is told.
type steps struct {
	silent
	seen string
}

func (s *steps) Applied(i int, _ *op.Result, _ op.View) { s.seen += "a" + digit(i) }

func (s *steps) Step(i, done int, _ *op.Result, _ op.View) {
	s.seen += "s" + digit(i) + "." + digit(done)
}

func digit(i int) string { return string(rune('0' + i)) }
