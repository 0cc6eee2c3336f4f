package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// What a histogram can tell apart: 0.1 % of a latency between a microsecond and ten minutes.
const (
	latencyLeast  = int64(time.Microsecond)
	latencyMost   = int64(10 * time.Minute)
	latencyDigits = 3
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(latencyLeast, latencyMost, latencyDigits)
}

// Kinds of commands that are counted apart.
const (
	writes = iota
	reads
	kinds
)

// tally is what some connections saw in some time.
type tally struct {
	latency [kinds]*hdrhistogram.Histogram
	errors  int64
	late    int64 // longest time that the generator itself sent a command too late, nanoseconds
	refusal string
}

func newTally() *tally {
	t := &tally{}
	for kind := range t.latency {
		t.latency[kind] = newHistogram()
	}
	return t
}

func (t *tally) record(kind int, latency int64) {
	// In range by construction, so that the error of the library cannot occur.
	t.latency[kind].RecordValue(min(max(latency, 0), latencyMost))
}

func (t *tally) refuse(text []byte) {
	if t.errors++; t.refusal == "" {
		t.refusal = string(text)
	}
}

// add adds another tally.
func (t *tally) add(other *tally) {
	for kind := range t.latency {
		if other.latency[kind].TotalCount() > 0 {
			t.latency[kind].Merge(other.latency[kind])
		}
	}
	t.errors += other.errors
	t.late = max(t.late, other.late)
	t.refusal = orDefault(t.refusal, other.refusal)
}

func (t *tally) reset() {
	for kind := range t.latency {
		if t.latency[kind].TotalCount() > 0 {
			t.latency[kind].Reset()
		}
	}
	t.errors, t.late, t.refusal = 0, 0, ""
}

func (t *tally) count() int64 {
	return t.latency[reads].TotalCount() + t.latency[writes].TotalCount()
}

// recorder is the tally of an event loop or a connection. Its owner locks it once per batch of
// replies, the collector once per second.
type recorder struct {
	guard sync.Mutex
	tally *tally
}

func newRecorder() *recorder { return &recorder{tally: newTally()} }

// moveTo adds what was recorded since the last call, and forgets it.
func (r *recorder) moveTo(sum *tally) {
	r.guard.Lock()
	defer r.guard.Unlock()
	sum.add(r.tally)
	r.tally.reset()
}

// Latency is a summary of latencies.
type Latency struct {
	Count int64         `json:"count"`
	Mean  time.Duration `json:"mean_ns"`
	Min   time.Duration `json:"min_ns"`
	P50   time.Duration `json:"p50_ns"`
	P90   time.Duration `json:"p90_ns"`
	P99   time.Duration `json:"p99_ns"`
	P999  time.Duration `json:"p999_ns"`
	P9999 time.Duration `json:"p9999_ns"`
	Max   time.Duration `json:"max_ns"`
}

func summarize(h *hdrhistogram.Histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	at := func(q float64) time.Duration { return time.Duration(h.ValueAtQuantile(q)) }
	return Latency{Count: h.TotalCount(), Mean: time.Duration(h.Mean()), Min: time.Duration(h.Min()),
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), P9999: at(99.99),
		Max: time.Duration(h.Max())}
}

// summary is the summary of both kinds together.
func (t *tally) summary() Latency {
	both := newHistogram()
	for _, h := range t.latency {
		both.Merge(h)
	}
	return summarize(both)
}
