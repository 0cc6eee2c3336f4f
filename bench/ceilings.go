package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"kelek/bench/ceiling"
	"kelek/bench/load"
)

// benchCeilings is `kelek bench ceilings`.
type benchCeilings struct {
	Dir  string        `default:"." help:"A directory on the disk where data will lie; what is written there is removed again."`
	Time time.Duration `default:"1s" help:"Of each measurement."`
}

// entryBytes is the size of an entry in the log: about that of a SET of 64 bytes.
const entryBytes = 100

// batchSizes are entries that share one sync.
var batchSizes = []int{1, 16, 64, 256, 1024}

// Run is called by the parser.
func (c *benchCeilings) Run(ctx context.Context) error {
	if c.Time <= 0 {
		return fmt.Errorf("--time %s: it has to be above zero", c.Time)
	}
	dir, err := os.MkdirTemp(c.Dir, "kelek-ceilings-")
	if err != nil {
		return err
	}
	err = c.measure(ctx, dir, os.Stdout)
	return errors.Join(err, removeDir(dir))
}

func (c *benchCeilings) measure(ctx context.Context, dir string, out io.Writer) error {
	if err := c.disk(ctx, dir, out); err != nil {
		return err
	}
	if err := c.log(ctx, dir, out); err != nil {
		return err
	}
	return c.answerer(ctx, dir, out)
}

func (c *benchCeilings) disk(ctx context.Context, dir string, out io.Writer) error {
	fmt.Fprintf(out, "The disk: blocks of 4 KiB, fdatasync after each\n%-28s %10s %8s %8s %10s\n",
		"FILE", "SYNCS/S", "P50", "P99", "CPU/SYNC")
	for _, filled := range []bool{false, true} {
		sample, cpu, err := timed(func() (ceiling.Sample, error) {
			return ceiling.Syncs(ctx, dir, filled, c.Time)
		})
		if err != nil {
			return err
		}
		name := map[bool]string{false: "growing", true: "filled before"}[filled]
		p50, p99 := percentiles(sample.Waits)
		fmt.Fprintf(out, "%-28s %10.0f %8s %8s %8.1fus\n", name, perSecond(sample, 1), short(p50),
			short(p99), micros(cpu)/float64(sample.Count))
	}
	return nil
}

func (c *benchCeilings) log(ctx context.Context, dir string, out io.Writer) error {
	fmt.Fprintf(out, "\nThe log: Pebble, batches of entries of %d bytes, a sync per batch\n"+
		"%-28s %10s %8s %8s %10s %12s\n", entryBytes, "ENTRIES PER BATCH", "BATCHES/S", "P50",
		"P99", "CPU/ENTRY", "ENTRIES/S")
	for _, entries := range batchSizes {
		sample, cpu, err := timed(func() (ceiling.Sample, error) {
			return ceiling.SyncedBatches(ctx, dir, entries, entryBytes, c.Time)
		})
		if err != nil {
			return err
		}
		p50, p99 := percentiles(sample.Waits)
		fmt.Fprintf(out, "%-28d %10.0f %8s %8s %8.2fus %12.0f\n", entries, perSecond(sample, 1),
			short(p50), short(p99), micros(cpu)/float64(sample.Count*entries),
			perSecond(sample, entries))
	}
	return nil
}

// timed adds the CPU time of this process, which does nothing else meanwhile; zero where it is not
// known.
func timed(loop func() (ceiling.Sample, error)) (ceiling.Sample, time.Duration, error) {
	before, failed := load.UsageOf(os.Getpid())
	sample, err := loop()
	after, failedToo := load.UsageOf(os.Getpid())
	if err == nil && sample.Count == 0 {
		err = errors.New("nothing was written in the time given")
	}
	if failed != nil || failedToo != nil {
		return sample, 0, err
	}
	return sample, after.CPU - before.CPU, err
}

func perSecond(s ceiling.Sample, each int) float64 {
	return float64(s.Count*each) / s.Elapsed.Seconds()
}

func percentiles(waits []time.Duration) (p50, p99 time.Duration) {
	sorted := slices.Sorted(slices.Values(waits))
	return sorted[len(sorted)/2], sorted[len(sorted)*99/100]
}

func (c *benchCeilings) answerer(ctx context.Context, dir string, out io.Writer) error {
	s, err := startAnswerer(ctx, dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nThe front: a server that parses commands and only answers\n%s", tableHead)
	b := &Bench{Command: []string{"set", "get"}, Connections: []int{50}, Pipeline: []int{1, 16, 64},
		Size: "64", Keys: 100_000, MsetKeys: 10, For: c.Time, Warmup: c.Time / 5, Threads: 1, Rounds: 1,
		out: out, progress: io.Discard, alone: true}
	workloads, err := b.workloads()
	for _, o := range workloads {
		if err = b.measureOne(ctx, s, o, 1); err != nil {
			break
		}
	}
	return errors.Join(err, s.stop())
}

// benchAnswer is the process behind startAnswerer.
type benchAnswer struct {
	Listen string `required:"" help:"Address."`
}

// Run is called by the parser.
func (c *benchAnswer) Run(ctx context.Context) error {
	ln, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	return ceiling.Answer(ctx, ln)
}
