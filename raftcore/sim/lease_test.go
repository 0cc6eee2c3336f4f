package sim

import "testing"

// TestLeasesNeedTheirBound proves that the oracle would see what leases rest on: with clocks that
// drift much further than the bound, some read is stale; within it none is, in the same run.
func TestLeasesNeedTheirBound(t *testing.T) {
	const first, seeds = 40, 400 // earlier ones find nothing, and cost time
	stale := false
	for seed := uint64(first); seed <= seeds && !stale; seed++ {
		c := Case{Seed: seed, Profile: "lease", Overrides: Overrides{ClockDrift: 30_000}}
		r := Run(c)
		if r.Failure == nil {
			continue
		}
		if stale = r.Failure.Invariant == 10; !stale {
			t.Fatal(report(r))
		}
		t.Logf("seed %d: %v", seed, r.Failure)
		if r := Run(Case{Seed: seed, Profile: "lease"}); r.Failure != nil {
			t.Fatal(report(r))
		}
	}
	if !stale {
		t.Errorf("clocks that drift too far did no harm up to seed %d", seeds)
	}
}
