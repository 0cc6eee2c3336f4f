package bench

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"kelek/bench/mesh"
)

// cut is a way to break the network: which links, and how a person calls it.
type cut struct {
	what  string
	links []mesh.Link
}

// cutKinds are the shapes that are drawn from, the more telling ones more often. leader is empty
// when nobody knows it.
var cutKinds = []func(r *rand.Rand, nodes []string, leader string) cut{
	cutInTwo, cutInTwo, cutOffLeader, cutOffLeader, cutOffLeader, cutOneWay, cutOneWay, cutOneLink,
	cutToABridge, cutToARing, cutAnyLinks,
}

// drawCut draws a shape and who is where in it.
func drawCut(r *rand.Rand, nodes []string, leader string) cut {
	return cutKinds[r.IntN(len(cutKinds))](r, shuffled(r, nodes), leader)
}

func shuffled(r *rand.Rand, names []string) []string {
	names = slices.Clone(names)
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}

// between is all links from one group to the other.
func between(from, to []string) []mesh.Link {
	var links []mesh.Link
	for _, a := range from {
		for _, b := range to {
			if a != b {
				links = append(links, mesh.Link{From: a, To: b})
			}
		}
	}
	return links
}

func bothWays(a, b []string) []mesh.Link { return append(between(a, b), between(b, a)...) }

// group writes names in order.
func group(names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	return strings.Join(names, " ")
}

// cutInTwo leaves two groups that hear nothing of each other.
func cutInTwo(r *rand.Rand, nodes []string, _ string) cut {
	at := 1 + r.IntN(len(nodes)-1)
	a, b := nodes[:at], nodes[at:]
	return cut{fmt.Sprintf("partition {%s | %s}", group(a), group(b)), bothWays(a, b)}
}

// cutOffLeader leaves the leader alone, or anybody if there is none.
func cutOffLeader(_ *rand.Rand, nodes []string, leader string) cut {
	alone, word := nodes[0], ""
	if leader != "" {
		alone, word = leader, " (leader)"
	}
	return cut{fmt.Sprintf("isolate %s%s", alone, word), bothWays([]string{alone}, nodes)}
}

// cutOneWay leaves one node that is not heard, or that hears nobody.
func cutOneWay(r *rand.Rand, nodes []string, leader string) cut {
	one, word := nodes[0], ""
	if leader != "" && r.IntN(2) == 0 {
		one, word = leader, " (leader)"
	}
	if r.IntN(2) == 0 {
		return cut{fmt.Sprintf("one way: nobody hears %s%s", one, word), between([]string{one}, nodes)}
	}
	return cut{fmt.Sprintf("one way: %s%s hears nobody", one, word), between(nodes, []string{one})}
}

// cutOneLink separates two nodes that others still connect.
func cutOneLink(_ *rand.Rand, nodes []string, leader string) cut {
	a, b, word := nodes[0], nodes[1], ""
	if leader != "" && leader != b {
		a, word = leader, " (leader)"
	}
	return cut{fmt.Sprintf("link %s%s - %s", a, word, b), bothWays([]string{a}, []string{b})}
}

// cutToABridge leaves two halves that have one node in common.
func cutToABridge(_ *rand.Rand, nodes []string, _ string) cut {
	bridge, rest := nodes[0], nodes[1:]
	a, b := rest[:len(rest)/2], rest[len(rest)/2:]
	return cut{fmt.Sprintf("bridge {%s} - %s - {%s}", group(a), bridge, group(b)), bothWays(a, b)}
}

// cutToARing lets every node see a majority, and no two nodes the same one.
func cutToARing(_ *rand.Rand, nodes []string, _ string) cut {
	reach := (len(nodes)/2 + 1) / 2 // neighbours on each side that complete a majority
	var links []mesh.Link
	for i, a := range nodes {
		for j, b := range nodes {
			distance := min((i-j+len(nodes))%len(nodes), (j-i+len(nodes))%len(nodes))
			if distance > reach {
				links = append(links, mesh.Link{From: a, To: b})
			}
		}
	}
	return cut{"majority ring " + strings.Join(nodes, " - "), links}
}

// cutAnyLinks cuts each direction with a chance of its own.
func cutAnyLinks(r *rand.Rand, nodes []string, _ string) cut {
	all := between(nodes, nodes)
	share := 10 + r.IntN(50)
	var links []mesh.Link
	for _, l := range all {
		if r.IntN(100) < share {
			links = append(links, l)
		}
	}
	return cut{fmt.Sprintf("%d of %d one-way links cut", len(links), len(all)), links}
}
