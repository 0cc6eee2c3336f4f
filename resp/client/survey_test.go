package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func infoReplies(name, role, state, members string) []string {
	id := strings.TrimPrefix(name, "n")
	raft := fmt.Sprintf("# Raft\r\nraft_node_id:%s\r\nraft_node_name:%s\r\nraft_state:%s\r\n"+
		"raft_role:%s\r\nraft_is_voting:yes\r\nraft_leader_id:1\r\nraft_current_term:7\r\n"+
		"raft_current_index:12345\r\nraft_commit_index:12344\r\nraft_last_applied_index:12340\r\n"+
		"raft_file_size:3145728\r\nraft_cluster_id:7c1e44a9000000000000000000000000\r\n%s",
		id, name, state, role, members)
	server := "# Server\r\nkelek_version:0.1\r\n"
	return []string{bulk(raft), bulk(server)}
}

func bulk(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }

func member(i int, addr, state string, lag, contact int) string {
	host, port, _ := strings.Cut(addr, ":")
	return fmt.Sprintf("raft_node%d:id=%d,name=n%d,state=%s,voting=yes,addr=%s,port=%s,match=12300,"+
		"lag=%d,last_conn_secs=%d\r\n", i, i, i, state, host, port, lag, contact)
}

// twoOfThree serves n1 (leader) and n2; n3 does not answer.
func twoOfThree(t *testing.T, state string) *Survey {
	follower := make([]string, 2)
	addr2, _ := serve(t, follower...)
	addr3 := deadAddr(t)
	members := member(1, "127.0.0.1:1", "connected", 0, 0) +
		member(2, addr2, "connected", 45, 0) + member(3, addr3, "disconnected", 900, 12)
	copy(follower, infoReplies("n2", "follower", "up", members))
	addr1, _ := serve(t, infoReplies("n1", "leader", state, members)...)
	survey, err := Take(&Dialer{Addrs: []string{addr3, addr1}, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return survey
}

func TestSurvey(t *testing.T) {
	s := twoOfThree(t, "up")
	if s.Health != "degraded" || s.Tolerates != 0 || s.Term != 7 || s.CheckCode() != CheckDegraded {
		t.Errorf("survey %+v", s)
	}
	var table bytes.Buffer
	if err := s.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(table.String(), "\n")
	first := "cluster 7c1e-44a9   degraded   tolerates no more failures   term 7   version 0.1"
	if lines[0] != first {
		t.Errorf("first line %q, want %q", lines[0], first)
	}
	for i, want := range []string{
		2: "n1 LEADER 127.0.0.1:1 7 12,345 12,344 12,340 - - 3 MiB ok",
		3: "7 12,345 12,344 12,340 45 0s 3 MiB ok",
		4: "- - - - 900 12s - unreachable",
	} {
		if got := strings.Join(strings.Fields(lines[i]), " "); !strings.HasSuffix(got, want) {
			t.Errorf("line %d: %q, want ...%q", i, got, want)
		}
	}
	var text bytes.Buffer
	if err := s.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	var back Survey
	if err := json.Unmarshal(text.Bytes(), &back); err != nil || back.Version != 1 ||
		len(back.Nodes) != 3 || back.Nodes[2].State != "unreachable" {
		t.Errorf("JSON %s: %v", &text, err)
	}
}

func TestAStoppingNodeSaysSo(t *testing.T) {
	if s := twoOfThree(t, "stopping"); s.CheckCode() != CheckStopping {
		t.Errorf("code %d, want %d", s.CheckCode(), CheckStopping)
	}
}

func TestSurveyOfAloneCandidate(t *testing.T) {
	members := member(1, "127.0.0.1:1", "connected", 0, 0) +
		member(2, deadAddr(t), "disconnected", 0, -1) + member(3, deadAddr(t), "disconnected", 0, -1)
	addr, _ := serve(t, infoReplies("n1", "candidate", "up", members)...)
	s, err := Take(&Dialer{Addrs: []string{addr}, Timeout: 5 * time.Second})
	if err != nil || s.CheckCode() != CheckNoLeader || s.Tolerates != -1 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestSurveyOfAStranger(t *testing.T) {
	addr, _ := serve(t, bulk("# Server\r\nredis_version:7\r\n"), bulk(""))
	_, err := Take(&Dialer{Addrs: []string{addr}, Timeout: 5 * time.Second})
	if err == nil || !strings.Contains(err.Error(), "not a kelek node") {
		t.Errorf("got %v", err)
	}
}

// TestSurveyShowsWhoIsComingAndGoing: a learner and a leaving voter say so, reachable or not, have
// no vote in what is tolerated, and the leader's word on how far a node is stands for its state.
func TestSurveyShowsWhoIsComingAndGoing(t *testing.T) {
	leader := &NodeInfo{ID: "1", Name: "n1", State: "up", Role: "leader", Term: 3, Members: []MemberInfo{
		{ID: "1", Name: "n1", Voting: true, Role: "voter", State: "ok"},
		{ID: "2", Name: "n2", Voting: true, Role: "voter", State: "ok"},
		{ID: "3", Name: "n3", Role: "learner", State: "catching-up", Lag: 900},
		{ID: "4", Name: "n4", Voting: true, Role: "leaving", State: "down"},
		{ID: "5", Name: "n5", Voting: true, Role: "voter", State: "down"},
	}}
	up := func(id string) *NodeInfo { return &NodeInfo{ID: id, State: "up", Role: "follower", Term: 3} }
	s := newSurvey(leader, map[string]*NodeInfo{"1": leader, "2": up("2"), "3": up("3")})
	var got []string
	for _, n := range s.Nodes {
		got = append(got, n.Name+" "+n.Role+" "+n.State)
	}
	want := "[n1 leader ok n2 follower ok n3 learner catching-up n4 leaving unreachable n5 - unreachable]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if s.Health != "degraded" || s.Tolerates != 0 { // two of three voters
		t.Errorf("%s, tolerates %d", s.Health, s.Tolerates)
	}
}
