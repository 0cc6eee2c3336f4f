package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
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
	Growth   benchGrowth   `cmd:"" help:"Small and large stores side by side: throughput, memory, disk, restart."`
	Answer   benchAnswer   `cmd:"" hidden:"" help:"The server that only answers."`
}

// Help is shown below the flags' summary.
func (*BenchCommands) Help() string {
	return `Without flags: SET and GET, 50 connections, pipelines of 1 and 16, on the running cluster, in
about 10 seconds. Some more:

  kelek bench --sizes 1,3,5                      clusters of 1, 3 and 5 nodes in one table
  kelek bench --against redis,etcd,ceiling       kelek and rivals in turns, with ratios
  kelek bench --suite --against redis-aof        all workloads by which kelek is judged
  kelek bench --sizes 3 --to leader,follower     what the way through a follower costs
  kelek bench -P 1 --rate 5000,10000,20000 --svg load.svg     latency by load
  kelek bench --command set --reads 0.5 --zipf --size zipf:16-64k
  kelek bench --sizes 3 -P 1 --fill --for 10m --interval 10s      a line per interval, and the drift
  kelek bench growth                             ten million keys against a hundred thousand
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
	To              []string `enum:"leader,follower,followers,all" default:"leader" group:"What is measured" help:"Which of the nodes get the load: leader, follower (one), followers or all. Several take turns and are compared."`
	RequirepassFile string   `env:"KELEK_REQUIREPASS_FILE" placeholder:"FILE" group:"What is measured" help:"File with the password of --nodes; or set KELEK_REQUIREPASS."`
	Sizes           []int    `placeholder:"N" group:"What is measured" help:"Start kelek clusters of these sizes, e.g. 1,3,5, and compare them."`
	Against         []string `placeholder:"SYSTEM" group:"What is measured" help:"Compare with redis (appendfsync always, and without persistence; redis-aof, redis-memory: one of them), etcd, ceiling (a server that only answers, and the bounds of log and disk). Starts them; --sizes defaults to 3."`
	Rounds          int      `group:"What is measured" help:"Systems take turns, so many times. Default: 1; with --against 5."`

	Suite       bool      `group:"Load" help:"Instead of --command, --reads, -c and -P: SET and GET with 50 and 256 connections, pipelines of 1, 16 and 64, one client, 1:1 mixed, INCR, APPEND, MSET and MULTI of 10."`
	Command     []string  `default:"set,get" group:"Load" help:"set, get, incr, append, mset, multi (MULTI, SETs, EXEC as one command), ping."`
	Reads       float64   `group:"Load" help:"Share of GETs mixed into the commands, 0 to 1."`
	Connections []int     `short:"c" default:"50" group:"Load" help:"Connections."`
	Pipeline    []int     `short:"P" default:"1,16" group:"Load" help:"Commands that a connection sends at once."`
	Size        string    `short:"d" default:"64" group:"Load" help:"Bytes of a value: 64, 16-1024 (all equally often), zipf:16-64k (small ones often). Values are random and do not compress."`
	MsetKeys    int       `default:"10" group:"Load" help:"Keys of one MSET."`
	MultiSets   int       `default:"10" group:"Load" help:"SETs between MULTI and EXEC."`
	Keys        int       `short:"r" default:"100000" group:"Load" help:"Number of different keys."`
	Zipf        bool      `group:"Load" help:"Few keys are used often (exponent 0.99). Default: all equally."`
	Rate        []float64 `placeholder:"N" group:"Load" help:"Open loop: N commands per second, whether or not the server keeps up; latency counts from when a command was due. Several rates and --svg draw latency by load. Default: closed loop, as fast as it goes."`
	Fill        bool      `xor:"fill" group:"Load" help:"Write all keys first, for writes, too; else only where reads are measured."`
	NoFill      bool      `xor:"fill" group:"Load" help:"Do not write all keys before reads are measured."`
	Seed        uint64    `group:"Load" help:"Of keys and values; 0: another one each time."`

	For      time.Duration `default:"2s" group:"Run" help:"Measured time of each run."`
	Warmup   time.Duration `default:"300ms" group:"Run" help:"Before it, not measured."`
	Interval time.Duration `group:"Run" help:"Print a line for each such part of a run: throughput, latency, memory of each server; and how they drift."`
	Threads  int           `default:"1" group:"Run" help:"Event loops of the generator. More help only where cores are free."`

	Json  string `name:"json" placeholder:"FILE" group:"Output" help:"Everything, for programs. Default with --sizes or --against: bench.json."`
	Csv   string `name:"csv" placeholder:"FILE" group:"Output" help:"One line per run."`
	Svg   string `name:"svg" placeholder:"FILE" group:"Output" help:"A plot of latency by load."`
	Quiet bool   `short:"q" group:"Output" help:"No progress line."`

	out, progress io.Writer
	dir           string // of what is started; empty: nothing is
	alone         bool   // nothing to compare with: each result is printed at once
	report        load.Report
}

// prepare checks the flags and returns what they ask for. Nothing is started.
func (b *Bench) prepare() ([]load.Options, error) {
	b.out, b.progress = os.Stdout, io.Discard
	if !b.Quiet && client.IsTerminal(os.Stderr) {
		b.progress = os.Stderr
	}
	workloads, err := b.workloads()
	if err != nil {
		return nil, err
	}
	if b.Rounds < 0 || b.Interval < 0 {
		return nil, fmt.Errorf("--rounds %d, --interval %s: they may not be negative", b.Rounds,
			b.Interval)
	}
	b.setDefaults()
	return workloads, b.checkFiles()
}

func (b *Bench) run(ctx context.Context) error {
	workloads, err := b.prepare()
	if err != nil {
		return err
	}
	systems, err := b.systems(ctx)
	if err != nil {
		return err // with what was started ended, and its logs kept
	}
	err = b.measure(ctx, systems, workloads)
	if errors.Is(err, syscall.ECONNREFUSED) && len(b.Sizes) == 0 {
		err = fmt.Errorf("%w; kelek local up 3 starts a cluster, kelek bench --sizes 3 a temporary one",
			err)
	}
	return errors.Join(err, b.finish(), stopSystems(systems), removeDir(b.dir))
}

func (b *Bench) setDefaults() {
	if len(b.To) == 0 {
		b.To = []string{toLeader}
	}
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

// systems starts what is to be started. The directory is removed afterwards; when a start fails it
// is kept, because it holds the logs.
func (b *Bench) systems(ctx context.Context) (systems []*system, err error) {
	if len(b.Sizes) == 0 {
		password, err := readPassword(b.RequirepassFile)
		return runningSystem(b.addrs(), password).each(b.To), err
	}
	if err := checkRivals(b.Against); err != nil {
		return nil, err
	}
	if slices.Contains(b.Sizes, 1) && slices.ContainsFunc(b.To, needsFollower) {
		return nil, fmt.Errorf("--to %s: a cluster of one node has no follower",
			strings.Join(b.To, ","))
	}
	if b.dir, err = os.MkdirTemp(".", "kelek-bench-"); err != nil {
		return nil, err
	}
	for _, n := range b.Sizes {
		s, _, err := startKelek(ctx, b.dir, fmt.Sprintf("kelek-%d", n), n)
		if err != nil {
			return nil, errors.Join(err, stopSystems(systems))
		}
		systems = append(systems, s.each(b.To)...)
	}
	others, err := startRivals(ctx, b.dir, b.Against)
	if err != nil {
		return nil, errors.Join(err, stopSystems(systems))
	}
	return append(systems, others...), nil
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

// finish prints the table and writes the files, also when the measurement was broken off.
func (b *Bench) finish() error {
	rows := b.report.Rows
	if len(rows) == 0 {
		return nil
	}
	b.report.Ratios = load.Ratios(rows)
	lines := load.Lines(rows)
	if b.alone {
		writeOfSet(b.out, lines)
	} else {
		writeComparison(b.out, lines, rows[0].System)
	}
	writeProcesses(b.out, lines)
	writePossible(b.out, lines)
	writeGrowth(b.out, lines, b.report.Footprints)
	writeDrift(b.out, rows)
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
