package bench

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"kelek/bench/mesh"
)

// cutOf names the nodes n1 to nN and the links that a shape cuts.
func cutOf(shape func(*rand.Rand, []string, string) cut, n int, seed uint64, leader string) (
	names []string, c cut, open func(a, b string) bool) {
	for i := range n {
		names = append(names, "n"+string(rune('1'+i)))
	}
	c = shape(rand.New(rand.NewPCG(seed, 0)), slices.Clone(names), leader)
	return names, c, func(a, b string) bool { return !slices.Contains(c.links, mesh.Link{From: a, To: b}) }
}

// hears is how many nodes one has a link from, itself included.
func hears(names []string, open func(a, b string) bool, one string) int {
	n := 1
	for _, other := range names {
		if other != one && open(other, one) {
			n++
		}
	}
	return n
}

func TestShapesOfPartitions(t *testing.T) {
	for n := 3; n <= 9; n++ {
		for seed := range uint64(20) {
			names, c, open := cutOf(cutInTwo, n, seed, "")
			for _, a := range names {
				for _, b := range names {
					if open(a, b) != open(b, a) {
						t.Fatalf("%s: one way between %s and %s", c.what, a, b)
					}
				}
			}
			if all := hears(names, open, "n1"); all == n {
				t.Errorf("%d nodes: %s cuts nothing", n, c.what)
			}

			names, c, open = cutOf(cutOffLeader, n, seed, "n2")
			if hears(names, open, "n2") != 1 || hears(names, open, "n1") != n-1 {
				t.Errorf("%d nodes: %s", n, c.what)
			}

			names, c, open = cutOf(cutOneWay, n, seed, "n3")
			for _, l := range c.links {
				if !open(l.To, l.From) {
					t.Errorf("%d nodes: %s: %v goes both ways", n, c.what, l)
				}
			}
			if len(c.links) != n-1 {
				t.Errorf("%d nodes: %s: %d links", n, c.what, len(c.links))
			}

			names, c, open = cutOf(cutOneLink, n, seed, "n3")
			if len(c.links) != 2 || hears(names, open, "n3") != n-1 {
				t.Errorf("%d nodes: %s: %v", n, c.what, c.links)
			}

			names, c, open = cutOf(cutToABridge, n, seed, "")
			bridges := 0
			for _, name := range names {
				if hears(names, open, name) == n {
					bridges++
				}
			}
			if bridges != 1 {
				t.Errorf("%d nodes: %s: %d bridges", n, c.what, bridges)
			}
		}
	}
}

// Everybody hears a majority, so a leader is possible everywhere, and no two hear the same one.
func TestTheRingOfMajorities(t *testing.T) {
	for _, n := range []int{5, 7, 9} {
		names, c, open := cutOf(cutToARing, n, 1, "")
		seen := map[string]bool{}
		for _, name := range names {
			if got := hears(names, open, name); got <= n/2 || got == n {
				t.Errorf("%d nodes: %s: %s hears %d", n, c.what, name, got)
			}
			var view []string
			for _, other := range names {
				if other == name || open(other, name) {
					view = append(view, other)
				}
			}
			seen[strings.Join(view, " ")] = true
		}
		if len(seen) != n {
			t.Errorf("%d nodes: %d views", n, len(seen))
		}
	}
}

// The same seed draws the same faults.
func TestCutsComeFromTheSeed(t *testing.T) {
	draw := func(seed uint64) (drawn []string) {
		r := rand.New(rand.NewPCG(seed, 0))
		for range 20 {
			drawn = append(drawn, drawCut(r, []string{"n1", "n2", "n3", "n4", "n5"}, "n1").what)
		}
		return drawn
	}
	if !slices.Equal(draw(1), draw(1)) {
		t.Error("one seed, two plans")
	}
	if slices.Equal(draw(1), draw(2)) {
		t.Error("two seeds, one plan")
	}
}

// unable is a network that cannot break connections, and is not used otherwise.
type unable struct{ network }

func (unable) noResets() error { return errors.New("not here") }

// With the same kinds of faults a seed means the same plan in every network. Where connections
// cannot be broken, partitions come without resets, and all else stays as it is.
func TestASeedMeansTheSameInEveryNetwork(t *testing.T) {
	draw := func(n network) (drawn []string) {
		c := planned(t, 5)
		c.network = n
		s := &storm{cluster: c, random: rand.New(rand.NewPCG(7, 1)), size: 5, homes: map[string][]int{}}
		for range 200 {
			drawn = append(drawn, s.draw(FaultKinds).what)
		}
		return drawn
	}
	full, less := draw(&forwarders{}), draw(unable{})
	resets := 0
	for i, what := range full {
		plain := strings.TrimSuffix(strings.TrimSuffix(what, " at the end"), ", reset")
		if plain != what {
			resets++
		}
		if less[i] != plain {
			t.Fatalf("fault %d is %q, and %q without resets", i, what, less[i])
		}
	}
	if packets := draw(&namespaces{&mesh.Namespaces{}}); !slices.Equal(packets, full) {
		t.Error("namespaces have another plan than forwarders")
	}
	if resets == 0 {
		t.Error("no partition of the plan came with a reset")
	}
}
