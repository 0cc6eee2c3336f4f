package explore

import (
	"testing"
	"time"
)

func TestTmp(t *testing.T) {
	for _, sc := range []Scope{
		{Name: "formed", Terms: 3, Bounds: Bounds{Timeouts: 2, Delays: 1, Crashes: 1}},
		{Name: "led", Setup: Led, Terms: 3, Bounds: Bounds{Timeouts: 1, Proposals: 1, Delays: 1, Crashes: 1, Heartbeats: 1}},
		{Name: "lagging", Setup: Lagging, Terms: 3, Bounds: Bounds{Timeouts: 1, Heartbeats: 2, Crashes: 1, Snapshots: 1}},
		{Name: "deposed", Setup: Deposed, Terms: 3, Bounds: Bounds{Heartbeats: 2, Crashes: 1, Snapshots: 1}},
	} {
		now := time.Now()
		r, err := Run(sc, Limits{States: 300_000})
		if err != nil {
			t.Error(err)
			continue
		}
		t.Logf("%v %.0f/s", r.String(), float64(r.States)/time.Since(now).Seconds())
		for _, l := range r.Trace {
			t.Log(l)
		}
	}
}
