package load

import (
	"fmt"
	"slices"
)

// Spread is a median with its extremes. One figure of one run means little on a machine that does
// other things, too; the spread tells how little.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Count  int     `json:"count"`
}

// SpreadOf is zero when there are no values.
func SpreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	median := sorted[half]
	if len(sorted)%2 == 0 {
		median = (sorted[half-1] + sorted[half]) / 2
	}
	return Spread{Median: median, Min: sorted[0], Max: sorted[len(sorted)-1], Count: len(sorted)}
}

// String tells the extremes only where there are some.
func (s Spread) String() string {
	if s.Count < 2 {
		return fmt.Sprintf("%.2f", s.Median)
	}
	return fmt.Sprintf("%.2f [%.2f..%.2f]", s.Median, s.Min, s.Max)
}

// Ratio compares the throughput of the first system with that of another one.
type Ratio struct {
	Workload string `json:"workload"`
	System   string `json:"system"`
	Against  string `json:"against"`
	Spread   `json:"ratio"`
}

// Ratios compares within each round: what disturbs the machine for longer than a round disturbs
// both sides, and leaves the ratio as it is.
func Ratios(rows []Row) []Ratio {
	if len(rows) == 0 {
		return nil
	}
	first := rows[0].System
	type place struct {
		workload, system string
		round            int
	}
	rates := map[place]float64{}
	for i := range rows {
		rates[place{rows[i].Workload(), rows[i].System, rows[i].Round}] = rows[i].PerSecond
	}
	var ratios []Ratio
	for _, pair := range pairs(rows) {
		var values []float64
		for i := range rows {
			r := &rows[i]
			base := rates[place{pair[0], first, r.Round}]
			if r.Workload() == pair[0] && r.System == pair[1] && base > 0 && r.PerSecond > 0 {
				values = append(values, base/r.PerSecond)
			}
		}
		if pair[1] != first && len(values) > 0 {
			ratios = append(ratios, Ratio{pair[0], first, pair[1], SpreadOf(values)})
		}
	}
	return ratios
}

// pairs are workload and system of all rows, each once, by workload, in the order of appearance.
func pairs(rows []Row) [][2]string {
	var workloads, systems []string
	for i := range rows {
		if w := rows[i].Workload(); !slices.Contains(workloads, w) {
			workloads = append(workloads, w)
		}
		if s := rows[i].System; !slices.Contains(systems, s) {
			systems = append(systems, s)
		}
	}
	var all [][2]string
	for _, w := range workloads {
		for _, s := range systems {
			all = append(all, [2]string{w, s})
		}
	}
	return all
}

// Line is all rounds of one workload on one system.
type Line struct {
	Workload, System string
	Rows             []Row
	Ratio            *Ratio // of the first system to this one; nil for the first
	// OfSet is this workload's throughput as a fraction of that of plain SETs with as many connections
	// and as deep pipelines, on the same system in the same round; no values: there were none.
	OfSet Spread
}

// Lines groups rows for a table.
func Lines(rows []Row) []Line {
	ratios := Ratios(rows)
	var lines []Line
	for _, pair := range pairs(rows) {
		line := Line{Workload: pair[0], System: pair[1]}
		for i := range rows {
			if rows[i].Workload() == pair[0] && rows[i].System == pair[1] {
				line.Rows = append(line.Rows, rows[i])
			}
		}
		for i := range ratios {
			if ratios[i].Workload == pair[0] && ratios[i].Against == pair[1] {
				line.Ratio = &ratios[i]
			}
		}
		if len(line.Rows) > 0 {
			line.OfSet = ofSet(&line, rows)
			lines = append(lines, line)
		}
	}
	return lines
}

// ofSet compares writes that are not plain SETs with those that are.
func ofSet(line *Line, rows []Row) Spread {
	var values []float64
	for i := range line.Rows {
		r := &line.Rows[i]
		plain := *r
		plain.Command, plain.Batch, plain.ReadShare = "set", 0, 0
		if r.Workload() == plain.Workload() || r.Command == "get" || r.Command == "ping" {
			continue
		}
		for j := range rows {
			if s := &rows[j]; s.System == r.System && s.Round == r.Round && s.PerSecond > 0 &&
				s.Workload() == plain.Workload() {
				values = append(values, r.PerSecond/s.PerSecond)
			}
		}
	}
	return SpreadOf(values)
}

// Spread is that of a figure over the rounds; rounds in which it is not known do not count.
func (l *Line) Spread(figure func(r *Row) *float64) Spread {
	var values []float64
	for i := range l.Rows {
		if value := figure(&l.Rows[i]); value != nil {
			values = append(values, *value)
		}
	}
	return SpreadOf(values)
}
