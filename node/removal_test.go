package node

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"kelek/store/op"
)

// inFlight is a client of each kind that a node has: one whose write is numbered, and one that
// reads. The node cannot reach a leader.
func inFlight(t *testing.T, m *member) (*client, *reader) {
	t.Helper()
	x, r := m.incr("k", 1), m.read("k")
	m.c.settle()
	if x.resolved+r.resolved != 0 || m.node.origin.window.len() != 1 {
		t.Fatalf("write %v, read %v, %d in the window", x.err, r.err, m.node.origin.window.len())
	}
	return x, r
}

// over asserts that a node that is out keeps nobody waiting: what may have happened is unknown,
// what did not is refused, and a stop has nothing left to do.
func over(t *testing.T, m *member, x *client, r *reader) {
	t.Helper()
	refused(t, x, op.ErrUncertain)
	if r.resolved != 1 || r.err != op.ErrStopping {
		t.Errorf("the read: resolved %d times, %v", r.resolved, r.err)
	}
	late, stale := m.incr("k", 1), m.read("k")
	refused(t, late, op.ErrStopping)
	if stale.err != op.ErrStopping {
		t.Errorf("a late read: %v", stale.err)
	}
	select {
	case <-m.node.Removed():
	default:
		t.Error("Removed is open")
	}
	m.stop()
	m.node.turn()
	if !m.isQuiet() {
		t.Error("the stop waits for something")
	}
	if unknown := m.node.answerRest(); unknown != 0 {
		t.Errorf("%d were not told before", unknown)
	}
}

// Who was cut off while it was removed hears of it from others, and tells its clients at once: not
// when their time is over.
func TestWhoIsToldOfItsRemovalAnswersAtOnce(t *testing.T) {
	c := newTownship(t, 3, nil)
	gone := c.follower()
	c.pass(time.Second)
	c.isolate(gone.id)
	x, r := inFlight(t, gone)

	gone.node.PeerError("n9", "h:9", fmt.Errorf("%w: n9 was", ErrRemoved)) // we refuse somebody
	gone.node.turn()
	if x.resolved+r.resolved != 0 || gone.node.Removal() != nil {
		t.Fatalf("the removal of another: %v, %v, %v", x.err, r.err, gone.node.Removal())
	}
	waiting := gone.incr("k", 1) // comes before the news, and is not numbered after it
	gone.node.PeerError("n1", "h:1", fmt.Errorf("%w: removed at index 7", ErrExpelled))
	gone.node.PeerError("n2", "h:2", fmt.Errorf("%w: again", ErrExpelled))
	gone.node.turn()
	refused(t, waiting, op.ErrStopping)
	over(t, gone, x, r)
	want := ErrExpelled.Error() + ": removed at index 7"
	if err := gone.node.Removal(); !errors.Is(err, ErrExpelled) || err.Error() != want {
		t.Errorf("removal %v, want %q", err, want)
	}
}

// A leader that removes itself finds that in its own state. What it had numbered behind its removal
// is executed nowhere, and nobody confirms its reads any more.
func TestWhoFindsItsRemovalAnswersAtOnce(t *testing.T) {
	c := newTownship(t, 3, nil)
	gone := c.leader()
	c.pass(time.Second)
	const busy = 1 << 40
	gone.node.writerBytes.Add(busy) // what is numbered now is appended later
	x := gone.incr("k", 1)
	c.settle()
	c.done(gone.wants(op.AdminRequest{Action: op.MemberRemove, Name: gone.nameOf()}))
	r := gone.read("k")
	c.until("the news", func() bool { return gone.node.Removal() != nil })
	if err := gone.node.Removal(); !errors.Is(err, ErrRemoved) {
		t.Error(err)
	}
	over(t, gone, x, r)
}

// A stop does not wait for proposals whose clients were told already that nobody knows.
func TestAStopWaitsForClientsOnly(t *testing.T) {
	c := newCluster(t, 3, nil)
	m := c.follower()
	c.pass(time.Second)
	c.isolate(m.id)
	x, r := inFlight(t, m)
	m.stop()
	m.node.turn()
	if m.isQuiet() {
		t.Fatal("somebody waits")
	}
	c.until("the end of their time", func() bool { return x.resolved+r.resolved == 2 })
	m.node.turn()
	if refused(t, x, op.ErrUncertain); !m.isQuiet() || m.node.origin.window.len() != 1 {
		t.Errorf("quiet %t with %d in the window", m.isQuiet(), m.node.origin.window.len())
	}
}
