package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"

	"kelek/bench/ceiling"
	"kelek/bench/load"
)

// possibleTime is how long the log and the disk are measured for each result.
const possibleTime = 300 * time.Millisecond

// keyBytes are those of a key, and of what an entry needs around key and value.
const keyBytes = 36

// measurePossible completes the rows of one workload and round, if the ceiling was among its
// systems, by what is possible: the front as it was just measured, and for writes the log and the
// disk, with as many commands in a batch as shared one sync of one node in the row.
func (b *Bench) measurePossible(ctx context.Context, o load.Options, rows []load.Row) error {
	front := slices.IndexFunc(rows, func(r load.Row) bool { return r.System == ceilingName })
	if front < 0 {
		return nil
	}
	for i := range rows {
		if r := &rows[i]; i != front {
			r.Possible = &load.Possible{Front: rows[front].PerSecond}
			if r.Syncs != nil && *r.Syncs > 0 && o.Command != "get" && o.Command != "ping" {
				r.Possible.Group = float64(r.Nodes) / *r.Syncs
				bytes := max(1, r.Batch) * (keyBytes + int(o.Sizes.Mean()))
				if err := b.measureBounds(ctx, bytes, r.Possible); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// measureBounds asks log and disk in a directory beside the data.
func (b *Bench) measureBounds(ctx context.Context, bytes int, p *load.Possible) error {
	dir, err := os.MkdirTemp(b.dir, "bounds-")
	if err != nil {
		return err
	}
	entries := int(max(1, math.Round(p.Group)))
	log, err := ceiling.SyncedBatches(ctx, dir, entries, bytes, possibleTime)
	if err == nil {
		var disk ceiling.Sample
		disk, err = ceiling.Syncs(ctx, dir, false, possibleTime)
		p.Log, p.Disk = perSecond(log, 1)*p.Group, perSecond(disk, 1)*p.Group
	}
	return errors.Join(err, removeDir(dir))
}

// writePossible prints results as fractions of what is possible, medians over the rounds.
func writePossible(w io.Writer, lines []load.Line) {
	head := true
	for i := range lines {
		line := &lines[i]
		front := line.Spread(ofPossible(func(p *load.Possible) float64 { return p.Front }))
		if front.Count == 0 {
			continue
		}
		if head {
			fmt.Fprintf(w, "\nOF WHAT IS POSSIBLE     %-22s %-20s %-20s %-20s %s\n", "SYSTEM",
				"FRONT (only answers)", "LOG (one, synced)", "DISK (fdatasync)", "COMMANDS/SYNC")
			head = false
		}
		fmt.Fprintf(w, "%-23s %-22s %-20s %-20s %-20s %s\n", line.Workload, line.System, front,
			fraction(line, func(p *load.Possible) float64 { return p.Log }),
			fraction(line, func(p *load.Possible) float64 { return p.Disk }),
			median(line, "", func(r *load.Row) *float64 { return commandsPerSync(r.Possible) }))
	}
}

// commandsPerSync is nil where syncs are not known, or nothing had to be synced.
func commandsPerSync(p *load.Possible) *float64 {
	if p == nil || p.Group == 0 {
		return nil
	}
	return &p.Group
}

func fraction(line *load.Line, bound func(*load.Possible) float64) string {
	spread := line.Spread(ofPossible(bound))
	if spread.Count == 0 {
		return "-"
	}
	return spread.String()
}

// ofPossible is throughput divided by a bound, where that was measured.
func ofPossible(bound func(*load.Possible) float64) func(*load.Row) *float64 {
	return func(r *load.Row) *float64 {
		if r.Possible == nil || bound(r.Possible) == 0 {
			return nil
		}
		return ref(r.PerSecond / bound(r.Possible))
	}
}
