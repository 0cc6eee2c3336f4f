package load

import "time"

// Drift is the last third of a run divided by its first: 1 means that nothing changed. Each third is
// told by the medians of its intervals, so that a single stall is no drift.
type Drift struct {
	PerSecond float64 `json:"ops_per_sec"`
	P50       float64 `json:"p50"`
	P99       float64 `json:"p99"`
	Resident  float64 `json:"resident"` // of all servers together; 0: not known
}

// driftIntervals are needed before thirds mean anything.
const driftIntervals = 6

// DriftOf compares the ends of a series; false: it is too short.
func DriftOf(series []Interval) (Drift, bool) {
	if len(series) < driftIntervals {
		return Drift{}, false
	}
	third := len(series) / 3
	first, last := series[:third], series[len(series)-third:]
	change := func(of func(i *Interval) float64) float64 {
		if before := medianOf(first, of); before > 0 {
			return medianOf(last, of) / before
		}
		return 0
	}
	return Drift{
		PerSecond: change(func(i *Interval) float64 { return i.PerSecond }),
		P50:       change(func(i *Interval) float64 { return float64(i.P50) / float64(time.Second) }),
		P99:       change(func(i *Interval) float64 { return float64(i.P99) / float64(time.Second) }),
		Resident:  change(residentSum),
	}, true
}

func medianOf(series []Interval, of func(i *Interval) float64) float64 {
	var values []float64
	for i := range series {
		values = append(values, of(&series[i]))
	}
	return SpreadOf(values).Median
}

// residentSum is 0 when the memory of one server is not known.
func residentSum(i *Interval) float64 {
	sum := int64(0)
	for _, bytes := range i.Resident {
		if bytes < 0 {
			return 0
		}
		sum += bytes
	}
	return float64(sum)
}
