package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kelek/bench/load"
)

// measure lets the systems take turns: A B A B, so that what disturbs the machine disturbs all. A
// round is all workloads, so that they can be compared with each other, too.
func (b *Bench) measure(ctx context.Context, systems []*system, workloads []load.Options) error {
	b.announce(systems, workloads)
	if b.Fill || !b.NoFill && slices.ContainsFunc(workloads, func(o load.Options) bool {
		return o.ReadShare > 0 || o.Command == "get"
	}) {
		if err := b.fillAll(ctx, systems, workloads[0]); err != nil {
			return err
		}
	}
	for round := range b.Rounds {
		for _, o := range workloads {
			from := len(b.report.Rows)
			for _, s := range systems {
				if err := b.measureOne(ctx, s, o, round+1); err != nil {
					return err
				}
			}
			if err := b.measurePossible(ctx, o, b.report.Rows[from:]); err != nil {
				return err
			}
		}
	}
	return nil
}

// fillAll writes every key once, to each system that does not share its servers with an earlier one.
func (b *Bench) fillAll(ctx context.Context, systems []*system, o load.Options) error {
	for _, s := range systems {
		if s.shared {
			continue
		}
		o := s.adapt(o)
		written := int64(0)
		o.Progress = func(i *load.Interval) {
			written += i.Count
			fmt.Fprintf(b.progress, "\r\x1b[K%s: %d of %d keys written, %.0f/s  p99 %s", s.name, written,
				o.Keys, i.PerSecond, short(i.P99))
		}
		o.Progress(&load.Interval{})
		result, err := s.fill(ctx, o)
		fmt.Fprint(b.progress, "\r\x1b[K")
		if err != nil {
			return fmt.Errorf("write the keys to %s: %w", s.name, err)
		}
		s.filled = result.PerSecond
	}
	return nil
}

func (b *Bench) measureOne(ctx context.Context, s *system, o load.Options, round int) error {
	o = s.adapt(o)
	o.Seed += uint64(round) // the same for all systems of a round
	head := load.NewRow(s.name, len(s.servers), round, &o)
	o.Progress = b.observer(s, &head)
	row, err := s.measure(ctx, o, round)
	fmt.Fprint(b.progress, "\r\x1b[K")
	if errors.Is(err, load.ErrUnsupported) {
		if round == 1 {
			fmt.Fprintf(b.out, "%s is left out of %s: %v\n", s.name, head.Workload(), err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s, %s: %w", s.name, head.Workload(), err)
	}
	b.report.Rows = append(b.report.Rows, row)
	if b.alone {
		if b.Interval > 0 {
			fmt.Fprint(b.out, tableHead)
		}
		printRow(b.out, &row)
	}
	return nil
}

// observer shows each interval of a measurement that is about to begin, and keeps with it how much
// memory the servers have.
func (b *Bench) observer(s *system, head *load.Row) func(*load.Interval) {
	show := func(i *load.Interval) {
		i.Resident = residentOf(s.servers)
		fmt.Fprintf(b.progress, "\r\x1b[K%s  %s  round %d of %d: %.0f/s  p50 %s  p99 %s  errors %d%s",
			s.name, head.Workload(), head.Round, b.Rounds, i.PerSecond, short(i.P50), short(i.P99),
			i.Errors, memories(i.Resident))
	}
	show(&load.Interval{})
	if b.Interval == 0 {
		return show
	}
	fmt.Fprintf(b.out, "%s  %s  round %d\n%s", s.name, head.Workload(), head.Round, intervalHead)
	return func(i *load.Interval) {
		show(i)
		fmt.Fprint(b.progress, "\r\x1b[K")
		printInterval(b.out, i)
	}
}

// announce tells what is about to happen and how long it takes.
func (b *Bench) announce(systems []*system, workloads []load.Options) {
	var names []string
	for _, s := range systems {
		names = append(names, s.name)
	}
	runs := len(systems) * len(workloads) * b.Rounds
	total := time.Duration(runs) * (b.For + b.Warmup)
	keys := fmt.Sprintf("%d keys, values of %s", b.Keys, b.Size)
	if systems[0].keys > 0 {
		keys = "keys x bytes"
	}
	fmt.Fprintf(b.out, "%s\n%s\n%s random bytes, %s, seed %d; about %s\n\n",
		strings.Join(names, "  "), b.report.Machine, keys,
		map[bool]string{true: "zipfian", false: "uniform"}[b.Zipf], b.Seed, total.Round(time.Second))
	if b.alone = len(systems) == 1 && b.Rounds == 1; b.alone && b.Interval == 0 {
		fmt.Fprint(b.out, tableHead)
	}
}
