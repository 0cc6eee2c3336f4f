package command

import (
	"encoding/hex"
	"fmt"
	"sort"
	"strings"

	"kelek/store/op"
)

// Facts is what INFO renders, gathered at one moment by the host. A field whose subsystem does not
// exist has its neutral value in the text, and no place here.
type Facts struct {
	// Server
	Version, Mode, OS, GoVersion, RunID, Executable, ConfigFile string
	PID, TCPPort                                                int
	NowMicros, UptimeSec                                        int64

	// Clients
	Clients, MaxClients   int
	Watching, WatchedKeys int // connections with watched keys; the keys, as often as watched

	// Memory, in bytes
	UsedMemory, UsedMemoryRSS, UsedMemoryPeak, SystemMemory uint64
	BlockCacheBytes, MemtableBytes, OnceEntries             uint64

	// Persistence
	DiskFreeBytes uint64
	Fsync         string
	StartSec      int64

	// Stats
	Connections, Rejected, Commands, OpsPerSec       uint64
	BytesIn, BytesOut, BytesInPerSec, BytesOutPerSec uint64
	Hits, Misses, Expired, ErrorReplies              uint64

	// CPU, in microseconds
	CPUSysMicros, CPUUserMicros uint64

	Commandstats []CommandStat // those that were called
	Errorstats   []ErrorStat
	Keyspace     [op.Databases]Keyspace
}

// CommandStat counts one command. Micros is its share of the time that batches took, waiting
// included.
type CommandStat struct {
	Name                            string
	Calls, Micros, Rejected, Failed uint64
}

// ErrorStat counts the error lines that begin with Word.
type ErrorStat struct {
	Word  string
	Count uint64
}

// Keyspace is the size of one database.
type Keyspace struct{ Keys, Expires int64 }

// infoSection is one "# Name" of INFO. Usual sections come without being named.
type infoSection struct {
	name  string
	usual bool
	write func(w *infoWriter)
}

var infoSections = []infoSection{
	{"Server", true, infoServer},
	{"Clients", true, infoClients},
	{"Memory", true, infoMemory},
	{"Persistence", true, infoPersistence},
	{"Stats", true, infoStats},
	{"Replication", true, infoReplication},
	{"CPU", true, infoCPU},
	{"Commandstats", false, infoCommandstats},
	{"Latencystats", false, func(*infoWriter) {}}, // latency-tracking no
	{"Errorstats", true, infoErrorstats},
	{"Cluster", true, infoCluster},
	{"Keyspace", true, infoKeyspace},
	{"Raft", true, infoRaft},
}

// infoWriter is what the sections write with.
type infoWriter struct {
	strings.Builder
	face *Face
	f    *Facts
	s    *op.Status
	t    topology
}

func (w *infoWriter) put(name string, value any) { fmt.Fprintf(w, "%s:%v\r\n", name, value) }

// putAll writes name, value, name, value...
func (w *infoWriter) putAll(pairs ...any) {
	for i := 0; i < len(pairs); i += 2 {
		w.put(pairs[i].(string), pairs[i+1])
	}
}

// info takes any number of section names, and default, all, everything.
func info(c *Call) Outcome {
	keyspace := (&infoSection{name: "Keyspace", usual: true}).wanted(c.Args[1:])
	w := &infoWriter{face: c.Host.Face(), f: c.Host.Facts(keyspace), s: c.Host.Status(),
		t: topologyOf(c)}
	for _, section := range infoSections {
		if !section.wanted(c.Args[1:]) {
			continue
		}
		if w.Len() > 0 {
			w.WriteString("\r\n")
		}
		w.WriteString("# " + section.name + "\r\n")
		section.write(w)
	}
	c.Reply.Verbatim("txt", w.String())
	return c.answered()
}

func (s *infoSection) wanted(names [][]byte) bool {
	if len(names) == 0 {
		return s.usual
	}
	for _, name := range names {
		switch {
		case is(name, "ALL"), is(name, "EVERYTHING"), is(name, strings.ToUpper(s.name)):
			return true
		case is(name, "DEFAULT") && s.usual:
			return true
		}
	}
	return false
}

func infoServer(w *infoWriter) {
	f := w.f
	w.putAll("redis_version", RedisVersion, "kelek_version", f.Version,
		"redis_git_sha1", "00000000", "redis_git_dirty", 0, "redis_build_id", "0",
		"redis_mode", f.Mode, "os", f.OS, "arch_bits", 32<<(^uint(0)>>63),
		"go_version", f.GoVersion, "process_id", f.PID, "run_id", f.RunID,
		"tcp_port", f.TCPPort, "server_time_usec", f.NowMicros,
		"uptime_in_seconds", f.UptimeSec, "uptime_in_days", f.UptimeSec/86400,
		"hz", 10, "configured_hz", 10, "executable", f.Executable, "config_file", f.ConfigFile,
		"io_threads_active", 0)
}

func infoClients(w *infoWriter) {
	w.putAll("connected_clients", w.f.Clients, "maxclients", w.f.MaxClients,
		"client_recent_max_input_buffer", 0, "client_recent_max_output_buffer", 0,
		"blocked_clients", w.s.HeldCommands, "tracking_clients", 0, "pubsub_clients", 0,
		"watching_clients", w.f.Watching, "clients_in_timeout_table", 0,
		"total_watched_keys", w.f.WatchedKeys, "total_blocking_keys", 0)
}

func infoMemory(w *infoWriter) {
	f := w.f
	ratio := 1.0
	if f.UsedMemory > 0 && f.UsedMemoryRSS > 0 {
		ratio = float64(f.UsedMemoryRSS) / float64(f.UsedMemory)
	}
	dataset := f.BlockCacheBytes + f.MemtableBytes
	w.putAll("used_memory", f.UsedMemory, "used_memory_human", human(f.UsedMemory),
		"used_memory_rss", f.UsedMemoryRSS, "used_memory_rss_human", human(f.UsedMemoryRSS),
		"used_memory_peak", f.UsedMemoryPeak, "used_memory_peak_human", human(f.UsedMemoryPeak),
		"used_memory_lua", 0, "used_memory_dataset", dataset,
		"total_system_memory", f.SystemMemory, "total_system_memory_human", human(f.SystemMemory),
		"maxmemory", 0, "maxmemory_human", "0B", "maxmemory_policy", "noeviction",
		"mem_fragmentation_ratio", fmt.Sprintf("%.2f", ratio), "mem_allocator", "go",
		"kelek_block_cache_bytes", f.BlockCacheBytes, "kelek_memtable_bytes", f.MemtableBytes)
}

// human writes bytes as Redis does: 1.50M.
func human(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%dB", n)
	}
	v, unit := float64(n), -1
	for v >= 1024 && unit < 4 {
		v, unit = v/1024, unit+1
	}
	return fmt.Sprintf("%.2f%c", v, "KMGTP"[unit])
}

// infoPersistence: what is not in the log any more is in a snapshot, the state itself or a copy of
// it.
func infoPersistence(w *infoWriter) {
	w.putAll("loading", 0, "async_loading", 0,
		"rdb_changes_since_last_save", w.s.LastIndex-min(w.s.LastIndex, snapshotIndex(w.s)),
		"rdb_bgsave_in_progress", oneIf(w.s.Snapshots.Taking), "rdb_last_save_time", w.f.StartSec,
		"rdb_last_bgsave_status", "ok", "rdb_last_bgsave_time_sec", -1, "rdb_saves", w.s.Snapshots.Created,
		"aof_enabled", 1, "aof_rewrite_in_progress", 0, "aof_last_write_status", "ok",
		"aof_current_size", w.s.LogBytes, "kelek_fsync", w.f.Fsync,
		"kelek_disk_free_bytes", w.f.DiskFreeBytes)
}

// snapshotIndex is the last entry that is no longer in the log.
func snapshotIndex(s *op.Status) uint64 { return max(s.FirstIndex, 1) - 1 }

func infoStats(w *infoWriter) {
	f := w.f
	w.putAll("total_connections_received", f.Connections, "total_commands_processed", f.Commands,
		"instantaneous_ops_per_sec", f.OpsPerSec,
		"total_net_input_bytes", f.BytesIn, "total_net_output_bytes", f.BytesOut,
		"instantaneous_input_kbps", kib(f.BytesInPerSec),
		"instantaneous_output_kbps", kib(f.BytesOutPerSec),
		"rejected_connections", f.Rejected, "sync_full", w.s.Snapshots.Sent,
		"sync_partial_ok", 0, "sync_partial_err", 0, "expired_keys", f.Expired, "evicted_keys", 0,
		"keyspace_hits", f.Hits, "keyspace_misses", f.Misses,
		"pubsub_channels", 0, "pubsub_patterns", 0, "latest_fork_usec", 0,
		"total_error_replies", f.ErrorReplies, "unexpected_error_replies", 0,
		"acl_access_denied_auth", 0, "acl_access_denied_cmd", 0,
		"acl_access_denied_key", 0, "acl_access_denied_channel", 0)
}

func kib(n uint64) string { return fmt.Sprintf("%.2f", float64(n)/1024) }

// infoReplication: on the plain listener every node is a master, for tools that refuse to write to
// a replica. The real role is in the Raft section.
func infoReplication(w *infoWriter) {
	replid := fmt.Sprintf("%040s", hex.EncodeToString(w.s.ClusterID[:]))
	if w.face.Cluster && !w.t.leading() {
		master := w.t.nodes[0]
		link, contact := "down", int64(-1)
		if m := w.s.LeaderMember(); m != nil && m.Connected {
			link, contact = "up", max(m.ContactMs, 0)/1000
		}
		w.putAll("role", "slave", "master_host", master.host, "master_port", master.port,
			"master_link_status", link, "master_last_io_seconds_ago", contact,
			"master_sync_in_progress", 0, "slave_repl_offset", w.s.Applied,
			"slave_priority", 100, "slave_read_only", 0)
	} else {
		w.put("role", "master")
		w.infoReplicas()
	}
	w.putAll("master_failover_state", "no-failover", "master_replid", replid,
		"master_repl_offset", w.offset(), "second_repl_offset", -1,
		"repl_backlog_active", 1, "repl_backlog_size", w.s.LogBytes,
		"repl_backlog_histlen", w.s.LastIndex-min(w.s.LastIndex, snapshotIndex(w.s)))
}

// offset is how far this node's data goes: a leader towards replicas counts what it has sent, too.
func (w *infoWriter) offset() uint64 {
	if w.face.Cluster && w.t.leading() {
		return w.s.LastIndex
	}
	return w.s.Applied
}

// infoReplicas lists the others; on the plain listener there are none.
func (w *infoWriter) infoReplicas() {
	if !w.face.Cluster {
		w.put("connected_slaves", 0)
		return
	}
	others := w.t.nodes[1:]
	w.put("connected_slaves", len(others))
	for i, n := range others {
		w.put(fmt.Sprintf("slave%d", i), fmt.Sprintf("ip=%s,port=%d,state=online,offset=%d,lag=%d",
			n.host, n.port, n.match, w.s.LastIndex-min(n.match, w.s.LastIndex)))
	}
}

func infoCPU(w *infoWriter) {
	seconds := func(micros uint64) string { return fmt.Sprintf("%.6f", float64(micros)/1e6) }
	w.putAll("used_cpu_sys", seconds(w.f.CPUSysMicros), "used_cpu_user", seconds(w.f.CPUUserMicros),
		"used_cpu_sys_children", "0.000000", "used_cpu_user_children", "0.000000")
}

func infoCommandstats(w *infoWriter) {
	for _, s := range w.f.Commandstats {
		per := 0.0
		if s.Calls > 0 {
			per = float64(s.Micros) / float64(s.Calls)
		}
		w.put("cmdstat_"+s.Name, fmt.Sprintf("calls=%d,usec=%d,usec_per_call=%.2f,rejected_calls=%d,"+
			"failed_calls=%d", s.Calls, s.Micros, per, s.Rejected, s.Failed))
	}
}

func infoErrorstats(w *infoWriter) {
	for _, e := range w.f.Errorstats {
		w.put("errorstat_"+e.Word, fmt.Sprintf("count=%d", e.Count))
	}
}

func infoCluster(w *infoWriter) {
	enabled := 0
	if w.face.Cluster {
		enabled = 1
	}
	voters, tolerated := quorumOf(w.s)
	w.putAll("cluster_enabled", enabled, "cluster_raft_term", w.s.Term,
		"cluster_raft_commit_index", w.s.CommitIndex, "cluster_raft_applied_index", w.s.Applied,
		"cluster_raft_lag", w.s.CommitIndex-min(w.s.Applied, w.s.CommitIndex),
		"cluster_raft_has_leader", oneIf(w.s.Leader != 0), "cluster_raft_voters", voters,
		"cluster_raft_failures_tolerated", tolerated,
		"cluster_raft_elections_total", w.s.Elections, "cluster_raft_alarms", 0)
}

func yesIf(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// quorumOf counts the voters, and how many more of those that are up may fail.
func quorumOf(s *op.Status) (voters, tolerated int) {
	voters, _ = s.Voters()
	return voters, max(0, s.FailuresTolerated())
}

func infoKeyspace(w *infoWriter) {
	for db, k := range w.f.Keyspace {
		if k.Keys > 0 {
			w.put(fmt.Sprintf("db%d", db), fmt.Sprintf("keys=%d,expires=%d,avg_ttl=0", k.Keys, k.Expires))
		}
	}
}

func infoRaft(w *infoWriter) {
	s := w.s
	voters, _ := quorumOf(s)
	w.putAll("raft_node_id", s.NodeID, "raft_node_name", s.Name, "raft_boot", s.Boot,
		"raft_state", raftState(s), "raft_role", s.Role, "raft_is_voting", votingWord(s),
		"raft_leader_id", s.Leader, "raft_current_term", s.Term,
		"raft_num_nodes", len(s.Members), "raft_num_voting_nodes", voters)
	w.raftNodes()
	average := uint64(0)
	if s.FsyncCount > 0 {
		average = s.FsyncTotalMicros / s.FsyncCount
	}
	w.putAll("raft_log_entries", s.LastIndex-min(s.LastIndex, snapshotIndex(s)),
		"raft_first_index", s.FirstIndex, "raft_current_index", s.LastIndex,
		"raft_commit_index", s.CommitIndex,
		"raft_last_applied_index", s.Applied, "raft_log_time", s.LogTime,
		"raft_file_size", s.LogBytes, "raft_fsync_count", s.FsyncCount,
		"raft_fsync_max_microseconds", s.FsyncMaxMicros, "raft_fsync_avg_microseconds", average,
		"raft_snapshot_last_idx", snapshotIndex(s), "raft_snapshot_in_progress",
		yesIf(s.Snapshots.InProgress()), "raft_snapshots_created", s.Snapshots.Created,
		"raft_snapshots_received", s.Snapshots.Installed,
		"raft_once_entries", w.f.OnceEntries,
		"raft_cluster_id", hex.EncodeToString(s.ClusterID[:]), "raft_cluster_version", 1,
		"raft_elections", s.Elections, "raft_leader_changes", s.LeaderChanges,
		"raft_held_commands", s.HeldCommands, "raft_longest_held_micros", s.LongestHeldNanos/1000,
		"raft_inflight_proposals", s.Inflight, "raft_proposals", s.Proposals,
		"raft_resent_proposals", s.Resent, "raft_uncertain", s.Uncertain,
		"raft_read_rounds", s.ReadRounds, "raft_alarms", 0)
}

func raftState(s *op.Status) string {
	switch {
	case s.Stopping:
		return "stopping"
	case s.ClusterID == [16]byte{}:
		return "forming"
	}
	return "up"
}

func votingWord(s *op.Status) string {
	for _, m := range s.Members {
		if m.Self && m.Voter {
			return "yes"
		}
	}
	return "no"
}

func (w *infoWriter) raftNodes() {
	members := append([]op.MemberStatus(nil), w.s.Members...)
	sort.Slice(members, func(i, j int) bool { return members[i].Name < members[j].Name })
	for i, m := range members {
		state, voting := "disconnected", "no"
		if m.Self || m.Connected {
			state = "connected"
		}
		if m.Voter {
			voting = "yes"
		}
		host, port, _ := SplitAddr(m.Addr)
		contact := m.ContactMs
		if contact > 0 {
			contact /= 1000
		}
		w.put(fmt.Sprintf("raft_node%d", i+1), fmt.Sprintf("id=%d,name=%s,state=%s,voting=%s,addr=%s,"+
			"port=%d,match=%d,lag=%d,last_conn_secs=%d,role=%s,health=%s,conn_errors=%d,conn_oks=%d",
			m.ID, m.Name, state, voting, host, port, m.Match, m.Lag, contact, m.Role, m.State,
			m.DialsFailed, m.Connects))
	}
}
