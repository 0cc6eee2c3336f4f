package admin

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"kelek/store/op"
)

type fixed struct{ status op.Status }

func (f *fixed) Status() *op.Status { return &f.status }

func healthy() *fixed {
	return &fixed{op.Status{
		ClusterID: [16]byte{0xab}, NodeID: 0x11, Name: "n1", Boot: 2, Role: "leader", Term: 5,
		Leader: 0x11, FirstIndex: 1, LastIndex: 20, CommitIndex: 19, Applied: 18,
		Snapshots: op.SnapshotStatus{Index: 15, Sending: 1, Created: 3, CreatesFailed: 1, Sent: 4,
			SendsFailed: 2, Installed: 5, ReceivesFailed: 6, BytesSent: 700, BytesReceived: 800},
		FsyncTotalMicros: 2_500_000, Members: []op.MemberStatus{
			{Member: op.Member{ID: 0x11, Name: "n1"}, Role: op.RoleVoter, Voter: true, Self: true,
				State: "ok"},
			{Member: op.Member{ID: 0x22, Name: "n2"}, Role: op.RoleVoter, Voter: true, Connected: true,
				Match: 17, ContactMs: 1500, State: "ok"},
			{Member: op.Member{ID: 0x33}, Role: op.RoleVoter, Voter: true, ContactMs: -1, State: "down"},
			{Member: op.Member{ID: 0x44, Name: "n4", Standing: true}, Role: op.RoleLearner,
				Connected: true, Lag: 7, ContactMs: 5, State: "ok", Connects: 2, DialsFailed: 3},
		},
	}}
}

func ask(t *testing.T, source Source, method, target string) (int, string) {
	t.Helper()
	s, err := New(Options{Source: source, Version: "1.2.3", StartedAt: time.Unix(100, 0)})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w.Code, w.Body.String()
}

func TestLivezNeverAsksTheCluster(t *testing.T) {
	if code, _ := ask(t, &fixed{}, "GET", "/livez"); code != http.StatusOK {
		t.Errorf("livez without a cluster: %d", code)
	}
}

func TestReadyz(t *testing.T) {
	if code, body := ask(t, healthy(), "GET", "/readyz"); code != 200 || body != "ok\n" {
		t.Errorf("healthy: %d %q", code, body)
	}
	for name, broken := range map[string]func(s *op.Status){
		"no cluster yet":   func(s *op.Status) { s.ClusterID = [16]byte{} },
		"no leader":        func(s *op.Status) { s.Leader = 0 },
		"nothing has been": func(s *op.Status) { s.Applied = 0 },
		"stopping":         func(s *op.Status) { s.Stopping = true },
	} {
		source := healthy()
		broken(&source.status)
		code, body := ask(t, source, "GET", "/readyz?verbose")
		if code != 503 || !strings.Contains(body, name) || !strings.Contains(body, "[-]") ||
			strings.Count(body, "[+]") != 3 {
			t.Errorf("%s: %d %q", name, code, body)
		}
	}
}

func TestStatusIsJSON(t *testing.T) {
	code, body := ask(t, healthy(), "GET", "/api/v1/status")
	var got statusV1
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != 200 {
		t.Fatalf("%d, %v", code, err)
	}
	if got.Version != 1 || got.Leader != "n1" || got.LeaderID != "0000000000000011" || !got.Ready ||
		got.Log.AppliedIndex != 18 || len(got.Members) != 4 || got.Members[1].MatchIndex != 17 ||
		got.Tolerated != 0 || got.Members[3].Role != "learner" || !got.Members[3].Standing ||
		got.Members[3].LagEntries != 7 || got.Members[3].DialsFailed != 3 || got.Members[2].State != "down" ||
		!strings.HasPrefix(got.ClusterID, "ab00") {
		t.Errorf("got %s", body)
	}
	_, body = ask(t, &fixed{}, "GET", "/api/v1/status")
	if !strings.Contains(body, `"members": []`) || !strings.Contains(body, `"leader_id": ""`) {
		t.Errorf("before formation: %s", body)
	}
}

func TestMetrics(t *testing.T) {
	code, body := ask(t, healthy(), "GET", "/metrics")
	if code != 200 {
		t.Fatalf("%d: %s", code, body)
	}
	for _, want := range []string{
		`kelek_build_info{cluster_id="ab000000000000000000000000000000",goversion="go`,
		`kelek_up_since_seconds 100`,
		`kelek_ready 1`,
		`kelek_raft_role{role="leader"} 1`,
		`kelek_raft_role{role="learner"} 0`,
		`kelek_raft_apply_backlog_entries 1`,
		`kelek_wal_fsync_seconds_total 2.5`,
		`kelek_raft_members{kind="voter"} 3`,
		`kelek_raft_members{kind="learner"} 1`,
		`kelek_raft_members{kind="leaving"} 0`,
		`kelek_raft_failures_tolerated 0`,
		`kelek_raft_peer_lag_entries{peer="n2"} 3`,
		`kelek_raft_peer_last_contact_seconds{peer="n2"} 1.5`,
		`kelek_raft_peer_connected{peer="0000000000000033"} 0`,
		`kelek_raft_snapshot_index 15`,
		`kelek_raft_snapshot_in_progress 1`,
		`kelek_raft_snapshots_total{dir="save",result="ok"} 3`,
		`kelek_raft_snapshots_total{dir="save",result="failed"} 1`,
		`kelek_raft_snapshots_total{dir="send",result="ok"} 4`,
		`kelek_raft_snapshots_total{dir="send",result="failed"} 2`,
		`kelek_raft_snapshots_total{dir="install",result="ok"} 5`,
		`kelek_raft_snapshots_total{dir="install",result="failed"} 6`,
		`kelek_raft_snapshot_bytes_total{dir="send"} 700`,
		`kelek_raft_snapshot_bytes_total{dir="install"} 800`,
		`go_goroutines`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no line with %s", want)
		}
	}
	if strings.Contains(body, `last_contact_seconds{peer="0000000000000033"}`) {
		t.Error("a peer that never spoke has no time of last contact")
	}
	checkNames(t, body)
}

// checkNames holds the rules of names: the prefix, and _total on counters only.
func checkNames(t *testing.T, body string) {
	types := regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(body, -1)
	for _, m := range types {
		name, kind := m[1], m[2]
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		if !strings.HasPrefix(name, "kelek_") ||
			strings.HasSuffix(name, "_total") != (kind == "counter") {
			t.Errorf("%s is a %s", name, kind)
		}
	}
}

func TestAFollowerTellsNothingOfTheLeader(t *testing.T) {
	source := healthy()
	source.status.Leader = 0x22
	_, body := ask(t, source, "GET", "/metrics")
	for _, absent := range []string{"failures_tolerated", "peer_match_index", "peer_lag_entries"} {
		if strings.Contains(body, "kelek_raft_"+absent) {
			t.Errorf("a follower claims to know %s", absent)
		}
	}
}

// A wiped machine comes back under its old name while its former self is still a member.
func TestTwoMembersWithOneName(t *testing.T) {
	source := healthy()
	source.status.Members[2].Name = "n2"
	code, body := ask(t, source, "GET", "/metrics")
	if code != 200 || !strings.Contains(body, `peer_connected{peer="n2 0000000000000022"} 1`) ||
		!strings.Contains(body, `peer_connected{peer="n2 0000000000000033"} 0`) {
		t.Errorf("%d: %s", code, body)
	}
}

func TestOnlyReading(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		if code, _ := ask(t, healthy(), method, "/readyz"); code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, code)
		}
	}
	if code, _ := ask(t, healthy(), "GET", "/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("profiles: %d", code)
	}
	code, body := ask(t, healthy(), "GET", "/")
	if code != 200 || !strings.Contains(body, "/metrics") {
		t.Errorf("index: %d %q", code, body)
	}
}

func TestServeAndShutdown(t *testing.T) {
	s, err := New(Options{Source: healthy()})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	resp, err := http.Get("http://" + ln.Addr().String() + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "ok\n" {
		t.Errorf("%q, %v", body, err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
