//go:build mutants

package explore

import (
	"os"
	"strconv"
	"testing"
	"time"

	"kelek/raftcore"
)

func TestTmpMutants(t *testing.T) {
	for _, m := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 115, 16, 20, 21, 22, 122, 25, 26, 27, 28, 29, 30} {
		if os.Getenv("M") != "" && os.Getenv("M") != strconv.Itoa(m) {
			continue
		}
		raftcore.Mutant = m
		for _, sc := range []Scope{
			{Name: "formed", Terms: 3, Bounds: Bounds{Timeouts: 2, Delays: 1, Crashes: 1}},
			{Name: "led", Setup: Led, Terms: 3, Bounds: Bounds{Timeouts: 1, Lapses: 1, Proposals: 1, Delays: 2, Crashes: 1}},
			{Name: "led2", Setup: Led, Terms: 3, Bounds: Bounds{Timeouts: 1, Proposals: 1, Delays: 2, Crashes: 1}},
			{Name: "reads", Setup: Led, Terms: 3, Bounds: Bounds{Timeouts: 1, Lapses: 1, Reads: 1, Transfers: 1}},
			{Name: "members", Setup: Led, Terms: 3, Bounds: Bounds{Timeouts: 1, Lapses: 1, Changes: 1, Transfers: 1}},
			{Name: "lagging", Setup: Lagging, Terms: 3, Bounds: Bounds{Timeouts: 1, Lapses: 1, Heartbeats: 2, Crashes: 1, Snapshots: 1}},
			{Name: "deposed", Setup: Deposed, Terms: 3, Bounds: Bounds{Heartbeats: 2, Crashes: 1, Snapshots: 1}},
			{Name: "lease", Setup: Led, Terms: 3, Leases: true, Bounds: Bounds{Passes: 4, Reads: 1, Transfers: 0}},
			{Name: "lease2", Setup: Led, Terms: 3, Leases: true, Bounds: Bounds{Passes: 1, Reads: 1, Transfers: 1}},
		} {
			now := time.Now()
			r, err := Run(sc, Limits{States: 600_000})
			if err != nil {
				t.Log(m, err)
				continue
			}
			if r.Problem != nil {
				t.Logf("M%d %v %.1fs", m, r.String(), time.Since(now).Seconds())
				if os.Getenv("M") != "" {
					for _, l := range r.Trace {
						t.Log(l)
					}
				}
			}
		}
	}
}
