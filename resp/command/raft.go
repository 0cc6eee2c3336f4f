package command

import (
	"fmt"

	"kelek/store/op"
)

// RAFT.MEMBER and RAFT.LEADER: who is in the cluster and who leads it. What changes it is done by
// the leader; another node hands the command on to it, once (Host.Admin).

// hexID is a node id as operators write it.
func hexID(id uint64) string { return fmt.Sprintf("%016x", id) }

// raftMemberList says what this node knows. Only a leader knows match and lag.
func raftMemberList(c *Call) Outcome {
	s, r := c.Host.Status(), c.Reply
	leading := s.Leader != 0 && s.Leader == s.NodeID
	r.Array(len(s.Members))
	for i := range s.Members {
		writeMember(r, &s.Members[i], leading)
	}
	return c.answered()
}

func writeMember(r *Reply, m *op.MemberStatus, leading bool) {
	match, lag := int64(-1), int64(-1)
	if leading {
		match, lag = int64(m.Match), int64(m.Lag)
	}
	r.Map(12)
	for _, f := range [...]struct{ name, value string }{
		{"name", m.Name}, {"id", hexID(m.ID)}, {"role", string(m.Role)}, {"state", m.State},
		{"addr", m.Addr}, {"peer-addr", m.PeerAddr}, {"cluster-addr", m.ClusterAddr},
		{"version", m.Version},
	} {
		r.BulkString(f.name)
		r.BulkString(f.value)
	}
	r.BulkString("leader")
	r.Bool(m.Leader)
	for _, f := range [...]struct {
		name  string
		value int64
	}{{"match", match}, {"lag", lag}, {"contact-ms", m.ContactMs}} {
		r.BulkString(f.name)
		r.Int(f.value)
	}
}

// raftMemberAdd is RAFT.MEMBER ADD addr [NAME name] [LEARNER].
func raftMemberAdd(c *Call) Outcome {
	request := op.AdminRequest{Action: op.MemberAdd, Addr: string(c.Args[2])}
	if _, _, ok := SplitAddr(request.Addr); !ok {
		return c.fail("ERR '" + string(cut(c.Args[2])) + "' is no host:port: name the peer address " +
			"of the node, as its --peer-advertise says it")
	}
	for i := 3; i < len(c.Args); i++ {
		switch {
		case is(c.Args[i], "LEARNER") && !request.Learner:
			request.Learner = true
		case is(c.Args[i], "NAME") && request.Name == "" && i+1 < len(c.Args):
			i++
			request.Name = string(c.Args[i])
		default:
			return c.fail(errSyntax)
		}
	}
	return c.administer(request)
}

func raftMemberRemove(c *Call) Outcome { return c.memberAction(op.MemberRemove) }

func raftMemberPromote(c *Call) Outcome { return c.memberAction(op.MemberPromote) }

func raftMemberDemote(c *Call) Outcome { return c.memberAction(op.MemberDemote) }

func (c *Call) memberAction(action op.AdminAction) Outcome {
	return c.administer(op.AdminRequest{Action: action, Name: string(c.Args[2])})
}

// raftMemberReplace is RAFT.MEMBER REPLACE name WITH name.
func raftMemberReplace(c *Call) Outcome {
	if !is(c.Args[3], "WITH") {
		return c.fail(errSyntax)
	}
	return c.administer(op.AdminRequest{Action: op.MemberReplace, Name: string(c.Args[2]),
		With: string(c.Args[4])})
}

// raftLeaderShow says whom this node takes for the leader; empty fields: it knows none.
func raftLeaderShow(c *Call) Outcome {
	s, r := c.Host.Status(), c.Reply
	name, id, addr := "", "", ""
	if m := s.LeaderMember(); m != nil {
		name, id, addr = m.Name, hexID(m.ID), m.Addr
	}
	r.Map(4)
	for _, f := range [...]struct{ name, value string }{{"name", name}, {"id", id}, {"addr", addr}} {
		r.BulkString(f.name)
		r.BulkString(f.value)
	}
	r.BulkString("term")
	r.Int(int64(s.Term))
	return c.answered()
}

// raftLeaderTransfer is RAFT.LEADER TRANSFER [name].
func raftLeaderTransfer(c *Call) Outcome {
	request := op.AdminRequest{Action: op.LeaderTransfer}
	switch len(c.Args) {
	case 2:
	case 3:
		request.Name = string(c.Args[2])
	default:
		return c.fail(errSyntax)
	}
	return c.administer(request)
}

// administer has the leader do it, and waits: until it is committed, refused, or took too long.
func (c *Call) administer(request op.AdminRequest) Outcome {
	text, line := c.Host.Admin(request, c.Args, !c.Session.Redirect)
	if line != "" {
		return c.fail(line)
	}
	c.Reply.BulkString(text)
	return c.answered()
}

// raftRead is RAFT.READ [linearizable | lease | stale [max-ms]]: what reads of this connection
// promise. Without arguments it says so.
func raftRead(c *Call) Outcome {
	s := c.Session
	switch {
	case len(c.Args) == 1:
		c.Reply.BulkString(s.Read.String())
		return c.answered()
	case len(c.Args) == 2 && is(c.Args[1], "LINEARIZABLE"):
		s.Read = ReadPromise{}
	case len(c.Args) == 2 && is(c.Args[1], "LEASE"):
		s.Read = ReadPromise{Level: op.ReadLease}
	case len(c.Args) <= 3 && is(c.Args[1], "STALE"):
		ms := int64(0)
		if len(c.Args) == 3 {
			var ok bool
			if ms, ok = parseInt(c.Args[2]); !ok || ms < 1 {
				return c.fail("ERR RAFT.READ: max-ms is not a positive integer")
			}
		}
		s.Read = ReadPromise{Level: op.ReadStale, MaxAgeMs: uint64(ms)}
	default:
		return c.fail(errSyntax)
	}
	return c.ok()
}

// ReadPromise is what the reads of a connection promise.
type ReadPromise struct {
	Level op.ReadLevel
	// MaxAgeMs is for how long the node may not have heard of a leader for a stale read; 0: for ever.
	MaxAgeMs uint64
}

// AnyState reports that whatever the node has applied will do.
func (p ReadPromise) AnyState() bool { return p.Level == op.ReadStale && p.MaxAgeMs == 0 }

// String is how RAFT.READ says it.
func (p ReadPromise) String() string {
	if p.MaxAgeMs > 0 {
		return fmt.Sprint(p.Level, " ", p.MaxAgeMs)
	}
	return p.Level.String()
}
