package load

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

func multiOptions() *Options {
	o := testOptions("multi")
	o.MultiSets = 3
	return o
}

// A transaction is MULTI, its SETs and EXEC, on the keys that "get" reads.
func TestTransactionsAreWellFormed(t *testing.T) {
	s := newSession(multiOptions(), 0)
	const count = 20
	for range count {
		s.queue(0)
	}
	in := bufio.NewReader(bytes.NewReader(s.out))
	for range count {
		words := ""
		for range 5 {
			args, err := readCommand(in)
			if err != nil {
				t.Fatal(err)
			}
			if len(args) == 3 && (!strings.HasPrefix(args[1], "key:") || len(args[2]) < 5) {
				t.Fatalf("%q", args)
			}
			words += fmt.Sprint(args[0], len(args), " ")
		}
		if words != "MULTI1 SET3 SET3 SET3 EXEC1 " {
			t.Fatal(words)
		}
	}
	if in.Buffered() > 0 {
		t.Error("bytes are left over")
	}
}

// Whatever a transaction is answered, it is one command: answered when EXEC is, or refused once.
func TestATransactionIsOneCommand(t *testing.T) {
	const good = "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n+OK\r\n+OK\r\n"
	for name, c := range map[string]struct {
		replies string
		refusal string
	}{
		"executed": {good, ""},
		"refused when queued": {"+OK\r\n+QUEUED\r\n-OOM no room\r\n-OOM again\r\n-EXECABORT because\r\n",
			"OOM no room"},
		"an error in EXEC": {"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n-ERR a\r\n-ERR b\r\n",
			"ERR a"},
		"not executed": {"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*-1\r\n",
			"the transaction was not executed"},
	} {
		s, tally := newSession(multiOptions(), 0), newTally()
		s.queue(1000)
		s.queue(1000)
		for i, reply := range []byte(c.replies + good) { // byte by byte: EXEC comes in pieces, too
			s.room()[0] = reply
			if err := s.take(1, int64(1000*(i+2)), tally); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if answered := tally.count() + tally.errors; i < len(c.replies)-1 && answered > 0 &&
				c.refusal == "" {
				t.Fatalf("%s: answered after %d bytes of %d", name, i+1, len(c.replies))
			}
		}
		refused := int64(0)
		if c.refusal != "" {
			refused = 1
		}
		if !s.idle() || tally.errors != refused || tally.count() != 2-refused ||
			tally.refusal != c.refusal {
			t.Errorf("%s: idle %t, %d answered, %d refused: %q", name, s.idle(), tally.count(),
				tally.errors, tally.refusal)
		}
		last := int64(1000 * (len(c.replies) + len(good)))
		if most := tally.latency[writes].Max(); most < last*99/100 || most > last*101/100 {
			t.Errorf("%s: the last one took %d, not %d", name, most, last)
		}
	}
}

func TestTransactionsAgreeWithTheServer(t *testing.T) {
	f := newFakeServer(t)
	o := runOptions(f)
	o.Command, o.MultiSets, o.ReadShare = "multi", 4, 0.5
	result, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	asked := f.count("EXEC", "GET")
	if asked == 0 || result.Latency.Count != asked || result.Errors != 0 {
		t.Errorf("%d replies to %d commands, %d errors: %s", result.Latency.Count, asked, result.Errors,
			result.Refusal)
	}
	if sets := f.count("SET"); sets != 4*f.count("EXEC") || f.count("MULTI") != f.count("EXEC") {
		t.Errorf("%d SETs in %d transactions", sets, f.count("EXEC"))
	}
}

func TestNothingIsAllocatedForLargeCommands(t *testing.T) {
	for command, reply := range map[string]string{"mset": "+OK\r\n",
		"multi": "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n+OK\r\n+OK\r\n"} {
		o := multiOptions()
		o.Command = command
		s, tally := newSession(o, 0), newTally()
		round := func() {
			s.queue(0)
			s.out = s.out[:0]
			if err := s.take(copy(s.room(), reply), 5000, tally); err != nil || !s.idle() {
				t.Fatal("not all replies were understood", err)
			}
		}
		round()
		if n := testing.AllocsPerRun(1000, round); n > 0 {
			t.Errorf("%s: %g allocations", command, n)
		}
	}
}

// The parts of a run have the wanted length, add up to the whole, and keep what the observer adds.
func TestIntervals(t *testing.T) {
	f := newFakeServer(t)
	o := runOptions(f)
	o.For, o.Every = time.Second, 10*time.Millisecond
	o.Progress = func(i *Interval) { i.Resident = []int64{7} }
	result, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	sum, before := int64(0), time.Duration(0)
	for at, i := range result.Series {
		last := at == len(result.Series)-1 // may be shorter
		if sum += i.Count; i.At-before < o.Every && !last || len(i.Resident) != 1 {
			t.Errorf("interval of %s: %+v", i.At-before, i)
		}
		before = i.At
	}
	// On a busy machine they are longer than wanted, and fewer; of the default length there is one.
	if n := len(result.Series); n < 2 || sum != result.Commands {
		t.Errorf("%d intervals, %d of %d commands", n, sum, result.Commands)
	}
}

func TestDrift(t *testing.T) {
	var series []Interval
	for i := range 9 {
		series = append(series, Interval{PerSecond: float64(100 - 10*i),
			P50: time.Duration(10+i) * time.Millisecond, P99: 20 * time.Millisecond,
			Resident: []int64{int64(100 + 10*i), 100}})
	}
	series[8].P99 = time.Hour // a single stall is no drift
	d, known := DriftOf(series)
	want := Drift{PerSecond: 30.0 / 90, P50: 17.0 / 11, P99: 1, Resident: 270.0 / 210}
	if !known || fmt.Sprintf("%.6f", d) != fmt.Sprintf("%.6f", want) {
		t.Errorf("%+v, want %+v", d, want)
	}
	series[0].Resident[1], series[1].Resident[0], series[2].Resident = -1, -1, nil
	if d, known := DriftOf(series); !known || d.Resident != 0 {
		t.Errorf("the memory was not known: %+v", d)
	}
	if d, known := DriftOf(series[:5]); known {
		t.Errorf("a drift of five intervals: %+v", d)
	}
}

// Other writes are compared with plain SETs that had the same connections, depth, system and round.
func TestWritesAreComparedWithPlainSets(t *testing.T) {
	var rows []Row
	add := func(system string, round int, perSecond float64, o Options) {
		row := NewRow(system, 1, round, &o)
		row.PerSecond = perSecond
		rows = append(rows, row)
	}
	for round := 1; round <= 2; round++ {
		for _, depth := range []int{1, 16} {
			base := float64(100 * round * depth)
			add("a", round, base, Options{Command: "set", Connections: 50, Depth: depth})
			add("b", round, 2*base, Options{Command: "set", Connections: 50, Depth: depth})
			add("a", round, base/2, Options{Command: "mset", MsetKeys: 10, Connections: 50, Depth: depth})
			add("b", round, base/2, Options{Command: "set", ReadShare: 0.5, Connections: 50, Depth: depth})
			add("a", round, base, Options{Command: "get", Connections: 50, Depth: depth})
			add("a", round, base, Options{Command: "incr", Connections: 9, Depth: depth})
		}
	}
	got := map[string]Spread{}
	for _, line := range Lines(rows) {
		if line.OfSet.Count > 0 {
			got[line.System+" "+line.Workload] = line.OfSet
		}
	}
	half, quarter := Spread{0.5, 0.5, 0.5, 2}, Spread{0.25, 0.25, 0.25, 2}
	want := map[string]Spread{"a mset/10 c50 P1": half, "a mset/10 c50 P16": half,
		"b set+50%get c50 P1": quarter, "b set+50%get c50 P16": quarter}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestTheMeanOfSizes(t *testing.T) {
	for text, want := range map[string]float64{"64": 64, "0-1000": 500, "0": 0} {
		sizes, err := ParseSizes(text)
		if got := sizes.Mean(); err != nil || got < want*0.97 || got > want*1.03 {
			t.Errorf("%s: %g, %v", text, got, err)
		}
	}
	if small, err := ParseSizes("zipf:1-1000"); err != nil || small.Mean() > 250 ||
		small.Mean() < 50 {
		t.Errorf("small ones are frequent: %g, %v", small.Mean(), err)
	}
}
