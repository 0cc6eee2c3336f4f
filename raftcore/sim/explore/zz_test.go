package explore

import "testing"

func TestZ(t *testing.T) {
	for _, sc := range []Scope{
	{Name: "lease", Setup: Awaited, Terms: 2, Leases: true, Bounds: Bounds{Passes: 1, Reads: 1, Heartbeats: 1}},
	{Name: "deposed", Setup: Deposed, Terms: 2, Bounds: Bounds{Heartbeats: 1}},
	} {
	if x := newExplorer(sc); true { s, err := x.setup(); t.Log(err); t.Log(x.describe(s)); for _, w := range s.wire {t.Log(x.packets[w].message.String())}}
	r, err := Run(sc, Limits{States: 2000000})
	t.Log(err, r.String())
	for _, l := range r.Trace { t.Log(l) }
	}
}
