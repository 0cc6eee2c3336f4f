//go:build mutants

package sim

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"kelek/raftcore"
)

var mutantFlag = flag.Int("mutant", 0, "run only this planted bug")

// plantedBug is a known mistake of other implementations, switched on in the core (raft.md 4.6).
type plantedBug struct {
	number   int
	what     string
	profiles []string // where it is looked for; nil: all
	expected []int    // invariants that may catch it, the core's own asserts (0) aside
	seeds    int      // budget
}

// plantedBugs lists M1 to M15 and some more. Numbers above 100 are variants. M14 cannot do harm
// while every change is joint and the last configuration has to be committed: the rule itself is
// checked.
var plantedBugs = []plantedBug{
	{1, "entries of older terms are committed by counting", []string{"elections"}, []int{4, 5}, 3000},
	{2, "majority is n/2 for even n", nil, []int{1, 5}, 100},
	{3, "the vote is cleared in the same term", nil, []int{1, 2}, 300},
	{4, "a pre-vote grant counts as a vote", nil, []int{1, 2}, 300},
	{5, "a vote is answered before it is durable", nil, []int{1, 2}, 100},
	{6, "the higher term of a rejected pre-vote is dropped", nil, []int{14}, 3000},
	{7, "truncation after prev on every append", nil, []int{3, 4, 5, 9}, 300},
	{8, "logs are compared by index before term", nil, []int{4, 5}, 2000},
	{9, "reads before a commit of the own term", nil, []int{10}, 1000},
	{109, "the same, single voters only", []string{"single-node"}, []int{10}, 300},
	{10, "read rounds of an older term count", nil, []int{4, 5, 8, 10}, 3000},
	{11, "durability is claimed before it is there", nil, []int{5, 9}, 100},
	{12, "acks of an older epoch are taken", []string{"re-add"}, []int{5, 9, 13, 14}, 300},
	{13, "writes in flight are not capped at truncation", nil, []int{9}, 2000},
	{14, "config change before own-term commit", []string{"membership-storm"}, []int{8}, 1000},
	{15, "a joint quorum is one of the union", []string{"membership-storm"}, []int{1, 4, 5}, 1000},
	{115, "elections ask the new half only", []string{"membership-storm"}, []int{1, 4, 5}, 1000},
	{16, "a stale config is kept after an install", []string{"snapshot-storm"}, []int{4, 5, 8}, 3000},
	{18, "an install is not atomic with the log reset", []string{"snapshot-storm"},
		[]int{4, 7}, 1000},
	{20, "a transfer is not forgotten at step-down", nil, []int{13, 14}, 1000},
	{22, "a lease counts from receipt instead of send", []string{"lease"}, []int{10}, 3000},
	{122, "a lease is not revoked by a transfer", []string{"lease"}, []int{10}, 3000},
	{23, "origin records and ONCE entries are not in the snapshot", []string{"snapshot-storm"},
		[]int{6, 11}, 300},
	{25, "a compacted position is probed as term 0", []string{"snapshot-storm"}, []int{3, 4, 14}, 1000},
	{26, "a heartbeat's commit is not capped by match", nil, []int{3, 4, 5, 7}, 1000},
	{27, "nothing is sent after one failure of a snapshot", []string{"snapshot-storm"}, []int{14}, 1000},
	{17, "one sync of a hundred is skipped", nil, []int{5, 9}, 100},
	{117, "a failed sync is forgotten once a later one works", nil, []int{3, 4, 5, 9}, 300},
	{217, "damage in a synced record is taken for a torn tail", []string{"lost-disks"},
		[]int{4, 5, 7, 9}, 300},
	{19, "the applied position is not in the data's batch", nil, []int{6}, 100},
	{21, "a follower commits beyond its matched prefix", nil, []int{4, 5}, 2000},
	{123, "an expired ONCE request is executed again", nil, []int{11}, 100},
	{24, "TTL is judged by the local clock", nil, []int{6}, 100},
	{28, "check-quorum is off", []string{"partial-partitions"}, []int{14}, 300},
	{29, "a new leader does not leave a joint config", []string{"membership-storm"}, []int{14}, 300},
	{30, "the applied position is off by one after a restart", nil, []int{6}, 100},
	{31, "the log is truncated past the durable applied index", nil, []int{7}, 100},
	{32, "a proposal is applied across a gap in seq", nil, []int{6, 11}, 100},
}

// catches of one planted bug: how often and how quickly it was found.
type catches struct {
	seeds      int // run until the first catch
	invariants []int
	events     []uint64
	example    *Violation
	unexpected Result
}

// median number of events from the start of a run to the catch.
func (c *catches) median() uint64 {
	slices.Sort(c.events)
	return c.events[len(c.events)/2]
}

// hunt runs seeds with the bug switched on, until it is caught a few times or the budget is spent.
func hunt(bug *plantedBug) (found catches) {
	const enough = 5
	raftcore.Mutant = bug.number
	defer func() { raftcore.Mutant = 0 }()
	runMany(func(n uint64) (Case, bool) {
		return bug.caseOf(n), n < uint64(bug.seeds) && len(found.events) < enough
	}, func(r Result) {
		if len(found.events) == 0 {
			found.seeds++
		}
		if r.Failure == nil {
			return
		}
		if !slices.Contains(found.invariants, r.Failure.Invariant) {
			found.invariants = append(found.invariants, r.Failure.Invariant)
		}
		found.events = append(found.events, r.Events)
		if found.example == nil {
			found.example = r.Failure
		}
		if r.Failure.Invariant != 0 && !slices.Contains(bug.expected, r.Failure.Invariant) {
			found.unexpected = r
		}
	})
	slices.Sort(found.invariants)
	return found
}

// caseOf is the n-th run of a hunt.
func (b *plantedBug) caseOf(n uint64) Case {
	c := caseOf(1 + n)
	if len(b.profiles) > 0 {
		c.Profile = b.profiles[n%uint64(len(b.profiles))]
	}
	return c
}

// TestPlantedBugs proves that the simulator finds what it is for: each planted bug is caught within
// its budget, by an invariant that speaks of it, and the same seeds pass without it.
func TestPlantedBugs(t *testing.T) {
	var table strings.Builder
	const line = "%5s  %-10s %6v %14v  %s\n"
	fmt.Fprintf(&table, line, "bug", "invariants", "seeds", "median events", "what")
	for i := range plantedBugs {
		bug := &plantedBugs[i]
		if *mutantFlag != 0 && *mutantFlag != bug.number {
			continue
		}
		found := hunt(bug)
		if len(found.events) == 0 {
			t.Errorf("M%d survives %d seeds: %s", bug.number, bug.seeds, bug.what)
			continue
		}
		if r := found.unexpected; r.Failure != nil {
			t.Errorf("M%d: caught by the wrong invariant, seed %d, profile %s: %v", bug.number,
				r.Case.Seed, r.Case.Profile, r.Failure)
		}
		fmt.Fprintf(&table, line, fmt.Sprintf("M%d", bug.number),
			strings.Trim(fmt.Sprint(found.invariants), "[]"), found.seeds, found.median(), bug.what)
		clean(t, bug, found.seeds)
		t.Logf("M%d, e.g.: %v", bug.number, found.example)
	}
	t.Logf("\n%s", table.String())
}

// clean runs the seeds that caught a bug without it.
func clean(t *testing.T, bug *plantedBug, seeds int) {
	runMany(func(n uint64) (Case, bool) { return bug.caseOf(n), n < uint64(seeds) },
		func(r Result) {
			if r.Failure != nil {
				t.Errorf("without M%d: %s", bug.number, report(r))
			}
		})
}
