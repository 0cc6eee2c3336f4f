package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kelek/bench/load"
)

// The suite has every workload of a command, and plain SETs to compare the other writes with.
func TestTheSuite(t *testing.T) {
	b := smallBench(io.Discard)
	b.Suite, b.MsetKeys, b.MultiSets = true, 10, 10
	workloads, err := b.workloads()
	if err != nil {
		t.Fatal(err)
	}
	var rows []load.Row
	var names []string
	for i := range workloads {
		row := load.NewRow("a", 3, 1, &workloads[i])
		row.PerSecond = 1
		rows, names = append(rows, row), append(names, row.Workload())
	}
	for _, name := range []string{"set c50 P1", "set c50 P16", "set c50 P64", "set c256 P1", "set c256 P16",
		"set c256 P64", "get c50 P1", "get c50 P16", "get c50 P64", "get c256 P1", "get c256 P16",
		"get c256 P64", "set c1 P1", "get c1 P1", "set+50%get c50 P16", "incr c50 P1", "incr c50 P16",
		"append c50 P1", "append c50 P16", "mset/10 c50 P1", "mset/10 c50 P16", "multi/10 c50 P1",
		"multi/10 c50 P16"} {
		if !slices.Contains(names, name) {
			t.Errorf("%s is not among %s", name, strings.Join(names, ", "))
		}
	}
	compared := 0
	for _, line := range load.Lines(rows) {
		compared += line.OfSet.Count
	}
	if compared != 9 {
		t.Errorf("%d workloads are compared with plain SETs", compared)
	}
}

// One cluster with several roles is one set of servers: filled once, stopped once.
func TestRolesShareTheirServers(t *testing.T) {
	stopped := 0
	s := &system{name: "k", servers: []server{{addr: "a:1"}}, stop: func() error {
		stopped++
		return nil
	}}
	roles := s.each([]string{toLeader, toFollower, toAll})
	names := ""
	for _, r := range roles {
		names += r.name + ","
		if r.shared != (r != roles[0]) || len(r.servers) != 1 {
			t.Errorf("%s: shared %t, %d servers", r.name, r.shared, len(r.servers))
		}
	}
	if err := stopSystems(roles); err != nil || stopped != 1 || names != "k,k via follower,k via all," {
		t.Errorf("%v, stopped %d times, %s", err, stopped, names)
	}
	addr, sets := countingServer(t, "+OK\r\n")
	b := smallBench(io.Discard)
	b.Size = "0" // lines are told apart by their ends
	workloads, err := b.workloads()
	if err == nil {
		running := runningSystem([]string{addr}, "").each([]string{toAll, toAll})
		err = b.fillAll(t.Context(), running, workloads[0])
	}
	if got := sets.Load(); err != nil || got != int64(b.Keys) {
		t.Errorf("%d SETs for %d keys, %v", got, b.Keys, err)
	}
}

// countingServer answers every SET alike, and counts them.
func countingServer(t *testing.T, reply string) (string, *atomic.Int64) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	sets := &atomic.Int64{}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					if line != "*3\r\n" { // the lengths and texts of SET, key and value
						continue
					}
					sets.Add(1)
					if _, err := io.WriteString(conn, reply); err != nil {
						return
					}
				}
			}()
		}
	}()
	return ln.Addr().String(), sets
}

// Keys that could not be written are not silently absent from what is read.
func TestAFillThatIsRefusedFails(t *testing.T) {
	addr, _ := countingServer(t, "-OOM no room\r\n")
	b := smallBench(io.Discard)
	b.Size = "0"
	workloads, err := b.workloads()
	if err != nil {
		t.Fatal(err)
	}
	err = b.fillAll(t.Context(), runningSystem([]string{addr}, "").each([]string{toAll}), workloads[0])
	if err == nil || !strings.Contains(err.Error(), "OOM no room") {
		t.Errorf("%v", err)
	}
}

func TestASystemHasItsOwnKeysAndSizes(t *testing.T) {
	s := system{keys: 7, sizes: &load.Sizes{Min: 1, Max: 2}}
	o := load.Options{Keys: 100, Connections: 5, Sizes: load.Sizes{Min: 64, Max: 64}}
	if got := s.adapt(o); got.Keys != 7 || got.Sizes.Max != 2 || got.Connections != 5 {
		t.Errorf("%+v", got)
	}
	if got := new(system).adapt(o); got.Keys != 100 || got.Sizes.Max != 64 {
		t.Errorf("%+v", got)
	}
}

// What is possible is asked of log and disk only where something was synced.
func TestWhatIsPossible(t *testing.T) {
	b := smallBench(io.Discard)
	b.dir = t.TempDir()
	row := func(system string, perSecond float64, syncs *float64) load.Row {
		r := load.NewRow(system, 3, 1, &load.Options{Command: "set", Connections: 1, Depth: 1})
		r.PerSecond, r.Syncs = perSecond, syncs
		return r
	}
	rows := []load.Row{row("kelek-3", 10, ref(0.06)), row(ceilingName, 40, nil), row("redis", 20, nil)}
	o := load.Options{Command: "set", Sizes: load.Sizes{Min: 64, Max: 64}}
	if err := b.measurePossible(t.Context(), o, rows); err != nil {
		t.Fatal(err)
	}
	p := rows[0].Possible
	if p == nil || p.Front != 40 || p.Group < 49.9 || p.Group > 50.1 || p.Log <= 0 || p.Disk <= 0 {
		t.Errorf("kelek: %+v", p)
	}
	if p := rows[2].Possible; p == nil || *p != (load.Possible{Front: 40}) || rows[1].Possible != nil {
		t.Errorf("redis: %+v; the ceiling: %+v", p, rows[1].Possible)
	}
	left, err := os.ReadDir(b.dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	var out strings.Builder
	writePossible(&out, load.Lines(rows))
	for _, want := range []string{`set c1 P1 +kelek-3 +0\.25 +\d+\.\d\d +\d+\.\d\d +50\.00\n`,
		`set c1 P1 +redis +0\.50 +- +- +-\n`} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in\n%s", want, &out)
		}
	}
	rows = []load.Row{row("kelek-3", 10, ref(0.06)), row(ceilingName, 40, nil)}
	o.Command = "get"
	if err := b.measurePossible(t.Context(), o, rows); err != nil || rows[0].Possible.Log != 0 {
		t.Errorf("reads are bounded by the log: %+v, %v", rows[0].Possible, err)
	}
	if err := b.measurePossible(t.Context(), o, rows[:1]); err != nil {
		t.Errorf("without a ceiling: %v", err)
	}
}

// A figure whose leader has moved meanwhile says so.
func TestALeaderThatMovesIsTold(t *testing.T) {
	var out strings.Builder
	b := smallBench(&out)
	b.Command, b.Pipeline = []string{"set"}, []int{1}
	addr := answererOf(t)
	for round, targets := range [][]string{{addr}, {addr, "127.0.0.1:1"}} {
		s := runningSystem([]string{addr}, "")
		s.target = func(context.Context) ([]string, error) {
			now := targets[0]
			targets = targets[len(targets)-1:]
			return []string{now}, nil
		}
		b.report.Rows = nil
		out.Reset()
		measureAll(t, b, s)
		if told := strings.Contains(out.String(), "MOVED"); told != (round == 1) ||
			b.report.Rows[0].Moved != told {
			t.Errorf("%q: told %t\n%s", targets, told, &out)
		}
	}
}

// A file with two names takes its place once.
func TestDiskUse(t *testing.T) {
	dir := t.TempDir()
	first := filepath.Join(dir, "a", "first")
	if err := os.MkdirAll(filepath.Dir(first), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(first, make([]byte, 300<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	one, err := diskUse(dir)
	if err != nil || one < 300<<10 || one > 600<<10 {
		t.Fatalf("%d, %v", one, err)
	}
	if err := os.Link(first, filepath.Join(dir, "second")); err != nil {
		t.Skip("no hard links here: ", err)
	}
	if both, err := diskUse(dir); err != nil || both != one {
		t.Errorf("%d with one name, %d with two, %v", one, both, err)
	}
	if _, err := diskUse(filepath.Join(dir, "absent")); err == nil {
		t.Error("a directory that is not there has a size")
	}
}

func TestRivalsWithSeveralForms(t *testing.T) {
	got := everyRival([]string{"redis-memory", "etcd", "redis", "etcd"})
	if text := strings.Join(got, " "); text != "redis-memory etcd redis-aof" {
		t.Error(text)
	}
}

func TestStoresAreParsed(t *testing.T) {
	for text, keys := range map[string]int{"10mx64": 10_000_000, "200kx10k": 200_000, "7x1-9": 7} {
		if got, sizes, err := parseStore(text); err != nil || got != keys || sizes.Max == 0 {
			t.Errorf("%s: %d, %v, %v", text, got, sizes, err)
		}
	}
	for _, text := range []string{"", "10", "x64", "0x64", "10mxhuge", "-1x64", "1gx1"} {
		if got, _, err := parseStore(text); err == nil {
			t.Errorf("%q: %d keys", text, got)
		}
	}
}

func TestDiskUseThatHasSettled(t *testing.T) {
	if !similar([]int64{1000, 5}, []int64{991, 5}) || similar([]int64{1000}, []int64{900}) ||
		similar([]int64{1000}, []int64{1100}) {
		t.Error("one per cent")
	}
}

func TestTables(t *testing.T) {
	bytes := int64(3 << 20)
	row := load.NewRow("kelek-3", 3, 1, &load.Options{Command: "set", Connections: 50, Depth: 16})
	row.PerSecond, row.Drift = 100, &load.Drift{PerSecond: 0.99, P50: 1, P99: 1.5, Resident: 1.01}
	row.Processes = []load.Process{{Name: "n1", Target: true, CPU: 3, Written: ref(9.0), Resident: &bytes,
		Disk: &bytes}, {Name: "n2", CPU: 2}}
	mset := load.NewRow("kelek-3", 3, 1, &load.Options{Command: "mset", MsetKeys: 10, Connections: 50,
		Depth: 16})
	mset.PerSecond = 25
	rows := []load.Row{row, mset}
	var out strings.Builder
	writeProcesses(&out, load.Lines(rows))
	writeOfSet(&out, load.Lines(rows))
	writeDrift(&out, rows)
	printInterval(&out, &load.Interval{At: 10 * time.Second, PerSecond: 7, P50: time.Millisecond,
		Resident: []int64{bytes, -1}})
	for _, want := range []string{`set c50 P16 +kelek-3 +n1\* n2 +3\.00us 2\.00us +9\.00B - +3MiB - +3MiB -\n`,
		`OF SET  mset/10 c50 P16: 0\.25\n`, `throughput 0\.99, p50 1\.00, p99 1\.50, memory 1\.01\n`,
		` 10s +7 +1\.00ms .* 3MiB  -\n`} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in\n%s", want, &out)
		}
	}
}

func TestTheTablesOfGrowth(t *testing.T) {
	var rows []load.Row
	for round, perSecond := range []float64{50, 80, 100} {
		for _, system := range []string{"small", "large"} {
			row := load.NewRow(system, 3, round, &load.Options{Command: "set", Connections: 50, Depth: 16})
			row.PerSecond = 100
			if system == "large" {
				row.PerSecond = perSecond
			}
			row.Latency = load.Latency{Count: 1, P50: 2 * time.Millisecond, P999: 9 * time.Millisecond}
			rows = append(rows, row)
		}
	}
	const mib = 1 << 20
	var out strings.Builder
	writeGrowth(&out, load.Lines(rows), []load.Footprint{
		{System: "small", DataBytes: mib, Resident: []int64{1, -1}, IdleCores: -1},
		{System: "large", DataBytes: 2 * mib, FillRate: 9, Resident: []int64{3 * mib, 1},
			DiskLoaded: []int64{8 * mib}, DiskSettled: []int64{4 * mib, 3 * mib},
			LogSettled: []int64{mib, 0}, SettleSeconds: 5, IdleCores: 0.0123, RestartOne: 0.25,
			RestartAll: 0.5}})
	for _, want := range []string{
		`\nset c50 P16 +large +0\.80 \[0\.50\.\.1\.00\] +4\.50 \[4\.50\.\.4\.50\]\n`,
		`\nsmall +1MiB +0 +- +- +- +- +\S+ +0s +- +0\.00s`,
		`\nlarge +2MiB +9 +3MiB +8MiB +4MiB +1MiB +2\.00 +5s +1\.23% +0\.25s +0\.50s\n`} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "P16          small") {
		t.Errorf("the first is compared with itself:\n%s", &out)
	}
	out.Reset()
	if writeGrowth(&out, load.Lines(rows), nil); out.Len() > 0 {
		t.Errorf("without stores:\n%s", &out)
	}
}

// The whole command: clusters that are filled, loaded, watched, killed and started again, and
// nothing is left but the results.
func TestBenchGrowth(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(binary(t), "bench", "growth", "--stores", "300x64,100x2k", "--members", "1",
		"--for", "300ms", "--warmup", "10ms", "-c", "4", "-P", "4", "--settle", "0s", "--idle", "10ms",
		"--json", "growth.json", "-q")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "growth.json"))
	var report load.Report
	if err == nil {
		err = json.Unmarshal(text, &report)
	}
	if err != nil || len(report.Rows) != 4 || len(report.Footprints) != 2 {
		t.Fatalf("%v, %d rows, %v", err, len(report.Rows), report.Footprints)
	}
	for i, f := range report.Footprints {
		data := []int64{300 * 80, 100 * (16 + 2048)}[i]
		if f.DataBytes != data || f.FillRate <= 0 || most(f.DiskLoaded) < data ||
			most(f.DiskSettled) <= 0 || most(f.LogSettled) > most(f.DiskSettled) || len(f.Resident) != 1 || f.RestartOne <= 0 || f.RestartAll <= 0 {
			t.Errorf("%+v", f)
		}
	}
	if r := report.Rows[1]; r.Keys != 100 || r.Sizes != "2048" || r.Errors > 0 || r.Commands == 0 {
		t.Errorf("%d keys of %s bytes, %d commands, %d errors", r.Keys, r.Sizes, r.Commands, r.Errors)
	}
}

// A follower gets the load, and the leader does not.
func TestBenchThroughAFollower(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(binary(t), "bench", "--sizes", "3", "--to", "leader,follower", "--command", "set",
		"-P", "8", "--for", "300ms", "--warmup", "10ms", "--keys", "100", "--interval", "50ms", "-q")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "bench.json"))
	var report load.Report
	if err == nil {
		err = json.Unmarshal(text, &report)
	}
	if err != nil || len(report.Rows) != 2 || report.Rows[1].System != "kelek-3 via follower" {
		t.Fatalf("%v, %+v\n%s", err, report.Rows, out)
	}
	var targets [2]string
	for i, r := range report.Rows {
		for _, p := range r.Processes {
			if p.Target {
				targets[i] += p.Name
			}
		}
		if r.Commands == 0 || r.Errors > 0 || len(r.Series) == 0 || len(r.Series[0].Resident) != 3 {
			t.Errorf("%s: %d commands, %d errors (%s), %v", r.System, r.Commands, r.Errors, r.Refusal,
				r.Series)
		}
	}
	if len(report.Rows[0].Processes) == 3 &&
		(len(targets[0]) != 2 || len(targets[1]) != 2 || targets[0] == targets[1]) {
		t.Errorf("the load went to %q, then to %q", targets[0], targets[1])
	}
	cmd = exec.Command(binary(t), "bench", "--sizes", "1", "--to", "follower", "-q")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "no follower") {
		t.Errorf("%v: %s", err, out)
	}
}
