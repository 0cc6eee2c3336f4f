package bench

import (
	"fmt"
	"io"
	"time"

	"kelek/bench/load"
)

// The table of one system: a line as soon as it is measured.
const (
	tableHead = "WORKLOAD                      OPS/S     P50     P99   P99.9     MAX  CPU/OP  CLIENT" +
		"  WRITE/OP  SYNC/OP  ERRORS\n"
	tableLine = "%-24s %10.0f %7s %7s %7s %7s %7s %7s %9s %8s %7d\n"
)

// printRows prints what was not printed yet: the last line.
func (b *Bench) printRows() {
	if len(b.report.Rows) == 0 {
		return
	}
	r := &b.report.Rows[len(b.report.Rows)-1]
	fmt.Fprintf(b.out, tableLine, r.Workload(), r.PerSecond, short(r.Latency.P50),
		short(r.Latency.P99), short(r.Latency.P999), short(r.Latency.Max), figure(r.ServerCPU, "us"),
		figure(r.ClientCPU, "us"), figure(r.Written, "B"), figure(r.Syncs, ""), r.Errors)
}

// figure is a number of a few digits with its unit; a dash when it is not known.
func figure(f *float64, unit string) string {
	switch {
	case f == nil:
		return "-"
	case *f < 0.01 && *f > 0:
		return fmt.Sprintf("%.4f%s", *f, unit)
	case *f < 100:
		return fmt.Sprintf("%.2f%s", *f, unit)
	}
	return fmt.Sprintf("%.0f%s", *f, unit)
}

// short is a latency in at most seven characters.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%dus", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.2fms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2fs", d.Seconds())
}

// writeComparison prints a line per workload and system: medians over the rounds, and the ratio of
// the first system to this one with its spread.
func writeComparison(w io.Writer, rows []load.Row) {
	first := rows[0].System
	fmt.Fprintf(w, "%-24s %-13s %-30s %7s %7s %7s %9s %8s  %s\n", "WORKLOAD", "SYSTEM",
		"OPS/S median [min..max]", "P50", "P99", "CPU/OP", "WRITE/OP", "SYNC/OP", first+" : this")
	workload := ""
	for _, line := range load.Lines(rows) {
		if workload != "" && workload != line.Workload {
			fmt.Fprintln(w)
		}
		workload = line.Workload
		rate := line.Spread(func(r *load.Row) *float64 { return &r.PerSecond })
		ratio := ""
		if line.Ratio != nil {
			ratio = line.Ratio.Spread.String()
		}
		fmt.Fprintf(w, "%-24s %-13s %-30s %7s %7s %7s %9s %8s  %s\n", line.Workload, line.System,
			rates(rate),
			short(middle(&line, func(l *load.Latency) time.Duration { return l.P50 })),
			short(middle(&line, func(l *load.Latency) time.Duration { return l.P99 })),
			median(&line, "us", func(r *load.Row) *float64 { return r.ServerCPU }),
			median(&line, "B", func(r *load.Row) *float64 { return r.Written }),
			median(&line, "", func(r *load.Row) *float64 { return r.Syncs }), ratio)
	}
}

func rates(s load.Spread) string {
	if s.Count < 2 {
		return fmt.Sprintf("%.0f", s.Median)
	}
	return fmt.Sprintf("%.0f [%.0f..%.0f]", s.Median, s.Min, s.Max)
}

func middle(line *load.Line, of func(l *load.Latency) time.Duration) time.Duration {
	return time.Duration(line.Spread(func(r *load.Row) *float64 {
		return ref(float64(of(&r.Latency)))
	}).Median)
}

func median(line *load.Line, unit string, of func(r *load.Row) *float64) string {
	spread := line.Spread(of)
	if spread.Count == 0 {
		return figure(nil, unit)
	}
	return figure(&spread.Median, unit)
}

// explain says what the columns mean, and what a reader must not overlook.
func explain(w io.Writer, rows []load.Row) {
	fmt.Fprint(w, "\nCPU/OP: of all server processes together. WRITE/OP: bytes to the disks, "+
		"SYNC/OP: syncs, of all nodes together. A dash: not known.\n")
	for i := range rows {
		r := &rows[i]
		if r.Errors > 0 {
			fmt.Fprintf(w, "ERRORS  %s, %s, round %d: %d error replies, the first: %s\n", r.System,
				r.Workload(), r.Round, r.Errors, r.Refusal)
		}
		if r.Missed > int64(r.Connections*r.Depth) {
			fmt.Fprintf(w, "BEHIND  %s, %s, round %d: %d commands were due and not sent; their wait is "+
				"in the latencies\n", r.System, r.Workload(), r.Round, r.Missed)
		}
		if r.Rate > 0 && r.Late > r.Latency.P99 {
			fmt.Fprintf(w, "NOISE   %s, %s, round %d: the generator itself was late by up to %s\n",
				r.System, r.Workload(), r.Round, short(r.Late))
		}
	}
}
