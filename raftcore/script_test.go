package raftcore

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestScripts runs testdata/scripts/*.txt: cluster scenarios as text. The first line of each says why the
// case exists. Only observables are printed: role, term, leader, vote, log, commit, results; never
// message counts. Verbs:
//
//	nodes 3                     voters 1..3 of a new cluster
//	campaign 1                  n1's election time-out passes; messages stay on the wire
//	lead 1                      n1 campaigns and everything is delivered
//	propose 1 x                 append on n1; messages stay on the wire
//	deliver | deliver 1 2       everything until quiet | what is on the wire from n1 to n2, once
//	drop 1 2 | drop             lose what is on the wire from n1 to n2 | everything
//	partition 1 2 | heal        cut {1 2} off | undo
//	cut 1 2                     messages from n1 to n2 are lost from now on
//	tiny                        from now on a message carries one entry at most
//	disk 1 slow|fast            writes wait for "sync"
//	sync 1 | sync 1 2           n1's waiting writes | the first two of them become durable
//	crash 1 | restart 1         lose what is not durable | start again
//	pass 500                    let 500 ms go by
//	forget                      nobody remembers hearing a leader (as after an election time-out)
//	transfer 1 2                n1 hands leadership to n2
//	disconnected 2 1            n2 sees its connection to n1 break
//	read 1 7                    ask n1 for read index, as read 7
//	status                      a line per node
//	applied 1                   what n1 applied
//	reads 1                     which reads n1 may serve, which were lost
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		var c *cluster
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var out strings.Builder
			for _, line := range strings.Split(strings.TrimSpace(d.Cmd+"\n"+d.Input), "\n") {
				fields := strings.Fields(line)
				if fields[0] == "run" {
					continue
				}
				if fields[0] == "nodes" {
					c = newCluster(t, number(t, fields[1]))
					continue
				}
				out.WriteString(c.verb(t, fields))
			}
			if out.Len() == 0 {
				return "ok\n"
			}
			return out.String()
		})
	})
}

func number(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// verb executes one line of a script and returns what it prints.
func (c *cluster) verb(t *testing.T, fields []string) string {
	var n []int
	for _, f := range fields[1:] {
		if i, err := strconv.Atoi(f); err == nil {
			n = append(n, i)
		}
	}
	id := func(i int) NodeID { return NodeID(n[i]) }
	node := func(i int) *member { return c.nodes[id(i)] }
	switch fields[0] {
	case "campaign":
		c.campaign(id(0))
	case "lead":
		c.lead(id(0))
	case "propose":
		if err := c.propose(id(0), fields[2]); err != nil {
			return err.Error() + "\n"
		}
	case "deliver":
		if len(n) == 0 {
			c.deliver()
			break
		}
		for _, m := range c.take(id(0), id(1)) {
			c.step(m)
		}
	case "drop":
		if len(n) == 0 {
			c.wire = nil
			break
		}
		c.take(id(0), id(1))
	case "partition":
		var side []NodeID
		for i := range n {
			side = append(side, id(i))
		}
		c.partition(side...)
	case "heal":
		c.heal()
	case "cut":
		c.cut[[2]NodeID{id(0), id(1)}] = true
	case "tiny":
		for _, m := range c.nodes {
			if !m.down {
				m.core.options.MaxAppendBytes = 1
			}
		}
	case "disk":
		node(0).slow = fields[2] == "slow"
	case "sync":
		count := len(node(0).writes)
		if len(n) > 1 {
			count = n[1]
		}
		c.sync(node(0), count)
		c.drain(node(0))
	case "crash":
		c.crash(id(0))
	case "restart":
		c.restart(id(0))
	case "pass":
		c.pass(Instant(n[0]) * Millisecond)
	case "forget":
		for _, m := range c.nodes {
			if !m.down {
				m.core.heard = false
			}
		}
	case "transfer":
		if err := node(0).core.TransferLeadership(id(1)); err != nil {
			return err.Error() + "\n"
		}
		c.drain(node(0))
	case "disconnected":
		node(0).core.Disconnected(id(1))
	case "read":
		if err := node(0).core.ReadIndex(ReadID(n[1])); err != nil {
			return err.Error() + "\n"
		}
		c.drain(node(0))
	case "status":
		return c.describe()
	case "applied":
		return fmt.Sprintf("n%d applied %s\n", id(0), strings.Join(node(0).log, " "))
	case "reads":
		return fmt.Sprintf("n%d reads %v lost %v\n", id(0), node(0).reads, node(0).lost)
	default:
		t.Fatalf("unknown verb %q", fields[0])
	}
	return ""
}

// take removes the messages of one link from the wire and returns them.
func (c *cluster) take(from, to NodeID) (taken []Message) {
	var rest []Message
	for _, m := range c.wire {
		if m.From == from && m.To == to {
			taken = append(taken, m)
		} else {
			rest = append(rest, m)
		}
	}
	c.wire = rest
	return taken
}
