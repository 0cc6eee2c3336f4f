package bench

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"strings"

	"kelek/bench/load"
)

// shape is what distinguishes the workloads of one call.
type shape struct {
	command            string
	reads              float64
	connections, depth int
}

// suite are the workloads by which kelek is judged. The pure SETs come first: others are told as a
// fraction of those with as many connections and as deep pipelines.
func suite() []shape {
	const many, few = 256, 50
	var all []shape
	for _, command := range []string{"set", "get"} {
		for _, connections := range []int{few, many} {
			for _, depth := range []int{1, 16, 64} {
				all = append(all, shape{command, 0, connections, depth})
			}
		}
		all = append(all, shape{command, 0, 1, 1})
	}
	all = append(all, shape{"set", 0.5, few, 16})
	for _, command := range []string{"incr", "append", "mset", "multi"} {
		all = append(all, shape{command, 0, few, 1}, shape{command, 0, few, 16})
	}
	return all
}

// shapes are what the flags ask for.
func (b *Bench) shapes() []shape {
	if b.Suite {
		return suite()
	}
	var all []shape
	for _, command := range b.Command {
		for _, connections := range b.Connections {
			for _, depth := range b.Pipeline {
				all = append(all, shape{strings.ToLower(command), b.Reads, connections, depth})
			}
		}
	}
	return all
}

// workloads are all combinations, in the order in which they are measured.
func (b *Bench) workloads() ([]load.Options, error) {
	sizes, err := load.ParseSizes(b.Size)
	if err != nil {
		return nil, fmt.Errorf("--size: %w", err)
	}
	rates := b.Rate
	if len(rates) == 0 {
		rates = []float64{0}
	}
	b.Seed = cmp.Or(b.Seed, rand.Uint64())
	var all []load.Options
	for _, s := range b.shapes() {
		for _, rate := range rates {
			o := load.Options{Command: s.command, Connections: s.connections, Depth: s.depth, Rate: rate,
				ReadShare: s.reads, MsetKeys: b.MsetKeys, MultiSets: b.MultiSets, Keys: b.Keys,
				ZipfKeys: b.Zipf, Sizes: sizes, Warmup: b.Warmup, For: b.For, Every: b.Interval,
				Seed: b.Seed, Threads: b.Threads}
			if err := o.Check(); err != nil {
				return nil, err
			}
			all = append(all, o)
		}
	}
	return all, nil
}
