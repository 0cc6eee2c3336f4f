package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// leaderReply is that of RAFT.LEADER SHOW.
func leaderReply(name, addr string) string {
	return "*8\r\n" + bulk("name") + bulk(name) + bulk("id") + bulk("00000000000000a1") +
		bulk("addr") + bulk(addr) + bulk("term") + ":7\r\n"
}

// rosterReply is that of RAFT.MEMBER LIST: n1 a learner, n2 leading, n3 on its way out.
func rosterReply(leads bool) string {
	reply := "*3\r\n"
	for i, m := range []struct{ name, role, state string }{
		{"n3", "leaving", "down"}, {"n1", "learner", "catching-up"}, {"n2", "voter", "ok"},
	} {
		match, lag, leader := -1, -1, 0
		if leads {
			match, lag = 1200-i, i
		}
		if m.name == "n2" {
			leader = 1
		}
		reply += "*16\r\n" + bulk("name") + bulk(m.name) + bulk("role") + bulk(m.role) +
			bulk("state") + bulk(m.state) + bulk("addr") + bulk("h:1") + bulk("peer-addr") + bulk("h:2") +
			fmt.Sprintf("%s:%d\r\n%s:%d\r\n%s:%d\r\n", bulk("leader"), leader, bulk("match"), match,
				bulk("lag"), lag)
	}
	return reply
}

func table(t *testing.T, d *Dialer) string {
	t.Helper()
	roster, err := TakeRoster(d)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := roster.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestTheLeaderIsAskedForTheRoster, since only it knows who has caught up; without it the node that
// was asked first has to do.
func TestTheLeaderIsAskedForTheRoster(t *testing.T) {
	leader, _ := serve(t, rosterReply(true))
	first, seen := serve(t, leaderReply("n2", leader))
	got := table(t, &Dialer{Addrs: []string{deadAddr(t), first}, Timeout: 5 * time.Second})
	want := "1 voter   1 learner   1 leaving   leader n2   term 7\n" +
		"NAME  ROLE     ADDR  PEER  NODE ID  MATCH  LAG  CONTACT  STATE\n" +
		"n1    learner  h:1   h:2            1,199  1    0ms      catching-up\n" +
		"n2    LEADER   h:1   h:2            1,198  2    -        ok\n" +
		"n3    leaving  h:1   h:2            1,200  0    0ms      down\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if command := <-seen; command != "RAFT.LEADER SHOW" {
		t.Errorf("the first node was asked %q", command)
	}

	first, seen = serve(t, leaderReply("n2", deadAddr(t)), rosterReply(false))
	got = table(t, &Dialer{Addrs: []string{first}, Timeout: 5 * time.Second})
	if !strings.Contains(got, "n1    learner  h:1   h:2            -      -    0ms      catching-up") {
		t.Errorf("got\n%s", got)
	}
	if <-seen; <-seen != "RAFT.MEMBER LIST" {
		t.Error("the first node was not asked in the leader's place")
	}

	first, _ = serve(t, leaderReply("", ""), rosterReply(false))
	got = table(t, &Dialer{Addrs: []string{first}, Timeout: 5 * time.Second})
	if !strings.Contains(got, "   no leader is known   term 7\n") {
		t.Errorf("got\n%s", got)
	}
}

func TestLeaderShow(t *testing.T) {
	addr, _ := serve(t, leaderReply("n2", "h:1"), "-NOAUTH Authentication required.\r\n",
		leaderReply("", ""), ":1\r\n")
	d := &Dialer{Addrs: []string{addr}, Timeout: 5 * time.Second}
	for _, want := range []string{"n2  h:1  leads in term 7\n", addr + ": NOAUTH Authentication required.",
		"no leader is known in term 7; see: kelek status\n", addr + ": " + errNoFields.Error()} {
		leader, err := TakeLeader(d)
		if err != nil {
			if err.Error() != want {
				t.Errorf("%v, want %q", err, want)
			}
			continue
		}
		var line, text bytes.Buffer
		if err := leader.WriteLine(&line); err != nil || line.String() != want {
			t.Errorf("%q, %v, want %q", line.String(), err, want)
		}
		var back Leader
		if err := leader.WriteJSON(&text); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text.Bytes(), &back); err != nil || back != *leader {
			t.Errorf("%s came back as %+v, %v", text.String(), back, err)
		}
	}
}

// TestAdminister: the text of the reply; a refusal without the word that says nothing; and what is
// not known is said to be so.
func TestAdminister(t *testing.T) {
	addr, seen := serve(t, bulk("n4 is a learner now"), "-ERR no member is named n9\r\n",
		"-TRYAGAIN the leader has changed\r\n", "")
	d := &Dialer{Addrs: []string{addr}, Timeout: 5 * time.Second}
	text, err := Administer(d, "RAFT.MEMBER", "ADD", "h:1", "LEARNER")
	if text != "n4 is a learner now" || err != nil || <-seen != "RAFT.MEMBER ADD h:1 LEARNER" {
		t.Errorf("%q, %v", text, err)
	}
	for _, want := range []string{"no member is named n9", "TRYAGAIN the leader has changed",
		"the outcome is not known, look with kelek member list"} {
		if _, err = Administer(d, "RAFT.MEMBER", "REMOVE", "n9"); err == nil ||
			!strings.HasSuffix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestInterrupt: a call that would wait for ever ends.
func TestInterrupt(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := Dial(ln.Addr().String(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	go conn.Interrupt()
	if _, err := conn.Do("PING"); err == nil || conn.Err() == nil {
		t.Error("it answered")
	}
}
