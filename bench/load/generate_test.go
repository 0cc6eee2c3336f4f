package load

import (
	"bufio"
	"bytes"
	"compress/flate"
	"math"
	"slices"
	"strings"
	"testing"
)

// The frequency of each rank is that of the law, for exponents below, at and above one.
func TestZipfHasTheShapeOfTheLaw(t *testing.T) {
	const n, draws = 1000, 400_000
	for _, s := range []float64{0.5, 0.99, 1, 1.5} {
		z, random := newZipf(n, s), newSource(1, 2)
		counts, total := make([]float64, n), 0.0
		for range draws {
			counts[z.draw(random)]++
		}
		for k := 1; k <= n; k++ {
			total += math.Pow(float64(k), -s)
		}
		for _, k := range []int{1, 2, 3, 10, 30} {
			want := draws * math.Pow(float64(k), -s) / total
			if got := counts[k-1]; math.Abs(got-want) > 5*math.Sqrt(want) {
				t.Errorf("exponent %g: rank %d was drawn %.0f times, want %.0f", s, k, got, want)
			}
		}
		tail, want := 0.0, 0.0
		for k := n/2 + 1; k <= n; k++ {
			tail += counts[k-1]
			want += draws * math.Pow(float64(k), -s) / total
		}
		if math.Abs(tail-want) > 5*math.Sqrt(want) {
			t.Errorf("exponent %g: the upper half was drawn %.0f times, want %.0f", s, tail, want)
		}
	}
}

func TestZipfStaysInItsRange(t *testing.T) {
	for _, n := range []int{1, 2, 3, 1_000_000_000_000} {
		z, random := newZipf(n, zipfExponent), newSource(3, 4)
		for range 10_000 {
			if rank := z.draw(random); rank < 0 || rank >= n {
				t.Fatalf("rank %d of %d", rank, n)
			}
		}
	}
}

func TestUniformDrawsAreEven(t *testing.T) {
	const cells, draws = 16, 160_000
	random, counts := newSource(5, 6), [cells]float64{}
	for range draws {
		counts[random.below(cells)]++
	}
	for i, got := range counts {
		if math.Abs(got-draws/cells) > 5*math.Sqrt(draws/cells) {
			t.Errorf("cell %d was drawn %.0f times of %d", i, got, draws/cells)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Sizes{
		"64": {64, 64, false}, "0": {}, "16-1024": {16, 1024, false}, "1k": {1024, 1024, false},
		"uniform:1-2": {1, 2, false}, "zipf:16-64k": {16, 65536, true}, "1m": {1 << 20, 1 << 20, false},
	} {
		if got, err := ParseSizes(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		if again, err := ParseSizes(want.String()); err != nil || again != want {
			t.Errorf("%s is written %s", text, want)
		}
	}
	for _, text := range []string{"", "-", "5-", "-5", "9-8", "x", "1g", "99999m", "gauss:1-2",
		"1kk"} {
		if got, err := ParseSizes(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestDrawnSizesKeepTheirDistribution(t *testing.T) {
	const draws = 50_000
	for _, c := range []struct {
		text   string
		median int
		slack  float64
	}{{"64", 64, 0}, {"0-1000", 500, 0.05}, {"zipf:100-1100", 100 + 26, 0.1}} {
		sizes, err := ParseSizes(c.text)
		if err != nil {
			t.Fatal(err)
		}
		s, random, drawn := newSizer(sizes), newSource(7, 8), make([]int, draws)
		for i := range drawn {
			drawn[i] = s.draw(random)
		}
		slices.Sort(drawn)
		if drawn[0] < sizes.Min || drawn[draws-1] > sizes.Max {
			t.Errorf("%s: from %d to %d", c.text, drawn[0], drawn[draws-1])
		}
		if got := drawn[draws/2]; math.Abs(float64(got-c.median)) > c.slack*float64(c.median) {
			t.Errorf("%s: median %d, want about %d", c.text, got, c.median)
		}
	}
}

func TestValuesDoNotCompress(t *testing.T) {
	random := newSource(9, 10)
	var values []byte
	for i := range 1000 {
		values = random.appendBytes(values, i%200)
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(values) // into memory
	w.Close()
	if packed.Len() < len(values) {
		t.Errorf("%d bytes were packed into %d", len(values), packed.Len())
	}
}

func testOptions(command string) *Options {
	return &Options{Addrs: []string{"here:1"}, Command: command, Connections: 2, Depth: 4, MsetKeys: 2,
		Keys: 1000, Sizes: Sizes{5, 9, false}, Seed: 11}
}

// Equal seeds give equal bytes; another seed or another connection gives others.
func TestCommandsAreDeterminedBySeedAndConnection(t *testing.T) {
	commands := func(seed uint64, connection int) string {
		o := testOptions("set")
		o.Seed, o.ReadShare, o.ZipfKeys = seed, 0.5, true
		s := newSession(o, connection)
		for i := range 100 {
			s.queue(int64(i))
		}
		return string(s.out)
	}
	if commands(1, 0) != commands(1, 0) {
		t.Error("the same seed gave other commands")
	}
	if commands(1, 0) == commands(2, 0) || commands(1, 0) == commands(1, 1) {
		t.Error("another seed or connection gave the same commands")
	}
}

func TestCommandsAreWellFormed(t *testing.T) {
	for command, arguments := range map[string]int{"set": 3, "get": 2, "incr": 2, "append": 3,
		"mset": 5, "ping": 1} {
		s := newSession(testOptions(command), 0)
		const count = 50
		for range count {
			s.queue(0)
		}
		in := bufio.NewReader(bytes.NewReader(s.out))
		for range count {
			args, err := readCommand(in)
			if err != nil || args[0] != strings.ToUpper(command) || len(args) != arguments {
				t.Fatalf("%s: %q, %v", command, args, err)
			}
			if len(args) > 1 && len(args[1]) != 16 {
				t.Fatalf("key %q has not 16 bytes", args[1])
			}
			if len(args) > 2 && (len(args[2]) < 5 || len(args[2]) > 9) {
				t.Fatalf("value %q has not 5 to 9 bytes", args[2])
			}
		}
		if in.Buffered() > 0 {
			t.Errorf("%s: bytes are left over", command)
		}
	}
}

func TestReadShare(t *testing.T) {
	o := testOptions("set")
	o.ReadShare = 0.25
	s := newSession(o, 0)
	const count = 10_000
	for range count {
		s.queue(0)
	}
	gets := 0
	for _, c := range s.waiting {
		if c.kind == reads {
			gets++
		}
	}
	if math.Abs(float64(gets)-count/4) > 5*math.Sqrt(count*3/16) {
		t.Errorf("%d reads of %d", gets, count)
	}
}

func TestSequentialKeysCoverAllOnce(t *testing.T) {
	o := testOptions("set")
	o.Sequential, o.Keys, o.Connections = true, 101, 3
	seen := map[string]int{}
	for i := range o.Connections {
		s := newSession(o, i)
		for !s.exhausted() {
			s.queue(0)
		}
		in := bufio.NewReader(bytes.NewReader(s.out))
		for range s.waiting {
			args, err := readCommand(in)
			if err != nil {
				t.Fatal(err)
			}
			seen[args[1]]++
		}
	}
	for key, times := range seen {
		if times != 1 {
			t.Errorf("%s was written %d times", key, times)
		}
	}
	if len(seen) != o.Keys {
		t.Errorf("%d keys of %d", len(seen), o.Keys)
	}
}

// Nothing is allocated per command, neither on its way out nor on the way back.
func TestCommandsDoNotAllocate(t *testing.T) {
	o := testOptions("set")
	o.ReadShare, o.ZipfKeys = 0.5, true
	s, tally := newSession(o, 0), newTally()
	round := func() {
		for range o.Depth {
			s.queue(0)
		}
		s.out = s.out[:0]
		n := 0
		for range o.Depth {
			n += copy(s.room()[n:], "$3\r\nabc\r\n")
		}
		if err := s.take(n, 5000, tally); err != nil || !s.idle() {
			t.Fatal("not all replies were understood", err)
		}
	}
	round()
	if allocations := testing.AllocsPerRun(1000, round); allocations > 0 {
		t.Errorf("%g allocations for %d commands", allocations, o.Depth)
	}
}
