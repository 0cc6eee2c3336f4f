//go:build redistools

package bench

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// These tests need redis-cli, redis-benchmark and redis-server (Debian: redis-tools, redis-server).
// They run the stock tools against three nodes: what works there works for their users.

// tool runs a program and returns all it printed.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func port(n *Node) string { return strconv.Itoa(n.Port) }

func TestRedisCli(t *testing.T) {
	c := startCluster(t, 3)
	for round := range 30 {
		value := fmt.Sprint("v", round)
		writer := c.Nodes[round%3]
		if out := tool(t, "redis-cli", "-p", port(writer), "SET", "k", value); out != "OK\n" {
			t.Fatalf("SET: %q", out)
		}
		for _, n := range c.Nodes {
			if out := tool(t, "redis-cli", "-p", port(n), "GET", "k"); out != value+"\n" {
				t.Fatalf("round %d on %s: %q, want %q", round, n.Name, out, value)
			}
		}
	}
	leader, _ := leaderOf(t, c, 0)
	for _, n := range c.Nodes { // redis-cli -c follows MOVED
		clusterPort := strconv.Itoa(n.Port + clusterPortOffset)
		if out := tool(t, "redis-cli", "-c", "-p", clusterPort, "SET", "c", "1"); out != "OK\n" {
			t.Errorf("-c on %s: %q", n.Name, out)
		}
		out := tool(t, "redis-cli", "-p", clusterPort, "SET", "c", "1")
		if moved := strings.HasPrefix(out, "MOVED 7365 "+leader.ClusterAddr()); moved == (n == leader) {
			t.Errorf("without -c on %s: %q", n.Name, out)
		}
	}
}

// kelek cli prints what redis-cli prints, byte for byte.
func TestCliPrintsWhatRedisCliPrints(t *testing.T) {
	c := startCluster(t, 1)
	addr, number := c.Nodes[0].Addr(), port(c.Nodes[0])
	script := []string{
		"SET s \"a\\x00b\\n\\\"q\\\"\"", "GET s", "GET nothing", "INCR n", "INCR s", "NOSUCH a b",
		"MGET s nothing n", "MSET a 1 b 2", "DEL a b c", "STRLEN s", "TYPE s", "TYPE nothing",
		"EXPIRE s 1000", "PERSIST s", "PERSIST s", "CONFIG GET databases", "COMMAND GETKEYS GET k",
		"SET x 1 EX 0", "APPEND s tail", "GETDEL s", "EXISTS s", "ECHO ''", "DBSIZE", "FLUSHALL",
	}
	for _, flags := range [][2][]string{
		{{"--raw"}, {"--raw"}},
		{{"--no-raw"}, {"--no-raw"}},
		{{"-3", "--no-raw"}, {"-3", "--no-raw"}},
	} {
		for _, line := range script {
			theirs := exec.Command("redis-cli", append([]string{"-p", number}, flags[0]...)...)
			ours := exec.Command(binary(t), append([]string{"cli", "--nodes", addr}, flags[1]...)...)
			var outputs [2]string
			for i, cmd := range []*exec.Cmd{theirs, ours} {
				prepare := exec.Command("redis-cli", "-p", number)
				prepare.Stdin = strings.NewReader(strings.Join(script[:slices.Index(script, line)], "\n"))
				if out, err := prepare.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				cmd.Stdin = strings.NewReader(line + "\n")
				out, _ := cmd.Output() // an error reply is an exit code, and ours only
				outputs[i] = string(out)
				tool(t, "redis-cli", "-p", number, "FLUSHALL")
			}
			if outputs[0] != outputs[1] {
				t.Errorf("%v %s: redis-cli prints\n%q, kelek cli\n%q", flags[0], line, outputs[0],
					outputs[1])
			}
		}
	}
}

// complaint is what redis-benchmark prints when a reply is an error or a connection breaks.
var complaint = regexp.MustCompile(`(?i)error|err |clusterdown|warning|broken|refused`)

// benchmark runs redis-benchmark and returns requests per second by test.
func benchmark(t *testing.T, number int, args ...string) map[string]float64 {
	t.Helper()
	args = append([]string{"-p", strconv.Itoa(number), "--csv"}, args...)
	var out, errs bytes.Buffer
	cmd := exec.Command("redis-benchmark", args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("redis-benchmark %v: %v\n%s%s", args, err, &out, &errs)
	}
	for _, line := range strings.Split(out.String()+errs.String(), "\n") {
		if complaint.MatchString(line) {
			t.Errorf("redis-benchmark %v: %s", args, line)
		}
	}
	rates := map[string]float64{}
	for _, line := range strings.Split(out.String(), "\n")[1:] {
		fields := strings.Split(line, ",")
		if len(fields) < 2 {
			continue
		}
		rate, err := strconv.ParseFloat(strings.Trim(fields[1], `"`), 64)
		if err != nil {
			t.Fatalf("redis-benchmark %v: %q", args, line)
		}
		rates[strings.Trim(fields[0], `"`)] = rate
	}
	if len(rates) == 0 {
		t.Fatalf("redis-benchmark %v printed no result:\n%s", args, &out)
	}
	return rates
}

func TestRedisBenchmark(t *testing.T) {
	c := startCluster(t, 3)
	leader, _ := leaderOf(t, c, 0)
	follower := c.Nodes[(slices.Index(c.Nodes, leader)+1)%3]
	requests := strconv.Itoa(times(10_000, 100_000))
	for _, target := range []struct {
		role string
		node *Node
	}{{"leader", leader}, {"follower", follower}} {
		for _, depth := range []string{"1", "16"} {
			rates := benchmark(t, target.node.Port, "-t", "ping,set,get,incr,mset", "-n", requests,
				"-c", "50", "-P", depth)
			t.Logf("%s, -P %s: %v", target.role, depth, rates)
		}
	}
}

// startRedisServer starts redis-server with the durability that is comparable: an fsync per group of
// writes before they are answered.
func startRedisServer(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	number := ln.Addr().(*net.TCPAddr).Port
	ln.Close()
	cmd := exec.Command("redis-server", "--port", strconv.Itoa(number), "--dir", t.TempDir(),
		"--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // it was killed
	})
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", loopback(number))
		if err == nil {
			conn.Close()
			return number
		}
		if time.Since(begin) > startLimit {
			t.Fatal(err)
		}
	}
}

// Figures beside those of one redis-server with an fsync per write group, in the same interleaved
// run, so that a noisy machine disturbs both.
func TestComparedWithRedis(t *testing.T) {
	c := startCluster(t, 3)
	leader, _ := leaderOf(t, c, 0)
	redisPort := startRedisServer(t)
	rounds, requests := times(2, 5), strconv.Itoa(times(5_000, 20_000))
	for _, depth := range []string{"1", "16"} {
		var theirs, ours []float64
		for range rounds {
			args := []string{"-t", "set", "-n", requests, "-c", "50", "-P", depth}
			theirs = append(theirs, benchmark(t, redisPort, args...)["SET"])
			ours = append(ours, benchmark(t, leader.Port, args...)["SET"])
		}
		slices.Sort(theirs)
		slices.Sort(ours)
		middle := rounds / 2
		t.Logf("SET -P %s: redis-server (appendfsync always) %.0f/s, kelek on three nodes %.0f/s, "+
			"ratio %.2f", depth, theirs[middle], ours[middle], ours[middle]/theirs[middle])
	}
}
