package load

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// fakeRun runs one connection against a server that answers in 100 us, and stalls for a second in
// the middle of four.
func fakeRun(t *testing.T, rate float64, depth int) (*tally, *worker, *fakeSocket) {
	t.Helper()
	clock := &fakeClock{}
	socket := &fakeSocket{clock: clock, service: int64(100 * time.Microsecond),
		stallAt: int64(2 * time.Second), stall: int64(time.Second)}
	end := &atomic.Int64{}
	end.Store(int64(4 * time.Second))
	o := &Options{Addrs: []string{"fake"}, Command: "ping", Connections: 1, Depth: depth, Keys: 1}
	w := &worker{session: newSession(o, 0), socket: socket, clock: clock, pace: newPace(rate, 0),
		recorder: newRecorder(), end: end}
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	return w.recorder.tally, w, socket
}

func near(got, want, slack time.Duration) bool { return got >= want-slack && got <= want+slack }

// A closed loop hides the stall: one latency of a second among 30,000 does not reach p99.9.
func TestAClosedLoopOmitsAStall(t *testing.T) {
	tally, _, _ := fakeRun(t, 0, 1)
	got := tally.summary()
	if !near(time.Duration(got.Count), 30_000, 100) {
		t.Errorf("%d commands", got.Count)
	}
	if got.P999 > time.Millisecond || !near(got.Max, time.Second, 10*time.Millisecond) {
		t.Errorf("p99.9 %s, max %s", got.P999, got.Max)
	}
}

// The open loop shows it: at 1000/s the 1000 commands of that second waited from 0 to 1 s, a
// quarter of all; while the server works off the rest at 10,000/s some more fall behind.
func TestAnOpenLoopShowsAStall(t *testing.T) {
	tally, _, socket := fakeRun(t, 1000, 1)
	got := tally.summary()
	if got.Count != 4000 || socket.commands != 4000 {
		t.Errorf("%d replies to %d commands", got.Count, socket.commands)
	}
	// The backlog of 1000 is worked off in 1000 / (10000 - 1000) s. 1111 of 4000 waited: from 1 s
	// down to nothing, evenly.
	if !near(got.P50, 100*time.Microsecond, 5*time.Microsecond) {
		t.Errorf("p50 %s", got.P50)
	}
	if !near(got.P90, 640*time.Millisecond, 10*time.Millisecond) {
		t.Errorf("p90 %s", got.P90)
	}
	if !near(got.P99, 964*time.Millisecond, 10*time.Millisecond) {
		t.Errorf("p99 %s", got.P99)
	}
	if !near(got.Max, time.Second, 5*time.Millisecond) {
		t.Errorf("max %s", got.Max)
	}
	if tally.late != 0 {
		t.Errorf("the generator blames itself for %s", time.Duration(tally.late))
	}
}

// Pipelines work off a backlog faster, but wait for no command that is not due.
func TestCommandsGatherOnlyWhenTheyAreLate(t *testing.T) {
	tally, _, socket := fakeRun(t, 1000, 16)
	if largest := slices.Max(socket.batches); largest != 16 {
		t.Errorf("largest batch %d", largest)
	}
	ones := 0
	for _, n := range socket.batches {
		if n == 1 {
			ones++
		}
	}
	if ones < 2900 {
		t.Errorf("%d batches of one command", ones)
	}
	if got := tally.summary(); got.Count != 4000 {
		t.Errorf("%d commands", got.Count)
	}
}

// A server that is too slow: what was due and never sent counts with the time it had waited.
func TestCommandsThatWereNeverSentCount(t *testing.T) {
	tally, w, _ := fakeRun(t, 20_000, 1) // it answers 10,000
	sent := tally.count()
	missed := w.pace.missed(w.end.Load(), func(waited int64) { tally.record(reads, waited) })
	got := tally.summary()
	if sent+missed != 80_000 || got.Count != 80_000 || missed != 50_000 {
		t.Errorf("%d sent, %d missed", sent, missed)
	}
	// Without them, the longest latency would be that of the last command that was sent.
	if !near(got.P99, 2500*time.Millisecond, 100*time.Millisecond) {
		t.Errorf("p99 %s, max %s", got.P99, got.Max)
	}
}

func TestPaceIsExact(t *testing.T) {
	p := newPace(3, 0.5)
	var dues []int64
	for {
		due, is := p.claimDue(int64(2 * time.Second))
		if !is {
			break
		}
		dues = append(dues, due/int64(time.Millisecond))
	}
	if want := []int64{166, 500, 833, 1166, 1500, 1833}; !slices.Equal(dues, want) {
		t.Errorf("%v, want %v", dues, want)
	}
	if p.upcoming()/int64(time.Millisecond) != 2166 {
		t.Errorf("the next is due at %d", p.upcoming())
	}
}
