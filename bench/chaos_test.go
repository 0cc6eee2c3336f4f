package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kelek/bench/mesh"
)

// transcript is an output that may be read while it is written.
type transcript struct {
	guard sync.Mutex
	text  bytes.Buffer
}

func (o *transcript) Write(p []byte) (int, error) {
	o.guard.Lock()
	defer o.guard.Unlock()
	return o.text.Write(p)
}

func (o *transcript) String() string {
	o.guard.Lock()
	defer o.guard.Unlock()
	return o.text.String()
}

// runChaos fails the test unless the run can be carried out.
func runChaos(t *testing.T, chaos *Chaos, out *transcript) (passed bool) {
	t.Helper()
	chaos.Dir, chaos.Out, chaos.Version = t.TempDir(), out, "test"
	passed, err := chaos.Run(context.Background())
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return passed
}

// Whatever a seed does to the nodes, nothing that they have promised is broken.
func TestChaos(t *testing.T) {
	length, nodes := 3*time.Second, 3
	if full() {
		length, nodes = 30*time.Second, 5
	}
	var out transcript
	chaos := Chaos{Nodes: nodes, For: length, Binary: binary(t)}
	chaos.Seed = uint64(time.Now().UnixNano())
	if !runChaos(t, &chaos, &out) {
		t.Fatalf("the nodes failed:\n%s", &out)
	}
	t.Logf("\n%s", &out)
	for _, want := range []string{"fault", "healed", "linearizable yes", "PASS",
		fmt.Sprint("seed ", chaos.Seed)} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output does not say %q", want)
		}
	}
	if left, err := os.ReadDir(chaos.Dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A node that ends without being told to is a failure, even if nobody misses it.
func TestChaosFindsANodeThatEnds(t *testing.T) {
	var out transcript
	dir := t.TempDir()
	chaos := Chaos{Nodes: 3, For: 20 * time.Second, Seed: 1, Binary: binary(t), Dir: dir, Out: &out,
		Faults: []string{faultPause}}
	ended := make(chan error)
	go func() { ended <- killOne(dir, &out) }()
	passed, err := chaos.Run(context.Background())
	if killed := <-ended; err != nil || killed != nil {
		t.Fatalf("%v, %v\n%s", err, killed, &out)
	}
	if passed || !strings.Contains(out.String(), "n2 has ended by itself, exit code -1") {
		t.Errorf("passed %v:\n%s", passed, &out)
	}
}

// killOne kills n2 behind the back of a run, as soon as it is under load.
func killOne(dir string, out *transcript) error {
	for begin := time.Now(); !strings.Contains(out.String(), "load"); time.Sleep(time.Millisecond) {
		if time.Since(begin) > startLimit {
			return fmt.Errorf("no load within %s", startLimit)
		}
	}
	states, err := filepath.Glob(filepath.Join(dir, "*", stateFile))
	if err != nil || len(states) != 1 {
		return fmt.Errorf("state files %v, %v", states, err)
	}
	text, err := os.ReadFile(states[0])
	if err != nil {
		return err
	}
	var c Cluster
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	return c.Nodes[1].Process.signal(sigKill)
}

func TestChaosRefusesWhatItCannotDo(t *testing.T) {
	for want, chaos := range map[string]Chaos{
		"there is no fault \"flood\"": {Nodes: 3, Faults: []string{"flood"}},
		"a cluster has 1 to 9":        {Nodes: 10},
		"no fault is left":            {Nodes: 1, Faults: []string{faultPartition}},
		"there is no network \"tin\"": {Nodes: 3, Network: "tin"},
	} {
		var out transcript
		chaos.Dir, chaos.Out = t.TempDir(), &out
		if _, err := chaos.Run(context.Background()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		left, err := os.ReadDir(chaos.Dir)
		if err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %v, %v", want, left, err)
		}
	}
}

// plantedRuns is how many runs of at most half a minute a planted bug may need: which faults strike is
// up to a seed, and a node that the bug has made unable to go on ends a run before clients have seen
// it. One in three shows it to clients, so one in twenty thousand tests needs more.
const plantedRuns = 25

// Nodes with a planted bug have to fail, with a history that shows it.
func TestChaosFindsPlantedBugs(t *testing.T) {
	if !full() {
		t.Skip("KELEK_TEST_FULL=1: builds the program once more, and takes its time")
	}
	if err := mesh.Supported(); err != nil {
		t.Skip(err)
	}
	mutants := filepath.Join(t.TempDir(), "kelek-mutants")
	build := exec.Command("go", "build", "-tags", "mutants", "-o", mutants, "kelek")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, bug := range []struct {
		number, nodes int
		what          string
	}{
		{110, 5, "stale reads: answered without asking a quorum"},
		{111, 5, "lost writes: committed by what is durable on the leader alone"},
		{2, 4, "lost writes: two of four are a majority"},
	} {
		t.Run(bug.what, func(t *testing.T) {
			for range plantedRuns {
				var out transcript
				chaos := Chaos{Nodes: bug.nodes, For: 30 * time.Second, Binary: mutants,
					Seed: uint64(time.Now().UnixNano()), Faults: []string{faultPartition, faultPause},
					Env: []string{fmt.Sprint("KELEK_MUTANT=", bug.number)}}
				passed := runChaos(t, &chaos, &out)
				t.Logf("\n%s", &out)
				if !passed && strings.Contains(out.String(), "The smallest history") {
					return
				}
			}
			t.Errorf("planted bug %d was not found with a history in %d runs", bug.number, plantedRuns)
		})
	}
}
