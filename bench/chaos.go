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
	"time"

	"kelek/bench/mesh"
)

// Chaos is `kelek chaos`: real nodes under load and under faults, and a verdict.
type Chaos struct {
	Out     io.Writer
	Version string
	Nodes   int
	For     time.Duration // of the load with faults; forming and judging come on top
	Seed    uint64
	Faults  []string // kinds; empty: all that can be done here
	Network string   // between the nodes, one of the Networks; empty: forwarders
	Keep    bool     // logs and data, also after a pass
	Dir     string   // below which the directory is made; empty: the working directory
	Binary  string   // of the nodes; empty: this program
	Env     []string // of the nodes

	cluster *Cluster
	load    *Workload
	storm   *storm
	begin   time.Time
	left    error // why some faults of the network are left out, if they are
}

// Shape of a run. The load is light: faults and checks need the processors, too.
const (
	chaosGroups  = 2
	chaosThink   = 4 * time.Millisecond
	chaosRequest = 3 * time.Second // --request-timeout: cut off nodes give up before the fault is over
	chaosCheck   = 60 * time.Second
	chaosLogKeep = 1 << 20                // who is away for long gets a snapshot
	calmMax      = 700 * time.Millisecond // between two faults
	visits       = 2                      // of new clients, early in a fault
	visitGap     = 250 * time.Millisecond // at most, before each of them
	gapMax       = time.Second            // between a fault and a second one
	recoverMax   = 30 * time.Second       // to writes on every node once everything is repaired
)

// finding is a failure of the nodes, not of the run.
type finding struct{ text string }

func (f *finding) Error() string { return f.text }

// Run returns whether the nodes passed; an error means that the run could not be carried out.
func (c *Chaos) Run(ctx context.Context) (passed bool, err error) {
	c.begin = time.Now()
	dir, err := c.prepare()
	if err != nil {
		return false, err
	}
	defer func() {
		err = errors.Join(err, c.cleanUp(dir, passed, ctx.Err() != nil))
	}()
	var found *finding
	if err := c.play(ctx); err != nil && !errors.As(err, &found) {
		return false, err
	}
	verdict, err := c.judge(found)
	if err != nil {
		return false, err
	}
	c.tell(verdict, found)
	return found == nil && verdict.Pass(), nil
}

func (c *Chaos) prepare() (dir string, err error) {
	if c.Binary == "" {
		if c.Binary, err = os.Executable(); err != nil {
			return "", err
		}
	}
	dir = filepath.Join(c.Dir, fmt.Sprintf("kelek-chaos-%04x", rand.N(1<<16)))
	if c.cluster, err = NewCluster(dir, c.Binary, c.Nodes); err != nil {
		return dir, err
	}
	c.cluster.Env = c.Env
	c.cluster.Args = []string{"--request-timeout", chaosRequest.String(),
		"--log-keep-bytes", fmt.Sprint(chaosLogKeep)}
	fmt.Fprintf(c.Out, "kelek %s  %s  %s/%s   seed %d   data: %s\n", c.Version, runtime.Version(),
		runtime.GOOS, runtime.GOARCH, c.Seed, dir)
	kinds, err := c.kinds()
	if err != nil {
		return dir, errors.Join(err, c.cluster.Close(), c.cluster.remove())
	}
	c.load = &Workload{Prefix: "chaos", Groups: chaosGroups, Seed: c.Seed, Think: chaosThink,
		Patient: true, Ballast: true, Connect: c.cluster.connect()}
	c.storm = &storm{cluster: c.cluster, load: c.load, kinds: kinds, size: c.Nodes,
		random: rand.New(rand.NewPCG(c.Seed, 1)), homes: map[string][]int{}}
	for i, n := range c.cluster.Nodes {
		c.storm.homes[n.Name] = []int{i}
	}
	return dir, nil
}

// kinds are the faults that are wanted and can be done here.
func (c *Chaos) kinds() ([]string, error) {
	kinds := c.Faults
	for _, kind := range kinds {
		if !slices.Contains(FaultKinds, kind) {
			return nil, fmt.Errorf("there is no fault %q, only %s", kind, strings.Join(FaultKinds, ", "))
		}
	}
	if len(kinds) == 0 {
		kinds = FaultKinds
	}
	impossible, err := c.connect()
	kinds = slices.DeleteFunc(slices.Clone(kinds), func(kind string) bool {
		return slices.Contains(impossible, kind)
	})
	if err == nil && len(kinds) == 0 {
		err = fmt.Errorf("no fault is left: partitions or resets are not possible: %w", c.left)
	}
	return kinds, err
}

// connect makes the network between the nodes, and says what it is not able to do. The one that was
// not asked for may be impossible.
func (c *Chaos) connect() (impossible []string, err error) {
	wanted := cmp.Or(c.Network, NetworkForwarders)
	switch {
	case wanted != NetworkForwarders && wanted != NetworkNamespaces:
		return nil, fmt.Errorf("there is no network %q, only %s and %s", wanted, NetworkForwarders,
			NetworkNamespaces)
	case c.Nodes < 2:
		c.left = errors.New("one node has no network")
	case wanted == NetworkNamespaces:
		if err := c.cluster.UseNamespaces(); err != nil {
			return nil, fmt.Errorf("--network %s: %w; the default, --network %s, needs none of it",
				NetworkNamespaces, err, NetworkForwarders)
		}
		if c.left = c.cluster.network.noResets(); c.left != nil {
			return []string{faultReset}, nil
		}
		return nil, nil
	default:
		if c.left = mesh.Supported(); c.left == nil {
			return nil, c.cluster.UseForwarders()
		}
	}
	return []string{faultPartition, faultReset}, nil
}

// describe says what the network is, and what is left out.
func (c *Chaos) describe() string {
	switch {
	case c.cluster.network == nil:
		return "no partitions: " + c.left.Error()
	case c.left != nil:
		return "packets between namespaces, dropped by iptables; no resets: " + c.left.Error()
	case c.Network == NetworkNamespaces:
		return "packets between namespaces, dropped by iptables"
	}
	return "a forwarder per link, in this process"
}

func (c *Chaos) event(kind, format string, args ...any) {
	fmt.Fprintf(c.Out, "[%05.1fs] %-7s %s\n", time.Since(c.begin).Seconds(), kind,
		fmt.Sprintf(format, args...))
}

// play forms the cluster, and lets faults rain until the time is over.
func (c *Chaos) play(ctx context.Context) error {
	if err := c.form(ctx); err != nil {
		return err
	}
	end := time.Now().Add(c.For)
	c.storm.ctx = ctx
	c.load.Start(ctx, c.cluster.Addrs())
	defer c.load.Stop()
	c.event("load", "%d clients on all nodes: registers, counters, texts, locks, deadlines, "+
		"MULTI, WATCH; linearizable reads", c.load.Clients())
	for time.Now().Before(end) {
		if err := sleep(ctx, c.storm.upTo(calmMax)); err != nil {
			return err
		}
		if err := c.round(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *Chaos) form(ctx context.Context) error {
	c.event("start", "%s   faults: %s   network: %s", c.cluster.names(),
		strings.Join(c.storm.kinds, " "), c.describe())
	if err := c.cluster.StartAll(); err != nil {
		return err
	}
	leader, info, err := c.cluster.WaitLeader(ctx, 0)
	if err != nil {
		return err
	}
	c.event("formed", "cluster %s-%s   leader %s   term %d", info.ClusterID[:4], info.ClusterID[4:8],
		leader.Name, info.Term)
	return nil
}

// round is one fault, or two at once, and the recovery.
func (c *Chaos) round(ctx context.Context) error {
	c.load.stalls.restart()
	leader, _ := c.cluster.Leader()
	strikes := []*strike{c.storm.draw(c.storm.kinds)}
	if err := c.strike(strikes[0]); err != nil {
		return err
	}
	if err := c.finish(strikes[0]); err != nil {
		return err
	}
	if err := c.visit(ctx, leader); err != nil {
		return err
	}
	if more := c.storm.second(strikes[0].kind); len(more) > 0 && c.storm.random.IntN(3) == 0 {
		if err := sleep(ctx, c.storm.upTo(gapMax)); err != nil {
			return err
		}
		strikes = append(strikes, c.storm.draw(more))
		if err := c.strike(strikes[1]); err != nil {
			return err
		}
	}
	if c.storm.random.IntN(2) == 0 {
		slices.Reverse(strikes)
	}
	if err := c.repair(ctx, strikes); err != nil {
		return err
	}
	return c.recover(ctx)
}

// repair ends what was broken, one after the other, and then waits for what that has set going.
func (c *Chaos) repair(ctx context.Context, strikes []*strike) error {
	for _, s := range strikes {
		if s.end == nil {
			continue
		}
		if err := sleep(ctx, c.storm.hold()/time.Duration(len(strikes))); err != nil {
			return err
		}
		if err := c.found(s.end()); err != nil {
			return err
		}
	}
	for _, s := range strikes {
		if err := c.finish(s); err != nil {
			return err
		}
	}
	return nil
}

// visit sends new clients to the node that led before the fault, and to another one, while they may
// still believe what is no longer true. The clients that were there hang at their first write.
func (c *Chaos) visit(ctx context.Context, leader *Node) error {
	for range visits {
		if err := sleep(ctx, c.storm.upTo(visitGap)); err != nil {
			return err
		}
		one := c.cluster.Nodes[c.storm.random.IntN(len(c.cluster.Nodes))]
		for _, place := range c.storm.places([]*Node{cmp.Or(leader, one), one}) {
			c.load.Visit(place)
		}
	}
	return nil
}

func (c *Chaos) strike(s *strike) error {
	c.event("fault", "%s", s.what)
	return c.found(s.begin())
}

// finish waits, once, for what a strike has set going. Nothing else is broken.
func (c *Chaos) finish(s *strike) error {
	if s.after == nil {
		return nil
	}
	after := s.after
	s.after = nil
	return c.found(after())
}

// found turns the failure of an act into a finding if it is a node that has ended by itself.
func (c *Chaos) found(err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(c.crashed(), err)
}

// crashed is a finding if a node that should run does not.
func (c *Chaos) crashed() error {
	for _, n := range c.cluster.Nodes {
		if n.Running() {
			continue
		}
		code, err := n.Process.exitCode(killTimeout)
		if err != nil {
			return err
		}
		return &finding{fmt.Sprintf("%s has ended by itself, exit code %d: %s", n.Name, code,
			lastLine(c.cluster.logPath(n)))}
	}
	return nil
}

// recover waits until every node acknowledges a write and is a voter; everything is repaired.
func (c *Chaos) recover(ctx context.Context) error {
	begin := time.Now()
	for _, n := range c.cluster.Nodes {
		for {
			err := c.probe(n)
			if err == nil {
				break
			}
			if err := c.crashed(); err != nil {
				return err
			}
			if time.Since(begin) > recoverMax {
				return &finding{fmt.Sprintf("%s acknowledges no write %s after everything was "+
					"repaired: %v", n.Name, recoverMax, err)}
			}
			if err := sleep(ctx, reconnectPause); err != nil {
				return err
			}
		}
	}
	if err := c.crashed(); err != nil {
		return err
	}
	writing := time.Since(begin)
	if err := c.cluster.waitVoters(ctx, memberLimit); err != nil {
		return errors.Join(c.crashed(), ctx.Err(), &finding{err.Error()})
	}
	leader, info := c.cluster.Leader()
	if leader == nil {
		return nil // lost again, which the next round will see
	}
	stall, _ := c.load.stalls.restart()
	c.event("healed", "leader %s   term %d   all nodes write after %d ms   longest stall %d ms%s",
		leader.Name, info.Term, writing.Milliseconds(), stall.Milliseconds(), c.voters(begin, writing))
	return nil
}

// voters tells of a change of the members that took longer than the writes.
func (c *Chaos) voters(begin time.Time, writing time.Duration) string {
	const noticed = 200 * time.Millisecond
	took := time.Since(begin)
	if took < writing+noticed {
		return ""
	}
	return fmt.Sprintf("   voters %s after %.1f s", c.cluster.names(), took.Seconds())
}

// probe writes a key that nobody judges.
func (c *Chaos) probe(n *Node) error {
	conn, err := c.cluster.dialer(2 * chaosRequest).DialTo(n.Addr())
	if err != nil {
		return err
	}
	defer conn.Close() // one command only
	reply, err := conn.Do("SET", "chaos:probe", n.Name)
	if err != nil {
		return err
	}
	return reply.Err()
}

// judge looks at what the clients saw, and at what is there now unless the nodes are too sick.
func (c *Chaos) judge(found *finding) (*Verdict, error) {
	if found != nil {
		return c.load.JudgeRecords(chaosCheck), nil
	}
	c.event("check", "reading %d clients' keys back through every node", c.load.Clients())
	return c.load.Judge(chaosCheck)
}

func (c *Chaos) tell(v *Verdict, found *finding) {
	c.event("check", "%d commands   acked writes lost %d   counters wrong %d   linearizable %s (%d keys)",
		v.Commands, len(v.Lost), len(v.Counters), &v.History, v.History.keys)
	c.event("", "nodes differ %d   unknown outcomes %d   refused %d   errors on healthy connections %d",
		len(v.Disagreement), v.Unknown, v.Refused, v.Failures)
	v.Write(c.Out)
	word := "PASS"
	if found != nil || !v.Pass() {
		word = "FAIL"
	}
	if found != nil {
		fmt.Fprintf(c.Out, "        %s\n", found)
	}
	fmt.Fprintf(c.Out, "%s  seed %d  p50 %s  p99 %s  %.0f commands/s\n", word, c.Seed,
		milliseconds(v.P50), milliseconds(v.P99), v.PerSecond)
}

// cleanUp ends the nodes and removes what they wrote, unless somebody may want to look at it.
func (c *Chaos) cleanUp(dir string, passed, interrupted bool) error {
	if err := c.cluster.Close(); err != nil {
		return err
	}
	if c.Keep || !passed && !interrupted {
		fmt.Fprintf(c.Out, "logs and data are kept in %s\n", dir)
		return nil
	}
	return c.cluster.remove()
}
