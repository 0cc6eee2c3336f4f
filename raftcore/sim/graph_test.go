package sim

import "testing"

// TestAFullyConnectedQuorumServesInEveryPartialPartition tries all symmetric graphs of three, four
// and five nodes, one after the other in clusters that live through a few of them each.
func TestAFullyConnectedQuorumServesInEveryPartialPartition(t *testing.T) {
	tried, events := map[int]int{}, uint64(0)
	for n := 3; n <= 5; n++ {
		var graphs []graph
		for links := graph(0); links < 1<<pairs(n); links++ {
			if links.hasQuorum(n) {
				graphs = append(graphs, links)
			}
		}
		// Neighbours in this order differ in few links; a stride makes the changes large.
		const perRun = 16
		runs := (len(graphs) + perRun - 1) / perRun
		for first := range runs {
			if underRace && first%8 > 0 {
				continue
			}
			var some []graph
			for i := first; i < len(graphs); i += runs {
				some = append(some, graphs[i])
			}
			c := Case{Seed: uint64(first + 1), Profile: "partial-partitions",
				Overrides: Overrides{
					Graphs: some, Nodes: n, Without: []string{"load"}}}
			r := Run(c)
			if r.Failure != nil {
				t.Error(report(r))
			}
			if r.Stats.Graphs < len(some) {
				t.Fatalf("only %d of %d graphs were tried", r.Stats.Graphs, len(some))
			}
			tried[n] += len(some)
			events += r.Events
		}
	}
	// By hand for three nodes: a single link or more. The others by a count that went another way:
	// graphs with a triangle on 4 and 5 nodes, of 64 and 1,024.
	if underRace {
		return
	}
	for n, want := range map[int]int{3: 7, 4: trianglesIn(4), 5: trianglesIn(5)} {
		if tried[n] != want {
			t.Errorf("%d nodes: %d graphs, want %d", n, tried[n], want)
		}
	}
	t.Logf("%v graphs, by nodes, in %d events", tried, events)
}

// trianglesIn counts the graphs of n nodes that have three nodes which all see each other.
func trianglesIn(n int) (count int) {
	for links := graph(0); links < 1<<pairs(n); links++ {
		found := false
		for a := range n {
			for b := range a {
				for c := range b {
					found = found || links.linked(a, b) && links.linked(b, c) && links.linked(a, c)
				}
			}
		}
		if found {
			count++
		}
	}
	return count
}
