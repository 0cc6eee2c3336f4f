package bench

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// waitingNode starts one more node that knows nobody who answers: it has to be added.
func waitingNode(t *testing.T, c *Cluster) *Node {
	t.Helper()
	n, err := c.Add()
	if err != nil {
		t.Fatal(err)
	}
	args := c.arguments(n)
	at := slices.Index(args, "--peers")
	args[at], args[at+1] = "--join", "127.0.0.1:1"
	if n.Process, err = spawn(c.Binary, args, c.Env, c.logPath(n)); err != nil {
		t.Fatal(err)
	}
	return n
}

// administer runs `kelek member` until it succeeds: what is refused may be possible a moment later,
// when a learner has caught up.
func administer(t *testing.T, addr, args string) {
	t.Helper()
	line := append([]string{"member"}, append(strings.Fields(args), "--nodes", addr)...)
	for begin := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		code, stdout, stderr := runKelek(t, line...)
		switch {
		case code == 0:
			t.Logf("kelek member %s: %s", args, strings.TrimSpace(stdout))
			return
		case time.Since(begin) > memberLimit:
			t.Fatalf("kelek member %s: exit code %d for %s: %s", args, code, memberLimit, stderr)
		}
	}
}

// endsRemoved waits until a removed node has ended as such, and takes it out of the plan.
func endsRemoved(t *testing.T, c *Cluster, n *Node) {
	t.Helper()
	code, err := n.Process.exitCode(memberLimit)
	if err != nil || code != exitRemoved {
		t.Fatalf("%s ended with %d (%v), want %d", n.Name, code, err, exitRemoved)
	}
	if err := c.Forget(n); err != nil {
		t.Fatal(err)
	}
}

// A person with a shell adds a node, removes one and replaces one.
func TestMembersByTheCommandLine(t *testing.T) {
	if !full() {
		t.Skip("KELEK_TEST_FULL=1: waits for two new voters")
	}
	c := startCluster(t, 3)
	leader, _ := leaderOf(t, c, 0)
	var others []*Node
	for _, n := range c.Nodes {
		if n != leader {
			others = append(others, n)
		}
	}
	addr := leader.Addr()
	n4 := waitingNode(t, c)
	administer(t, addr, "add "+n4.PeerAddr()+" --name "+n4.Name)
	awaitVoters(t, c)
	administer(t, addr, "remove "+others[0].Name)
	endsRemoved(t, c, others[0])
	n5 := waitingNode(t, c)
	administer(t, addr, "add "+n5.PeerAddr()+" --learner")
	administer(t, addr, "replace "+others[1].Name+" --with "+n5.Name)
	endsRemoved(t, c, others[1])
	awaitVoters(t, c)
	do(t, dial(t, n5.Addr()), "SET", "k", "v")
}

// Real nodes whose reads trust a lease, while their leaders are killed and paused.
func TestLeaseReadsStayLinearizable(t *testing.T) {
	if !full() {
		t.Skip("KELEK_TEST_FULL=1: some seconds of faults")
	}
	c := startCluster(t, 3, "--read", "lease")
	load := &Workload{Prefix: "t", Groups: 2, Seed: 16, Think: time.Millisecond, Patient: true}
	load.Start(context.Background(), c.Addrs())
	for round := range 4 {
		waitWrites(t, load, 200)
		leader, _ := leaderOf(t, c, 0)
		at := slices.Index(c.Nodes, leader)
		var err error
		if round%2 == 0 {
			err = load.Expect(func() error { return c.Kill(leader) }, at)
			waitWrites(t, load, 100)
			err = errors.Join(err, c.Start(leader))
		} else {
			err = c.Pause(leader)
			waitWrites(t, load, 100) // of the next leader
			load.Visit(at)           // they read from one that wakes up with an old lease
			err = errors.Join(err, c.Resume(leader))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	waitWrites(t, load, 200)
	judgeLoad(t, load)
}

// The limit of the command line holds for what a follower fetches. A slow machine takes longer.
func TestSnapshotRateOfTheCommandLine(t *testing.T) {
	if !full() {
		t.Skip("KELEK_TEST_FULL=1: waits for a slow snapshot")
	}
	const bytes, rate = 8 << 20, 4 << 20
	c := startCluster(t, 3, "--log-keep-bytes", "1mb", "--snapshot-rate", "4mb")
	leader, _ := leaderOf(t, c, 0)
	away := c.Nodes[(slices.Index(c.Nodes, leader)+1)%3]
	if err := c.Kill(away); err != nil {
		t.Fatal(err)
	}
	held := indexOf(t, leader, "raft_current_index")
	for indexOf(t, leader, "raft_snapshot_last_idx") <= held {
		fill(t, leader.Addr(), bytes)
	}
	begin := time.Now()
	if err := c.Start(away); err != nil {
		t.Fatal(err)
	}
	awaitSnapshot(t, c, away)
	if took, least := time.Since(begin), time.Second*bytes/rate*3/4; took < least {
		t.Errorf("%d bytes that do not compress came in %s, with a limit of %d bytes/s", bytes, took, rate)
	}
}
