package node

import (
	"slices"
	"strconv"
	"time"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// statusSeen is what the loop needs to publish a Status now and then.
type statusSeen struct {
	core  raftcore.Status
	at    raftcore.Instant // of the last one
	stale bool             // something changed that must not wait
}

// Status implements resp.Backend: a pointer load.
func (n *Node) Status() *op.Status { return n.status.Load() }

// publishForming is the Status of a node that has no cluster yet.
func (n *Node) publishForming() {
	self := op.MemberStatus{Member: n.options.Self, Self: true, ContactMs: -1}
	n.status.Store(&op.Status{
		NodeID: n.options.Self.ID, Name: n.options.Self.Name, Boot: n.options.Boot, Role: "forming",
		Members:         []op.MemberStatus{self},
		ElectionTimeout: uint64(n.options.ElectionTimeout / time.Millisecond),
	})
}

// refreshStatus publishes a new Status at once when who leads has changed, and otherwise at most
// every statusInterval.
func (n *Node) refreshStatus() {
	s := &n.seen
	if !s.stale && n.now < s.at+raftcore.Instant(statusInterval) {
		return
	}
	s.stale, s.at = false, n.now
	n.core.Status(&s.core)
	n.status.Store(n.buildStatus(&s.core))
}

func (n *Node) buildStatus(c *raftcore.Status) *op.Status {
	applied, stamp := n.storage.Applied()
	status := &op.Status{
		ClusterID:        n.clusterID,
		NodeID:           n.options.Self.ID,
		Name:             n.options.Self.Name,
		Boot:             n.options.Boot,
		Role:             n.roleWord(c),
		Term:             uint64(c.Term),
		Leader:           uint64(c.Leader),
		FirstIndex:       uint64(c.First),
		LastIndex:        uint64(c.Last.Index),
		CommitIndex:      uint64(c.Commit),
		Applied:          uint64(applied),
		LogTime:          uint64(stamp),
		Joint:            c.Config.Joint(),
		Stopping:         n.stopping,
		FsyncCount:       n.fsync.writes.Load(),
		FsyncMaxMicros:   n.fsync.maxMicros.Load(),
		FsyncTotalMicros: n.fsync.totalMicros.Load(),
		LogBytes:         uint64(max(n.storage.LogBytes(), 0)),
		Elections:        c.Elections,
		LeaderChanges:    n.counters.leaderChanges,
		LongestHeldNanos: uint64(n.counters.longestHeld),
		Inflight:         uint64(n.origin.window.len()),
		Proposals:        n.counters.numbered,
		Resent:           n.counters.resent,
		Uncertain:        n.counters.uncertain,
		ReadRounds:       n.counters.readRounds,
		ElectionTimeout:  uint64(n.options.ElectionTimeout / time.Millisecond),
		Snapshots:        n.snapshotStatus(),
	}
	if n.origin.leaderless {
		status.HeldCommands = uint64(n.origin.waitingOps)
	}
	peers := n.transport.Peers()
	for i := range n.joining.members {
		status.Members = append(status.Members, n.memberStatus(&n.joining.members[i], c, peers))
	}
	return status
}

// roleWord is the role as INFO shows it.
func (n *Node) roleWord(c *raftcore.Status) string {
	switch {
	case c.Role == raftcore.Leader:
		return "leader"
	case c.Role != raftcore.Follower:
		return "candidate"
	case !c.Config.IsVoter(c.ID) && c.Config.IsMember(c.ID):
		return "learner"
	}
	return "follower"
}

func (n *Node) memberStatus(m *op.Member, c *raftcore.Status,
	peers []wire.PeerStatus) op.MemberStatus {
	id := raftcore.NodeID(m.ID)
	s := op.MemberStatus{Member: *m, Role: roleOf(&c.Config, id), Voter: c.Config.IsVoter(id),
		Self: m.ID == n.options.Self.ID, Leader: c.Leader != 0 && id == c.Leader, ContactMs: -1}
	if s.Self {
		s.Connected, s.Match, s.ContactMs, s.State = true, uint64(c.Stable), 0, "ok"
		return s
	}
	for i := range peers {
		if p := &peers[i]; p.ID == id {
			s.Connected, s.Connects, s.DialsFailed = p.Connected, p.Connects, p.DialsFailed
			s.ContactMs = n.millisSince(p.LastReceived)
		}
	}
	s.State = "down"
	if s.Connected {
		s.State = "ok"
	}
	if c.Role == raftcore.Leader {
		n.followerStatus(&s, c, peerState(c, id))
	}
	return s
}

func roleOf(c *raftcore.Config, id raftcore.NodeID) op.MemberRole {
	switch {
	case slices.Contains(c.Voters, id):
		return op.RoleVoter
	case slices.Contains(c.Learners, id):
		return op.RoleLearner
	}
	return op.RoleLeaving
}

// followerStatus adds what only a leader knows.
func (n *Node) followerStatus(s *op.MemberStatus, c *raftcore.Status, p raftcore.PeerState) {
	s.Match, s.ContactMs = uint64(p.Match), n.millisSince(p.Contact)
	s.Lag = uint64(c.Last.Index - min(p.Match, c.Last.Index))
	switch {
	case n.now >= p.Contact+n.electionTimeout:
		s.State = "down"
	case p.State == "probing" || p.State == "snapshot":
		s.State = p.State
	case s.Role == op.RoleLearner && !s.Standing:
		s.State = "catching-up"
	default:
		s.State = "ok"
	}
}

// millisSince is the age of an instant, -1 when it never was.
func (n *Node) millisSince(at raftcore.Instant) int64 {
	if at == 0 {
		return -1
	}
	return int64((n.now - min(n.now, at)) / raftcore.Millisecond)
}

// logState writes what changed about leadership, once, where it becomes known.
func (n *Node) logState(s *raftcore.StateChange) {
	switch {
	case s.Role == raftcore.Leader && n.role != raftcore.Leader:
		n.logger.Info().Uint64("term", uint64(s.Term)).Str("reason", s.Reason).Msg("this node leads")
	case s.Role != raftcore.Leader && n.role == raftcore.Leader:
		n.logger.Info().Uint64("term", uint64(s.Term)).Str("reason", s.Reason).
			Msg("this node no longer leads")
	case s.Role == raftcore.PreCandidate && n.role == raftcore.Follower:
		n.logger.Info().Uint64("term", uint64(s.Term)).Str("reason", s.Reason).
			Msg("looks for a new leader")
	}
	if s.Leader != 0 && s.Leader != n.leader && s.Role != raftcore.Leader {
		n.logger.Info().Uint64("term", uint64(s.Term)).Str("leader", n.nameOf(s.Leader)).
			Msg("follows")
	}
	if !n.config.Equal(&s.Config) {
		n.logger.Info().Int("voters", len(s.Config.Voters)).Int("learners", len(s.Config.Learners)).
			Bool("joint", s.Config.Joint()).Msg("configuration")
	}
}

// warnSlow is called by the helpers, each for itself, when the disk takes its time.
func (n *Node) warnSlow(what string, took time.Duration) {
	n.logger.Warn().Dur("took", took).Msg("slow " + what + ": the disk does not keep up")
}

func hexID(id raftcore.NodeID) string { return strconv.FormatUint(uint64(id), 16) }
