package sim

import (
	"reflect"
	"testing"
)

// TestARunShrinksToAScript shrinks a run in which a write cut the log short, for want of a bug, and
// plays what is left from its text.
func TestARunShrinksToAScript(t *testing.T) {
	cutsTheLog := func(r Result) bool { return r.Failure == nil && r.Stats.Truncated > 0 }
	r := Run(Case{Seed: 1, Profile: "elections"})
	if !cutsTheLog(r) {
		t.Fatal("the run is not what it was chosen for")
	}
	expectSmaller(t, r, shrink(r, 150, cutsTheLog))
}

// expectSmaller expects a quarter of the faults, at most, in the same run as its script tells it.
func expectSmaller(t *testing.T, r, small Result) {
	t.Helper()
	script := small.Case.Script()
	left := len(small.Case.Overrides.Strikes)
	t.Logf("%d faults and %d events became %d and %d:\n%s", len(r.Strikes), r.Events, left,
		small.Events, script)
	if left*4 > len(r.Strikes) || small.Events > r.Events {
		t.Errorf("%d of %d faults and %d of %d events are left", left, len(r.Strikes), small.Events,
			r.Events)
	}
	parsed, err := ParseScript("# what broke\n" + script)
	if err != nil {
		t.Fatal(err)
	}
	if again := Run(parsed); again.Hash != small.Hash || again.Events != small.Events {
		t.Errorf("played from its script: hash %x after %d events, was %x after %d", again.Hash,
			again.Events, small.Hash, small.Events)
	}
}

// The faults of a run, given as a script, make the same run.
func TestARecordedScheduleIsTheSameRun(t *testing.T) {
	for n := range uint64(len(Profiles)) {
		if underRace && n%4 > 0 {
			continue
		}
		c := caseOf(2000 + n)
		once := Run(c)
		c.Overrides.Strikes = append([]Strike{}, once.Strikes...)
		if again := Run(c); again.Hash != once.Hash {
			t.Errorf("seed %d, %s: hash %x after %d events, from its schedule %x after %d", c.Seed,
				c.Profile, once.Hash, once.Events, again.Hash, again.Events)
		}
	}
}

func TestScriptsKeepEverything(t *testing.T) {
	want := Case{Seed: 18446744073709551615, Profile: "swarm", Overrides: Overrides{
		Without: []string{"drop", "load"}, Window: 1_000_000_001, Salt: 3, Nodes: 5, ClockDrift: 7,
		Strikes: []Strike{{At: 1, Kind: rotFault, Seed: 0xffff_ffff_ffff_ffff}, {At: 12 * sec}},
		Graphs:  []graph{0, 1023},
	}}
	got, err := ParseScript(want.Script())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	want.Overrides = Overrides{Strikes: []Strike{}}
	if got, err = ParseScript(want.Script()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("without faults: %+v, %v", got, err)
	}
	for _, bad := range []string{
		"", "seed 1", "profile swarm\nseed x", "profile swarm\nstrike 1s nothing 0",
		"profile swarm\nstrike 1 crash 0", "profile swarm\nwindow 1.0123456789s", "profile swarm\nlet 1",
	} {
		if _, err := ParseScript(bad); err == nil {
			t.Errorf("%q is a script", bad)
		}
	}
}
