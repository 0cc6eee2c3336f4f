//go:build mutants

package explore

import (
	"slices"
	"testing"

	"kelek/raftcore"
)

// TestPlantedBugs proves that the search finds what it is for: each planted bug breaks an
// invariant that speaks of it, in the scope named, within a bounded number of states.
func TestPlantedBugs(t *testing.T) {
	for _, bug := range []struct {
		number   int
		scope    string
		expected []int
		states   int
	}{
		{2, "a change of members", []int{5}, 10_000},
		{3, "elections", []int{2}, 400_000},
		{4, "elections", []int{1, 4}, 10_000},
		{5, "elections", []int{2}, 1_000},
		{7, "a leader is replaced", []int{0}, 100_000},
		{11, "elections", []int{9}, 10_000},
		{13, "a leader is replaced", []int{9}, 400_000},
		{15, "a change of members", []int{5}, 10_000},
		{16, "a deposed leader gets a snapshot", []int{0, 8}, 10_000},
		{21, "a divergent log", []int{4}, 100_000},
		{26, "a divergent log", []int{0, 4}, 100_000},
		{22, "a lease and a late answer", []int{10}, 400_000},
		{122, "a lease and a transfer", []int{10}, 1_000_000},
	} {
		i := slices.IndexFunc(Scopes(), func(s Scope) bool { return s.Name == bug.scope })
		raftcore.Mutant = bug.number
		r, err := Run(Scopes()[i], Limits{States: bug.states})
		raftcore.Mutant = 0
		switch {
		case err != nil:
			// The bug shows in the set-up already, which is made of ordinary events.
			t.Errorf("M%d: %v", bug.number, err)
		case r.Problem == nil:
			t.Errorf("M%d survives: %s", bug.number, r.String())
		case !slices.Contains(bug.expected, r.Problem.Invariant):
			t.Errorf("M%d is caught by the wrong invariant: %s", bug.number, r.String())
		default:
			t.Logf("M%d: after %d states, %d events: %s", bug.number, r.States, len(r.Trace)-2,
				r.Problem.What)
		}
	}
}
