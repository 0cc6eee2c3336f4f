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

	Snapshots SnapshotStatus
}

// SnapshotStatus is what a node has done about snapshots since its start.
type SnapshotStatus struct {
	Index     uint64 // of the newest that was taken or installed here; 0: none
	Taking    bool
	Receiving bool
	Sending   uint64 // streams

	Created, CreatesFailed    uint64
	Sent, SendsFailed         uint64 // streams; one that was broken and goes on counts in both
	Installed, ReceivesFailed uint64
	BytesSent, BytesReceived  uint64
}

// InProgress reports whether one is being taken, sent or received.
func (s *SnapshotStatus) InProgress() bool { return s.Taking || s.Receiving || s.Sending > 0 }

// MemberRole is what a member is in the configuration in force.
type MemberRole string

const (
	RoleVoter   MemberRole = "voter"
	RoleLearner MemberRole = "learner"
	RoleLeaving MemberRole = "leaving" // a voter of the old half only of a joint configuration
)

// MemberStatus is one member as this node sees it.
type MemberStatus struct {
	Member
	Role      MemberRole
	Voter     bool // its vote counts now: Role is voter or leaving
	Self      bool
	Leader    bool
	Connected bool
	Match     uint64 // durable index there; known on the leader only
	Lag       uint64 // entries of the leader's log that it does not hold durably; on the leader only
	ContactMs int64  // since the last message from it; -1 never
	// State is one word. On the leader: "ok", "probing", "snapshot", "catching-up" (a learner that will
	// vote) or "down" (silent for an election time-out). Elsewhere: "ok" (connected) or "down".
	State       string
	Connects    uint64 // connections to it that were made since this node started
	DialsFailed uint64 // and attempts in vain
}

// Alive reports whether the member can take part now, as far as this node sees.
func (m *MemberStatus) Alive() bool { return m.Self || m.State != "down" }

// Voters is how many votes count, and how many of them could be given now.
func (s *Status) Voters() (total, alive int) {
	for i := range s.Members {
		if m := &s.Members[i]; m.Role == RoleVoter {
			total++
			if m.Alive() {
				alive++
			}
		}
	}
	return total, alive
}

// FailuresTolerated is how many more voters may fail before the cluster stops; -1 when it has no
// leader or too few voters already.
func (s *Status) FailuresTolerated() int {
	total, alive := s.Voters()
	if s.Leader == 0 || total == 0 {
		return -1
	}
	return max(alive-(total/2+1), -1)
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
