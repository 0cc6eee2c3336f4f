package bench

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runKelek runs the program to its end, which has to come by itself.
func runKelek(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(t), args...)
	cmd.Env = cleanEnvironment(os.Environ())
	cmd.Dir = t.TempDir()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatalf("kelek %s did not end: %s", strings.Join(args, " "), &errs)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// expectExit wants an exit code and one line on standard error that tells what is wrong. Lines of
// the logger, which are JSON, may come before it.
func expectExit(t *testing.T, want int, words string, args ...string) {
	t.Helper()
	code, _, stderr := runKelek(t, args...)
	var plain []string
	for _, line := range strings.Split(strings.TrimSpace(stderr), "\n") {
		if !strings.HasPrefix(line, "{") {
			plain = append(plain, line)
		}
	}
	if code != want || len(plain) != 1 || !strings.HasPrefix(plain[0], "kelek: ") {
		t.Errorf("kelek %s: exit code %d, want %d; standard error:\n%s", strings.Join(args, " "),
			code, want, stderr)
		return
	}
	for _, word := range strings.Split(words, "|") {
		if !strings.Contains(plain[0], word) {
			t.Errorf("kelek %s: %q does not say %q", strings.Join(args, " "), plain[0], word)
		}
	}
}

// alone is the flags of a node that meets nobody by accident.
func alone(dir string, more ...string) []string {
	return append([]string{"serve", "--dir", dir, "--listen", "127.0.0.1:0"}, more...)
}

func TestExitCodesWithoutANode(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := busy.Addr().String()
	unknown := filepath.Join(t.TempDir(), "kelek.conf")
	if err := os.WriteFile(unknown, []byte("maxclient 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	expectExit(t, 2, "--nonsense", "serve", "--nonsense")
	expectExit(t, 2, "frobnicate", "frobnicate")
	expectExit(t, 2, "sideways", alone(dir, "--redirect", "sideways")...)
	expectExit(t, 3, port+"|in use", alone(dir, "--http", port)...)
	expectExit(t, 68, "--advertise|0.0.0.0", "serve", "--dir", dir, "--listen", "0.0.0.0:0")
	expectExit(t, 68, "--election-timeout|--heartbeat", alone(dir, "--heartbeat", "400ms")...)
	expectExit(t, 68, "maxclient|did you mean maxclients", alone(dir, "--config", unknown)...)
	expectExit(t, 68, "--peers|n1", alone(dir, "--id", "n1", "--peers", "n2=127.0.0.1:1")...)
	expectExit(t, 68, "/dev/null", alone("/dev/null/data")...)
	if code, out, _ := runKelek(t); code != 0 || !strings.Contains(out, "kelek demo") {
		t.Errorf("kelek alone: %d %q", code, out)
	}
	if code, out, _ := runKelek(t, "version"); code != 0 || !strings.HasPrefix(out, "kelek ") {
		t.Errorf("kelek version: %d %q", code, out)
	}
	code, out, _ := runKelek(t, "serve", "--help")
	if code != 0 || !strings.Contains(out, "KELEK_LISTEN") || !strings.Contains(out, "Examples:") {
		t.Errorf("kelek serve --help: %d\n%s", code, out)
	}
}

func TestExitCodesOfADirectory(t *testing.T) {
	c := startCluster(t, 1)
	n := c.Nodes[0]
	dir := c.dataPath(n)
	expectExit(t, 4, dir+"|in use", alone(dir)...)
	if err := c.Stop(n); err != nil {
		t.Fatal(err)
	}
	expectExit(t, 64, `"n1"|"n2"`, alone(dir, "--id", "n2")...)
	if err := c.Start(n); err != nil {
		t.Fatal(err)
	}
	leaderOf(t, c, 0)
}

// A directory of another cluster, started among the nodes of this one.
func TestExitCodeOfTheWrongCluster(t *testing.T) {
	stranger := startCluster(t, 1)
	home := startCluster(t, 3)
	dir := stranger.dataPath(stranger.Nodes[0])
	if err := stranger.Stop(stranger.Nodes[0]); err != nil {
		t.Fatal(err)
	}
	n1 := home.Nodes[0]
	if err := home.Kill(n1); err != nil {
		t.Fatal(err)
	}
	args := home.arguments(n1)
	for i := range args {
		if args[i] == "--dir" {
			args[i+1] = dir
		}
	}
	expectExit(t, 64, dir+"|cluster", args...)
	restart(t, home, n1) // the others were not disturbed, and take their own back
}

func TestSignalsEndANode(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		cmd := exec.Command(binary(t), alone(t.TempDir())...)
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var log []byte
		for !bytes.Contains(log, []byte(`"ready"`)) {
			chunk := make([]byte, 4096)
			n, err := stderr.Read(chunk)
			if err != nil {
				t.Fatalf("the log ended: %s", log)
			}
			log = append(log, chunk[:n]...)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", sig, err)
		}
	}
}

func newListener(t *testing.T, port int) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", loopback(port))
	if err != nil {
		t.Fatal(err)
	}
	return ln
}
