package load

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The histogram's percentiles are those of the sorted values, to 0.1 %, over the whole range.
func TestPercentilesAreThoseOfTheSortedValues(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	one, other, exact := newTally(), newTally(), []int64{}
	for i := range 30_000 {
		latency := int64(math.Pow(10, 3+random.Float64()*7)) // a microsecond to ten seconds
		exact = append(exact, latency)
		if i%3 == 0 {
			one.record(reads, latency)
		} else {
			other.record(writes, latency)
		}
	}
	one.add(other)
	slices.Sort(exact)
	got := one.summary()
	at := func(q float64) int64 { return exact[int(math.Ceil(q*float64(len(exact))))-1] }
	sum := 0.0
	for _, latency := range exact {
		sum += float64(latency)
	}
	for name, pair := range map[string][2]float64{
		"p50": {float64(got.P50), float64(at(0.5))}, "p90": {float64(got.P90), float64(at(0.9))},
		"p99": {float64(got.P99), float64(at(0.99))}, "p99.9": {float64(got.P999), float64(at(0.999))},
		"p99.99": {float64(got.P9999), float64(at(0.9999))},
		"max":    {float64(got.Max), float64(exact[len(exact)-1])},
		"mean":   {float64(got.Mean), sum / float64(len(exact))},
	} {
		if math.Abs(pair[0]-pair[1]) > pair[1]/1000+float64(latencyLeast) {
			t.Errorf("%s: %.0f ns, exact %.0f", name, pair[0], pair[1])
		}
	}
	if got.Count != int64(len(exact)) || summarize(one.latency[reads]).Count != 10_000 {
		t.Errorf("%d values, %d reads", got.Count, summarize(one.latency[reads]).Count)
	}
}

func TestLatenciesBeyondTheRangeCount(t *testing.T) {
	tally := newTally()
	for _, latency := range []int64{-5, 0, latencyMost, math.MaxInt64} {
		tally.record(writes, latency)
	}
	if got := tally.summary(); got.Count != 4 || got.Max < time.Duration(latencyMost)*99/100 {
		t.Errorf("%+v", got)
	}
}

func TestMoveToForgets(t *testing.T) {
	r, sum := newRecorder(), newTally()
	r.tally.record(reads, 5000)
	r.tally.refuse([]byte("ERR first"))
	r.tally.refuse([]byte("ERR second"))
	r.tally.late = 7
	r.moveTo(sum)
	r.moveTo(sum)
	if sum.count() != 1 || sum.errors != 2 || sum.refusal != "ERR first" || sum.late != 7 {
		t.Errorf("%+v", sum)
	}
	if r.tally.count() != 0 || r.tally.errors != 0 || r.tally.refusal != "" {
		t.Errorf("the recorder kept %+v", r.tally)
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		text   string
	}{
		{nil, "0.00"}, {[]float64{3}, "3.00"}, {[]float64{9, 1, 5}, "5.00 [1.00..9.00]"},
		{[]float64{4, 1, 2, 9}, "3.00 [1.00..9.00]"},
	} {
		if got := SpreadOf(c.values).String(); got != c.text {
			t.Errorf("%v: %s, want %s", c.values, got, c.text)
		}
	}
}
