package raftcore

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// TestTheTransitionTableIsWhole prints role x message into testdata/table.golden, so that a change
// of the protocol is a change of one line there. Set REWRITE=1 to accept it. Every cell must be
// filled.
func TestTheTransitionTableIsWhole(t *testing.T) {
	var b strings.Builder
	fmt.Fprintf(&b, "%-24s", "")
	for role := range roleCount {
		fmt.Fprintf(&b, " %-20s", role)
	}
	for kind := MessageKind(1); kind < messageKinds; kind++ {
		fmt.Fprintf(&b, "\n%-24s", kind)
		for role := range roleCount {
			if table[role][kind] == nil {
				t.Fatalf("%s x %s is empty", role, kind)
			}
			fmt.Fprintf(&b, " %-20s", handlerName(table[role][kind]))
		}
	}
	got := strings.ReplaceAll(b.String()+"\n", " \n", "\n")
	const golden = "testdata/table.golden"
	if os.Getenv("REWRITE") != "" {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Fatalf("%v; the table is now\n%s", err, got)
	}
}

// handlerName is the last part of a function's name, without what the compiler adds.
func handlerName(h handler) string {
	name := runtime.FuncForPC(reflect.ValueOf(h).Pointer()).Name()
	name = name[strings.LastIndex(name, ".")+1:]
	return strings.TrimSuffix(name, "-fm")
}

// TestEveryRoleSurvivesEveryMessage steps each kind, of an older, the same and a newer term, into
// each role: what is not impossible must not stop the node.
func TestEveryRoleSurvivesEveryMessage(t *testing.T) {
	for role := range roleCount {
		for kind := MessageKind(0); kind <= messageKinds; kind++ {
			for _, term := range []Term{1, 2, 3, 9} {
				c := newCluster(t, 3)
				m := c.nodes[1]
				c.reach(role)
				ofLeaders := kind == AppendEntries || kind == InstallSnapshot
				if ofLeaders && term == m.core.hard.Term && role == Leader {
					continue // impossible: TestTwoLeadersInOneTermStopTheNode
				}
				message := Message{Kind: kind, From: 2, To: 1, Term: term, Prev: Pos{1, 1}, Epoch: 1}
				m.core.Step(&message)
				c.drain(m)
			}
		}
	}
}

// reach brings n1 into a role, in term 2 or (pre-candidate) 1.
func (c *cluster) reach(role Role) {
	switch role {
	case PreCandidate:
		c.campaign(1)
	case Candidate:
		c.campaign(1)
		for _, message := range c.take(1, 2) {
			c.step(message)
		}
		for _, message := range c.take(2, 1) {
			c.step(message)
		}
	case Leader:
		c.lead(1)
	}
	if got := c.nodes[1].core.role; got != role {
		c.t.Fatalf("n1 is %s, want %s", got, role)
	}
}

func TestTwoLeadersInOneTermStopTheNode(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	defer func() {
		if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "reached a leader") {
			t.Fatalf("recovered %v", r)
		}
	}()
	c.nodes[1].core.Step(&Message{Kind: AppendEntries, From: 2, To: 1, Term: c.nodes[1].core.hard.Term})
}
