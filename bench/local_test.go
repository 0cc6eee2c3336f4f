package bench

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFreePorts(t *testing.T) {
	first, err := freePorts(3)
	if err != nil {
		t.Fatal(err)
	}
	// The cluster listener of the second node: one busy port of twelve moves all of them.
	taken := newListener(t, first+1+clusterPortOffset)
	defer taken.Close()
	second, err := freePorts(3)
	if err != nil || second == first || (second-firstPort)%portStep != 0 {
		t.Errorf("first %d, then %d, %v", first, second, err)
	}
}

func TestClusterStateIsFoundAgain(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadCluster(dir); err == nil || !strings.Contains(err.Error(), "kelek local up") {
		t.Errorf("an empty directory: %v", err)
	}
	c, err := NewCluster(dir, "/bin/false", 3)
	if err != nil {
		t.Fatal(err)
	}
	c.Nodes[1].Process = process{PID: os.Getpid(), Birth: birthOf(os.Getpid())}
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	back, err := LoadCluster(dir)
	if err != nil {
		t.Fatal(err)
	}
	if back.Nodes[0].Running() || !back.Nodes[1].Running() || back.Binary != "/bin/false" {
		t.Errorf("loaded %+v", back.Nodes[1])
	}
	if _, err := back.Node("n4"); err == nil || !strings.Contains(err.Error(), "n1 n2 n3") {
		t.Errorf("a node that is not there: %v", err)
	}
	if got := LocalAddrs(dir); len(got) != 3 || got[0] != c.Nodes[0].Addr() {
		t.Errorf("addresses %v", got)
	}
	for _, n := range []int{0, 10} {
		if _, err := NewCluster(t.TempDir(), "x", n); err == nil {
			t.Errorf("%d nodes must be refused", n)
		}
	}
}

// A recorded process id may meanwhile belong to somebody else, who must not be signalled.
func TestOnlyTheOwnProcessIsSignalled(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	own := process{PID: cmd.Process.Pid, Birth: birthOf(cmd.Process.Pid)}
	defer cmd.Wait() // it is killed below
	stranger := process{PID: own.PID, Birth: own.Birth + "0"}
	if stranger.alive() || stranger.signal(sigKill) != os.ErrProcessDone {
		t.Error("a process with another start time is taken for ours")
	}
	if (process{}).signal(sigKill) != os.ErrProcessDone {
		t.Error("no process at all is taken for ours")
	}
	if !own.alive() {
		t.Fatal("the process was signalled, or is not recognised")
	}
	if err := own.signal(sigKill); err != nil {
		t.Fatal(err)
	}
	if !own.waitGone(killTimeout) { // a zombie until cmd.Wait
		t.Error("a killed process counts as alive")
	}
}

func TestNodesDoNotInheritSettings(t *testing.T) {
	env := cleanEnvironment([]string{"PATH=/bin", "KELEK_LISTEN=1.2.3.4:5", "KELEKX=1"})
	if strings.Join(env, " ") != "PATH=/bin KELEKX=1" {
		t.Errorf("environment %v", env)
	}
}

func TestRemoveLeavesOtherFilesAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	c, err := NewCluster(dir, "x", 1)
	if err != nil {
		t.Fatal(err)
	}
	precious := filepath.Join(dir, "notes.txt")
	for _, path := range []string{precious, c.logPath(c.Nodes[0])} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.remove(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "notes.txt" {
		t.Errorf("left %v, %v", left, err)
	}
}

// kelek local, from up to down, by its own command line.
func TestLocal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "l")
	kelek := func(words string, args ...string) {
		t.Helper()
		code, stdout, stderr := runKelek(t, append([]string{"local", "--dir", dir}, args...)...)
		if code != 0 || !strings.Contains(stdout, words) {
			t.Fatalf("kelek local %v: exit code %d, %q %q; want ...%s", args, code, stdout, stderr, words)
		}
	}
	defer func() {
		if c, err := LoadCluster(dir); err == nil {
			c.KillAll() // a failed test
		}
	}()
	kelek("leader n", "up", "3")
	kelek("healthy", "status")
	kelek("new leader", "kill", "leader")
	kelek("degraded", "status")
	c, err := LoadCluster(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		if !n.Running() {
			kelek("started "+n.Name, "start", n.Name)
		}
	}
	kelek("healthy", "status")
	kelek("paused n3", "pause", "n3")
	kelek("n3 is paused", "status")
	kelek("resumed n3", "resume", "n3")
	kelek("stopped n2", "stop", "n2")
	kelek("n2 does not run", "status")
	kelek("started n2", "start", "n2")
	membersByCommand(t, c.Nodes[0].Addr())
	kelek(".. voter (", "add")
	kelek("n4 has ended", "remove", "n4")
	kelek("data kept", "down")
	kelek("leader n", "up", "3")
	code, stdout, _ := runKelek(t, "status", "--json", "--check", "--nodes", c.Nodes[0].Addr())
	if code > 10 || !strings.Contains(stdout, `"version": 1`) {
		t.Errorf("kelek status --json --check: %d %s", code, stdout)
	}
	kelek("removed", "down", "--wipe")
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
	expectExit(t, 1, "kelek local up", "local", "--dir", dir, "status")
}

// membersByCommand looks at three members and changes what they are.
func membersByCommand(t *testing.T, addr string) {
	t.Helper()
	for _, test := range []struct {
		args, want string
		code       int
	}{
		{"member list", "3 voters   leader n", 0},
		{"member list --json", `"role": "voter"`, 0},
		{"leader transfer", "leads now, in term", 0},
		{"leader show", "leads in term", 0},
		{"leader show --json", `"version": 1`, 0},
		{"member demote n3", "   see: kelek member list\n", 0},
		{"member list", "2 voters   1 learner", 0},
		{"status", "learner", 0},
		{"member promote n3", "   see: kelek member list\n", 0},
		{"member remove n9", `kelek: no member is named "n9"`, 1},
		{"member add 127.0.0.1", "kelek: '127.0.0.1' is no host:port", 1},
		{"member replace n3", "kelek: missing flags: --with", 2},
	} {
		args := append(strings.Fields(test.args), "--nodes", addr)
		code, stdout, stderr := runKelek(t, args...)
		// A cluster whose leader has just gone refuses changes for a moment.
		for begin := time.Now(); test.code == 0 && code != 0 && time.Since(begin) < memberLimit; {
			time.Sleep(200 * time.Millisecond)
			code, stdout, stderr = runKelek(t, args...)
		}
		if code != test.code || !strings.Contains(stdout+stderr, test.want) {
			t.Errorf("kelek %s: %d %q %q, want %d %q", test.args, code, stdout, stderr, test.code, test.want)
		}
	}
}

func TestCliOverTheNetwork(t *testing.T) {
	c := startCluster(t, 1)
	addr := c.Nodes[0].Addr()
	for _, test := range []struct {
		args, want string
		code       int
	}{
		{"SET k -1", "OK\n", 0},
		{"GET k", "-1\n", 0},
		{"NOSUCH", "ERR unknown command 'NOSUCH', with args beginning with: \n\n", 1},
	} {
		args := append([]string{"cli", "--nodes", "127.0.0.1:1," + addr}, strings.Fields(test.args)...)
		if code, out, _ := runKelek(t, args...); code != test.code || out != test.want {
			t.Errorf("kelek cli %s: %d %q, want %d %q", test.args, code, out, test.code, test.want)
		}
	}
	if code, out, _ := runKelek(t, "cli", "--nodes", addr, "--no-raw", "GET", "k"); code != 0 ||
		out != "\"-1\"\n" {
		t.Errorf("--no-raw: %d %q", code, out)
	}
	expectExit(t, 1, "no node answers", "cli", "--nodes", "127.0.0.1:1", "PING")
}

// The demo itself, interrupted: nothing is left behind.
func TestAnInterruptedDemoCleansUp(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(binary(t), "demo")
	cmd.Dir = dir
	var out transcript
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	underLoad := func() bool { return strings.Contains(out.String(), "load") }
	for begin := time.Now(); !underLoad() && time.Since(begin) < startLimit; {
		time.Sleep(time.Millisecond)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // the exit code says that it did not pass
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 || cmd.ProcessState.Success() {
		t.Errorf("left %v, %v, exit code %d\n%s", left, err, cmd.ProcessState.ExitCode(), &out)
	}
	if err := context.Canceled; !underLoad() || !strings.Contains(out.String(), err.Error()) {
		t.Errorf("the output does not say why it ended: %s", &out)
	}
}
