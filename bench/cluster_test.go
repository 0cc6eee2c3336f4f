package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kelek/resp/client"
)

// The tests of this file and its neighbours start real processes of the real program. They are left
// out by -short. KELEK_TEST_FULL=1 makes the timed ones as long as the acceptance tests want.

var program struct {
	once sync.Once
	path string
	err  error
}

// binary builds the program once per test run.
func binary(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("real processes")
	}
	program.once.Do(func() {
		dir, err := os.MkdirTemp("", "kelek-test-")
		if err != nil {
			program.err = err
			return
		}
		program.path = filepath.Join(dir, "kelek")
		build := exec.Command("go", "build", "-o", program.path, "kelek")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			program.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if program.err != nil {
		t.Fatal(program.err)
	}
	return program.path
}

func TestMain(m *testing.M) {
	code := m.Run()
	if program.path != "" {
		os.RemoveAll(filepath.Dir(program.path)) // a temporary directory
	}
	os.Exit(code)
}

// full reports whether the long form of a test is wanted.
func full() bool { return os.Getenv("KELEK_TEST_FULL") != "" }

// times is how often something is done, usually and in full.
func times(usual, inFull int) int {
	if full() {
		return inFull
	}
	return usual
}

// startCluster starts n nodes and waits for a leader.
func startCluster(t *testing.T, n int, args ...string) *Cluster {
	t.Helper()
	c := planCluster(t, n, args...)
	startAll(t, c)
	return c
}

// planCluster is startCluster before its first node runs.
func planCluster(t *testing.T, n int, args ...string) *Cluster {
	t.Helper()
	c, err := NewCluster(t.TempDir(), binary(t), n)
	if err != nil {
		t.Fatal(err)
	}
	c.Args = args
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			for _, node := range c.Nodes {
				showLog(t, c.logPath(node))
			}
		}
	})
	return c
}

// startAll returns when a node leads.
func startAll(t *testing.T, c *Cluster) {
	t.Helper()
	if err := c.StartAll(); err != nil {
		t.Fatal(err)
	}
	leaderOf(t, c, 0)
}

// showLog prints the end of a node's log.
func showLog(t *testing.T, path string) {
	const tailBytes = 3000
	text, err := os.ReadFile(path)
	if err != nil {
		t.Log(err)
		return
	}
	t.Logf("end of %s:\n%s", path, text[max(len(text)-tailBytes, 0):])
}

// leaderOf waits for a leader of a term above the given one.
func leaderOf(t *testing.T, c *Cluster, above uint64) (*Node, *client.NodeInfo) {
	t.Helper()
	leader, info, err := c.WaitLeader(context.Background(), above)
	if err != nil {
		t.Fatal(err)
	}
	return leader, info
}

func dial(t *testing.T, addr string) *client.Conn {
	t.Helper()
	conn, err := client.Dial(addr, commandTimeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// do fails the test unless the reply is an answer.
func do(t *testing.T, conn *client.Conn, args ...string) client.Reply {
	t.Helper()
	reply, err := conn.Do(args...)
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		t.Fatalf("%v on %s: %v", args, conn.Addr(), err)
	}
	return reply
}

// restart starts a node and waits until it has executed what is committed.
func restart(t *testing.T, c *Cluster, n *Node) {
	t.Helper()
	if err := c.Start(n); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		_, leader := c.Leader()
		if info := c.Infos()[n.Name]; info != nil && leader != nil && info.Applied >= leader.Commit {
			return
		}
		if err := c.giveUp(n, begin); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAWriteIsReadAtOnceOnEveryNode(t *testing.T) {
	c := startCluster(t, 3)
	var conns []*client.Conn
	for _, n := range c.Nodes {
		conns = append(conns, dial(t, n.Addr()))
	}
	for round := range 1000 {
		value := fmt.Sprint("v", round)
		do(t, conns[round%3], "SET", "k", value)
		for _, other := range []int{1, 2} {
			conn := conns[(round+other)%3]
			if reply := do(t, conn, "GET", "k"); reply.Text != value {
				t.Fatalf("round %d: GET on %s is %q, want %q", round, conn.Addr(), reply.Text, value)
			}
		}
	}
}

// incrementer is one client that counts.
type incrementer struct {
	acknowledged, unknown int64
	failures              []string
}

// run increments one key until stop. faults is raised before and after the test kills its node.
func (i *incrementer) run(addr string, faults *atomic.Int64, stop <-chan struct{}) {
	var conn *client.Conn
	var made int64 // faults when conn was made
	for {
		select {
		case <-stop:
			return
		default:
		}
		if conn == nil || conn.Err() != nil {
			made = faults.Load()
			fresh, err := client.Dial(addr, commandTimeout)
			if err != nil {
				if made == 0 {
					i.failures = append(i.failures, err.Error())
				}
				time.Sleep(reconnectPause)
				continue
			}
			conn = fresh
			defer conn.Close()
		}
		i.once(conn, func() bool { return made%2 == 0 && faults.Load() == made })
	}
}

// once sends one command. alive is asked when it has failed.
func (i *incrementer) once(conn *client.Conn, alive func() bool) {
	reply, err := conn.Do("INCR", "n")
	switch {
	case err != nil:
		i.unknown++
		if alive() {
			i.failures = append(i.failures, err.Error())
		}
	case reply.Err() != nil:
		i.failures = append(i.failures, reply.Text)
	default:
		i.acknowledged++
	}
}

// Twenty clients count through all nodes while the leader is killed again and again.
func TestCountingWhileLeadersDie(t *testing.T) {
	const clients, leaderKills = 20, 5
	c := startCluster(t, 3)
	faults := make([]atomic.Int64, 3)
	counters := make([]incrementer, clients)
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range counters {
		all.Add(1)
		go func() {
			defer all.Done()
			counters[i].run(c.Nodes[i%3].Addr(), &faults[i%3], stop)
		}()
	}
	for range leaderKills {
		time.Sleep(300 * time.Millisecond)
		leader, info := leaderOf(t, c, 0)
		at := slices.Index(c.Nodes, leader)
		faults[at].Add(1)
		if err := c.Kill(leader); err != nil {
			t.Fatal(err)
		}
		faults[at].Add(1)
		leaderOf(t, c, info.Term)
		time.Sleep(300 * time.Millisecond)
		restart(t, c, leader)
	}
	close(stop)
	all.Wait()
	var acknowledged, unknown int64
	for i := range counters {
		acknowledged += counters[i].acknowledged
		unknown += counters[i].unknown
		for _, failure := range counters[i].failures {
			t.Errorf("client of %s: %s", c.Nodes[i%3].Name, failure)
		}
	}
	if acknowledged == 0 || unknown > clients*leaderKills {
		t.Errorf("%d acknowledged, %d unknown", acknowledged, unknown)
	}
	for _, n := range c.Nodes {
		reply := do(t, dial(t, n.Addr()), "GET", "n")
		value, err := reply.Int64()
		if err != nil || value < acknowledged || value > acknowledged+unknown {
			t.Errorf("%s has %d; want %d to %d", n.Name, value, acknowledged, acknowledged+unknown)
		}
	}
	t.Logf("%d acknowledged, %d unknown", acknowledged, unknown)
}

// The whole cluster loses power, again and again, under load.
func TestNothingIsLostWhenAllAreKilled(t *testing.T) {
	c := startCluster(t, 3)
	load := &Workload{Prefix: "t", Groups: 4, Seed: 7}
	load.Start(context.Background(), c.Addrs())
	for range times(3, 5) {
		waitWrites(t, load, 300)
		_, before := leaderOf(t, c, 0)
		if err := load.Expect(c.KillAll, 0, 1, 2); err != nil {
			t.Fatal(err)
		}
		if err := c.StartAll(); err != nil {
			t.Fatal(err)
		}
		leaderOf(t, c, before.Term)
	}
	waitWrites(t, load, 300)
	judgeLoad(t, load)
}

// waitWrites waits for some more acknowledged writes.
func waitWrites(t *testing.T, load *Workload, more int64) {
	t.Helper()
	want, begin := load.Acknowledged()+more, time.Now()
	for load.Acknowledged() < want {
		if time.Since(begin) > startLimit {
			t.Fatalf("fewer than %d writes within %s", more, startLimit)
		}
		time.Sleep(time.Millisecond)
	}
}

func judgeLoad(t *testing.T, load *Workload) {
	t.Helper()
	load.Stop()
	v, err := load.Judge(checkLimit)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d commands, %d unknown, p50 %s, p99 %s, %.0f ops/s", v.Commands, v.Unknown, v.P50,
		v.P99, v.PerSecond)
	if !v.Pass() {
		t.Errorf("history %s, lost %v, counters %v, nodes differ %v, %d failures %v", &v.History,
			v.Lost, v.Counters, v.Disagreement, v.Failures, v.Texts)
	}
}

// A stop in order hands over: clients of other nodes notice next to nothing.
func TestStoppingTheLeaderInOrder(t *testing.T) {
	c := startCluster(t, 3)
	load := &Workload{Prefix: "t", Groups: 2, Seed: 3}
	load.Start(context.Background(), c.Addrs())
	waitWrites(t, load, 200)
	leader, info := leaderOf(t, c, 0)
	load.stalls.restart()
	stop := func() error { return c.Stop(leader) } // its clients are turned away
	if err := load.Expect(stop, slices.Index(c.Nodes, leader)); err != nil {
		t.Fatal(err)
	}
	next, after := leaderOf(t, c, info.Term)
	waitWrites(t, load, 200)
	stalled, _ := load.stalls.restart()
	t.Logf("%s handed over to %s in term %d; writes stalled %s", leader.Name, next.Name, after.Term,
		stalled)
	restart(t, c, leader)
	judgeLoad(t, load)
}

// How long it takes from kill -9 of the leader, and from when it falls silent, to the next acknowledged
// write on a connection to a survivor that was open before. Figures, no assertion.
func TestFailoverTime(t *testing.T) {
	c := startCluster(t, 3)
	var term uint64 // of the last one that was hit
	median := func(what string, fault func(leader *Node), repair func(leader *Node)) {
		var took []time.Duration
		for range times(3, 9) {
			leader, info := leaderOf(t, c, term)
			term = info.Term
			survivor := c.Nodes[(slices.Index(c.Nodes, leader)+1)%3]
			conn := dial(t, survivor.Addr())
			do(t, conn, "SET", "before", "1")
			begin := time.Now()
			fault(leader)
			do(t, conn, "SET", "after", "1")
			took = append(took, time.Since(begin).Round(time.Millisecond))
			repair(leader)
		}
		slices.Sort(took)
		t.Logf("%s to the next acknowledged write: median %s of %v", what, took[len(took)/2], took)
	}
	median("kill -9 of the leader", func(leader *Node) {
		if err := leader.Process.signal(sigKill); err != nil {
			t.Fatal(err)
		}
	}, func(leader *Node) {
		if !leader.Process.waitGone(killTimeout) {
			t.Fatalf("%s survived SIGKILL", leader.Name)
		}
		restart(t, c, leader)
	})
	if !full() {
		return
	}
	median("silence of the leader, whose election time-out is 500 ms,", func(leader *Node) {
		if err := c.Pause(leader); err != nil {
			t.Fatal(err)
		}
	}, func(leader *Node) {
		if err := c.Resume(leader); err != nil {
			t.Fatal(err)
		}
		do(t, dial(t, leader.Addr()), "SET", "awake", "1")
	})
}
