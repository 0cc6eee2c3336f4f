package resp

import (
	"fmt"
	"io"
	"net"
	"testing"

	"kelek/store/op"
)

// admins are two faces: a leader that carries requests out, and a follower that knows its address.
func admins(t *testing.T, leaderOptions, followerOptions Options) (leader, follower *face) {
	t.Helper()
	leader, follower = newFace(t, leaderOptions), newFace(t, followerOptions)
	leader.node.SetAdmin(func(r op.AdminRequest) (op.AdminReply, error) {
		if r.Name == "nobody" {
			return op.AdminReply{}, fmt.Errorf("no member is called %s", r.Name)
		}
		text := fmt.Sprintf("%s %s %s%s %v", r.Action, r.Name, r.Addr, r.With, r.Learner)
		return op.AdminReply{Text: text}, nil
	})
	follower.node.SetAdmin(sendTo(leader.addr))
	return leader, follower
}

// sendTo is a node that takes another one for the leader.
func sendTo(addr string) func(op.AdminRequest) (op.AdminReply, error) {
	return func(op.AdminRequest) (op.AdminReply, error) {
		return op.AdminReply{}, op.NotLeaderError{Addr: addr}
	}
}

func TestAdministrativeCommandsReachTheLeader(t *testing.T) {
	leader, follower := admins(t, Options{}, Options{})
	for _, f := range []*face{leader, follower} {
		f.dial(t).send("RAFT.MEMBER ADD h:1 NAME n4 LEARNER\r\n").expect("$15\r\nadd n4 h:1 true\r\n").
			send("RAFT.MEMBER REPLACE a WITH b\r\n").expect("$17\r\nreplace a b false\r\n").
			send("RAFT.LEADER TRANSFER\r\n").expect("$16\r\ntransfer   false\r\n").
			send("RAFT.MEMBER REMOVE nobody\r\n").expect("-ERR no member is called nobody\r\n")
	}
	follower.dial(t).send("CLIENT CAPA redirect\r\nRAFT.MEMBER REMOVE n1\r\n").
		expect("+OK\r\n-REDIRECT " + leader.addr + "\r\n")
}

// TestOneHop: nodes that take each other for the leader do not send a command round for ever.
func TestOneHop(t *testing.T) {
	a, b := admins(t, Options{}, Options{})
	asked := 0
	a.node.SetAdmin(func(op.AdminRequest) (op.AdminReply, error) {
		asked++
		return op.AdminReply{}, op.NotLeaderError{Addr: b.addr}
	})
	b.dial(t).send("RAFT.LEADER TRANSFER\r\n").
		expect("-TRYAGAIN the leader has changed, and nothing was changed: try again\r\n")
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	a.node.SetAdmin(sendTo(""))
	for _, f := range []*face{a, b} {
		f.dial(t).send("RAFT.LEADER TRANSFER\r\n").expect("-CLUSTERDOWN The cluster is down: this node " +
			"does not lead, and no leader is known: try again in a moment\r\n")
	}
}

// TestRelayingNeedsThePassword: nodes give their own, and say so when it is not the leader's.
func TestRelayingNeedsThePassword(t *testing.T) {
	for _, c := range []struct{ leader, follower, want string }{
		{"secret", "secret", "$16\r\ntransfer   false\r\n"},
		{"secret", "other", "-ERR the leader at %s does not let this node in (WRONGPASS "},
		{"secret", "", "-ERR the leader at %s does not let this node in (NOAUTH "},
		{"", "secret", "-ERR the leader at %s does not let this node in (ERR AUTH <password> called "},
	} {
		leader, follower := admins(t, Options{Password: c.leader}, Options{Password: c.follower})
		f := follower.dial(t)
		if c.follower != "" {
			f.send("AUTH " + c.follower + "\r\n").expect("+OK\r\n")
		}
		if c.want[0] == '-' {
			c.want = fmt.Sprintf(c.want, leader.addr)
		}
		f.send("RAFT.LEADER TRANSFER\r\n").expect(c.want)
	}
}

// TestALeaderThatCannotBeAsked is a certain no; one that was asked and says nothing is not.
func TestALeaderThatCannotBeAsked(t *testing.T) {
	f := newFace(t, Options{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.node.SetAdmin(sendTo(ln.Addr().String()))
	served := make(chan error, 1)
	go func() { served <- answerOnce(ln) }()
	f.dial(t).send("RAFT.LEADER TRANSFER\r\n").
		expect("-UNCERTAIN the leader was asked and did not answer")
	if err := <-served; err != nil {
		t.Error(err)
	}
	f.dial(t).send("RAFT.LEADER TRANSFER\r\n").
		expect("-TRYAGAIN the leader cannot be reached, and nothing was changed")
}

// answerOnce accepts one connection, answers its greeting, takes the command and dies.
func answerOnce(ln net.Listener) error {
	c, err := ln.Accept()
	if err != nil {
		return err
	}
	buf := make([]byte, 1024)
	if _, err = c.Read(buf); err == nil {
		_, err = io.WriteString(c, "+OK\r\n")
	}
	if err == nil {
		_, err = c.Read(buf)
	}
	if closing := ln.Close(); err == nil {
		err = closing
	}
	if closing := c.Close(); err == nil {
		err = closing
	}
	return err
}

// TestReadPromises: what a connection has asked for reaches the node; a stale read without a bound
// needs nobody, and one that is too old is worth another try.
func TestReadPromises(t *testing.T) {
	f := newFace(t, Options{})
	c := f.dial(t)
	c.send("SET k v\r\nRAFT.READ stale\r\nGET k\r\n").expect("+OK\r\n+OK\r\n$1\r\nv\r\n")
	f.node.Hold()
	c.send("GET k\r\nMULTI\r\nGET k\r\nEXEC\r\n").expect("$1\r\nv\r\n+OK\r\n+QUEUED\r\n*1\r\n$1\r\nv\r\n")
	f.node.Release()
	if n := f.node.Reads.Load(); n != 0 {
		t.Errorf("%d reads asked the node", n)
	}
	for _, x := range []struct {
		say   string
		level op.ReadLevel
		max   uint64
	}{{"lease", op.ReadLease, 0}, {"stale 250", op.ReadStale, 250}, {"linearizable", 0, 0}} {
		c.send("RAFT.READ " + x.say + "\r\nGET k\r\n").expect("+OK\r\n$1\r\nv\r\n")
		if level, max := f.node.LastRead(); level != x.level || max != x.max {
			t.Errorf("%s: the node was asked for %v, %d", x.say, level, max)
		}
	}
	f.node.Fail(op.TooStaleError{AgeMs: 900, MaxAgeMs: 250})
	c.send("GET k\r\n").expect("-TRYAGAIN this node has not heard of a leader for 900 ms")
}
