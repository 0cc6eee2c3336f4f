package sim

import "math/bits"

// Liveness while a partition lasts (the second half of invariant 14). Links are gone in both
// directions, for longer than any time-out, and some nodes see each other only through a third.
// As long as the members of one quorum all see each other, writes must be served: a leader that
// reaches too few steps down, and those that hear it only through a bridge do not wait for it.
// Links that work in one direction only are another matter, and nothing is claimed for them.

// graph is a symmetric set of links between up to foundersMax nodes, as bits: pair number n is the
// n-th of (0,1), (0,2), (1,2), (0,3)...
type graph uint32

// linked reports whether two nodes see each other.
func (g graph) linked(a, b int) bool {
	return a == b || g>>pairNumber(a, b)&1 == 1
}

// pairs is how many links n nodes can have.
func pairs(n int) int { return n * (n - 1) / 2 }

// hasQuorum reports whether a majority of n nodes see each other, all of them.
func (g graph) hasQuorum(n int) bool {
	for set := range uint(1) << n {
		if bits.OnesCount(set) == n/2+1 && g.complete(set, n) {
			return true
		}
	}
	return false
}

func (g graph) complete(set uint, n int) bool {
	for a := range n {
		for b := range a {
			if set>>a&1 == 1 && set>>b&1 == 1 && !g.linked(a, b) {
				return false
			}
		}
	}
	return true
}

// drawGraph draws links among n nodes: any, or few besides those of a quorum. There is a quorum.
func (w *World) drawGraph(n int) graph {
	g := w.rng.strike
	for {
		links := graph(g.Uint32()) & (1<<pairs(n) - 1)
		if g.IntN(2) == 0 {
			links &= graph(g.Uint32())
			for _, a := range g.Perm(n)[:n/2+1] {
				for b := range n {
					if g.IntN(n) < n/2+1 && a != b {
						links |= 1 << pairNumber(a, b)
					}
				}
			}
		}
		if links.hasQuorum(n) {
			return links
		}
	}
}

func pairNumber(a, b int) int {
	if a > b {
		a, b = b, a
	}
	return b*(b-1)/2 + a
}

// installGraph replaces all links, and asks for progress until the next change.
func (w *World) installGraph(*process) {
	n := len(w.nodes)
	var links graph
	if given := w.run.Overrides.Graphs; len(given) > w.stats.Graphs {
		links = given[w.stats.Graphs]
	} else if len(given) > 0 {
		w.knobs.duration = 0 // all were tried
		return
	} else {
		links = w.drawGraph(n)
	}
	w.stats.Graphs++
	if w.tracing() {
		w.tracef(nil, "links: %s", links.describe(n))
	}
	w.network.block(func(a, b int) bool { return !links.linked(a, b) })
	w.expectProgress()
}

// expectProgress begins a time in which a write must be begun and answered.
func (w *World) expectProgress() {
	w.graphSince = w.now
	w.clients.fresh = 0
	w.scheduleWorld(nil, w.knobs.graphLimit, evGraph, uint64(w.stats.Graphs))
}

// checkGraph looks whether one was, unless the links have changed meanwhile.
func (w *World) checkGraph(number int) {
	if w.phase != faulty || number != w.stats.Graphs {
		return
	}
	if w.clients.fresh == 0 {
		w.fail(14, "no write was begun and answered within %d election time-outs, although a quorum "+
			"is fully connected", w.knobs.graphLimit/w.knobs.election)
	}
	w.expectProgress()
}
