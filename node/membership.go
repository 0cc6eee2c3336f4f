package node

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// managing is the membership as the leader changes it: nodes that ask to join become learners,
// learners that have caught up become voters, and what a person asks for is done. It belongs to the
// loop.
//
//	a node without a log asks (Hello.Join)
//	  -> its name and addresses are recorded    an op, so that every node knows whom it will meet
//	  -> learner                                a configuration; an invitation follows its commit
//	  -> has caught up, and stays so for a while
//	  -> voter                                  one joint change, which also drops a dead namesake
//
// Nothing of this is remembered from one step to the next: each evaluation looks at the
// configuration in force, at the recorded members and at who is connected, and takes the one step
// that is due. So it does not matter which leader took the step before, and a step that was lost is
// taken again. There is one change at a time, since the core refuses another one.
type managing struct {
	next     raftcore.Instant // when to look again though nothing happens; never when idle
	news     bool             // something has happened
	core     raftcore.Status  // scratch
	record   record
	lessons  []lesson     // one per learner
	proposed raftcore.Pos // of the last learner that was let in
	task     *task        // what a person asked for
	warnedAt raftcore.Instant
}

// record is a member's record that the leader proposes for it.
type record struct {
	errand
	member op.Member // the last one
}

// lesson is how far a learner has come. Catching up goes in rounds: each lasts until the learner
// holds what the leader's log held at its begin. A round that is shorter than an election time-out
// shows that the rest would be, too, so the cluster would not wait for the new voter's log.
type lesson struct {
	id     raftcore.NodeID
	target raftcore.Index   // the round ends when this is durable there
	began  raftcore.Instant // of the round
	quick  bool             // the last round was short enough
	since  raftcore.Instant // when it began to be fit; 0: it is not
}

// observe takes note of a learner's progress.
func (l *lesson) observe(now, timeout raftcore.Instant, s *seat, last raftcore.Index) {
	took := now - min(now, l.began)
	switch {
	case l.target == 0: // the first round begins
		l.target, l.began = last, now
	case s.match >= l.target:
		l.quick = took < timeout
		l.target, l.began = last, now
	case took >= timeout:
		l.quick = false
	}
	fit := l.quick && s.alive && last-min(s.match, last) < lagMax
	switch {
	case !fit:
		l.since = 0
	case l.since == 0:
		l.since = now
	}
}

// fitFor reports whether the learner has been fit to vote for a while.
func (l *lesson) fitFor(now, while raftcore.Instant) bool {
	return l.since != 0 && now-l.since >= while
}

// manageAgain is how often a change that waits for something is looked at.
func (n *Node) manageAgain() raftcore.Instant { return raftcore.Instant(n.options.Heartbeat) }

// maybeManage takes the next step of changing the membership. It reports whether the core was given
// anything.
func (n *Node) maybeManage() bool {
	m := &n.managing
	if !m.news && m.task == nil && n.now < m.next {
		return false
	}
	m.news, m.next = false, never
	n.core.Status(&m.core)
	n.watchTask(&m.core)
	if !n.leading() || n.stopping {
		m.lessons = nil
		return false
	}
	r := n.roster(&m.core)
	waits := n.teach(&r)
	n.inviteMembers(&m.core)
	fed := false
	if pending(&m.core) {
		waits = true
	} else if m.task != nil {
		fed = n.continueTask(&r)
	} else {
		fed = n.admitNext(&r, &waits) || n.promoteNext(&r)
	}
	if waits || fed || m.task != nil {
		m.next = n.now + n.manageAgain()
	}
	return fed
}

// pending: a change is open, or the core would refuse one for another reason that passes.
func pending(c *raftcore.Status) bool {
	return c.Config.Joint() || c.Commit < c.ConfigIndex || c.Transferee != 0
}

// roster is the membership as this leader sees it now.
func (n *Node) roster(c *raftcore.Status) roster {
	r := roster{self: c.ID, last: c.Last.Index}
	hellos := n.transport.Hellos()
	for _, id := range c.Config.Members() {
		m, _ := findMember(n.joining.members, uint64(id))
		s := seat{id: id, name: m.Name, addr: m.PeerAddr, standing: m.Standing,
			voter: slices.Contains(c.Config.Voters, id), match: n.matchOf(c, id)}
		s.alive = id == c.ID || n.now < n.contactOf(c, id)+n.electionTimeout
		s.present = s.alive || slices.ContainsFunc(hellos, func(h wire.Hello) bool {
			return h.NodeID == id
		})
		r.seats = append(r.seats, s)
	}
	return r
}

func (n *Node) matchOf(c *raftcore.Status, id raftcore.NodeID) raftcore.Index {
	if id == c.ID {
		return c.Stable
	}
	return peerState(c, id).Match
}

func (n *Node) contactOf(c *raftcore.Status, id raftcore.NodeID) raftcore.Instant {
	return peerState(c, id).Contact
}

// peerState is what a leader knows of a peer; zero on other nodes.
func peerState(c *raftcore.Status, id raftcore.NodeID) raftcore.PeerState {
	for i := range c.Peers {
		if c.Peers[i].ID == id {
			return c.Peers[i]
		}
	}
	return raftcore.PeerState{}
}

// teach keeps one lesson per learner. It reports whether one of them will become a voter.
func (n *Node) teach(r *roster) (waits bool) {
	m := &n.managing
	var lessons []lesson
	for i := range r.seats {
		s := &r.seats[i]
		if s.voter {
			continue
		}
		l := lesson{id: s.id}
		for _, known := range m.lessons {
			if known.id == s.id {
				l = known
			}
		}
		l.observe(n.now, n.electionTimeout, s, r.last)
		lessons = append(lessons, l)
		waits = waits || !s.standing
	}
	m.lessons = lessons
	return waits
}

// promoteNext makes a learner a voter that has been fit for long enough.
func (n *Node) promoteNext(r *roster) bool {
	for _, l := range n.managing.lessons {
		i := slices.IndexFunc(r.seats, func(s seat) bool { return s.id == l.id })
		s := &r.seats[i]
		if s.standing || !l.fitFor(n.now, raftcore.Instant(n.options.PromoteAfter)) {
			continue
		}
		c, err := r.seatVoter(s)
		if err == nil {
			_, err = n.core.ProposeConfig(c.to)
		}
		if err == nil {
			n.logger.Info().Str("member", s.String()).Msg("becomes a voter")
			return true
		}
		if errors.Is(err, raftcore.ErrPending) {
			return false // this leader is new: in a moment
		}
		n.warnMember(s.String(), err, "cannot become a voter")
	}
	return false
}

// admitNext makes a node that asks to join a learner; its record goes first. One that cannot be let
// in keeps nobody waiting who stands behind it.
func (n *Node) admitNext(r *roster, waits *bool) bool {
	for _, h := range n.transport.Hellos() {
		if h.Join == wire.JoinNot || n.config.IsMember(h.NodeID) || !n.mayJoin(h) {
			continue
		}
		*waits = true
		m := memberOf(h)
		c, err := r.admit(&m)
		if err != nil {
			n.warnMember(m.Name, err, "cannot join")
			continue
		}
		if n.joining.judged < n.managing.core.ConfigIndex {
			return false // whether its id is retired will be known with the next report
		}
		switch err := n.admit(&m, c); {
		case err == nil:
			return true
		case errors.Is(err, errRecording), errors.Is(err, raftcore.ErrPending):
			return false
		default:
			n.warnMember(m.Name, err, "cannot join")
		}
	}
	return false
}

// mayJoin: a node of another cluster is not let in, and one of ours only if it was let in before
// and the configuration that said so was lost with its leader. An id that has left for good never
// is.
func (n *Node) mayJoin(h wire.Hello) bool {
	return !n.retired(uint64(h.NodeID)) &&
		(h.ClusterID == [16]byte{} || h.ClusterID == n.clusterID)
}

// errRecording: the record of a member is under way; the next step follows it.
var errRecording = errors.New("its record is not committed yet")

// admit records m, and when that is done proposes the configuration in which it learns.
func (n *Node) admit(m *op.Member, c change) error {
	if !n.recordMember(m) {
		return errRecording
	}
	pos, err := n.core.ProposeConfig(c.to)
	if err != nil {
		return err
	}
	n.managing.proposed = pos
	n.logger.Info().Str("member", m.Name).Str("addr", m.PeerAddr).Str("node_id", hexID(
		raftcore.NodeID(m.ID))).Msg("joins as a learner")
	return nil
}

// recordMember proposes the record of m unless it is there. True: it is.
func (n *Node) recordMember(m *op.Member) bool {
	g := &n.managing.record
	if g.succeeded() {
		n.joining.recorded = withMember(n.joining.recorded, g.member)
	}
	if known, ok := findMember(n.joining.recorded, m.ID); ok && known == *m {
		return true
	}
	if g.run(n, &op.Op{Code: op.CodeMember, Member: *m}) {
		g.member = *m
	}
	return false
}

// withMember is list with the record of one member replaced or added.
func withMember(list []op.Member, m op.Member) []op.Member {
	list = slices.DeleteFunc(slices.Clone(list), func(old op.Member) bool { return old.ID == m.ID })
	return append(list, m)
}

// memberOf is what a hello says of its node.
func memberOf(h wire.Hello) op.Member {
	return op.Member{ID: uint64(h.NodeID), Name: h.Name, PeerAddr: h.PeerAddr, Addr: h.Addr,
		ClusterAddr: h.ClusterAddr, Version: h.Build, Standing: h.Join == wire.JoinLearner}
}

// inviteMembers tells every connected node that is in the committed configuration and belongs to no
// cluster that it does. Invitations are repeated until the node's hello says the cluster's id.
func (n *Node) inviteMembers(c *raftcore.Status) {
	if c.Commit < c.ConfigIndex || len(c.Config.Voters) == 0 {
		return
	}
	for _, h := range n.transport.Hellos() {
		if h.ClusterID != [16]byte{} || !c.Config.IsMember(h.NodeID) {
			continue
		}
		n.transport.Invite(h.NodeID, n.invitation())
	}
}

// invitation lists the members as they are now.
func (n *Node) invitation() wire.Invite {
	inv := wire.Invite{ClusterID: n.clusterID, Joining: true}
	for _, m := range n.joining.members {
		inv.Members = append(inv.Members, wire.Founder{ID: raftcore.NodeID(m.ID),
			Name: cmp.Or(m.Name, hexID(raftcore.NodeID(m.ID)))})
	}
	return inv
}

// warnMember says now and then why a member is not what it wants to be.
func (n *Node) warnMember(name string, err error, what string) {
	m := &n.managing
	if m.warnedAt != 0 && n.now < m.warnedAt+raftcore.Instant(warnInterval) {
		return
	}
	m.warnedAt = n.now
	n.logger.Warn().Str("member", name).Err(err).Msg(what)
}

func (n *Node) manageDeadline() raftcore.Instant {
	if n.managing.news {
		return n.now
	}
	return n.managing.next
}

// refusedChange is what a person is told when the core refuses a change.
func refusedChange(err error) error {
	switch {
	case errors.Is(err, raftcore.ErrPending):
		return errors.New("a change of the membership is in progress, or this leader has not begun " +
			"its work yet: nothing was done; try again in a second")
	case errors.Is(err, raftcore.ErrTransferring):
		return errors.New("leadership is being handed over: nothing was done; try again in a second")
	}
	return fmt.Errorf("nothing was done: %w", err)
}
