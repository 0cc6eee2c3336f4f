package explore

import "testing"

func TestY(t *testing.T) {
	x := newExplorer(Scope{Name: "lease", Setup: Awaited, Terms: 2, Leases: true})
	s, err := x.setup()
	t.Log(err, x.describe(s), x.now(s))
	p := player{x: x, s: s}
	for _, w := range s.wire {
		p.do(event{kind: deliver, node: 0, arg: uint32(w)})
	}
	t.Log(x.nodes[p.s.nodes[0]].status.LeaseUntil, x.now(p.s))
	for range 3 {
		p.do(event{kind: pass})
		t.Log(x.now(p.s), x.nodes[p.s.nodes[2]].core.Deadline(), x.nodes[p.s.nodes[1]].core.Deadline(), x.nodes[p.s.nodes[0]].status.LeaseUntil)
		p.do(event{kind: tick, node: 2})
		t.Log(p.err, x.describe(p.s))
		for _, w := range p.s.wire {
			t.Log(x.packets[w].message.String())
		}
	}
	p.cut = 1
	p.settle()
	t.Log(p.err, x.describe(p.s))
}
