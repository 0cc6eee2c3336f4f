package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"kelek/bench/load"
	"kelek/resp/client"
)

// BenchCommands is `kelek bench` as a command line: the tags are read by the parser that main uses.
type BenchCommands struct {
	Bench
	Load     benchLoad     `cmd:"" default:"1" hidden:"" help:"What bench does without a command."`
	Ceilings benchCeilings `cmd:"" help:"What this machine allows at most: a server that only answers, a synced log, the disk."`
	Answer   benchAnswer   `cmd:"" hidden:"" help:"The server that only answers."`
}

// Help is shown below the flags' summary.
func (*BenchCommands) Help() string {
	return `Without flags: SET and GET, 50 connections, pipelines of 1 and 16, on the running cluster, in
about 10 seconds. Some more:

  kelek bench --sizes 1,3,5                      clusters of 1, 3 and 5 nodes in one table
  kelek bench --against redis,etcd,ceiling       kelek and rivals in turns, with ratios
  kelek bench -P 1 --rate 5000,10000,20000 --svg load.svg     latency by load
  kelek bench --command set --reads 0.5 --zipf --size zipf:16-64k
  kelek bench ceilings                           what the machine allows at most`
}

// benchLoad is the load itself; its flags belong to bench, so that --help shows them.
type benchLoad struct{}

// Run is called by the parser, which binds the parent.
func (*benchLoad) Run(ctx context.Context, parent *BenchCommands) error {
	return parent.run(ctx)
}

// Bench is one call of `kelek bench`: every command in every pipeline depth with every number of
// connections, at every rate, on every system, in every round.
type Bench struct {
	Nodes           []string `env:"KELEK_NODES" placeholder:"HOST:PORT" group:"What is measured" help:"Running servers, kelek or any other that speaks RESP. Default: those of ./kelek-local, else 127.0.0.1:6380."`
	To              string   `enum:"leader,followers,all" default:"leader" group:"What is measured" help:"Which of the nodes get the load: leader, followers or all."`
	RequirepassFile string   `env:"KELEK_REQUIREPASS_FILE" placeholder:"FILE" group:"What is measured" help:"File with the password of --nodes; or set KELEK_REQUIREPASS."`
	Sizes           []int    `placeholder:"N" group:"What is measured" help:"Start kelek clusters of these sizes, e.g. 1,3,5, and compare them."`
	Against         []string `placeholder:"SYSTEM" group:"What is measured" help:"Compare with redis (appendfsync always, and without persistence), etcd, ceiling (a server that only answers). Starts them; --sizes defaults to 3."`
	Rounds          int      `group:"What is measured" help:"Systems take turns, so many times. Default: 1; with --against 5."`

	Command     []string  `default:"set,get" group:"Load" help:"set, get, incr, append, mset, ping."`
	Reads       float64   `group:"Load" help:"Share of GETs mixed into the commands, 0 to 1."`
	Connections []int     `short:"c" default:"50" group:"Load" help:"Connections."`
	Pipeline    []int     `short:"P" default:"1,16" group:"Load" help:"Commands that a connection sends at once."`
	Size        string    `short:"d" default:"64" group:"Load" help:"Bytes of a value: 64, 16-1024 (all equally often), zipf:16-64k (small ones often). Values are random and do not compress."`
	MsetKeys    int       `default:"10" group:"Load" help:"Keys of one MSET."`
	Keys        int       `short:"r" default:"100000" group:"Load" help:"Number of different keys."`
	Zipf        bool      `group:"Load" help:"Few keys are used often (exponent 0.99). Default: all equally."`
	Rate        []float64 `placeholder:"N" group:"Load" help:"Open loop: N commands per second, whether or not the server keeps up; latency counts from when a command was due. Several rates and --svg draw latency by load. Default: closed loop, as fast as it goes."`
	NoFill      bool      `group:"Load" help:"Do not write all keys before reads are measured."`
	Seed        uint64    `group:"Load" help:"Of keys and values; 0: another one each time."`

	For     time.Duration `default:"2s" group:"Run" help:"Measured time of each run."`
	Warmup  time.Duration `default:"300ms" group:"Run" help:"Before it, not measured."`
	Threads int           `default:"1" group:"Run" help:"Event loops of the generator. More help only where cores are free."`

	Json  string `name:"json" placeholder:"FILE" group:"Output" help:"Everything, for programs. Default with --sizes or --against: bench.json."`
	Csv   string `name:"csv" placeholder:"FILE" group:"Output" help:"One line per run."`
	Svg   string `name:"svg" placeholder:"FILE" group:"Output" help:"A plot of latency by load."`
	Quiet bool   `short:"q" group:"Output" help:"No progress line."`

	out, progress io.Writer
	report        load.Report
}

func (b *Bench) run(ctx context.Context) error {
	b.out, b.progress = os.Stdout, io.Discard
	if !b.Quiet && client.IsTerminal(os.Stderr) {
		b.progress = os.Stderr
	}
	workloads, err := b.workloads()
	if err != nil {
		return err
	}
	if b.Rounds < 0 {
		return fmt.Errorf("--rounds %d: at least 1", b.Rounds)
	}
	b.setDefaults()
	if err := b.checkFiles(); err != nil {
		return err
	}
	dir, systems, err := b.systems(ctx)
	if err != nil {
		return err // with what was started ended, and its logs kept
	}
	err = b.measure(ctx, systems, workloads)
	if errors.Is(err, syscall.ECONNREFUSED) && len(b.Sizes) == 0 {
		err = fmt.Errorf("%w; kelek local up 3 starts a cluster, kelek bench --sizes 3 a temporary one",
			err)
	}
	return errors.Join(err, b.finish(), stopSystems(systems), removeDir(dir))
}

func (b *Bench) setDefaults() {
	if len(b.Against) > 0 && len(b.Sizes) == 0 {
		b.Sizes = []int{3}
	}
	if b.Rounds == 0 {
		b.Rounds = 1
		if len(b.Against) > 0 {
			b.Rounds = 5
		}
	}
	if len(b.Sizes) > 0 {
		b.Json = cmp.Or(b.Json, "bench.json")
	}
	b.report = load.Report{Program: "kelek bench", CPUs: runtime.NumCPU(), Begin: time.Now().UTC(),
		Machine: fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(),
			runtime.Version())}
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
	for _, command := range b.Command {
		for _, connections := range b.Connections {
			for _, depth := range b.Pipeline {
				for _, rate := range rates {
					all = append(all, load.Options{Command: strings.ToLower(command),
						Connections: connections, Depth: depth, Rate: rate, ReadShare: b.Reads,
						MsetKeys: b.MsetKeys, Keys: b.Keys, ZipfKeys: b.Zipf, Sizes: sizes,
						Warmup: b.Warmup, For: b.For, Seed: b.Seed, Threads: b.Threads})
				}
			}
		}
	}
	for i := range all {
		if err := all[i].Check(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// checkFiles finds out before the measurement whether the results can be written.
func (b *Bench) checkFiles() error {
	for _, path := range []string{b.Json, b.Csv, b.Svg} {
		if path == "" {
			continue
		}
		_, statErr := os.Stat(path)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		err = f.Close()
		if errors.Is(statErr, os.ErrNotExist) {
			err = errors.Join(err, os.Remove(path))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// systems starts what is to be started. dir is removed afterwards; when a start fails it is kept,
// because it holds the logs.
func (b *Bench) systems(ctx context.Context) (dir string, systems []*system, err error) {
	if len(b.Sizes) == 0 {
		password, err := readPassword(b.RequirepassFile)
		return "", []*system{runningSystem(b.addrs(), password, b.To)}, err
	}
	if err := checkRivals(b.Against); err != nil {
		return "", nil, err
	}
	if dir, err = os.MkdirTemp(".", "kelek-bench-"); err != nil {
		return "", nil, err
	}
	for _, n := range b.Sizes {
		s, err := startKelek(ctx, dir, b.To, n)
		if err != nil {
			return "", nil, errors.Join(err, stopSystems(systems))
		}
		systems = append(systems, s)
	}
	others, err := startRivals(ctx, dir, b.Against)
	if err != nil {
		return "", nil, errors.Join(err, stopSystems(systems))
	}
	return dir, append(systems, others...), nil
}

func (b *Bench) addrs() []string {
	if len(b.Nodes) > 0 {
		return b.Nodes
	}
	if addrs := LocalAddrs(LocalDir); len(addrs) > 0 {
		return addrs
	}
	return []string{"127.0.0.1:6380"}
}

func readPassword(path string) (string, error) {
	if path == "" {
		return os.Getenv("KELEK_REQUIREPASS"), nil
	}
	text, err := os.ReadFile(path)
	return strings.TrimRight(string(text), "\r\n"), err
}

func removeDir(dir string) error {
	if dir == "" {
		return nil
	}
	return os.RemoveAll(filepath.Clean(dir))
}

// measure lets the systems take turns: A B A B, so that what disturbs the machine disturbs all.
func (b *Bench) measure(ctx context.Context, systems []*system, workloads []load.Options) error {
	b.announce(systems, workloads)
	if !b.NoFill && slices.ContainsFunc(workloads, func(o load.Options) bool {
		return o.ReadShare > 0 || o.Command == "get"
	}) {
		for _, s := range systems {
			fmt.Fprintf(b.progress, "\r\x1b[Kwriting %d keys to %s", b.Keys, s.name)
			if err := s.fill(ctx, workloads[0]); err != nil {
				return fmt.Errorf("write the keys to %s: %w", s.name, err)
			}
		}
	}
	for _, o := range workloads {
		for round := range b.Rounds {
			for _, s := range systems {
				if err := b.measureOne(ctx, s, o, round+1); err != nil {
					return err
				}
			}
		}
		if len(systems) == 1 && b.Rounds == 1 {
			b.printRows()
		}
	}
	return nil
}

func (b *Bench) measureOne(ctx context.Context, s *system, o load.Options, round int) error {
	o.Seed += uint64(round) // the same for all systems of a round
	head := load.NewRow(s.name, len(s.servers), round, &o)
	show := func(i load.Interval) {
		fmt.Fprintf(b.progress, "\r\x1b[K%s  %s  round %d of %d: %.0f/s  p50 %s  p99 %s  errors %d",
			s.name, head.Workload(), round, b.Rounds, i.PerSecond, short(i.P50), short(i.P99), i.Errors)
	}
	show(load.Interval{})
	o.Progress = show
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
	return nil
}

// announce tells what is about to happen and how long it takes.
func (b *Bench) announce(systems []*system, workloads []load.Options) {
	var names []string
	for _, s := range systems {
		names = append(names, s.name)
	}
	runs := len(systems) * len(workloads) * b.Rounds
	total := time.Duration(runs) * (b.For + b.Warmup)
	fmt.Fprintf(b.out, "%s\n%s\n%d keys (%s), values of %s random bytes, seed %d; about %s\n\n",
		strings.Join(names, "  "), b.report.Machine, b.Keys,
		map[bool]string{true: "zipfian", false: "uniform"}[b.Zipf], b.Size, b.Seed,
		total.Round(time.Second))
	if len(systems) == 1 && b.Rounds == 1 {
		fmt.Fprintf(b.out, tableHead)
	}
}

// finish prints the table and writes the files, also when the measurement was broken off.
func (b *Bench) finish() error {
	rows := b.report.Rows
	if len(rows) == 0 {
		return nil
	}
	b.report.Ratios = load.Ratios(rows)
	if b.Rounds > 1 || slices.ContainsFunc(rows, func(r load.Row) bool {
		return r.System != rows[0].System
	}) {
		writeComparison(b.out, rows)
	}
	explain(b.out, rows)
	for _, file := range []struct {
		path  string
		write func(w io.Writer) error
	}{{b.Json, b.report.WriteJSON}, {b.Csv, b.report.WriteCSV}, {b.Svg, b.report.WriteSVG}} {
		if err := writeFile(file.path, file.write); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, write func(w io.Writer) error) error {
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
