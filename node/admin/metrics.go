package admin

import (
	"encoding/hex"
	"errors"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"kelek/store/op"
)

// metric is one line of the table below: a plain gauge or counter with a value from a Status.
type metric struct {
	name  string
	help  string
	kind  prometheus.ValueType
	value func(s *op.Status) float64
}

// Short names keep the table a table.
const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// metrics are those without labels. Names are part of dashboards and alerts: never rename one.
func metrics() []metric {
	return []metric{
		{"ready", "1 when commands sent to this node are carried out.", gauge,
			func(s *op.Status) float64 { return truth(ready(s)) }},
		{"stopping", "1 while the node shuts down.", gauge,
			func(s *op.Status) float64 { return truth(s.Stopping) }},
		{"raft_has_leader", "1 when this node knows a leader.", gauge,
			func(s *op.Status) float64 { return truth(s.Leader != 0) }},
		{"raft_term", "Current term.", gauge,
			func(s *op.Status) float64 { return float64(s.Term) }},
		{"raft_first_index", "First entry that is still in the log.", gauge,
			func(s *op.Status) float64 { return float64(s.FirstIndex) }},
		{"raft_last_index", "Last entry of the log.", gauge,
			func(s *op.Status) float64 { return float64(s.LastIndex) }},
		{"raft_commit_index", "Last entry known to be durable on a majority.", gauge,
			func(s *op.Status) float64 { return float64(s.CommitIndex) }},
		{"raft_applied_index", "Last entry that was executed here.", gauge,
			func(s *op.Status) float64 { return float64(s.Applied) }},
		{"raft_apply_backlog_entries", "Committed entries that were not executed here yet.", gauge,
			func(s *op.Status) float64 { return float64(s.CommitIndex - min(s.Applied, s.CommitIndex)) }},
		{"raft_leader_changes_total", "Changes of leader seen since the start.", counter,
			func(s *op.Status) float64 { return float64(s.LeaderChanges) }},
		{"raft_elections_started_total", "Campaigns of this node since the start.", counter,
			func(s *op.Status) float64 { return float64(s.Elections) }},
		{"raft_proposals_total", "Own proposals that were numbered since the start.", counter,
			func(s *op.Status) float64 { return float64(s.Proposals) }},
		{"raft_proposals_resent_total", "Own proposals that were sent again.", counter,
			func(s *op.Status) float64 { return float64(s.Resent) }},
		{"raft_proposals_uncertain_total", "Commands whose outcome could not be told.", counter,
			func(s *op.Status) float64 { return float64(s.Uncertain) }},
		{"raft_proposals_inflight", "Own proposals without an outcome.", gauge,
			func(s *op.Status) float64 { return float64(s.Inflight) }},
		{"raft_read_rounds_total", "Rounds that confirmed leadership for reads.", counter,
			func(s *op.Status) float64 { return float64(s.ReadRounds) }},
		{"raft_held_commands", "Commands that wait for a leader.", gauge,
			func(s *op.Status) float64 { return float64(s.HeldCommands) }},
		{"raft_longest_held_seconds", "Longest wait for a leader that has ended.", gauge,
			func(s *op.Status) float64 { return float64(s.LongestHeldNanos) / 1e9 }},
		{"raft_joint_change", "1 while a membership change is in progress.", gauge,
			func(s *op.Status) float64 { return truth(s.Joint) }},
		{"raft_log_bytes", "Size of the log.", gauge,
			func(s *op.Status) float64 { return float64(s.LogBytes) }},
		{"raft_snapshot_index", "Last entry of the newest snapshot taken or installed here.", gauge,
			func(s *op.Status) float64 { return float64(s.Snapshots.Index) }},
		{"raft_snapshot_in_progress", "1 while a snapshot is taken, sent or received.", gauge,
			func(s *op.Status) float64 { return truth(s.Snapshots.InProgress()) }},
		{"wal_fsyncs_total", "Synced writes of the log.", counter,
			func(s *op.Status) float64 { return float64(s.FsyncCount) }},
		{"wal_fsync_seconds_total", "Time spent in synced writes of the log.", counter,
			func(s *op.Status) float64 { return float64(s.FsyncTotalMicros) / 1e6 }},
		{"wal_fsync_max_seconds", "Longest synced write of the log since the start.", gauge,
			func(s *op.Status) float64 { return float64(s.FsyncMaxMicros) / 1e6 }},
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// roles are the values of the label role; exactly one of them is 1 once the cluster has formed.
func roles() []string { return []string{"leader", "follower", "candidate", "learner"} }

// collector renders a Status at each scrape.
type collector struct {
	source Source
	build  Options
	table  []metric
	descs  []*prometheus.Desc // of table, at the same positions

	info, up, role, members, tolerated     *prometheus.Desc
	peerMatch, peerLag, contact, connected *prometheus.Desc
	snapshots, snapshotBytes               *prometheus.Desc
}

func newRegistry(o *Options) (*prometheus.Registry, error) {
	registry := prometheus.NewRegistry()
	return registry, errors.Join(
		registry.Register(newCollector(o)),
		registry.Register(collectors.NewGoCollector()),
		registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
	)
}

func newCollector(o *Options) *collector {
	c := &collector{source: o.Source, build: *o, table: metrics()}
	for _, m := range c.table {
		c.descs = append(c.descs, describe(m.name, m.help))
	}
	c.info = describe("build_info", "Always 1; the labels tell what runs here.",
		"version", "goversion", "cluster_id", "node_id")
	c.up = describe("up_since_seconds", "Start of the process, seconds since the epoch.")
	c.role = describe("raft_role", "1 for the role this node has.", "role")
	c.members = describe("raft_members", "Members of the configuration in force.", "kind")
	c.tolerated = describe("raft_failures_tolerated",
		"How many more voters may fail before the cluster stops; told by the leader.")
	c.snapshots = describe("raft_snapshots_total", "Snapshots since the start of the process.",
		"dir", "result")
	c.snapshotBytes = describe("raft_snapshot_bytes_total", "Bytes of snapshot files.", "dir")
	c.peerMatch = describe("raft_peer_match_index", "Durable entry of a peer, told by the leader.",
		"peer")
	c.peerLag = describe("raft_peer_lag_entries", "Entries a peer is behind, told by the leader.",
		"peer")
	c.contact = describe("raft_peer_last_contact_seconds", "Since the last message of a peer.",
		"peer")
	c.connected = describe("raft_peer_connected", "1 while the connection to a peer is up.", "peer")
	return c
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("kelek_"+name, help, labels, nil)
}

// Describe is part of prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range c.descs {
		out <- desc
	}
	for _, desc := range []*prometheus.Desc{c.info, c.up, c.role, c.members, c.tolerated,
		c.peerMatch, c.peerLag, c.contact, c.connected, c.snapshots, c.snapshotBytes} {
		out <- desc
	}
}

// Collect is part of prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.source.Status()
	put := func(desc *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, kind, v, labels...)
	}
	put(c.info, gauge, 1, c.build.Version, runtime.Version(), clusterLabel(s), hexID(s.NodeID))
	put(c.up, gauge, float64(c.build.StartedAt.UnixMilli())/float64(time.Second/time.Millisecond))
	for i, m := range c.table {
		put(c.descs[i], m.kind, m.value(s))
	}
	for _, role := range roles() {
		put(c.role, gauge, truth(s.Role == role), role)
	}
	c.collectSnapshots(&s.Snapshots, put)
	c.collectMembers(s, put)
}

// collectSnapshots tells of snapshots by where they go: save is here, send to a peer, install from
// one.
func (c *collector) collectSnapshots(s *op.SnapshotStatus, put putter) {
	for _, x := range [...]struct {
		dir        string
		ok, failed uint64
	}{
		{"save", s.Created, s.CreatesFailed},
		{"send", s.Sent, s.SendsFailed},
		{"install", s.Installed, s.ReceivesFailed},
	} {
		put(c.snapshots, counter, float64(x.ok), x.dir, "ok")
		put(c.snapshots, counter, float64(x.failed), x.dir, "failed")
	}
	put(c.snapshotBytes, counter, float64(s.BytesSent), "send")
	put(c.snapshotBytes, counter, float64(s.BytesReceived), "install")
}

type putter func(desc *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string)

func (c *collector) collectMembers(s *op.Status, put putter) {
	leading := s.Leader != 0 && s.Leader == s.NodeID
	count := map[op.MemberRole]int{}
	for i := range s.Members {
		m := &s.Members[i]
		count[m.Role]++
		if !m.Self {
			c.collectPeer(s, m, leading, put)
		}
	}
	for _, role := range [...]op.MemberRole{op.RoleVoter, op.RoleLearner, op.RoleLeaving} {
		put(c.members, gauge, float64(count[role]), string(role))
	}
	if leading {
		put(c.tolerated, gauge, float64(max(s.FailuresTolerated(), 0)))
	}
}

func (c *collector) collectPeer(s *op.Status, m *op.MemberStatus, leading bool, put putter) {
	peer := peerLabel(s, m)
	put(c.connected, gauge, truth(m.Connected), peer)
	if m.ContactMs >= 0 {
		put(c.contact, gauge, float64(m.ContactMs)/1e3, peer)
	}
	if leading {
		put(c.peerMatch, gauge, float64(m.Match), peer)
		put(c.peerLag, gauge, float64(s.LastIndex-min(m.Match, s.LastIndex)), peer)
	}
}

// peerLabel is the name of a peer. Two members have one name while a machine that lost its disk
// replaces its former self; then the node id is added, since a label must be unique.
func peerLabel(s *op.Status, m *op.MemberStatus) string {
	if m.Name == "" {
		return hexID(m.ID)
	}
	for i := range s.Members {
		if other := &s.Members[i]; other.Name == m.Name && other.ID != m.ID {
			return m.Name + " " + hexID(m.ID)
		}
	}
	return m.Name
}

func clusterLabel(s *op.Status) string {
	if s.ClusterID == [16]byte{} {
		return ""
	}
	return hex.EncodeToString(s.ClusterID[:])
}
