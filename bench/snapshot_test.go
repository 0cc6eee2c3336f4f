package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"kelek/resp/client"
)

// gauge writes one small key after the other and keeps what each took, until it is asked.
type gauge struct {
	stop chan struct{}
	done sync.WaitGroup

	guard sync.Mutex
	took  []int64
	err   error
}

func newGauge(t *testing.T, addr string) *gauge {
	t.Helper()
	g := &gauge{stop: make(chan struct{})}
	conn := dial(t, addr)
	g.done.Add(1)
	go func() {
		defer g.done.Done()
		for i := 0; ; i++ {
			select {
			case <-g.stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			begin := time.Now()
			reply, err := conn.Do("SET", "gauge", fmt.Sprint(i))
			if err == nil {
				err = reply.Err()
			}
			g.guard.Lock()
			g.took = append(g.took, int64(time.Since(begin)))
			if err != nil && g.err == nil {
				g.err = err
			}
			g.guard.Unlock()
		}
	}()
	return g
}

// phase returns the 99th percentile since the last call, and of how many writes.
func (g *gauge) phase() (time.Duration, int) {
	g.guard.Lock()
	defer g.guard.Unlock()
	slices.Sort(g.took)
	p99, n := percentile(g.took, 0.99), len(g.took)
	g.took = nil
	return p99, n
}

const valueBytes = 16 << 10

// fill writes values of 16 KiB through some connections, and returns how long it took.
func fill(t *testing.T, addr string, bytes int) time.Duration {
	t.Helper()
	const writers = 4
	begin := time.Now()
	var all sync.WaitGroup
	failures := make(chan error, writers)
	for w := range writers {
		all.Add(1)
		go func() {
			defer all.Done()
			conn, err := client.Dial(addr, commandTimeout)
			if err != nil {
				failures <- err
				return
			}
			defer conn.Close() // every reply was read
			random := rand.NewChaCha8([32]byte{byte(w)})
			value := make([]byte, valueBytes)
			for i := w; i < bytes/valueBytes && err == nil; i += writers {
				var reply client.Reply
				random.Read(value) // it never fails
				if reply, err = conn.Do("SET", fmt.Sprint("fill:", i), string(value)); err == nil {
					err = reply.Err()
				}
			}
			if err != nil {
				failures <- err
			}
		}()
	}
	all.Wait()
	select {
	case err := <-failures:
		t.Fatal(err)
	default:
	}
	return time.Since(begin)
}

// A follower that was away for longer than the log reaches comes back by a snapshot, while clients
// work. How much that costs them is a figure, no assertion.
func TestAFollowerComesBackByASnapshot(t *testing.T) {
	keep, bytes := "1mb", 8<<20
	if full() {
		keep, bytes = "64mb", 512<<20
	}
	if os.Getenv("KELEK_TEST_FULL") == "2gb" { // minutes, which a slow disk makes many
		bytes = 2 << 30
	}
	c := startCluster(t, 3, "--log-keep-bytes", keep)
	load := &Workload{Prefix: "t", Groups: 1, Seed: 13, Think: 5 * time.Millisecond,
		Patient: true}
	load.Start(context.Background(), c.Addrs())
	waitWrites(t, load, 200)
	leader, _ := leaderOf(t, c, 0)
	away := c.Nodes[(slices.Index(c.Nodes, leader)+1)%3]
	g := newGauge(t, leader.Addr())
	waitWrites(t, load, int64(times(200, 2000)))
	before, ofBefore := g.phase()
	kill := func() error { return c.Kill(away) }
	if err := load.Expect(kill, slices.Index(c.Nodes, away)); err != nil {
		t.Fatal(err)
	}
	held := indexOf(t, leader, "raft_current_index")
	took := fill(t, leader.Addr(), bytes)
	for rounds := 1; indexOf(t, leader, "raft_snapshot_last_idx") <= held; rounds++ {
		if rounds == 20 {
			t.Fatalf("the log still reaches back to %d after %d MB", held, rounds*bytes>>20)
		}
		took += fill(t, leader.Addr(), bytes)
	}
	filling, _ := g.phase()
	waitWrites(t, load, int64(times(200, 2000)))
	quiet, ofQuiet := g.phase()

	begin := time.Now()
	if err := c.Start(away); err != nil {
		t.Fatal(err)
	}
	awaitSnapshot(t, c, away)
	caught := time.Since(begin)
	during, ofDuring := g.phase()
	close(g.stop)
	g.done.Wait()
	if g.err != nil {
		t.Error(g.err)
	}
	waitWrites(t, load, 200)
	judgeLoad(t, load)
	t.Logf("%d MB or more written in %s while %s was away; it came back by a snapshot in %s", bytes>>20,
		took.Round(time.Millisecond), away.Name, caught.Round(time.Millisecond))
	t.Logf("p99 of a write: %s (%d) before, %s while the data was written, %s (%d) after that, %s (%d) "+
		"while the snapshot was taken, sent and installed", before, ofBefore, filling, quiet, ofQuiet,
		during, ofDuring)
	reply := do(t, dial(t, away.Addr()), "MGET", "fill:0", fmt.Sprint("fill:", bytes/valueBytes-1))
	if len(reply.Elems) != 2 || len(reply.Elems[0].Text) != valueBytes ||
		len(reply.Elems[1].Text) != valueBytes {
		t.Error("what was written meanwhile is not there")
	}
}

// indexOf is an index that a node tells in INFO.
func indexOf(t *testing.T, n *Node, field string) int {
	t.Helper()
	reply := do(t, dial(t, n.Addr()), "INFO", "raft")
	index, err := strconv.Atoi(client.ParseInfo(reply.Text)[field])
	if err != nil {
		t.Fatalf("%s of %s: %v", field, n.Name, err)
	}
	return index
}

// awaitSnapshot waits until a node has installed a snapshot and has executed what is committed.
func awaitSnapshot(t *testing.T, c *Cluster, n *Node) {
	t.Helper()
	limit := startLimit
	if full() {
		limit = 10 * time.Minute
	}
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		_, leader := c.Leader()
		info := c.Infos()[n.Name]
		if info != nil && leader != nil && info.Applied+256 >= leader.Commit {
			break
		}
		if !n.Running() || time.Since(begin) > limit {
			t.Fatalf("%s has not caught up within %s; running %v", n.Name, limit, n.Running())
		}
	}
	reply := do(t, dial(t, n.Addr()), "INFO", "raft")
	if got := client.ParseInfo(reply.Text)["raft_snapshots_received"]; got != "1" {
		t.Errorf("%s received %s snapshots, want 1", n.Name, got)
	}
}
