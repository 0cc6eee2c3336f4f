package admin

import (
	"encoding/hex"
	"fmt"

	"kelek/store/op"
)

// statusV1 is /api/v1/status. Node ids are 16 hexadecimal digits, since a number of 64 bits does
// not survive a JavaScript parser. Times say their unit.
type statusV1 struct {
	Version     int        `json:"version"` // of this layout: 1
	ClusterID   string     `json:"cluster_id"`
	NodeID      string     `json:"node_id"`
	Name        string     `json:"name"`
	Boot        uint64     `json:"boot"`
	Role        string     `json:"role"`
	Term        uint64     `json:"term"`
	LeaderID    string     `json:"leader_id"` // empty: unknown
	Leader      string     `json:"leader"`    // its name
	Ready       bool       `json:"ready"`
	Stopping    bool       `json:"stopping"`
	Log         logV1      `json:"log"`
	Members     []memberV1 `json:"members"`
	JointChange bool       `json:"joint_change"`       // a membership change is in progress
	Tolerated   int        `json:"failures_tolerated"` // voters that may still fail; -1: too few, or unknown
	Work        workV1     `json:"work"`
}

type logV1 struct {
	FirstIndex       uint64 `json:"first_index"`
	LastIndex        uint64 `json:"last_index"`
	CommitIndex      uint64 `json:"commit_index"`
	AppliedIndex     uint64 `json:"applied_index"`
	LogTimeMs        uint64 `json:"log_time_ms"`
	Bytes            uint64 `json:"bytes"`
	FsyncCount       uint64 `json:"fsync_count"`
	FsyncTotalMicros uint64 `json:"fsync_total_micros"`
	FsyncMaxMicros   uint64 `json:"fsync_max_micros"`
}

type memberV1 struct {
	NodeID      string `json:"node_id"`
	Name        string `json:"name"`
	Role        string `json:"role"`  // voter, learner or leaving
	State       string `json:"state"` // ok, down; on the leader also probing, snapshot, catching-up
	Voter       bool   `json:"voter"`
	Standing    bool   `json:"standing"` // a learner that is never promoted by itself
	Self        bool   `json:"self"`
	Connected   bool   `json:"connected"`
	Addr        string `json:"addr"`
	PeerAddr    string `json:"peer_addr"`
	ClusterAddr string `json:"cluster_addr"`
	Build       string `json:"build"`
	MatchIndex  uint64 `json:"match_index"` // known on the leader only
	LagEntries  uint64 `json:"lag_entries"` // likewise
	ContactMs   int64  `json:"contact_ms"`  // since the last message; -1 never
	Connects    uint64 `json:"connects"`    // connections made to it since the start
	DialsFailed uint64 `json:"dials_failed"`
}

type workV1 struct {
	Proposals         uint64 `json:"proposals"`
	ProposalsResent   uint64 `json:"proposals_resent"`
	ProposalsInflight uint64 `json:"proposals_inflight"`
	Uncertain         uint64 `json:"uncertain"`
	ReadRounds        uint64 `json:"read_rounds"`
	Held              uint64 `json:"held"`
	LongestHeldMicros uint64 `json:"longest_held_micros"`
	Elections         uint64 `json:"elections"`
	LeaderChanges     uint64 `json:"leader_changes"`
}

func newStatusV1(s *op.Status) *statusV1 {
	out := &statusV1{
		Version: 1, NodeID: hexID(s.NodeID), Name: s.Name, Boot: s.Boot,
		Role: s.Role, Term: s.Term, LeaderID: hexID(s.Leader),
		Ready: ready(s), Stopping: s.Stopping, JointChange: s.Joint,
		Tolerated: s.FailuresTolerated(),
		Log: logV1{
			FirstIndex: s.FirstIndex, LastIndex: s.LastIndex, CommitIndex: s.CommitIndex,
			AppliedIndex: s.Applied, LogTimeMs: s.LogTime, Bytes: s.LogBytes,
			FsyncCount: s.FsyncCount, FsyncTotalMicros: s.FsyncTotalMicros,
			FsyncMaxMicros: s.FsyncMaxMicros,
		},
		Members: []memberV1{},
		Work: workV1{
			Proposals: s.Proposals, ProposalsResent: s.Resent, ProposalsInflight: s.Inflight,
			Uncertain: s.Uncertain, ReadRounds: s.ReadRounds, Held: s.HeldCommands,
			LongestHeldMicros: s.LongestHeldNanos / 1000,
			Elections:         s.Elections, LeaderChanges: s.LeaderChanges,
		},
	}
	if s.ClusterID != [16]byte{} {
		out.ClusterID = hex.EncodeToString(s.ClusterID[:])
	}
	if leader := s.LeaderMember(); leader != nil {
		out.Leader = leader.Name
	}
	for i := range s.Members {
		out.Members = append(out.Members, newMemberV1(&s.Members[i]))
	}
	return out
}

func newMemberV1(m *op.MemberStatus) memberV1 {
	return memberV1{
		NodeID: hexID(m.ID), Name: m.Name, Role: string(m.Role), State: m.State, Standing: m.Standing,
		LagEntries: m.Lag, Connects: m.Connects, DialsFailed: m.DialsFailed, Voter: m.Voter, Self: m.Self, Connected: m.Connected,
		Addr: m.Addr, PeerAddr: m.PeerAddr, ClusterAddr: m.ClusterAddr, Build: m.Version,
		MatchIndex: m.Match, ContactMs: m.ContactMs,
	}
}

func ready(s *op.Status) bool {
	for _, c := range readiness(s) {
		if c.failed != "" {
			return false
		}
	}
	return true
}

func hexID(id uint64) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", id)
}
