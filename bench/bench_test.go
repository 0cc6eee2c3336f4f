package bench

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"kelek/bench/ceiling"
	"kelek/bench/load"
)

// answererOf serves the bare answerer in this process.
func answererOf(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- ceiling.Answer(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

func smallBench(out io.Writer) *Bench {
	return &Bench{Command: []string{"set", "GET"}, Connections: []int{3}, Pipeline: []int{1, 4},
		Size: "8-16", Keys: 100, MsetKeys: 2, To: []string{toLeader}, Threads: 2,
		For: 150 * time.Millisecond, Rounds: 1, Quiet: true, out: out, progress: io.Discard}
}

// measureAll runs a bench on a system that runs, without starting anything.
func measureAll(t *testing.T, b *Bench, systems ...*system) {
	t.Helper()
	b.setDefaults()
	workloads, err := b.workloads()
	if err == nil {
		err = b.measure(t.Context(), systems, workloads)
	}
	if err == nil {
		err = b.finish()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestBenchOnAServerThatIsNotOurs(t *testing.T) {
	var out strings.Builder
	b, dir := smallBench(&out), t.TempDir()
	b.Json, b.Csv, b.Svg = filepath.Join(dir, "j"), filepath.Join(dir, "c"), filepath.Join(dir, "s")
	addr := answererOf(t)
	measureAll(t, b, runningSystem([]string{addr}, "").each(b.To)...)
	for _, line := range []string{addr, "set c3 P1 ", "set c3 P4 ", "get c3 P1 ", "get c3 P4 "} {
		if !strings.Contains(out.String(), "\n"+line) && !strings.HasPrefix(out.String(), line) {
			t.Errorf("no line %q in\n%s", line, &out)
		}
	}
	text, err := os.ReadFile(b.Json)
	var report load.Report
	if err == nil {
		err = json.Unmarshal(text, &report)
	}
	if err != nil || len(report.Rows) != 4 || report.Rows[3].Latency.Count == 0 {
		t.Errorf("%v, %d rows", err, len(report.Rows))
	}
	if report.Rows[0].Syncs != nil {
		t.Error("a server that does not count its syncs has some")
	}
	csv, err := os.ReadFile(b.Csv)
	if lines := strings.Count(string(csv), "\n"); err != nil || lines != 5 {
		t.Errorf("%d lines of CSV, %v", lines, err)
	}
	if svg, err := os.ReadFile(b.Svg); err != nil || !strings.HasPrefix(string(svg), "<svg") {
		t.Errorf("%.20s, %v", svg, err)
	}
}

func TestBenchLetsSystemsTakeTurns(t *testing.T) {
	var out strings.Builder
	b := smallBench(&out)
	// Long enough for a machine that is busy with other tests to answer something in each run.
	b.For = 300 * time.Millisecond
	b.Rounds, b.Command, b.Pipeline = 3, []string{"set"}, []int{1}
	first := runningSystem([]string{answererOf(t)}, "").each([]string{toAll})[0]
	second := runningSystem([]string{answererOf(t)}, "").each([]string{toAll})[0]
	first.name, second.name = "A", "B"
	measureAll(t, b, first, second)
	turns := ""
	for _, r := range b.report.Rows {
		turns += r.System
	}
	if turns != "ABABAB" {
		t.Errorf("turns: %s", turns)
	}
	rows := b.report.Rows
	if rows[0].Seed != rows[1].Seed || rows[0].Seed == rows[2].Seed {
		t.Error("systems of a round have different commands, or rounds the same")
	}
	ratio := regexp.MustCompile(`\d\.\d\d \[\d+\.\d\d\.\.\d+\.\d\d\]\n`)
	if !ratio.MatchString(out.String()) || len(b.report.Ratios) != 1 {
		t.Errorf("no ratio with its spread in\n%s", &out)
	}
}

func TestWorkloadsAreAllCombinations(t *testing.T) {
	b := smallBench(io.Discard)
	b.Connections, b.Rate = []int{1, 2}, []float64{10, 20, 30}
	workloads, err := b.workloads()
	if err != nil || len(workloads) != 2*2*2*3 {
		t.Errorf("%d workloads, %v", len(workloads), err)
	}
	for _, change := range []func(b *Bench){
		func(b *Bench) { b.Command = []string{"blpop"} }, func(b *Bench) { b.Size = "huge" },
		func(b *Bench) { b.Pipeline = []int{0} }, func(b *Bench) { b.Reads = -1 },
	} {
		b := smallBench(io.Discard)
		change(b)
		if workloads, err := b.workloads(); err == nil {
			t.Errorf("%+v was accepted", workloads)
		}
	}
}

func TestRivalsThatAreAbsentAreNamedWithTheirPackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := checkRivals([]string{"redis", "etcd", "ceiling"})
	for _, name := range []string{"apt-get install redis-server", "apt-get install etcd-server"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not tell %s", err, name)
		}
	}
	if err := checkRivals([]string{"mongo"}); err == nil || !strings.Contains(err.Error(), "redis, ") {
		t.Errorf("%v", err)
	}
}

// The cost of a command, and nil for what is not known of every process.
func TestCost(t *testing.T) {
	usage := func(cpu time.Duration, written int64) load.Usage {
		return load.Usage{CPU: cpu, WrittenBytes: written, ResidentMax: 5}
	}
	m := meter{servers: []server{{name: "a", pid: 1}, {name: "b", pid: 2}},
		before: reading{servers: map[string]load.Usage{"a": usage(time.Second, 100),
			"b": usage(time.Second, 0)}, syncs: map[string]float64{"a": 10, "b": 20}},
		after: reading{servers: map[string]load.Usage{"a": usage(2*time.Second, 300),
			"b": usage(3*time.Second, 200)}, syncs: map[string]float64{"a": 60, "b": 70}}}
	c := m.cost(1000)
	if *c.ServerCPU != 3000 || *c.Written != 0.4 || *c.Syncs != 0.1 || c.ClientCPU != nil ||
		len(c.Processes) != 2 || c.Processes[1].CPU != 2000 {
		t.Errorf("%+v", c)
	}
	delete(m.after.syncs, "b")
	m.after.servers["b"] = usage(3*time.Second, -1)
	if c := m.cost(1000); c.ServerCPU == nil || c.Written != nil || c.Syncs != nil {
		t.Errorf("half is unknown: %+v", c)
	}
	delete(m.after.servers, "b")
	if c := m.cost(1000); c.ServerCPU != nil {
		t.Errorf("one process is gone: %+v", c)
	}
	if c := m.cost(0); c.ServerCPU != nil {
		t.Errorf("no command: %+v", c)
	}
}

func TestFiguresFitTheirColumns(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		text string
	}{{999 * time.Microsecond, "999us"}, {1500 * time.Microsecond, "1.50ms"},
		{90 * time.Second, "90.00s"},
		{136_450 * time.Microsecond, "136ms"}} {
		if got := short(c.d); got != c.text {
			t.Errorf("%s: %s", c.d, got)
		}
	}
	for f, text := range map[float64]string{0: "0.00B", 0.005: "0.0050B", 3.14159: "3.14B",
		1234.5: "1234B"} {
		if got := figure(&f, "B"); got != text {
			t.Errorf("%g: %s, want %s", f, got, text)
		}
	}
	if figure(nil, "B") != "-" {
		t.Error("the unknown is not a dash")
	}
}

// The whole command: it starts a cluster, measures it, and leaves nothing but its results.
func TestBenchStartsAndRemovesItsCluster(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(binary(t), "bench", "--sizes", "1", "--for", "400ms", "--warmup", "10ms",
		"--keys", "500", "--pipeline", "8", "--against", "ceiling", "--rounds", "2")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != "bench.json" {
		t.Errorf("left behind: %v, %v", files, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "bench.json"))
	var report load.Report
	if err == nil {
		err = json.Unmarshal(text, &report)
	}
	if err != nil || len(report.Rows) != 8 || len(report.Ratios) != 2 {
		t.Fatalf("%v, %d rows, %v", err, len(report.Rows), report.Ratios)
	}
	for _, r := range report.Rows {
		if r.Errors > 0 || r.Commands == 0 {
			t.Errorf("%s %s: %d commands, %d errors: %s", r.System, r.Workload(), r.Commands, r.Errors,
				r.Refusal)
		}
		if r.System == "kelek-1" && r.Syncs == nil {
			t.Errorf("%s: the syncs of kelek are not known", r.Workload())
		}
	}
}
