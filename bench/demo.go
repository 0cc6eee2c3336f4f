package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"kelek/bench/mesh"
)

// Demo is `kelek demo`: three real nodes, load, faults, and a verdict.
type Demo struct {
	Out     io.Writer
	Version string
	Keep    bool // leave the cluster running
	Seed    uint64

	cluster *Cluster
	load    *Workload
	begin   time.Time
	stalls  [3]time.Duration // of writes: leader killed; all killed; leader cut off
	noCut   error            // why no partition is shown; nil: one is
}

// The plan. Everything else takes as long as it takes.
const (
	demoNodes     = 3
	calm          = 3 * time.Second // before the first fault
	withoutLeader = 2 * time.Second // how long the killed leader stays away
	betweenFaults = 1500 * time.Millisecond
	cutOffFor     = 2 * time.Second
	settle        = 200 * time.Millisecond // so that a stall has ended before it is read
	stallTarget   = time.Second
)

// Run returns whether the demo passed; an error means that it could not be carried out.
func (d *Demo) Run(ctx context.Context) (passed bool, err error) {
	d.begin = time.Now()
	dir, err := d.prepare()
	if err != nil {
		return false, err
	}
	defer func() {
		err = errors.Join(err, d.cleanUp(dir, passed, ctx.Err() != nil))
	}()
	if err := d.play(ctx); err != nil {
		return false, err
	}
	verdict, err := d.load.Judge(checkLimit)
	if err != nil {
		return false, err
	}
	d.tell(verdict)
	return verdict.Pass(), nil
}

func (d *Demo) prepare() (string, error) {
	dir := fmt.Sprintf("./kelek-demo-%04x", rand.N(1<<16))
	fmt.Fprintf(d.Out, "kelek %s  %s  %s/%s%sdata: %s%s\n", d.Version, runtime.Version(),
		runtime.GOOS, runtime.GOARCH, strings.Repeat(" ", 24), dir,
		map[bool]string{false: " (removed on exit)"}[d.Keep])
	local := Local{Dir: dir, Out: d.Out}
	binary, err := os.Executable()
	if d.Keep && err == nil {
		binary, err = local.binary()
	}
	if err != nil {
		return dir, err
	}
	if d.cluster, err = NewCluster(dir, binary, demoNodes); err != nil {
		return dir, err
	}
	// What stays behind must not need a forwarder in this process.
	if d.noCut = mesh.Supported(); d.Keep {
		d.noCut = errors.New("the nodes stay, and the forwarders between them would not")
	}
	if d.noCut == nil {
		err = d.cluster.UseForwarders()
	}
	return dir, err
}

// play carries out the plan.
func (d *Demo) play(ctx context.Context) error {
	if err := d.form(ctx); err != nil {
		return err
	}
	d.load = &Workload{Prefix: "demo", Seed: d.Seed}
	d.load.Start(ctx, d.cluster.Addrs())
	defer d.load.Stop()
	d.event("load", "%d clients on all nodes: SET GET INCR APPEND DEL, NX, PX, WATCH-MULTI; "+
		"linearizable reads", d.load.Clients())
	if err := sleep(ctx, calm); err != nil {
		return err
	}
	for _, act := range []func(context.Context) error{d.killLeader, d.killAll, d.isolateLeader,
		d.wipeDisk, d.grow} {
		if err := act(ctx); err != nil {
			return err
		}
		if err := sleep(ctx, betweenFaults); err != nil {
			return err
		}
	}
	return nil
}

func (d *Demo) event(kind, format string, args ...any) {
	fmt.Fprintf(d.Out, "[%04.1fs] %-7s %s\n", time.Since(d.begin).Seconds(), kind,
		fmt.Sprintf(format, args...))
}

func (d *Demo) form(ctx context.Context) error {
	c := d.cluster
	d.event("start", "%-20s resp 127.0.0.1:%d-%d   status http://%s", c.names(), c.Nodes[0].Port,
		c.Nodes[len(c.Nodes)-1].Port, c.Nodes[0].HTTPAddr())
	if err := c.StartAll(); err != nil {
		return err
	}
	leader, info, err := c.WaitLeader(ctx, 0)
	if err != nil {
		return err
	}
	id := info.ClusterID
	d.event("formed", "%-20s leader %s   term %d", "cluster "+id[:4]+"-"+id[4:8], leader.Name,
		info.Term)
	return nil
}

// tell prints the verdict.
func (d *Demo) tell(v *Verdict) {
	counters := "exact"
	if len(v.Counters) > 0 {
		counters = fmt.Sprintf("WRONG %d", len(v.Counters))
	}
	d.event("check", "%d ops   acked writes lost %d   counters %s   linearizable %s (%d keys)",
		v.Commands, len(v.Lost), counters, &v.History, v.History.keys)
	d.event("", "longest stall %d ms (leader killed), %d ms (cut off), %d ms (all killed)   errors on "+
		"living nodes %d", d.stalls[0].Milliseconds(), d.stalls[2].Milliseconds(),
		d.stalls[1].Milliseconds(), v.Failures)
	d.event("", "nodes agree %s   unknown outcomes %d (commands in flight on a killed node)",
		map[bool]string{true: "yes", false: "NO"}[len(v.Disagreement) == 0], v.Unknown)
	v.Write(d.Out)
	word := "PASS"
	if !v.Pass() {
		word = "FAIL"
	}
	fmt.Fprintf(d.Out, "%s  p50 %s  p99 %s  %.0f ops/s", word, milliseconds(v.P50),
		milliseconds(v.P99), v.PerSecond)
	if v.Pass() && !d.Keep {
		fmt.Fprintf(d.Out, "%stry:  go run . local up 3", strings.Repeat(" ", 12))
	}
	fmt.Fprintln(d.Out)
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// cleanUp ends the nodes and removes what they wrote, unless the user wants the cluster, or the
// data is needed to find out what went wrong.
func (d *Demo) cleanUp(dir string, passed, interrupted bool) error {
	if d.cluster == nil {
		return os.RemoveAll(dir) // nothing but a copy of the program can be in it
	}
	if d.Keep && !interrupted {
		d.tellKept(dir)
		return nil
	}
	if err := d.cluster.Close(); err != nil {
		return err
	}
	if !passed && !interrupted {
		fmt.Fprintf(d.Out, "logs and data are kept in %s\n", filepath.Clean(dir))
		return nil
	}
	return d.cluster.remove()
}

func (d *Demo) tellKept(dir string) {
	first := d.cluster.Nodes[0]
	fmt.Fprintf(d.Out, `the cluster is still running:
  redis-cli -p %d                              any node takes any command
  kelek cli --nodes %s         a prompt that tries every node
  kelek local --dir %s kill leader   break it again (status, start, pause ...)
  kelek local --dir %s down --wipe   stop and delete it
`, first.Port, strings.Join(d.cluster.Addrs(), ","), dir, dir)
}
