package command

import (
	"cmp"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"kelek/store/op"
)

// topology is the cluster as one listener shows it: one shard, its master first.
//
// Invariant: nodes is not empty, no address in it is, and the master is either the leader that this
// node knows of or, without one, this node itself. A client is never sent to a node that is not
// known to lead: one that asks a dead leader runs into its redirect limit.
type topology struct {
	nodes []node
	epoch uint64 // the Raft term
}

type node struct {
	id    string // 40 hex digits
	host  string
	port  int
	bus   int // peer port
	self  bool
	match uint64
}

// NodeID is the name of a node towards cluster clients: 40 hex digits, a hash of its node id.
func NodeID(id uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], id)
	sum := sha1.Sum(b[:])
	return hex.EncodeToString(sum[:])
}

func topologyOf(c *Call) topology { return newTopology(c.Host.Face(), c.Host.Status()) }

func newTopology(face *Face, s *op.Status) topology {
	t := topology{epoch: s.Term}
	self := node{id: NodeID(s.NodeID), host: face.SelfHost, port: face.SelfPort, self: true}
	for i := range s.Members {
		m := &s.Members[i]
		host, port, ok := SplitAddr(memberAddr(face, &m.Member))
		_, bus, _ := SplitAddr(m.PeerAddr)
		if m.ID == s.NodeID {
			self.bus, self.match = bus, m.Match
			if ok {
				self.host, self.port = host, port
			}
			continue
		}
		if ok {
			t.nodes = append(t.nodes, node{NodeID(m.ID), host, port, bus, false, m.Match})
		}
	}
	slices.SortFunc(t.nodes, func(a, b node) int { return cmp.Compare(a.id, b.id) })
	t.nodes = append(t.nodes, self)
	t.masterFirst(s)
	return t
}

// masterFirst moves the known leader, or else this node, to the front.
func (t *topology) masterFirst(s *op.Status) {
	master := NodeID(s.NodeID)
	if s.Leader != 0 && t.index(NodeID(s.Leader)) >= 0 {
		master = NodeID(s.Leader)
	}
	i := t.index(master)
	n := t.nodes[i]
	copy(t.nodes[1:i+1], t.nodes[:i])
	t.nodes[0] = n
}

func (t *topology) index(id string) int {
	return slices.IndexFunc(t.nodes, func(n node) bool { return n.id == id })
}

// leading reports that this node is shown as the master.
func (t *topology) leading() bool { return t.nodes[0].self }

// memberAddr is where clients of this listener's kind reach a member; empty when they cannot.
func memberAddr(face *Face, m *op.Member) string {
	if face.UseMain {
		return m.Addr
	}
	return m.ClusterAddr
}

// SplitAddr takes host:port apart; [::1]:6380 loses its brackets.
func SplitAddr(addr string) (host string, port int, ok bool) {
	i := strings.LastIndexByte(addr, ':')
	if i <= 0 {
		return "", 0, false
	}
	port, err := strconv.Atoi(addr[i+1:])
	if err != nil || port < 1 || port > 65535 {
		return "", 0, false
	}
	host = strings.TrimSuffix(strings.TrimPrefix(addr[:i], "["), "]")
	return host, port, host != ""
}

// movable is false for EXEC: what it executes was let in one by one, by a leader or while there was
// none, and can be executed from any node.
func (c *Call) movable() bool { return c.Spec.Class != Write || c.Spec.Flags&Control == 0 }

// Redirect returns the line that sends a data command to the leader, or "" when it is carried out,
// or held, here: this node leads, no leader is known, or the leader has no address of that kind.
// A command without a key goes by slot 0.
func (c *Call) Redirect() string {
	face, s := c.Host.Face(), c.Host.Status()
	if s.Leader == 0 || s.Leader == s.NodeID || c.Spec.Class == Local || !c.movable() {
		return ""
	}
	leader := s.LeaderMember()
	switch {
	case leader == nil:
		return ""
	case face.Cluster:
		addr := memberAddr(face, &leader.Member)
		if addr == "" || c.Session.ReadOnly && c.Spec.Class == Read {
			return ""
		}
		slot := uint16(0)
		if key := c.Table.FirstKey(c.Spec, c.Args); key != nil {
			slot = op.Slot(key)
		}
		return "MOVED " + strconv.Itoa(int(slot)) + " " + addr
	case c.Session.Redirect && leader.Addr != "":
		return "REDIRECT " + leader.Addr
	}
	return ""
}
