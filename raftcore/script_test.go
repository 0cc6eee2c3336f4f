package raftcore

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestScripts runs testdata/scripts/*.txt: cluster scenarios as text. The first line of each says
// why the case exists. Only observables are printed: role, term, leader, vote, log, commit,
// configuration, results; never message counts.
//
// Many scenarios are those that etcd-io/raft's own scripts and tests name, written anew. Those of
// options that kelek does not have are missing: pre-vote and check-quorum cannot be switched
// (PreVoteMigration), every change of voters is joint (confchange simple_*), a configuration is in
// force when it is appended, and acknowledgements are of numbered writes. Verbs:
//
//	nodes 3                     voters 1..3 of a new cluster
//	add 4                       a blank node, in no configuration yet
//	wipe 4                      n4 loses its disk and comes back under its old id (kelek forbids it)
//	log 2 term 3 1 1 2          n2 starts anew with this term, and entries of these terms
//	campaign 1                  n1's election time-out passes; messages stay on the wire
//	lead 1                      n1 campaigns and everything is delivered
//	elect 1                     the same, after everybody forgot its leader
//	propose 1 x                 append on n1; messages stay on the wire
//	change 1 voters 1 2 learners 3     n1 is asked for this configuration
//	transfer 1 2                n1 hands leadership to n2; 0: to whom it likes
//	read 1 7                    ask n1 for read index, as read 7
//	deliver | deliver 1 2       everything until quiet | what is on the wire from n1 to n2, once
//	drop 1 2 | drop             lose what is on the wire from n1 to n2 | everything
//	hold 1 2 | release          keep what is on the wire from n1 to n2 for later | put it all back
//	slow 1 2                    keep what n1 sends to n2 from now on, until release
//	repeat 1 2                  what is on the wire from n1 to n2 comes again at release
//	partition 1 2 | heal        cut {1 2} off | undo
//	cut 1 2                     messages from n1 to n2 are lost from now on
//	tiny                        from now on a message carries one entry at most, one is under way
//	disk 1 slow|fast            writes wait for "sync"
//	sync 1 | sync 1 2           n1's waiting writes | the first two of them become durable
//	crash 1 | crash 1 2         lose what is not durable | but keep its first two writes
//	restart 1                   start again
//	leases                      everybody starts again, with leases
//	compact 1 | compact 1 5     n1 forgets its log up to what it has applied | up to 5
//	snapshots slow              from now on nobody takes or fetches a snapshot by itself
//	snapshot 1                  n1 takes a snapshot
//	fetched 3 | unfetched 3     n3 has fetched what it was offered | gives up
//	pass 500                    let 500 ms go by
//	sleep 1 500                 the same, but n1's process is stopped
//	forget                      nobody remembers hearing a leader (as after an election time-out)
//	disconnected 2 1            n2 sees its connection to n1 break
//	status | config             a line per node
//	applied 1                   what n1 applied
//	reads 1                     which reads n1 may serve, which were lost
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := script{t: t}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			return s.run(strings.Split(strings.TrimSpace(d.Cmd+"\n"+d.Input), "\n"))
		})
	})
}

// script is a cluster and what its verbs need besides.
type script struct {
	*cluster
	t testing.TB
}

// run executes a block of verbs and returns what they print.
func (s *script) run(lines []string) string {
	var out strings.Builder
	for _, line := range lines {
		fields := strings.Fields(line)
		switch fields[0] {
		case "run":
		case "nodes":
			s.cluster = newCluster(s.t, s.number(fields[1]))
		default:
			out.WriteString(s.verb(fields))
		}
	}
	if out.Len() == 0 {
		return "ok\n"
	}
	return out.String()
}

func (s *script) number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// verb executes one line of a script and returns what it prints.
func (s *script) verb(fields []string) string {
	var n []int
	for _, f := range fields[1:] {
		if i, err := strconv.Atoi(f); err == nil {
			n = append(n, i)
		}
	}
	for _, group := range []func(string, []string, []int) (string, bool){
		s.clientVerb, s.wireVerb, s.diskVerb, s.snapshotVerb, s.timeVerb, s.lookVerb,
	} {
		if out, ok := group(fields[0], fields[1:], n); ok {
			return out
		}
	}
	s.t.Fatalf("unknown verb %q", fields[0])
	return ""
}

// result is how a refusal is printed.
func result(err error) string {
	if err == nil {
		return ""
	}
	return err.Error() + "\n"
}

// clientVerb is what people and clients ask for.
func (s *script) clientVerb(verb string, args []string, n []int) (out string, ok bool) {
	switch verb {
	case "campaign":
		s.campaign(NodeID(n[0]))
	case "lead":
		s.lead(NodeID(n[0]))
	case "elect":
		s.forget()
		s.lead(NodeID(n[0]))
	case "propose":
		return result(s.propose(NodeID(n[0]), args[1])), true
	case "change":
		m := s.nodes[NodeID(n[0])]
		_, err := m.core.ProposeConfig(changeIn(args[1:]))
		s.drain(m)
		return result(err), true
	case "transfer":
		m := s.nodes[NodeID(n[0])]
		err := m.core.TransferLeadership(NodeID(n[1]))
		s.drain(m)
		return result(err), true
	case "read":
		m := s.nodes[NodeID(n[0])]
		err := m.core.ReadIndex(ReadID(n[1]))
		m.core.Tick(s.now, s.clock)
		s.drain(m)
		return result(err), true
	default:
		return "", false
	}
	return "", true
}

// changeIn reads "voters 1 2 learners 3".
func changeIn(words []string) (change ConfigChange) {
	into := &change.Voters
	for _, word := range words {
		switch i, err := strconv.Atoi(word); {
		case err == nil:
			*into = append(*into, NodeID(i))
		case word == "learners":
			into = &change.Learners
		}
	}
	return change
}

// wireVerb is what the network does.
func (s *script) wireVerb(verb string, _ []string, n []int) (out string, ok bool) {
	switch verb {
	case "deliver":
		if len(n) == 0 {
			s.deliver()
			break
		}
		s.deliver2(NodeID(n[0]), NodeID(n[1]))
	case "drop":
		if len(n) == 0 {
			s.wire = nil
			break
		}
		s.take(NodeID(n[0]), NodeID(n[1]))
	case "hold":
		s.held = append(s.held, s.take(NodeID(n[0]), NodeID(n[1]))...)
	case "repeat":
		link := s.take(NodeID(n[0]), NodeID(n[1]))
		s.held = append(s.held, link...)
		s.wire = append(s.wire, link...)
	case "slow":
		s.late[[2]NodeID{NodeID(n[0]), NodeID(n[1])}] = true
	case "release":
		s.wire, s.held = append(s.wire, s.held...), nil
		clear(s.late)
	case "partition":
		var side []NodeID
		for _, id := range n {
			side = append(side, NodeID(id))
		}
		s.partition(side...)
	case "heal":
		s.heal()
	case "cut":
		s.cut[[2]NodeID{NodeID(n[0]), NodeID(n[1])}] = true
	case "tiny":
		for _, m := range s.nodes {
			if !m.down {
				m.core.options.MaxAppendBytes, m.core.options.MaxInflightMessages = 1, 1
			}
		}
	default:
		return "", false
	}
	return "", true
}

// diskVerb is what happens to a node and its disk.
func (s *script) diskVerb(verb string, args []string, n []int) (out string, ok bool) {
	if len(n) == 0 {
		return "", false
	}
	id := NodeID(n[0])
	m := s.nodes[id]
	switch verb {
	case "add":
		s.add(id)
	case "wipe":
		s.nodes[id] = &member{id: id, reads: map[ReadID]Index{}}
		s.start(s.nodes[id], testOptions(id, m.boot+1))
	case "log":
		var terms []Term
		for _, term := range n[2:] {
			terms = append(terms, Term(term))
		}
		s.give(id, HardState{Term: Term(n[1])}, terms...)
	case "disk":
		m.slow = args[1] == "slow"
	case "sync":
		count := len(m.writes)
		if len(n) > 1 {
			count = n[1]
		}
		s.sync(m, count)
		s.drain(m)
	case "crash":
		if len(n) > 1 {
			s.survive(m, n[1])
		}
		s.crash(id)
	case "restart":
		s.restart(id)
	default:
		return "", false
	}
	return "", true
}

// survive makes the first writes that are waiting durable, and tells nobody: the power goes before.
func (s *script) survive(m *member, count int) {
	core, wire := m.core.Clone(), slices.Clone(s.wire)
	s.sync(m, count)
	m.core, s.wire = core, wire
}

// snapshotVerb is compaction and snapshots.
func (s *script) snapshotVerb(verb string, args []string, n []int) (out string, ok bool) {
	if verb == "snapshots" {
		s.files.manual = args[0] == "slow"
		return "", true
	}
	if len(n) == 0 {
		return "", false
	}
	m := s.nodes[NodeID(n[0])]
	switch verb {
	case "compact":
		upTo := m.applied
		if len(n) > 1 {
			upTo = Index(n[1])
		}
		s.compact(m.id, upTo)
	case "snapshot":
		s.takeSnapshot(m)
	case "fetched":
		m.core.SnapshotFetched(m.snapshots.fetch.Meta)
	case "unfetched":
		m.core.SnapshotFailed(m.snapshots.fetch.From)
		m.snapshots.fetch = Fetch{} // it has to be asked for again
	default:
		return "", false
	}
	s.drain(m)
	return "", true
}

// timeVerb is time, and what nodes conclude from it.
func (s *script) timeVerb(verb string, _ []string, n []int) (out string, ok bool) {
	switch verb {
	case "pass":
		s.pass(Instant(n[0]) * Millisecond)
	case "sleep":
		m := s.nodes[NodeID(n[0])]
		m.down = true
		s.pass(Instant(n[1]) * Millisecond)
		m.down = false
	case "forget":
		s.forget()
	case "disconnected":
		s.nodes[NodeID(n[0])].core.Disconnected(NodeID(n[1]))
	case "leases":
		for _, id := range s.ids {
			s.restartLeased(id)
		}
		s.pass(1100 * Millisecond) // what they may have promised before
	default:
		return "", false
	}
	return "", true
}

func (s *script) forget() {
	for _, m := range s.nodes {
		if !m.down {
			m.core.heard = false
		}
	}
}

// lookVerb prints.
func (s *script) lookVerb(verb string, _ []string, n []int) (out string, ok bool) {
	switch verb {
	case "status":
		return s.describe(), true
	case "config":
		return s.describeConfigs(), true
	case "applied":
		applied := strings.Join(s.nodes[NodeID(n[0])].log, " ")
		return fmt.Sprintf("n%d applied %s\n", n[0], applied), true
	case "reads":
		m := s.nodes[NodeID(n[0])]
		return fmt.Sprintf("n%d reads %v lost %v\n", n[0], m.reads, m.lost), true
	}
	return "", false
}

// describeConfigs is one line per node.
func (s *script) describeConfigs() string {
	var b strings.Builder
	for _, id := range s.ids {
		m := s.nodes[id]
		if m.down {
			fmt.Fprintf(&b, "n%d down\n", id)
			continue
		}
		at := m.core.configs.current()
		fmt.Fprintf(&b, "n%d since %d voters %v", id, at.Pos.Index, at.Config.Voters)
		if at.Config.Joint() {
			fmt.Fprintf(&b, " and %v", at.Config.OldVoters)
		}
		if len(at.Config.Learners) > 0 {
			fmt.Fprintf(&b, " learners %v", at.Config.Learners)
		}
		fmt.Fprintln(&b)
	}
	return b.String()
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
