package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	seedFlag    = flag.Uint64("seed", 0, "run this seed only, with a trace of its end")
	seedsFlag   = flag.Int("seeds", 0, "how many seeds to run; 0: as many as take a few seconds")
	minutesFlag = flag.Float64("minutes", 0, "run new seeds for this long")
	profileFlag = flag.String("profile", "", "run only this profile")
	scriptFlag  = flag.String("script", "", "run this script only, with a trace of its end")
	hashesFlag  = flag.String("hashes", "", "write the hashes of some runs to this file")
	shrinkFlag  = flag.Int("shrink", 300, "how many runs may be spent on making a failing one smaller")
	linesFlag   = flag.Int("lines", 60, "lines of trace that a failing run prints; 0: all")
)

// defaultSeeds is what `go test` runs: some seconds on two cores.
const defaultSeeds = 250

// caseOf is run number n: profiles take turns, so that every block of seeds meets all of them.
func caseOf(n uint64) Case {
	profile := Profiles[n%uint64(len(Profiles))].Name
	if *profileFlag != "" {
		profile = *profileFlag
	}
	return Case{Seed: n, Profile: profile, History: n%judgeEvery == 0}
}

// report describes a failed run: what broke, how to repeat it, and how it came to that. The run is
// repeated for the trace, which costs nothing while nobody wants it.
func report(r Result) string {
	again, lines := Run(r.Case), story(r.Case)
	profile := profileByName(r.Case.Profile)
	text := fmt.Sprintf("%s\n%d nodes, %s: %s; repeat with\n  go test ./raftcore/sim "+
		"-run 'TestSeeds$' -seed %d -profile %s\n%s\n%s", r.Failure, r.Nodes, profile.Name,
		profile.About, r.Case.Seed, profile.Name, strings.Join(lines, "\n"), r.Failure.Stack)
	if again.Failure == nil || again.Hash != r.Hash {
		text += fmt.Sprintf("\nNB: the repetition differs: %v", again.Failure)
	}
	return text
}

// runMany runs cases on all processors until next returns false, and hands each result to take.
// next and take never run at the same time.
func runMany(next func(n uint64) (Case, bool), take func(Result)) {
	var wait sync.WaitGroup
	var lock sync.Mutex
	count := uint64(0)
	for range runtime.GOMAXPROCS(0) {
		wait.Add(1)
		go func() {
			defer wait.Done()
			lock.Lock()
			defer lock.Unlock()
			for c, ok := next(count); ok; c, ok = next(count) {
				count++
				lock.Unlock()
				r := Run(c)
				lock.Lock()
				take(r)
			}
		}()
	}
	wait.Wait()
}

// TestSeeds is the simulator: many seeds, all invariants, and proof that the faults really struck.
func TestSeeds(t *testing.T) {
	if *seedFlag != 0 || *scriptFlag != "" {
		if r := Run(single(t)); r.Failure != nil {
			t.Fatal(report(r))
		}
		return
	}
	first, seeds, until := uint64(1), uint64(defaultSeeds), time.Time{}
	if testing.Short() || underRace {
		seeds = 2 * uint64(len(Profiles))
	}
	if *seedsFlag > 0 {
		seeds = uint64(*seedsFlag)
	}
	if *minutesFlag > 0 {
		seeds, until = 1<<62, time.Now().Add(time.Duration(*minutesFlag*float64(time.Minute)))
		first = uint64(time.Now().UnixNano())
	}
	sum := tally{t: t, begun: time.Now()}
	runMany(func(n uint64) (Case, bool) {
		ok := n < seeds && (until.IsZero() || time.Now().Before(until))
		return caseOf(first + n), ok && sum.failures < 3
	}, sum.take)
	sum.log(first)
	if seeds == defaultSeeds && *profileFlag == "" {
		sum.stats.mustHaveMet(t)
	}
}

// tally sums up many runs.
type tally struct {
	t               *testing.T
	begun           time.Time
	stats           Stats
	runs, failures  int
	events, virtual uint64
	judged          int // histories that porcupine has seen
	undecided       int // keys of those that were too hard for it
}

// take counts a run, and tells what is wrong with it.
func (s *tally) take(r Result) {
	s.runs++
	s.stats.add(&r.Stats)
	s.events += r.Events
	s.virtual += uint64(r.Virtual)
	if r.Failure != nil {
		s.failures++
		s.t.Errorf("%s\nsmaller, as a script for -script FILE:\n%s", report(r), shrunk(r))
		return
	}
	if !r.Case.History {
		return
	}
	wrong, undecided := judge(r.History)
	s.judged++
	if s.undecided += undecided; wrong != nil {
		s.failures++
		s.t.Errorf("seed %d, profile %s: %v", r.Case.Seed, r.Case.Profile, wrong)
	}
}

func (s *tally) log(first uint64) {
	took := time.Since(s.begun).Seconds()
	s.t.Logf("%d seeds from %d on, %d events in %.1f s, %.0f/s; %.0f s of cluster time\n%s\n"+
		"%d histories judged by porcupine, %d keys undecided\n%+v", s.runs, first, s.events, took,
		float64(s.events)/took, float64(s.virtual)/1e9, s.stats.summary(), s.judged, s.undecided,
		s.stats)
	if s.judged == 0 && s.runs >= judgeEvery {
		s.t.Error("no history was judged")
	}
}

// single is the case that the command line asks for.
func single(t *testing.T) Case {
	if *scriptFlag == "" {
		return caseOf(*seedFlag)
	}
	text, err := os.ReadFile(*scriptFlag)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseScript(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shrunk is the smallest failing run that was found, as a script for -script FILE, with the end of
// its story.
func shrunk(r Result) string {
	small := Shrink(r, *shrinkFlag)
	return fmt.Sprintf("# %v\n# %d events, %d faults\n%s#\n# %s\n", small.Failure, small.Events,
		len(small.Case.Overrides.Strikes), small.Case.Script(),
		strings.Join(story(small.Case), "\n# "))
}

// story is the last lines of a run's trace.
func story(c Case) (lines []string) {
	c.Trace = func(line string) {
		lines = append(lines, line)
		if *linesFlag > 0 && len(lines) > 2**linesFlag {
			lines = append(lines[:0], lines[len(lines)-*linesFlag:]...)
		}
	}
	Run(c)
	if *linesFlag > 0 {
		lines = lines[max(0, len(lines)-*linesFlag):]
	}
	return lines
}

// add sums up.
func (s *Stats) add(r *Stats) {
	for b := range s.Crashes {
		s.Crashes[b] += r.Crashes[b]
	}
	for _, f := range [...]struct {
		sum *int
		n   int
	}{
		{&s.Elections, r.Elections}, {&s.Committed, r.Committed}, {&s.Acked, r.Acked},
		{&s.Unknown, r.Unknown}, {&s.Refused, r.Refused}, {&s.Reads, r.Reads},
		{&s.Skipped, r.Skipped}, {&s.Repeated, r.Repeated}, {&s.Expired, r.Expired},
		{&s.Truncated, r.Truncated}, {&s.Torn, r.Torn},
		{&s.Dropped, r.Dropped}, {&s.Duplicated, r.Duplicated}, {&s.Loads, r.Loads},
		{&s.Compacted, r.Compacted}, {&s.Transfers, r.Transfers}, {&s.Changes, r.Changes},
		{&s.ChangesRefused, r.ChangesRefused}, {&s.Configs, r.Configs}, {&s.Joined, r.Joined},
		{&s.Retired, r.Retired}, {&s.LeadersRemoved, r.LeadersRemoved}, {&s.Wiped, r.Wiped},
		{&s.Snapshots, r.Snapshots}, {&s.Installs, r.Installs}, {&s.Parts, r.Parts},
		{&s.Mismatches, r.Mismatches}, {&s.Resumed, r.Resumed}, {&s.Aborted, r.Aborted},
		{&s.GivenUp, r.GivenUp}, {&s.Jumped, r.Jumped},
		{&s.Stopped, r.Stopped}, {&s.Flipped, r.Flipped},
		{&s.Upgraded, r.Upgraded}, {&s.Mixed, r.Mixed}, {&s.Newer, r.Newer},
		{&s.RetiredRefused, r.RetiredRefused}, {&s.DiskErrors, r.DiskErrors}, {&s.Damaged, r.Damaged},
		{&s.Fenced, r.Fenced}, {&s.LostWrites, r.LostWrites}, {&s.LongStalls, r.LongStalls},
		{&s.Strangers, r.Strangers}, {&s.TooLarge, r.TooLarge},
		{&s.Lost, r.Lost}, {&s.Returned, r.Returned},
		{&s.Replaced, r.Replaced}, {&s.Graphs, r.Graphs},
	} {
		*f.sum += f.n
	}
}

// summary is what one wants to know of a long run.
func (s *Stats) summary() string {
	crashes := 0
	for _, n := range s.Crashes {
		crashes += n
	}
	return fmt.Sprintf("%d elections, %d crashes, %d config changes (%d configurations committed; %d "+
		"nodes joined, %d removed, %d of them leaders), %d snapshots (%d installs), %d disks lost (%d "+
		"machines replaced), %d commits", s.Elections, crashes, s.Changes, s.Configs, s.Joined, s.Retired,
		s.LeadersRemoved, s.Snapshots, s.Installs, s.Lost, s.Replaced, s.Committed)
}

// mustHaveMet fails when a kind of trouble never happened: a simulator that finds nothing because
// it does nothing looks the same from outside.
func (s *Stats) mustHaveMet(t *testing.T) {
	for b, n := range s.Crashes {
		if n == 0 {
			t.Errorf("no crash %v", boundary(b))
		}
	}
	for name, n := range map[string]int{
		"elections": s.Elections, "commits": s.Committed, "acked writes": s.Acked,
		"unknown writes": s.Unknown, "refused writes": s.Refused, "reads": s.Reads,
		"skipped proposals": s.Skipped, "repeated requests": s.Repeated, "expired ones": s.Expired,
		"truncations": s.Truncated, "torn records": s.Torn,
		"dropped packets": s.Dropped, "duplicates": s.Duplicated, "loads": s.Loads,
		"compactions": s.Compacted, "transfers": s.Transfers, "config changes": s.Changes,
		"refused config changes": s.ChangesRefused, "committed configs": s.Configs,
		"joined nodes": s.Joined, "removed nodes": s.Retired, "removed leaders": s.LeadersRemoved,
		"wiped nodes": s.Wiped, "returns under a retired id": s.RetiredRefused,
		"orderly stops": s.Stopped, "damaged packets": s.Flipped,
		"upgrades": s.Upgraded, "elections among two builds": s.Mixed,
		"messages of a newer build": s.Newer,
		"snapshots":                 s.Snapshots, "installs": s.Installs, "snapshot parts": s.Parts,
		"files that started over": s.Mismatches, "resumed transfers": s.Resumed,
		"aborted transfers": s.Aborted, "failed transfers": s.GivenUp,
		"results jumped over": s.Jumped,
		"disk errors":         s.DiskErrors, "damaged records": s.Damaged, "fenced nodes": s.Fenced,
		"lost writes": s.LostWrites, "long stalls": s.LongStalls,
		"strangers": s.Strangers, "proposals over the limit": s.TooLarge,
		"lost disks": s.Lost, "machines that came back": s.Returned, "replaced nodes": s.Replaced,
		"partial partitions": s.Graphs,
	} {
		if n < 3 {
			t.Errorf("only %d %s", n, name)
		}
	}
}

// TestKeptSeeds repeats every seed that ever failed.
func TestKeptSeeds(t *testing.T) {
	text, err := os.ReadFile("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		seed, err := strconv.ParseUint(fields[1], 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if r := Run(Case{Seed: seed, Profile: fields[0]}); r.Failure != nil {
			t.Error(report(r))
		}
	}
}

// TestSameSeedSameRun: a run is a function of its seed, whatever ran before in the process,
// whatever the garbage collector does, and whether or not somebody looks. With -hashes it writes
// down what the runs were, so that builds and settings can be compared with each other:
//
//	go test ./raftcore/sim -run TestSameSeedSameRun -hashes a.txt
//	GOGC=off GOMAXPROCS=1 go test ./raftcore/sim -run TestSameSeedSameRun -hashes b.txt
//	go test -race ./raftcore/sim -run TestSameSeedSameRun -hashes c.txt
//	cmp a.txt b.txt && cmp a.txt c.txt
func TestSameSeedSameRun(t *testing.T) {
	var hashes strings.Builder
	for n := range uint64(len(Profiles)) {
		c := caseOf(1000 + n)
		once := Run(c)
		fmt.Fprintf(&hashes, "%s %d %d %x\n", c.Profile, c.Seed, once.Events, once.Hash)
		if underRace && n%4 > 0 {
			continue
		}
		again := []Result{Run(c)}
		if n%4 == 0 {
			again = append(again, withoutCollector(c))
			c.Trace = func(string) {}
			again = append(again, Run(c))
		}
		for _, r := range again {
			if r.Hash != once.Hash || r.Events != once.Events {
				t.Errorf("seed %d, %s: hash %x after %d events, then %x after %d", c.Seed, c.Profile,
					once.Hash, once.Events, r.Hash, r.Events)
			}
		}
	}
	t.Logf("\n%s", hashes.String())
	if *hashesFlag != "" {
		if err := os.WriteFile(*hashesFlag, []byte(hashes.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// withoutCollector runs a case on a goroutine of its own while no garbage is collected.
func withoutCollector(c Case) Result {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	done := make(chan Result)
	go func() { done <- Run(c) }()
	return <-done
}

// BenchmarkEvents tells how many events one core simulates per second, all profiles taken together.
func BenchmarkEvents(b *testing.B) {
	events := uint64(0)
	for n := range b.N {
		for i := range Profiles {
			events += Run(Case{Seed: uint64(n + 1), Profile: Profiles[i].Name}).Events
		}
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(0, "ns/op")
}
