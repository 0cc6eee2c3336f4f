//go:build mutants

package sim

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"kelek/raftcore"
)

var (
	mutantFlag  = flag.Int("mutant", 0, "run only this planted bug")
	rewriteFlag = flag.Bool("rewrite", false, "write the table of planted bugs anew")
)

// plantedBug is a known mistake of other implementations, switched on in the core (raft.md 4.6).
type plantedBug struct {
	number   int
	what     string
	profiles []string // where it is looked for; nil: all
	expected []int    // invariants that may catch it, the core's own asserts (0) aside
	seeds    int      // budget
}

// plantedBugs are M1 to M32, and variants with numbers above 100. M14 cannot do harm while every
// change is joint and the last configuration has to be committed: the rule itself is checked.
var plantedBugs = []plantedBug{
	{1, "entries of older terms are committed by counting", []string{"elections"}, []int{4, 5}, 3000},
	{2, "the majority of an even number is half", nil, []int{1, 5}, 100},
	{3, "the vote is cleared in the same term", nil, []int{1, 2}, 300},
	{4, "a pre-vote grant counts as a vote", nil, []int{1, 2}, 300},
	{5, "a vote is answered before it is durable", nil, []int{1, 2}, 100},
	{6, "the higher term of a rejected pre-vote is dropped", nil, []int{14}, 3000},
	{7, "truncation after prev on every append", nil, []int{3, 4, 5, 9}, 300},
	{8, "logs are compared by index before term", []string{"elections"}, []int{3, 4, 5}, 2000},
	{9, "reads before a commit of the own term", nil, []int{10}, 1000},
	{109, "the same, single voters only", []string{"single-node"}, []int{10}, 300},
	{10, "read rounds of an older term count", []string{"reads"}, []int{4, 5, 8, 10}, 3000},
	{110, "reads are answered without a round", []string{"reads"}, []int{10}, 1000},
	{11, "durability is claimed before it is there", nil, []int{5, 9}, 100},
	{111, "the leader commits what is durable on itself alone", nil, []int{4, 5}, 100},
	{12, "acks of an older epoch are taken", []string{"re-add"}, []int{5, 8, 9, 13, 14}, 1000},
	{13, "writes in flight are not capped at truncation", nil, []int{9}, 2000},
	{14, "a config change before a commit of the own term", membership, []int{8}, 1000},
	{15, "a joint quorum is one of the union", membership, []int{1, 4, 5}, 1000},
	{115, "elections ask the new half only", membership, []int{1, 4, 5}, 1000},
	{16, "a stale config is kept after an install", snapshots, []int{4, 5, 8}, 3000},
	{17, "one sync of a hundred is skipped", nil, []int{5, 9}, 100},
	{117, "a failed sync is forgotten once a later one works", nil, []int{2, 3, 4, 5, 7, 9}, 300},
	{217, "damage in a synced record is taken for a torn tail", []string{"lost-disks"},
		[]int{4, 5, 7, 9, 14}, 300},
	{317, "what a lying disk has lost is never sent again", []string{"lost-writes"},
		[]int{13, 14}, 300},
	{18, "an install is not atomic with the log reset", snapshots, []int{4, 7}, 1000},
	{19, "the applied position is not in the data's batch", nil, []int{6}, 100},
	{20, "a transfer is not forgotten at step-down", nil, []int{13, 14}, 1000},
	{21, "a follower commits beyond its matched prefix", nil, []int{3, 4, 5}, 2000},
	{22, "a lease counts from receipt instead of send", []string{"lease"}, []int{10}, 3000},
	{122, "a lease is not revoked by a transfer", []string{"lease"}, []int{10}, 3000},
	{222, "a lease rests on promises that are shorter than it", []string{"rolling-upgrade"},
		[]int{10}, 1000},
	{23, "origin records and ONCE entries are not in the snapshot", snapshots, []int{6, 11}, 300},
	{123, "an expired ONCE request is executed again", nil, []int{11}, 100},
	{24, "TTL is judged by the local clock", nil, []int{6}, 100},
	{25, "a compacted position is probed as term 0", snapshots, []int{3, 4, 14}, 1000},
	{26, "a heartbeat's commit is not capped by match", nil, []int{3, 4, 5, 7}, 1000},
	{27, "nothing is sent after one failure of a snapshot", snapshots, []int{14}, 1000},
	{28, "check-quorum is off", []string{"partial-partitions"}, []int{14}, 300},
	{29, "a new leader does not leave a joint config", membership, []int{14}, 300},
	{30, "the applied position is off by one after a restart", nil, []int{6}, 100},
	{31, "the log is truncated past the durable applied index", nil, []int{7}, 100},
	{301, "a node of another cluster is let in", nil, []int{1, 15}, 300},
	{32, "a proposal is applied across a gap in seq", nil, []int{6, 11}, 100},
}

var (
	membership = []string{"membership-storm"}
	snapshots  = []string{"snapshot-storm"}
)

// catches of one planted bug: how often and how quickly it was found.
type catches struct {
	seeds      int // run until the first catch
	invariants []int
	events     []uint64 // run from one catch to the next, those of clean runs in between included
	example    *Violation
	unexpected Result
}

// median number of events to a catch.
func (c *catches) median() uint64 {
	slices.Sort(c.events)
	return c.events[len(c.events)/2]
}

// catchesWanted is how often each bug is to be caught, within its budget.
const catchesWanted = 3

// hunt runs seeds with the bug switched on, until it is caught a few times or the budget is spent.
func hunt(bug *plantedBug) (found catches) {
	raftcore.Mutant = bug.number
	defer func() { raftcore.Mutant = 0 }()
	events := uint64(0)
	runInOrder(func(n uint64) (Case, bool) {
		return bug.caseOf(n), n < uint64(bug.seeds) && len(found.events) < catchesWanted
	}, func(r Result) {
		if len(found.events) == catchesWanted {
			return
		}
		if len(found.events) == 0 {
			found.seeds++
		}
		if events += r.Events; r.Failure == nil {
			return
		}
		found.events, events = append(found.events, events), 0
		found.take(bug, r)
	})
	slices.Sort(found.invariants)
	return found
}

// take notes what caught a bug.
func (c *catches) take(bug *plantedBug, r Result) {
	invariant := r.Failure.Invariant
	if !slices.Contains(c.invariants, invariant) {
		c.invariants = append(c.invariants, invariant)
	}
	if c.example == nil {
		c.example = r.Failure
	}
	if invariant != coreAssertion && !slices.Contains(bug.expected, invariant) {
		c.unexpected = r
	}
}

// runInOrder is runMany with results in the order of their cases, so that what is made of them does
// not depend on which run was faster.
func runInOrder(next func(n uint64) (Case, bool), take func(Result)) {
	type key struct {
		seed    uint64
		profile string
	}
	number := map[key]uint64{}
	early := map[uint64]Result{}
	due := uint64(0)
	runMany(func(n uint64) (Case, bool) {
		c, ok := next(n)
		number[key{c.Seed, c.Profile}] = n
		return c, ok
	}, func(r Result) {
		early[number[key{r.Case.Seed, r.Case.Profile}]] = r
		for {
			r, ok := early[due]
			if !ok {
				return
			}
			delete(early, due)
			due++
			take(r)
		}
	})
}

// caseOf is the n-th run of a hunt.
func (b *plantedBug) caseOf(n uint64) Case {
	c := caseOf(1 + n)
	if len(b.profiles) > 0 {
		c.Profile = b.profiles[n%uint64(len(b.profiles))]
	}
	c.History = false
	return c
}

const tableFile = "MUTATIONS.md"

const tableHead = `# Planted bugs

Each line is a known mistake of other implementations, switched on in this one, and what caught it:
the invariants of doc.go (0 is an assertion of the core itself), and how many events the simulator
went through until then, clean runs included (the median of a few hunts). Numbers above 100 are
variants. Tier A is this package: random runs, without a script for any of them. The same seeds pass
without the bug. Made by

    go test -tags mutants ./raftcore/sim -run TestPlantedBugs -rewrite

| bug | planted mistake | caught by invariant | median events to catch | tier |
|---|---|---|---|---|
`

// tableLine is what the table says of one bug.
func tableLine(bug *plantedBug, found *catches) string {
	invariants := strings.Trim(strings.ReplaceAll(fmt.Sprint(found.invariants), " ", ", "), "[]")
	return fmt.Sprintf("| M%d | %s | %s | %d | A |\n", bug.number, bug.what, invariants,
		found.median())
}

// TestPlantedBugs proves that the simulator finds what it is for: each planted bug is caught within
// its budget, by an invariant that speaks of it, and the same seeds pass without it. The table that
// is published lists all of them.
func TestPlantedBugs(t *testing.T) {
	var lines []string
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
		lines = append(lines, tableLine(bug, &found))
		t.Logf("%s  first after %d seeds, e.g.: %v", lines[len(lines)-1], found.seeds, found.example)
		clean(t, bug, found.seeds)
	}
	if *rewriteFlag && !t.Failed() {
		rewriteTable(t, lines)
	}
}

// rewriteTable writes the table, or the lines of it that were found anew.
func rewriteTable(t *testing.T, lines []string) {
	text := tableHead + strings.Join(lines, "")
	if *mutantFlag != 0 {
		old, err := os.ReadFile(tableFile)
		if err != nil {
			t.Fatal(err)
		}
		start := fmt.Sprintf("| M%d | ", *mutantFlag)
		before, rest, ok := strings.Cut(string(old), start)
		_, after, _ := strings.Cut(rest, "\n")
		if !ok {
			t.Fatalf("the table has no line for M%d: write all of it anew", *mutantFlag)
		}
		text = before + strings.Join(lines, "") + after
	}
	if err := os.WriteFile(tableFile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestTheTableListsEveryPlantedBug keeps what is published true: the thirty-two known mistakes and
// the variants, each once, with its present name and a catch.
func TestTheTableListsEveryPlantedBug(t *testing.T) {
	text, err := os.ReadFile(tableFile)
	if err != nil {
		t.Fatal(err)
	}
	for i := range plantedBugs {
		start := fmt.Sprintf("| M%d | %s | ", plantedBugs[i].number, plantedBugs[i].what)
		if n := strings.Count(string(text), start); n != 1 {
			t.Errorf("%d lines begin with %q", n, start)
		}
	}
	if n := strings.Count(string(text), "\n| M"); n != len(plantedBugs) {
		t.Errorf("%d lines, %d planted bugs", n, len(plantedBugs))
	}
	for number := 1; number <= 32; number++ {
		if !slices.ContainsFunc(plantedBugs, func(b plantedBug) bool { return b.number == number }) {
			t.Errorf("M%d is not planted", number)
		}
	}
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

// TestAPlantedBugShrinksToAScript finds one that needs several faults, and makes it small.
func TestAPlantedBugShrinksToAScript(t *testing.T) {
	raftcore.Mutant = 9
	defer func() { raftcore.Mutant = 0 }()
	for seed := uint64(1); seed < 300; seed++ {
		r := Run(Case{Seed: seed, Profile: "reads"})
		if r.Failure == nil || len(r.Strikes) < 12 {
			continue
		}
		small := Shrink(r, 200)
		if small.Failure == nil || small.Failure.Invariant != r.Failure.Invariant {
			t.Fatalf("%v became %v", r.Failure, small.Failure)
		}
		expectSmaller(t, r, small)
		return
	}
	t.Fatal("no run fails with enough faults")
}
