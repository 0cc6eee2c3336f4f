package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"kelek/bench/load"
	"kelek/resp/client"
)

// benchGrowth is `kelek bench growth`. The load is that of the parent's flags.
type benchGrowth struct {
	Stores  []string      `default:"100kx64,10mx64,200kx10k" help:"Keys and bytes of their values, each in a cluster of its own, which the load fills first."`
	Members int           `default:"3" help:"Nodes of each cluster."`
	Settle  time.Duration `default:"60s" help:"How long to wait at most for the disk use to settle."`
	Idle    time.Duration `default:"10s" help:"How long the CPU time of the idle cluster is watched; 0: not."`
	Room    string        `default:"." help:"A directory with room for about ten times the data; what is written there is removed again."`
}

// Help is shown below the flags' summary.
func (*benchGrowth) Help() string {
	return `All stores are filled, and then take turns: throughput and latency of a large one against a
small one at the same time. Afterwards each tells its memory, its disk before and after compactions
have settled it, the CPU time of its idle nodes, and how long a killed node needs to serve again.
The flags that name a load hold here, too: kelek bench growth -P 16 --rounds 3 --for 10s`
}

// grown is one store.
type grown struct {
	*system
	cluster *Cluster
	data    int64 // bytes of all keys and values
}

// parseStore reads 10mx64: so many keys (k and m are thousands and millions) with values of such a
// size (as --size).
func parseStore(text string) (keys int, sizes load.Sizes, err error) {
	count, size, found := strings.Cut(text, "x")
	digits, unit := count, 1
	if number, is := strings.CutSuffix(count, "k"); is {
		digits, unit = number, 1000
	} else if number, is := strings.CutSuffix(count, "m"); is {
		digits, unit = number, 1_000_000
	}
	n, failed := strconv.ParseUint(digits, 10, 31)
	if sizes, err = load.ParseSizes(size); err != nil || failed != nil || n == 0 || !found {
		return 0, sizes, fmt.Errorf("--stores %q: write keys x bytes, e.g. 10mx64 or 200kx10k", text)
	}
	return int(n) * unit, sizes, nil
}

// Run is called by the parser, which binds the parent.
func (g *benchGrowth) Run(ctx context.Context, parent *BenchCommands) (err error) {
	b := parent.Bench
	if g.Settle < 0 || g.Idle < 0 {
		return fmt.Errorf("--settle %s, --idle %s: they may not be negative", g.Settle, g.Idle)
	}
	if len(b.Sizes)+len(b.Against)+len(b.Nodes) > 0 {
		return errors.New("growth starts its own clusters: leave out --sizes, --against and --nodes " +
			"(--members is the number of nodes of each)")
	}
	stores, err := g.parse()
	if err != nil {
		return err
	}
	b.Fill, b.Keys, b.Size = true, stores[0].keys, stores[0].sizes.String()
	workloads, err := b.prepare()
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(g.Room, "kelek-growth-"); err != nil {
		return err
	}
	for _, s := range stores {
		if err := s.start(ctx, b.dir, g.Members); err != nil {
			return errors.Join(err, stopSystems(systemsOf(stores))) // the logs are kept
		}
	}
	err = g.measure(ctx, &b, stores, workloads)
	return errors.Join(err, b.finish(), stopSystems(systemsOf(stores)), removeDir(b.dir))
}

// parse reads --stores. Nothing runs yet.
func (g *benchGrowth) parse() ([]*grown, error) {
	var stores []*grown
	for _, text := range g.Stores {
		keys, sizes, err := parseStore(text)
		if err != nil {
			return nil, err
		}
		data := int64(float64(keys) * (userKeyBytes + sizes.Mean()))
		stores = append(stores, &grown{&system{name: text, keys: keys, sizes: &sizes}, nil, data})
	}
	if len(stores) == 0 {
		return nil, errors.New("--stores: at least one, e.g. 10mx64")
	}
	return stores, nil
}

// start starts the cluster of a store.
func (s *grown) start(ctx context.Context, dir string, members int) error {
	started, c, err := startKelek(ctx, dir, s.name, members)
	if err != nil {
		return err
	}
	started = started.each([]string{toLeader})[0]
	started.keys, started.sizes = s.keys, s.sizes
	s.system, s.cluster = started, c
	return nil
}

// userKeyBytes are those of every key of the load generator.
const userKeyBytes = 16

func systemsOf(stores []*grown) []*system {
	var systems []*system
	for _, s := range stores {
		systems = append(systems, s.system)
	}
	return systems
}

// measure fills and loads all stores in turns, and then looks at one after the other.
func (g *benchGrowth) measure(ctx context.Context, b *Bench, stores []*grown,
	workloads []load.Options) error {
	if err := b.measure(ctx, systemsOf(stores), workloads); err != nil {
		return err
	}
	for _, s := range stores {
		fmt.Fprintf(b.progress, "\r\x1b[K%s: memory, disk, restart", s.name)
		f, err := g.look(ctx, s)
		fmt.Fprint(b.progress, "\r\x1b[K")
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		b.report.Footprints = append(b.report.Footprints, *f)
	}
	return nil
}

// look takes the measures of one store that are not throughput.
func (g *benchGrowth) look(ctx context.Context, s *grown) (*load.Footprint, error) {
	f := &load.Footprint{System: s.name, Keys: s.keys, DataBytes: s.data, FillRate: s.filled,
		Resident: residentOf(s.servers)}
	var err error
	if f.DiskLoaded, err = s.disks(""); err != nil {
		return nil, err
	}
	begin := time.Now()
	if f.DiskSettled, err = s.settle(ctx, g.Settle); err != nil {
		return nil, err
	}
	f.SettleSeconds = time.Since(begin).Seconds()
	if f.LogSettled, err = s.disks("log"); err != nil {
		return nil, err
	}
	if f.IdleCores, err = s.idle(ctx, g.Idle); err != nil {
		return nil, err
	}
	one, err := s.restartFollower(ctx)
	if err != nil {
		return nil, err
	}
	all, err := s.restartAll(ctx)
	f.RestartOne, f.RestartAll = one.Seconds(), all.Seconds()
	return f, err
}

// disks is what the data of each node takes, or a part of it.
func (s *grown) disks(part string) ([]int64, error) {
	var all []int64
	for _, n := range s.cluster.Nodes {
		bytes, err := diskUse(filepath.Join(s.cluster.dataPath(n), part))
		if err != nil {
			return nil, err
		}
		all = append(all, bytes)
	}
	return all, nil
}

// How the end of compactions is noticed: for so long nothing has changed by more than a little.
const (
	settledFor   = 5 * time.Second
	settledShare = 0.01
)

// settle waits until the disk use stays as it is, or the time is over, and returns it.
func (s *grown) settle(ctx context.Context, limit time.Duration) ([]int64, error) {
	before, err := s.disks("")
	if err != nil {
		return nil, err
	}
	for waited := time.Duration(0); waited < limit; waited += settledFor {
		if err := sleep(ctx, min(settledFor, limit-waited)); err != nil {
			return nil, err
		}
		now, err := s.disks("")
		if err != nil || similar(before, now) {
			return now, err
		}
		before = now
	}
	return before, nil
}

func similar(before, now []int64) bool {
	for i := range now {
		if diff := float64(now[i] - before[i]); max(diff, -diff) > settledShare*float64(before[i]) {
			return false
		}
	}
	return true
}

// idle is the CPU of all nodes per time, while nobody asks them anything.
func (s *grown) idle(ctx context.Context, length time.Duration) (float64, error) {
	if length == 0 {
		return -1, nil
	}
	m := &meter{servers: s.servers}
	begin := time.Now()
	m.before = m.read()
	if err := sleep(ctx, length); err != nil {
		return 0, err
	}
	m.after = m.read()
	// As many "commands" as microseconds: what is left is microseconds of CPU per microsecond.
	cost := m.cost(time.Since(begin).Microseconds())
	if cost.ServerCPU == nil {
		return -1, nil
	}
	return *cost.ServerCPU, nil
}

// restartFollower kills a follower and tells how long it takes from its start until it has answered
// a linearizable read.
func (s *grown) restartFollower(ctx context.Context) (time.Duration, error) {
	leader, _, err := s.cluster.WaitLeader(ctx, 0)
	if err != nil {
		return 0, err
	}
	n := s.cluster.Nodes[0]
	if n == leader && len(s.cluster.Nodes) > 1 {
		n = s.cluster.Nodes[1]
	}
	if err := s.cluster.Kill(n); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := s.cluster.Start(n); err != nil {
		return 0, err
	}
	s.servers = serversOf(s.cluster)
	err = served(ctx, n, "GET", "key:000000000000")
	return time.Since(begin), err
}

// restartAll kills all nodes at once, as a power cut would, and tells how long it takes from their
// start until each of them has executed a write.
func (s *grown) restartAll(ctx context.Context) (time.Duration, error) {
	if err := s.cluster.KillAll(); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := s.cluster.StartAll(); err != nil {
		return 0, err
	}
	s.servers = serversOf(s.cluster)
	for _, n := range s.cluster.Nodes {
		if err := served(ctx, n, "SET", "restarted", n.Name); err != nil {
			return 0, err
		}
	}
	return time.Since(begin), nil
}

// restartLimit is how long a node may take to serve again.
const restartLimit = 2 * time.Minute

// served asks a node until it answers without an error.
func served(ctx context.Context, n *Node, command ...string) error {
	for begin := time.Now(); ; {
		err := askOnce(n.Addr(), command)
		if err == nil {
			return nil
		}
		if !n.Running() {
			return fmt.Errorf("%s has ended: %w", n.Name, err)
		}
		if time.Since(begin) > restartLimit {
			return fmt.Errorf("%s does not serve %s after its start: %w", n.Name, restartLimit, err)
		}
		if err := sleep(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
}

func askOnce(addr string, command []string) error {
	conn, err := client.Dial(addr, restartLimit)
	if err != nil {
		return err
	}
	defer conn.Close() // it was answered, or broke
	reply, err := conn.Do(command...)
	return errors.Join(err, reply.Err())
}

// writeGrowth compares each store with the first: throughput, and how far the tail of the latencies
// is from their middle. Then a line per store.
func writeGrowth(w io.Writer, lines []load.Line, footprints []load.Footprint) {
	if len(footprints) == 0 {
		return
	}
	first := footprints[0].System
	fmt.Fprintf(w, "\n%-24s %-12s %-24s %s\n", "WORKLOAD", "STORE", "THROUGHPUT TO "+first, "P99.9 : P50")
	for i := range lines {
		line := &lines[i]
		if line.System == first {
			continue
		}
		tail := line.Spread(func(r *load.Row) *float64 {
			if r.Latency.P50 == 0 {
				return nil
			}
			return ref(float64(r.Latency.P999) / float64(r.Latency.P50))
		})
		fmt.Fprintf(w, "%-24s %-12s %-24s %s\n", line.Workload, line.System, inverse(line.Ratio), tail)
	}
	writeFootprints(w, footprints)
}

// inverse is the ratio of this system to the first.
func inverse(r *load.Ratio) string {
	if r == nil {
		return "-"
	}
	return load.Spread{Median: 1 / r.Median, Min: 1 / r.Max, Max: 1 / r.Min, Count: r.Count}.String()
}

func writeFootprints(w io.Writer, footprints []load.Footprint) {
	fmt.Fprintf(w, "\n%-12s %9s %9s %9s %11s %11s %9s %7s %8s %9s %11s %11s\n", "STORE", "DATA",
		"FILL/S", "MEMORY", "DISK LOADED", "SETTLED", "ITS LOG", "x DATA", "AFTER", "IDLE CPU",
		"RESTART ONE", "RESTART ALL")
	for i := range footprints {
		f := &footprints[i]
		memory, loaded, settled := most(f.Resident), most(f.DiskLoaded), most(f.DiskSettled)
		log, idle := most(f.LogSettled), "-"
		if f.IdleCores >= 0 {
			idle = fmt.Sprintf("%.2f%%", 100*f.IdleCores)
		}
		fmt.Fprintf(w, "%-12s %9s %9.0f %9s %11s %11s %9s %7.2f %7.0fs %9s %10.2fs %10.2fs\n", f.System,
			size(&f.DataBytes), f.FillRate, size(&memory), size(&loaded), size(&settled), size(&log),
			float64(settled)/float64(f.DataBytes), f.SettleSeconds, idle, f.RestartOne, f.RestartAll)
	}
	fmt.Fprint(w, "MEMORY, DISK: of the node that takes the most; ITS LOG: what is kept for followers, "+
		"whatever the data; IDLE CPU: of all nodes, of one core; RESTART ONE: a killed follower until it "+
		"has answered a linearizable read; ALL: all nodes until each has executed a write.\n")
}

// most is the largest; -1 when one is not known.
func most(values []int64) int64 {
	largest := int64(-1)
	for _, v := range values {
		if v < 0 {
			return -1
		}
		largest = max(largest, v)
	}
	return largest
}
