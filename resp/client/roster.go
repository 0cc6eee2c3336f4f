package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// administerTimeout is above what a node takes at most for a change of members.
const administerTimeout = 40 * time.Second

// Administer sends one RAFT command to a node, whichever answers: it asks the leader itself. It
// returns the text of the reply.
func Administer(d *Dialer, words ...string) (string, error) {
	conn, err := d.Dial()
	if err != nil {
		return "", err
	}
	defer conn.Close() // the reply was read, or there is none
	conn.Timeout = max(conn.Timeout, administerTimeout)
	reply, err := conn.Do(words...)
	if err != nil {
		return "", fmt.Errorf("%w: the outcome is not known, look with kelek member list", err)
	}
	if err := reply.Err(); err != nil {
		return "", errors.New(strings.TrimPrefix(err.Error(), "ERR ")) // the other words say something
	}
	return reply.Text, nil
}

// Leader is whom the cluster takes for its leader.
type Leader struct {
	Version int    `json:"version"` // of this layout: 1
	Name    string `json:"name"`    // empty: none is known
	ID      string `json:"id"`
	Addr    string `json:"addr"`
	Term    int64  `json:"term"`
}

// TakeLeader asks the first node that answers.
func TakeLeader(d *Dialer) (*Leader, error) {
	conn, err := d.Dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close() // the reply was read, or there is none
	return askLeader(conn)
}

func askLeader(conn *Conn) (*Leader, error) {
	reply, err := conn.Do("RAFT.LEADER", "SHOW")
	if err != nil {
		return nil, err
	}
	fields, err := reply.fields()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", conn.addr, err)
	}
	return &Leader{1, fields["name"].Text, fields["id"].Text, fields["addr"].Text,
		fields["term"].Int}, nil
}

// WriteLine writes it for people.
func (l *Leader) WriteLine(w io.Writer) error {
	line := fmt.Sprintf("%s  %s  leads in term %d", l.Name, l.Addr, l.Term)
	if l.Name == "" {
		line = fmt.Sprintf("no leader is known in term %d; see: kelek status", l.Term)
	}
	_, err := fmt.Fprintln(w, line)
	return err
}

// WriteJSON writes it for programs.
func (l *Leader) WriteJSON(w io.Writer) error { return writeJSON(w, l) }

func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// Roster is the members of a cluster.
type Roster struct {
	Version int            `json:"version"` // of this layout: 1
	Source  string         `json:"source"`  // the node that says so
	Leader  string         `json:"leader"`  // its name; empty: none is known
	Term    int64          `json:"term"`
	Members []RosterMember `json:"members"`
}

// RosterMember is one line of the table.
type RosterMember struct {
	Name      string `json:"name"`
	ID        string `json:"id"`
	Role      string `json:"role"` // voter, learner, leaving
	Leader    bool   `json:"leader"`
	Addr      string `json:"addr"`
	PeerAddr  string `json:"peer_addr"`
	Match     int64  `json:"match_index"` // -1: the source does not lead, so it does not know
	Lag       int64  `json:"lag_entries"` // as match
	ContactMs int64  `json:"contact_ms"`  // -1: never
	State     string `json:"state"`
	Build     string `json:"build"`
}

// TakeRoster asks the leader, since only it knows who has caught up. Without one, or when it does
// not answer, what the first node says has to do.
func TakeRoster(d *Dialer) (*Roster, error) {
	conn, err := d.Dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close() // the reply was read, or there is none
	leader, err := askLeader(conn)
	if err != nil {
		return nil, err
	}
	if leader.Addr != "" && leader.Addr != conn.addr {
		direct := Dialer{Password: d.Password, Timeout: min(d.Timeout, surveyTimeout),
			Connect: d.Connect}
		if other, err := direct.DialTo(leader.Addr); err == nil {
			defer other.Close() // as above
			if roster, err := askRoster(other, leader); err == nil {
				return roster, nil
			}
		}
	}
	return askRoster(conn, leader)
}

func askRoster(conn *Conn, leader *Leader) (*Roster, error) {
	reply, err := conn.Do("RAFT.MEMBER", "LIST")
	if err != nil {
		return nil, err
	}
	if err := reply.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", conn.addr, err)
	}
	r := &Roster{Version: 1, Source: conn.addr, Leader: leader.Name, Term: leader.Term,
		Members: []RosterMember{}}
	for i := range reply.Elems {
		f, err := reply.Elems[i].fields()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", conn.addr, err)
		}
		r.Members = append(r.Members, RosterMember{
			Name: f["name"].Text, ID: f["id"].Text, Role: f["role"].Text, Leader: f["leader"].Int == 1,
			Addr: f["addr"].Text, PeerAddr: f["peer-addr"].Text, Match: f["match"].Int,
			Lag: f["lag"].Int, ContactMs: f["contact-ms"].Int, State: f["state"].Text,
			Build: f["version"].Text,
		})
	}
	slices.SortFunc(r.Members, func(a, b RosterMember) int { return strings.Compare(a.Name, b.Name) })
	return r, nil
}

var errNoFields = errors.New("the reply does not have named fields")

// fields reads a map, or an array of names and values.
func (r *Reply) fields() (map[string]Reply, error) {
	if err := r.Err(); err != nil {
		return nil, err
	}
	if r.Kind != Array && r.Kind != Map || len(r.Elems)%2 != 0 {
		return nil, errNoFields
	}
	fields := make(map[string]Reply, len(r.Elems)/2)
	for i := 0; i < len(r.Elems); i += 2 {
		fields[r.Elems[i].Text] = r.Elems[i+1]
	}
	return fields, nil
}

// WriteJSON writes the roster for programs.
func (r *Roster) WriteJSON(w io.Writer) error { return writeJSON(w, r) }

// WriteTable writes the roster for people: how many there are, then each of them.
func (r *Roster) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintln(&b, r.summary())
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tROLE\tADDR\tPEER\tNODE ID\tMATCH\tLAG\tCONTACT\tSTATE")
	for i := range r.Members {
		m := &r.Members[i]
		contact := orDash(m.ContactMs, "ms")
		if m.Leader {
			contact = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.Name, m.word(), m.Addr, m.PeerAddr,
			m.ID, orDash(m.Match, ""), orDash(m.Lag, ""), contact, m.State)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (m *RosterMember) word() string {
	if m.Leader {
		return "LEADER"
	}
	return m.Role
}

func (r *Roster) summary() string {
	counts := map[string]int{}
	for i := range r.Members {
		counts[r.Members[i].Role]++
	}
	text := plural(counts["voter"], "voter")
	if n := counts["learner"]; n > 0 {
		text += "   " + plural(n, "learner")
	}
	if n := counts["leaving"]; n > 0 {
		text += fmt.Sprintf("   %d leaving", n)
	}
	if r.Leader == "" {
		return fmt.Sprintf("%s   no leader is known   term %d", text, r.Term)
	}
	return fmt.Sprintf("%s   leader %s   term %d", text, r.Leader, r.Term)
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
