package explore

import (
	"flag"
	"strings"
	"testing"
	"time"

	"kelek/raftcore"
)

var (
	statesFlag  = flag.Int("states", 25_000, "distinct states per scope")
	minutesFlag = flag.Float64("minutes", 0, "search each scope for so long at most, instead")
	scopeFlag   = flag.String("scope", "", "search only scopes whose name contains this")
	termsFlag   = flag.Int("terms", 0, "terms above the first, instead of the scope's")
	boundFlags  = func() (f [budgets]*int) {
		for b := range budgets {
			f[b] = flag.Int(b.String(), -1, "bound of a path, instead of the scope's")
		}
		return f
	}()
)

// chosen are the scopes that the flags ask for.
func chosen() (scopes []Scope) {
	for _, s := range Scopes() {
		if !strings.Contains(s.Name, *scopeFlag) {
			continue
		}
		if *termsFlag > 0 {
			s.Terms = raftcore.Term(min(*termsFlag, termsMax))
		}
		for b, f := range boundFlags {
			if *f >= 0 {
				s.Bounds[b] = uint8(*f)
			}
		}
		scopes = append(scopes, s)
	}
	return scopes
}

func limits() Limits {
	l := Limits{States: *statesFlag}
	if *minutesFlag > 0 {
		end := time.Now().Add(time.Duration(*minutesFlag * float64(time.Minute)))
		l = Limits{States: 1 << 30, Stop: func() bool { return time.Now().After(end) }}
	}
	return l
}

// TestScopes searches every scope, and prints how many states there were. None may break an
// invariant.
func TestScopes(t *testing.T) {
	var total Reached
	states, transitions, began := 0, 0, time.Now()
	for _, scope := range chosen() {
		r, err := Run(scope, limits())
		if err != nil {
			t.Fatal(err)
		}
		t.Log(r.String())
		if r.Problem != nil {
			t.Errorf("%s breaks an invariant:\n%s", scope.Name, strings.Join(r.Trace, "\n"))
		}
		states, transitions = states+r.States, transitions+r.Transitions
		total.Led = max(total.Led, r.Reached.Led)
		total.Committed = max(total.Committed, r.Reached.Committed)
		total.Reads += r.Reached.Reads
		total.Installs += r.Reached.Installs
		total.Truncations += r.Reached.Truncations
	}
	took := time.Since(began).Seconds()
	t.Logf("%d distinct states, %d transitions, %.0f and %.0f per second", states, transitions,
		float64(states)/took, float64(transitions)/took)
	if *scopeFlag == "" && (total.Led < 3 || total.Committed < 4 ||
		total.Reads == 0 || total.Installs == 0 || total.Truncations == 0) {
		t.Errorf("the searches did not get far: %+v", total)
	}
}

// TestNodesThatLookAlikeActAlike checks what interning rests on: nodes with equal fingerprints,
// whose clocks and generators differ, do the same whatever happens to them.
func TestNodesThatLookAlikeActAlike(t *testing.T) {
	scope := Scope{Name: "twins", Setup: Led, Terms: 3,
		Bounds: Bounds{Timeouts: 2, Lapses: 1, Heartbeats: 1, Proposals: 1, Crashes: 1, Delays: 1,
			Reads: 1}}
	x := newExplorer(scope)
	compared, busy := 0, false
	x.twins = func(kept nodeID, forgotten *node) {
		if busy || x.nodes[kept].now == forgotten.now {
			return // the same in every respect, or a comparison is under way
		}
		busy = true
		defer func() { busy = false }()
		var s state
		for i := range s.nodes {
			s.nodes[i] = kept
		}
		compare := func(ev event, _ Budget) {
			compared++
			if a, b := x.try(x.nodes[kept], ev), x.try(forgotten, ev); a != b {
				t.Fatalf("%s: %+v and %+v", x.describeEvent(&s, ev), a, b)
			}
		}
		x.enabledAt(&s, uint8(forgotten.id-1), x.nodes[kept], compare)
		for p := range x.packets {
			if x.packets[p].message.To == forgotten.id {
				compare(event{kind: deliver, node: uint8(forgotten.id - 1), arg: uint32(p)}, free)
			}
		}
	}
	begin, err := x.setup()
	if err != nil {
		t.Fatal(err)
	}
	var r Result
	x.discover(begin, 0, event{})
	for layer := []*state{begin}; len(layer) > 0; {
		layer = x.expand(layer, Limits{States: 3000}, &r)
	}
	if compared < 1000 {
		t.Fatalf("only %d steps were compared", compared)
	}
}

// deed is what a step did, without the names of what it led to.
type deed struct {
	refused bool
	after   hashes
	sent    uint64
	ready   int
}

// try performs an event on a node without remembering it.
func (x *explorer) try(n *node, ev event) (d deed) {
	before := n
	r := &run{x: x, n: n.clone(), slow: ev.slow || len(n.writes) > 0}
	r.perform(before, 0, ev)
	if d.refused = r.out.refused; d.refused {
		return d
	}
	for i := range renamings {
		d.after[i] = x.hashNode(i, r.n)
	}
	for _, p := range r.out.sent {
		d.sent += mix(1, x.packets[p].hashes[0])
	}
	d.ready = len(r.out.ready)
	return d
}

// TestRenamedStatesAreOne searches a scope with and without the renamings: there must be as many
// states in the one as classes of states in the other.
func TestRenamedStatesAreOne(t *testing.T) {
	scope := Scope{Name: "renamed", Setup: Formed, Terms: 2, Bounds: Bounds{Timeouts: 1, Proposals: 1}}
	classes, all := map[uint64]bool{}, len(renamings)
	count := func(renamings int) int {
		x := newExplorer(scope)
		begin, err := x.setup()
		if err != nil {
			t.Fatal(err)
		}
		visit := func(s *state) {
			if renamings == 1 {
				x.renamings = all
				classes[x.signature(s)] = true
				x.renamings = 1
			}
		}
		var r Result
		visit(begin)
		x.renamings = renamings
		x.discover(begin, 0, event{})
		for layer := []*state{begin}; len(layer) > 0; {
			if layer = x.expand(layer, Limits{States: 1 << 20}, &r); r.Problem != nil {
				t.Fatal(r.Problem)
			}
			for _, s := range layer {
				visit(s)
			}
		}
		return len(x.parent)
	}
	with, without := count(all), count(1)
	if with != len(classes) || without < 4*with || with < 100 {
		t.Fatalf("%d states with renamings, %d without, in %d classes", with, without, len(classes))
	}
	t.Logf("%d states with renamings, %d without", with, without)
}
