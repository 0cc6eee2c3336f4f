package node

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kelek/raftcore/wire"
)

// A killed leader is noticed by its broken connections, long before the election time-out.
func TestBrokenConnectionToTheLeaderIsAnElectionAtOnce(t *testing.T) {
	c := newCluster(t, 3, nil)
	old := c.leader()
	c.pass(2 * time.Second)
	m := c.follower()
	x := m.incr("k", 1)
	m.node.turn()
	old.crash(0)
	begin := c.now
	c.until("the answer", func() bool { return x.resolved > 0 })
	answered(t, x, 1)
	if took := time.Duration(c.now - begin); took > 200*time.Millisecond {
		t.Fatalf("the write took %s", took)
	}
	if m.node.Status().Members[old.id-1].Connected {
		t.Fatal("the dead leader is shown as connected")
	}
}

// What was forwarded on a connection that broke may be lost: a new one starts over.
func TestNewConnectionToTheLeaderSendsTheWindowAgain(t *testing.T) {
	c := newCluster(t, 3, nil)
	leader, m := c.leader(), c.follower()
	c.pass(2 * time.Second)
	c.network.drop = func(d *delivery) bool { return d.proposal != nil }
	x := m.incr("k", 1)
	c.settle()
	c.heal()
	m.node.Connected(wire.Hello{NodeID: leader.id, Name: "n", PeerAddr: "p"})
	c.settle()
	answered(t, x, 1)
}

func TestPeerErrorsAreLoggedOnceInAWhile(t *testing.T) {
	var p peerErrors
	now := time.Now()
	if !p.first("a", now) || p.first("a", now.Add(warnInterval/2)) || !p.first("b", now) {
		t.Fatal("an error is logged never or too often")
	}
	if !p.first("a", now.Add(warnInterval)) {
		t.Fatal("an error that goes on is never logged again")
	}
	for i := range 10 * peerErrorsMax {
		p.first(strings.Repeat("x", i), now)
	}
	if len(p.last) > peerErrorsMax {
		t.Fatalf("%d errors are remembered", len(p.last))
	}
}

func TestLogNamesLeadersAndPeers(t *testing.T) {
	var out bytes.Buffer
	c := newCluster(t, 3, func(o *Options) { o.Logger = zerolog.New(&out) })
	leader := c.leader()
	c.pass(2 * time.Second)
	leader.node.PeerError("n9", "there:7380", errors.New("refused"))
	leader.node.warnSlow("log write", 2*time.Second)
	for _, want := range []string{"this node leads", `"message":"follows"`, "n9", "slow log write"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, out.String())
		}
	}
	if v := leader.node.View(false); v.LogTime() == 0 {
		t.Error("the view has no log time")
	}
}
