package resp

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"kelek/resp/resptest"
	"kelek/store/op"
)

// wellFormed reads one reply and returns what follows it.
func wellFormed(b []byte) (rest []byte, err error) {
	line, rest, ok := bytes.Cut(b, []byte("\r\n"))
	if !ok || len(line) == 0 {
		return nil, fmt.Errorf("no line at %.40q", b)
	}
	if bytes.ContainsAny(line, "\r\n") {
		return nil, fmt.Errorf("CR or LF inside %q", line)
	}
	n, numberErr := strconv.Atoi(string(line[1:]))
	switch line[0] {
	case '+', '-', '_', '#', ',':
		return rest, nil
	case ':':
		return rest, numberErr
	case '$', '=':
		if n == -1 {
			return rest, nil
		}
		if numberErr != nil || len(rest) < n+2 || string(rest[n:n+2]) != "\r\n" {
			return nil, fmt.Errorf("bad bulk %.40q", b)
		}
		return rest[n+2:], nil
	case '%':
		n *= 2
	case '*', '~', '>':
	default:
		return nil, fmt.Errorf("unknown type %q", line[0])
	}
	for ; n > 0; n-- {
		if rest, err = wellFormed(rest); err != nil {
			return nil, err
		}
	}
	return rest, numberErr
}

// FuzzDispatch feeds a connection with anything: no panic, every reply is well-formed, and there is
// one for each command unless the client switched them off.
func FuzzDispatch(f *testing.F) {
	paths, _ := filepath.Glob("command/testdata/*.txt")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.ReplaceAll(text, []byte("CLIENT PAUSE"), nil), false)
	}
	f.Add([]byte("SET k v\r\nHELLO 3\r\nGET k\r\nCOMMAND\r\nINFO all\r\n"), true)
	f.Fuzz(func(t *testing.T, in []byte, clustered bool) {
		if bytes.Contains(bytes.ToLower(in), []byte("pause")) {
			t.Skip("it would wait")
		}
		node := resptest.New()
		defer node.Close()
		o := Options{Advertise: "127.0.0.1:1"}
		if clustered {
			o.Mode = Cluster
			node.SetStatus(resptest.ThreeNodes(2, 1))
		}
		d := &discard{keep: true}
		s := New(o, node)
		c := newConn(s, newGuard(d, s))
		for len(in) > 0 {
			n := copy(c.guard.space(), in)
			c.guard.received(n)
			in = in[n:]
			if err := c.serve(); err != nil {
				if !errors.Is(err, errClosing) && !errors.Is(err, errHungUp) {
					t.Fatal(err)
				}
				break
			}
			if c.guard.fault != "" {
				c.guard.complain()
				break
			}
		}
		replies := uint64(0)
		for rest := d.kept; len(rest) > 0; replies++ {
			var err error
			if rest, err = wellFormed(rest); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.Stats().Commands.Load(); replies > n+1 {
			t.Fatalf("%d replies to %d commands", replies, n)
		}
	})
}

// TestInfoHasTheFieldsThatToolsParse, with a value each.
func TestInfoHasTheFieldsThatToolsParse(t *testing.T) {
	fields := `redis_version redis_mode os arch_bits process_id run_id tcp_port uptime_in_seconds
		uptime_in_days hz configured_hz executable io_threads_active kelek_version
		connected_clients blocked_clients maxclients tracking_clients
		used_memory used_memory_human used_memory_rss used_memory_peak used_memory_dataset
		total_system_memory maxmemory maxmemory_policy mem_fragmentation_ratio mem_allocator
		loading async_loading rdb_changes_since_last_save rdb_last_save_time rdb_last_bgsave_status
		aof_enabled aof_last_write_status aof_current_size kelek_fsync
		total_connections_received total_commands_processed instantaneous_ops_per_sec
		total_net_input_bytes total_net_output_bytes expired_keys evicted_keys keyspace_hits
		keyspace_misses pubsub_channels total_error_replies rejected_connections sync_full
		role connected_slaves master_replid master_repl_offset used_cpu_sys used_cpu_user
		cmdstat_set cmdstat_config|get errorstat_ERR cluster_enabled cluster_raft_term
		cluster_raft_has_leader db0 raft_node_id raft_role raft_state raft_is_voting raft_leader_id
		raft_current_term raft_num_nodes raft_num_voting_nodes raft_node1 raft_commit_index
		raft_last_applied_index raft_log_time raft_fsync_count raft_once_entries raft_cluster_id`
	node := resptest.New()
	defer node.Close()
	s := New(Options{Version: "test", Advertise: "127.0.0.1:6380"}, node)
	d := &discard{keep: true}
	c := newConn(s, newGuard(d, s))
	in := "SET k v EX 10\r\nGET k\r\nGET none\r\nNOSUCH\r\nCONFIG GET x\r\nINFO all\r\n"
	c.guard.received(copy(c.guard.space(), in))
	if err := c.serve(); err != nil {
		t.Fatal(err)
	}
	values := make(map[string]string)
	for _, line := range strings.Split(string(d.kept), "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			values[name] = value
		}
	}
	for _, name := range strings.Fields(fields) {
		if values[name] == "" {
			t.Errorf("INFO lacks %s", name)
		}
	}
	for name, want := range map[string]string{"loading": "0", "role": "master", "cluster_enabled": "0",
		"maxmemory_policy": "noeviction", "keyspace_hits": "1", "keyspace_misses": "1",
		"total_error_replies": "1", "db0": "keys=1,expires=1,avg_ttl=0", "raft_role": "leader",
		"errorstat_ERR": "count=1", "total_commands_processed": "5"} {
		if values[name] != want {
			t.Errorf("INFO says %s:%s, want %s", name, values[name], want)
		}
	}
	s.ResetStats()
	if n := s.Stats().Commands.Load(); n != 0 {
		t.Errorf("%d commands after a reset", n)
	}
}

// TestLocalCommandsNeedNoNode: they are answered while the node answers nothing at all.
func TestLocalCommandsNeedNoNode(t *testing.T) {
	c, sink := discardConn(&deafBackend{})
	sink.keep = true
	in := "PING\r\nECHO x\r\nHELLO 3\r\nCLIENT ID\r\nCLIENT LIST\r\nCOMMAND COUNT\r\nCONFIG GET save\r\n" +
		"CLUSTER INFO\r\nROLE\r\nTIME\r\nSELECT 1\r\nINFO server\r\nRESET\r\n"
	c.guard.received(copy(c.guard.space(), in))
	if err := c.serve(); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(sink.kept, []byte("+RESET\r\n")) {
		t.Errorf("%q", sink.kept)
	}
}

// deafBackend never answers.
type deafBackend struct{ allocBackend }

func (*deafBackend) Propose(*op.Submission) { panic("a local command proposed") }
func (*deafBackend) Read(*op.ReadRequest)   { panic("a local command asked for a read point") }
