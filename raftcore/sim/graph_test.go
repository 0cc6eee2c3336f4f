package sim

import "testing"

// TestAFullyConnectedQuorumServesInEveryPartialPartition tries all symmetric graphs of three, four
// and five nodes, one after the other in clusters that live through a few of them each.
func TestAFullyConnectedQuorumServesInEveryPartialPartition(t *testing.T) {
	tried, events := map[int]int{}, uint64(0)
	for n := 3; n <= 5; n++ {
		for first, some := range graphRuns(n) {
			if underRace && first%8 > 0 {
				continue
			}
			r := Run(Case{Seed: uint64(first + 1), Profile: "partial-partitions",
				Overrides: Overrides{Graphs: some, Nodes: n, Without: []string{"load"}}})
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
	t.Logf("%v graphs, by nodes, in %d events", tried, events)
	if underRace {
		return
	}
	// By hand for three nodes: a single link or more. The others by a count that went another way:
	// graphs with a triangle on 4 and 5 nodes, of 64 and 1,024.
	for n, want := range map[int]int{3: 7, 4: trianglesIn(4), 5: trianglesIn(5)} {
		if tried[n] != want {
			t.Errorf("%d nodes: %d graphs, want %d", n, tried[n], want)
		}
	}
}

// graphRuns deals the graphs of n nodes with a fully connected quorum to runs. Neighbours in the
// order of their numbers differ in few links, so those of one run are far apart.
func graphRuns(n int) [][]graph {
	const perRun = 16
	var graphs []graph
	for links := graph(0); links < 1<<pairs(n); links++ {
		if links.hasQuorum(n) {
			graphs = append(graphs, links)
		}
	}
	runs := make([][]graph, (len(graphs)+perRun-1)/perRun)
	for i, links := range graphs {
		runs[i%len(runs)] = append(runs[i%len(runs)], links)
	}
	return runs
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
