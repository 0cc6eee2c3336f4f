package node

import (
	"errors"
	"testing"
	"time"
)

// Whatever call of the storage fails, the node stops and answers nothing that rests on it.
func TestStorageErrorsStopTheNodeUnanswered(t *testing.T) {
	for _, call := range []string{"Write", "wait", "Apply", "DurableApplied", "Members"} {
		t.Run(call, func(t *testing.T) {
			c := newCluster(t, 1, nil)
			m := c.leader()
			c.pass(2 * time.Second)
			m.storage.failAt[call] = 1
			duringChores := call == "DurableApplied" || call == "Members"
			var x *client
			if !duringChores {
				x = m.incr("k", 1)
			}
			c.pass(2 * time.Second)
			r := m.read("k")
			c.pass(2 * time.Second)
			if !errors.Is(m.node.Err(), errInjected) {
				t.Fatalf("the node did not stop: %v", m.node.Err())
			}
			select {
			case <-m.node.Done():
			default:
				t.Fatal("Done is open")
			}
			if r.resolved != 0 {
				t.Fatalf("a read was answered after the failure: %v", r.err)
			}
			if !duringChores && x.resolved != 0 {
				t.Fatalf("answered after the failure: %v", x.err)
			}
		})
	}
}

func TestFailingCompactionFlushAndLoadStopTheNode(t *testing.T) {
	for _, call := range []string{"Compact", "FlushState", "Entries"} {
		t.Run(call, func(t *testing.T) {
			c := newCluster(t, 3, func(o *Options) {
				o.LogKeepBytes, o.FlushLogBytes = 1, 1
				o.Limits.LogTailBytesMax = 1
			})
			m := c.leader()
			c.pass(2 * time.Second)
			slow := c.follower()
			if call == "Entries" {
				c.isolate(slow.id)
			}
			for range 2 * compactEntries {
				m.incr("k", 1)
				c.settle()
			}
			m.storage.failAt[call] = 1
			c.heal()
			c.pass(4 * time.Second)
			if !errors.Is(m.node.Err(), errInjected) {
				t.Fatalf("the node did not stop: %v; calls %v", m.node.Err(), m.storage.calls)
			}
		})
	}
}

// A write that fails on the leader is answered by nobody, though the others may have it.
func TestFailedLeaderIsReplacedAndNothingIsAnsweredTwice(t *testing.T) {
	c := newCluster(t, 3, nil)
	old := c.leader()
	c.pass(time.Second)
	old.storage.failAt["wait"] = 1
	x := old.incr("k", 1)
	c.pass(100 * time.Millisecond)
	if old.node.Err() == nil || x.resolved != 0 {
		t.Fatalf("error %v, resolved %d", old.node.Err(), x.resolved)
	}
	old.crash(0)
	y := c.leader().incr("k", 1)
	c.until("the write", func() bool { return y.resolved > 0 })
	if y.err != nil || y.results[0].Int < 1 || y.results[0].Int > 2 {
		t.Fatalf("%v %+v", y.err, y.results)
	}
}

// If the store and the origin disagree about what counts, no answer can be right.
func TestSkippedOwnProposalStopsTheNode(t *testing.T) {
	c := newCluster(t, 1, nil)
	m := c.leader()
	c.pass(2 * time.Second)
	m.storage.skipOrigin = true
	x := m.incr("k", 1)
	c.settle()
	if m.node.Err() == nil || x.resolved != 0 {
		t.Fatalf("error %v, resolved %d", m.node.Err(), x.resolved)
	}
}
