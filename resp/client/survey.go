package client

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
)

// Exit codes of `kelek status --check`.
const (
	CheckHealthy  = 0
	CheckNoAnswer = 1
	CheckDegraded = 10 // serves; redundancy is reduced
	CheckNoLeader = 11 // no leader or no quorum
	CheckStopping = 13 // the node that was asked is shutting down
)

// Survey is the state of a cluster, put together from what each of its nodes says.
type Survey struct {
	Version   int          `json:"version"` // of this layout: 1
	ClusterID string       `json:"cluster_id"`
	Health    string       `json:"health"`    // healthy, degraded, no leader, stopping
	Tolerates int          `json:"tolerates"` // voters that may still fail; -1 without a leader
	Term      uint64       `json:"term"`
	Build     string       `json:"build"`
	Nodes     []SurveyNode `json:"nodes"`
}

// SurveyNode is one line of the table.
type SurveyNode struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Role    string `json:"role"` // leader, follower, candidate, learner, leaving
	Addr    string `json:"addr"`
	Term    uint64 `json:"term"`
	Last    uint64 `json:"last_index"`
	Commit  uint64 `json:"commit_index"`
	Applied uint64 `json:"applied_index"`
	Lag     int64  `json:"lag_entries"` // behind the leader; -1: unknown, or the leader itself
	Contact int64  `json:"contact_s"`   // since the leader heard of it; -1: unknown
	Disk    uint64 `json:"log_bytes"`
	State   string `json:"state"` // ok, catching-up, snapshot, probing, stopping, unreachable...
	Voter   bool   `json:"voter"`
	Answers bool   `json:"answers"` // and is neither forming nor stopping
}

// Take asks the first node that answers for the members, and then every member.
func Take(d *Dialer) (*Survey, error) {
	conn, err := d.Dial()
	if err != nil {
		return nil, err
	}
	first, err := conn.Info()
	conn.Close() // the answer is complete, or there is none
	if err != nil {
		return nil, err
	}
	return newSurvey(first, askMembers(d, first)), nil
}

// askMembers returns the answers by node id; a node that does not answer is absent.
func askMembers(d *Dialer, first *NodeInfo) map[string]*NodeInfo {
	answers := map[string]*NodeInfo{first.ID: first}
	var guard sync.Mutex
	var all sync.WaitGroup
	for _, m := range first.Members {
		if m.ID == first.ID || m.Addr == "" {
			continue
		}
		all.Add(1)
		go func() {
			defer all.Done()
			one := Dialer{Password: d.Password, Timeout: min(d.Timeout, surveyTimeout),
				Connect: d.Connect}
			if info, err := one.AskInfo(m.Addr); err == nil && info.ID == m.ID {
				guard.Lock()
				defer guard.Unlock()
				answers[m.ID] = info
			}
		}()
	}
	all.Wait()
	return answers
}

func newSurvey(first *NodeInfo, answers map[string]*NodeInfo) *Survey {
	s := &Survey{Version: 1, ClusterID: first.ClusterID, Build: first.Version, Tolerates: -1,
		Term: first.Term, Nodes: []SurveyNode{}}
	leader := leaderOf(answers)
	view := first
	if leader != nil {
		view, s.Term = leader, leader.Term
	}
	voters, alive := 0, 0
	for _, m := range view.Members {
		node := newSurveyNode(&m, answers[m.ID], leader)
		s.Nodes = append(s.Nodes, node)
		if !m.Voting || m.Role == "leaving" {
			continue // it has no vote in what is to come
		}
		voters++
		if node.Answers {
			alive++
		}
	}
	s.judge(first, leader, voters, alive)
	return s
}

func (s *Survey) judge(first, leader *NodeInfo, voters, alive int) {
	quorum := voters/2 + 1
	switch {
	case first.State == "stopping":
		s.Health = "stopping"
	case leader == nil || alive < quorum:
		s.Health = "no leader"
	case alive < voters:
		s.Health = "degraded"
	default:
		s.Health = "healthy"
	}
	if leader != nil {
		s.Tolerates = max(alive-quorum, 0)
	}
}

// leaderOf is the node that says it leads, in the highest term: a deposed leader that does not know
// it yet says so, too.
func leaderOf(answers map[string]*NodeInfo) *NodeInfo {
	var leader *NodeInfo
	for _, info := range answers {
		if info.Leading() && (leader == nil || info.Term > leader.Term) {
			leader = info
		}
	}
	return leader
}

func newSurveyNode(m *MemberInfo, info, leader *NodeInfo) SurveyNode {
	node := SurveyNode{Name: m.Name, ID: m.ID, Addr: m.Addr, Voter: m.Voting, Lag: -1, Contact: -1,
		Role: "-", State: "unreachable"}
	if m.Role == "learner" || m.Role == "leaving" {
		node.Role = m.Role
	}
	if leader != nil && m.ID != leader.ID {
		node.Lag, node.Contact = int64(m.Lag), m.ContactSec
	}
	if info == nil {
		return node
	}
	if node.Role == "-" {
		node.Role = info.Role
	}
	node.Term, node.Last = info.Term, info.Last
	node.Commit, node.Applied, node.Disk = info.Commit, info.Applied, info.LogBytes
	if node.State = info.State; info.State == "up" {
		node.State, node.Answers = "ok", true
	}
	if node.Answers && leader != nil && m.State != "" && m.State != "down" {
		node.State = m.State // the leader knows who is behind
	}
	return node
}

// CheckCode is the exit code of `kelek status --check`.
func (s *Survey) CheckCode() int {
	switch s.Health {
	case "healthy":
		return CheckHealthy
	case "degraded":
		return CheckDegraded
	case "stopping":
		return CheckStopping
	}
	return CheckNoLeader
}

// WriteJSON writes the survey for programs.
func (s *Survey) WriteJSON(w io.Writer) error { return writeJSON(w, s) }

// WriteTable writes the survey for people: first whether all is well, then the details.
func (s *Survey) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "cluster %s   %s   %s   term %d   version %s\n", shortID(s.ClusterID),
		s.Health, s.Tolerance(), s.Term, s.Build)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NODE\tROLE\tADDR\tTERM\tLAST\tCOMMIT\tAPPLIED\tLAG\tCONTACT\tDISK\tSTATE")
	for i := range s.Nodes {
		s.Nodes[i].writeRow(table)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Tolerance says how many more failures the cluster survives.
func (s *Survey) Tolerance() string {
	switch s.Tolerates {
	case -1:
		return "writes and reads wait for a leader"
	case 0:
		return "tolerates no more failures"
	case 1:
		return "tolerates 1 more failure"
	}
	return fmt.Sprintf("tolerates %d more failures", s.Tolerates)
}

func (n *SurveyNode) writeRow(w io.Writer) {
	role := n.Role
	if role == "leader" {
		role = "LEADER"
	}
	if n.State == "unreachable" {
		fmt.Fprintf(w, "%s\t%s\t%s\t-\t-\t-\t-\t%s\t%s\t-\t%s\n", n.Name, role, n.Addr,
			orDash(n.Lag, ""), orDash(n.Contact, "s"), n.State)
		return
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, role, n.Addr, n.Term,
		thousands(n.Last), thousands(n.Commit), thousands(n.Applied),
		orDash(n.Lag, ""), orDash(n.Contact, "s"), mebibytes(n.Disk), n.State)
}

func orDash(n int64, unit string) string {
	if n < 0 {
		return "-"
	}
	return thousands(uint64(n)) + unit
}

// thousands writes 1,234,567.
func thousands(n uint64) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func mebibytes(n uint64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", (n+1023)>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// shortID is enough of a cluster id to tell two clusters apart by eye.
func shortID(id string) string {
	if strings.Trim(id, "0") == "" {
		return "(none yet)"
	}
	if len(id) < 8 {
		return id
	}
	return id[:4] + "-" + id[4:8]
}

// Report is `kelek status`: it prints a survey and returns the exit code.
func Report(d *Dialer, out io.Writer, asJSON, check bool) (int, error) {
	survey, err := Take(d)
	if err != nil {
		return CheckNoAnswer, err
	}
	if asJSON {
		err = survey.WriteJSON(out)
	} else {
		err = survey.WriteTable(out)
	}
	if err != nil {
		return CheckNoAnswer, err
	}
	if check {
		return survey.CheckCode(), nil
	}
	return CheckHealthy, nil
}
