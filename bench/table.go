package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"kelek/bench/load"
)

// The table of one system: a line as soon as it is measured.
const (
	tableHead = "WORKLOAD                      OPS/S     P50     P99   P99.9     MAX  CPU/OP  CLIENT" +
		"  WRITE/OP  SYNC/OP  ERRORS\n"
	tableLine = "%-24s %10.0f %7s %7s %7s %7s %7s %7s %9s %8s %7d\n"
)

func printRow(w io.Writer, r *load.Row) {
	fmt.Fprintf(w, tableLine, r.Workload(), r.PerSecond, short(r.Latency.P50),
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
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.2fms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	}
	return fmt.Sprintf("%.2fs", d.Seconds())
}

// writeComparison prints a line per workload and system: medians over the rounds, the ratio of the
// first system to this one with its spread, and what writes of other kinds reach of plain SETs.
func writeComparison(w io.Writer, lines []load.Line, first string) {
	width := len("SYSTEM")
	for i := range lines {
		width = max(width, len(lines[i].System))
	}
	fmt.Fprintf(w, "%-24s %-*s %-28s %7s %7s %7s %7s %9s %8s %-18s  %s\n", "WORKLOAD", width, "SYSTEM",
		"OPS/S median [min..max]", "P50", "P99", "P99.9", "CPU/OP", "WRITE/OP", "SYNC/OP", "OF SET", first+" : this")
	workload := ""
	for i := range lines {
		line := &lines[i]
		if workload != "" && workload != line.Workload {
			fmt.Fprintln(w)
		}
		workload = line.Workload
		rate := line.Spread(func(r *load.Row) *float64 { return &r.PerSecond })
		ratio, ofSet := "", ""
		if line.Ratio != nil {
			ratio = line.Ratio.Spread.String()
		}
		if line.OfSet.Count > 0 {
			ofSet = line.OfSet.String()
		}
		text := fmt.Sprintf("%-24s %-*s %-28s %7s %7s %7s %7s %9s %8s %-18s  %s", line.Workload, width,
			line.System, rates(rate),
			short(middle(line, func(l *load.Latency) time.Duration { return l.P50 })),
			short(middle(line, func(l *load.Latency) time.Duration { return l.P99 })),
			short(middle(line, func(l *load.Latency) time.Duration { return l.P999 })),
			median(line, "us", func(r *load.Row) *float64 { return r.ServerCPU }),
			median(line, "B", func(r *load.Row) *float64 { return r.Written }),
			median(line, "", func(r *load.Row) *float64 { return r.Syncs }), ofSet, ratio)
		fmt.Fprintln(w, strings.TrimRight(text, " "))
	}
}

// writeOfSet tells what writes of other kinds reach of plain SETs, of a system alone.
func writeOfSet(w io.Writer, lines []load.Line) {
	for i := range lines {
		if lines[i].OfSet.Count > 0 {
			fmt.Fprintf(w, "OF SET  %s: %s\n", lines[i].Workload, lines[i].OfSet)
		}
	}
}

// writeProcesses prints what each process of a server costs: CPU and bytes to the disk for each
// command, medians over the rounds, and its memory and disk at the end of the last one.
func writeProcesses(w io.Writer, lines []load.Line) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	head := "\nWORKLOAD\tSYSTEM\tPROCESSES\tCPU/OP OF EACH\tWRITE/OP\tMEMORY\tDISK\n"
	for i := range lines {
		line := &lines[i]
		last := line.Rows[len(line.Rows)-1].Processes
		if len(last) == 0 {
			continue
		}
		fmt.Fprint(table, head)
		head = ""
		each := func(of func(at int, p *load.Process) string) string {
			var texts []string
			for at := range last {
				texts = append(texts, of(at, &last[at]))
			}
			return strings.Join(texts, " ")
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", line.Workload, line.System,
			each(func(_ int, p *load.Process) string { return targetName(p) }),
			each(func(at int, _ *load.Process) string {
				return median(line, "us", processFigure(at, func(p *load.Process) *float64 { return &p.CPU }))
			}),
			each(func(at int, _ *load.Process) string {
				return median(line, "B", processFigure(at, func(p *load.Process) *float64 { return p.Written }))
			}),
			each(func(_ int, p *load.Process) string { return size(p.Resident) }),
			each(func(_ int, p *load.Process) string { return size(p.Disk) }))
	}
	table.Flush() // as all other lines of the table: a terminal that is gone is not told
}

// targetName marks a process that got the load.
func targetName(p *load.Process) string {
	if p.Target {
		return p.Name + "*"
	}
	return p.Name
}

// processFigure is a figure of one of the processes.
func processFigure(at int, of func(*load.Process) *float64) func(*load.Row) *float64 {
	return func(r *load.Row) *float64 {
		if at >= len(r.Processes) {
			return nil
		}
		return of(&r.Processes[at])
	}
}

// size is a number of bytes in a few digits; a dash when it is not known.
func size(bytes *int64) string {
	switch {
	case bytes == nil || *bytes < 0:
		return "-"
	case *bytes < 1<<20:
		return fmt.Sprintf("%dKiB", *bytes>>10)
	case *bytes < 10<<30:
		return fmt.Sprintf("%dMiB", *bytes>>20)
	}
	return fmt.Sprintf("%dGiB", *bytes>>30)
}

// The lines of --interval.
const intervalHead = "    AT      OPS/S     P50     P99     MAX  ERRORS  MEMORY OF EACH SERVER\n"

func printInterval(w io.Writer, i *load.Interval) {
	fmt.Fprintf(w, "%6s %10.0f %7s %7s %7s %7d%s\n", i.At.Round(time.Second/10), i.PerSecond,
		short(i.P50), short(i.P99), short(i.Max), i.Errors, memories(i.Resident))
}

func memories(resident []int64) string {
	text := ""
	for i := range resident {
		text += "  " + size(&resident[i])
	}
	return text
}

// writeDrift compares the last third of each run with its first.
func writeDrift(w io.Writer, rows []load.Row) {
	for i := range rows {
		d := rows[i].Drift
		if d == nil {
			continue
		}
		fmt.Fprintf(w, "DRIFT   %s, %s, round %d: last third to first: throughput %.2f, p50 %.2f, p99 "+
			"%.2f, memory %.2f\n", rows[i].System, rows[i].Workload(), rows[i].Round, d.PerSecond, d.P50,
			d.P99, d.Resident)
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
		"SYNC/OP: syncs, of all nodes together. OF SET: throughput as a fraction of that of plain SETs. "+
		"*: it got the load. A dash: not known.\n")
	for i := range rows {
		r := &rows[i]
		if r.Errors > 0 {
			fmt.Fprintf(w, "ERRORS  %s, %s, round %d: %d error replies, the first: %s\n", r.System,
				r.Workload(), r.Round, r.Errors, r.Refusal)
		}
		if r.Moved {
			fmt.Fprintf(w, "MOVED   %s, %s, round %d: the leader changed meanwhile; the load stayed where it "+
				"was\n", r.System, r.Workload(), r.Round)
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
