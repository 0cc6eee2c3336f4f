package node

import (
	"cmp"
	"reflect"
	"slices"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// joining is who the members are and how they can be reached. The configuration says who; three
// sources say how, the later ones winning over the earlier:
//
//	founders   what was known when the cluster was formed
//	recorded   what each member proposed of itself, from the state machine
//	hellos     what a connected node says right now
type joining struct {
	errand   errand // our own record
	recorded []op.Member
	retired  []op.Retired
	judged   raftcore.Index // recorded and retired are at least as of here
	differs  bool           // our own record is not what we are; checked with each report
	complete bool           // every member has a record
	members  []op.Member    // merged, sorted by id, ourselves included
	peers    []op.Member    // what the transport was told last
	sought   []string       // what Seek was told last
	census   *Census        // what the greeter was told last
	joined   bool           // this node was in a configuration that was in force here

	orphanWarnAt raftcore.Instant // 0: not orphaned
}

// membersReported takes what the state machine has recorded.
func (n *Node) membersReported(r *report) {
	j := &n.joining
	j.recorded, j.retired, j.judged = r.members, r.retired, r.judged
	own, ok := findMember(r.members, n.options.Self.ID)
	j.differs = !ok || own != n.selfRecord()
	n.membersChanged()
	n.noteRemoval()
	n.warnOrphaned()
}

// selfRecord is what this node is. Whether it stays a learner may have been decided by others.
func (n *Node) selfRecord() op.Member {
	self := n.options.Self
	own, _ := findMember(n.joining.recorded, self.ID)
	self.Standing = self.Standing || own.Standing
	return self
}

// maybeJoin proposes what this node is, when the recorded one differs and there is a leader.
func (n *Node) maybeJoin() {
	j := &n.joining
	if !j.differs || n.leader == 0 || n.stopping || !n.member() {
		return
	}
	if j.errand.run(n, &op.Op{Code: op.CodeMember, Member: n.selfRecord()}) {
		j.differs = false // until the next report says otherwise
	}
}

// connectionChanged takes what the transport says of a connection.
func (n *Node) connectionChanged(e *event) {
	if e.hello == nil {
		n.core.Disconnected(e.peer)
	} else if e.peer == n.leader {
		// What was forwarded on an earlier connection may have been lost with it.
		n.resend()
	}
	n.membersChanged()
	n.seen.stale, n.managing.news = true, true
}

// membersChanged merges the sources, and tells the transport when its part of it changed.
func (n *Node) membersChanged() {
	j := &n.joining
	hellos := n.transport.Hellos()
	j.members = n.mergeMembers(hellos)
	j.joined = j.joined || n.member()
	j.complete = !slices.ContainsFunc(j.members, func(m op.Member) bool {
		_, recorded := findMember(j.recorded, m.ID)
		return !recorded
	})
	if peers := n.reachable(hellos); !slices.Equal(peers, j.peers) {
		j.peers = peers
		n.transport.SetPeers(slices.Clone(peers))
	}
	n.seek(hellos)
	n.tellGreeter(hellos)
}

// reachable is whom this node has to be able to talk to: more than the configuration that it knows.
//
// Scenario: leader A removes itself. B and C append the configuration without it. If they hung up
// then, their acknowledgements would not reach A, which could not commit its removal, step down and
// end. So who has a record and is not retired stays.
//
// Scenario: C was cut off while D joined and B left. D leads. It can reach C, whose configuration
// is still A, B and C: if C did not answer it, C would never learn of the newer one. So whoever of
// our cluster is connected to us is talked to.
func (n *Node) reachable(hellos []wire.Hello) []op.Member {
	j := &n.joining
	var peers []op.Member
	add := func(m op.Member) {
		_, listed := findMember(peers, m.ID)
		if !listed && m.ID != n.options.Self.ID && !n.retired(m.ID) {
			peers = append(peers, m)
		}
	}
	for _, m := range j.members {
		add(m)
	}
	for _, m := range j.recorded {
		add(m)
	}
	for i := range hellos {
		if hellos[i].ClusterID == n.clusterID {
			add(memberOf(hellos[i]))
		}
	}
	slices.SortFunc(peers, func(a, b op.Member) int { return cmp.Compare(a.ID, b.ID) })
	return peers
}

// retired reports whether a node has left for good, as far as is known here.
func (n *Node) retired(id uint64) bool {
	return slices.ContainsFunc(n.joining.retired, func(gone op.Retired) bool { return gone.ID == id })
}

// seek looks for members where others say that they are, and for the node that shall be added.
//
// Scenario: A, B and C start at new addresses, and only A's is known to the others. Both reach A.
// If B leads, it has no way to C, whose address would come by the log, which comes from B. A has
// heard of both.
func (n *Node) seek(hellos []wire.Hello) {
	j := &n.joining
	var addrs []string
	for _, h := range hellos {
		for _, p := range parseMembers(h.Members) {
			if n.missed(p.Name, hellos) {
				addrs = append(addrs, p.Addr)
			}
		}
	}
	if t := n.managing.task; t != nil && t.step == stepFind {
		addrs = append(addrs, t.request.Addr)
	}
	slices.Sort(addrs)
	addrs = slices.Compact(addrs)
	if !slices.Equal(addrs, j.sought) {
		j.sought = addrs
		n.transport.Seek(addrs)
	}
}

// missed reports whether a member of that name is not connected.
func (n *Node) missed(name string, hellos []wire.Hello) bool {
	return slices.ContainsFunc(n.joining.members, func(m op.Member) bool {
		return m.Name == name && m.ID != n.options.Self.ID &&
			!slices.ContainsFunc(hellos, func(h wire.Hello) bool { return uint64(h.NodeID) == m.ID })
	})
}

// tellGreeter passes on who the members are to whoever answers those who knock.
func (n *Node) tellGreeter(hellos []wire.Hello) {
	j := &n.joining
	if n.options.Greeter == nil {
		return
	}
	c := &Census{Members: j.members, Retired: j.retired, Joined: n.member()}
	for _, m := range j.members {
		up := slices.ContainsFunc(hellos, func(h wire.Hello) bool { return uint64(h.NodeID) == m.ID })
		if up || m.ID == n.options.Self.ID {
			c.Up = append(c.Up, m.ID)
		}
	}
	if j.census != nil && reflect.DeepEqual(c, j.census) {
		return
	}
	j.census = c
	n.options.Greeter.Know(c)
	n.transport.Announce()
}

// mergeMembers lists everybody in the configuration. A node that was invited and has no log yet has
// no configuration: its founders have to do.
func (n *Node) mergeMembers(hellos []wire.Hello) []op.Member {
	ids := n.config.Members()
	if len(ids) == 0 {
		for _, m := range n.founders {
			ids = append(ids, raftcore.NodeID(m.ID))
		}
		slices.Sort(ids)
	}
	members := make([]op.Member, 0, len(ids))
	for _, id := range ids {
		members = append(members, n.mergeMember(uint64(id), hellos))
	}
	return members
}

func (n *Node) mergeMember(id uint64, hellos []wire.Hello) op.Member {
	if id == n.options.Self.ID {
		return n.selfRecord()
	}
	recorded, known := findMember(n.joining.recorded, id)
	for _, h := range hellos {
		if uint64(h.NodeID) == id {
			m := memberOf(h)
			m.Standing = recorded.Standing
			return m
		}
	}
	if known {
		return recorded
	}
	if m, ok := findMember(n.founders, id); ok {
		return m
	}
	return op.Member{ID: id}
}

func findMember(list []op.Member, id uint64) (op.Member, bool) {
	for _, m := range list {
		if m.ID == id {
			return m, true
		}
	}
	return op.Member{}, false
}

// nameOf is what the log calls a member.
func (n *Node) nameOf(id raftcore.NodeID) string {
	if id == 0 {
		return "nobody"
	}
	if m, ok := findMember(n.joining.members, uint64(id)); ok && m.Name != "" {
		return m.Name
	}
	return hexID(id)
}
