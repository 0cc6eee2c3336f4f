package op

// Status is an immutable copy of what a node knows of itself and its cluster, for INFO, CLUSTER,
// redirects and metrics. It is local knowledge: never proof of leadership for a read.
type Status struct {
	ClusterID   [16]byte // zero while the cluster has not formed
	NodeID      uint64
	Name        string
	Boot        uint64
	Role        string // leader, follower, candidate, learner; "forming" before there is a cluster
	Term        uint64
	Leader      uint64 // node id; 0 unknown
	FirstIndex  uint64 // first entry still in the log
	LastIndex   uint64
	CommitIndex uint64
	Applied     uint64
	LogTime     uint64 // ms since the Unix epoch
	Joint       bool   // a membership change is in progress
	Members     []MemberStatus
	Stopping    bool

	FsyncCount       uint64
	FsyncMaxMicros   uint64
	FsyncTotalMicros uint64
	LogBytes         uint64
	Elections        uint64 // campaigns started by this node since its start
	LeaderChanges    uint64 // seen by this node since its start
	HeldCommands     uint64 // now waiting for a leader
	LongestHeldNanos uint64 // longest wait for a leader that has ended
	Inflight         uint64 // own proposals without an outcome
	Proposals        uint64 // own proposals numbered since the start
	Resent           uint64 // own proposals sent again since the start
	Uncertain        uint64 // submissions whose outcome could not be told
	ReadRounds       uint64 // read index requests given to the core
	ElectionTimeout  uint64 // ms
}

// MemberStatus is one member as this node sees it.
type MemberStatus struct {
	Member
	Voter     bool
	Self      bool
	Connected bool
	Match     uint64 // durable index there; known on the leader only
	ContactMs int64  // since the last message from it; -1 never
}

// LeaderMember returns the leader's entry, or nil while no leader is known.
func (s *Status) LeaderMember() *MemberStatus {
	for i := range s.Members {
		if s.Leader != 0 && s.Members[i].ID == s.Leader {
			return &s.Members[i]
		}
	}
	return nil
}
