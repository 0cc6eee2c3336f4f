package client

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// ParseInfo reads the "name:value" lines of an INFO reply.
func ParseInfo(text string) map[string]string {
	fields := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		if name, value, found := strings.Cut(strings.TrimRight(line, "\r"), ":"); found {
			fields[name] = value
		}
	}
	return fields
}

// NodeInfo is what one node says of itself in INFO.
type NodeInfo struct {
	Addr      string
	Name      string
	ID        string
	ClusterID string
	State     string // forming, up, stopping
	Role      string // leader, follower, candidate, learner, forming
	LeaderID  string // "0": it knows none
	Voting    bool
	Term      uint64
	Last      uint64 // index
	Commit    uint64
	Applied   uint64
	LogBytes  uint64
	Version   string
	Members   []MemberInfo
}

// MemberInfo is what a node says of a member; Match and Lag are true on the leader only.
type MemberInfo struct {
	ID, Name, Addr string
	Connected      bool
	Voting         bool
	Match, Lag     uint64
	ContactSec     int64  // -1: never
	Role           string // voter, learner, leaving; empty: an older build does not say
	State          string // how far it is, as the leader sees it: ok, catching-up, snapshot, down...
}

// AskInfo connects to a node and asks what it is.
func (d *Dialer) AskInfo(addr string) (*NodeInfo, error) {
	conn, err := d.DialTo(addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close() // the answer is complete, or there is none
	return conn.Info()
}

// Info asks the node at the other end what it is.
func (c *Conn) Info() (*NodeInfo, error) {
	replies, err := c.Pipeline([][]string{{"INFO", "raft"}, {"INFO", "server"}})
	if err != nil {
		return nil, err
	}
	for i := range replies {
		if err := replies[i].Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", c.addr, err)
		}
	}
	fields := ParseInfo(replies[0].Text)
	if fields["raft_node_id"] == "" {
		return nil, fmt.Errorf("%s is not a kelek node: its INFO has no Raft section", c.addr)
	}
	info := newNodeInfo(c.addr, fields)
	info.Version = ParseInfo(replies[1].Text)["kelek_version"]
	return info, nil
}

func newNodeInfo(addr string, fields map[string]string) *NodeInfo {
	number := func(name string) uint64 {
		n, _ := strconv.ParseUint(fields[name], 10, 64) // absent: 0
		return n
	}
	info := &NodeInfo{
		Addr: addr, Name: fields["raft_node_name"], ID: fields["raft_node_id"],
		ClusterID: fields["raft_cluster_id"], State: fields["raft_state"],
		Role: fields["raft_role"], LeaderID: fields["raft_leader_id"],
		Voting: fields["raft_is_voting"] == "yes",
		Term:   number("raft_current_term"), Last: number("raft_current_index"),
		Commit: number("raft_commit_index"), Applied: number("raft_last_applied_index"),
		LogBytes: number("raft_file_size"),
	}
	for i := 1; ; i++ {
		text, found := fields["raft_node"+strconv.Itoa(i)]
		if !found {
			return info
		}
		info.Members = append(info.Members, newMemberInfo(text))
	}
}

func newMemberInfo(text string) MemberInfo {
	fields := map[string]string{}
	for _, pair := range strings.Split(text, ",") {
		name, value, _ := strings.Cut(pair, "=")
		fields[name] = value
	}
	match, _ := strconv.ParseUint(fields["match"], 10, 64) // absent: 0
	lag, _ := strconv.ParseUint(fields["lag"], 10, 64)
	contact, err := strconv.ParseInt(fields["last_conn_secs"], 10, 64)
	if err != nil {
		contact = -1
	}
	m := MemberInfo{ID: fields["id"], Name: fields["name"], Connected: fields["state"] == "connected",
		Voting: fields["voting"] == "yes", Match: match, Lag: lag, ContactSec: contact,
		Role: fields["role"], State: fields["health"]}
	if fields["addr"] != "" && fields["port"] != "0" {
		m.Addr = net.JoinHostPort(fields["addr"], fields["port"])
	}
	return m
}

// Leading reports whether the node says that it leads.
func (n *NodeInfo) Leading() bool { return n.Role == "leader" }

// surveyTimeout bounds the question to one node, so that a dead one does not delay the table.
const surveyTimeout = time.Second
