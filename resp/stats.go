package resp

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kelek/resp/command"
)

// Stats counts what goes through the listeners that share it. Fields are written by connections and
// read by INFO and the metrics.
type Stats struct {
	Connections    atomic.Uint64 // accepted and admitted
	Rejected       atomic.Uint64 // turned away by maxclients
	Commands       atomic.Uint64
	Batches        atomic.Uint64
	BytesIn        atomic.Uint64
	BytesOut       atomic.Uint64
	Hits           atomic.Uint64 // keys that reads found
	Misses         atomic.Uint64 // keys that reads did not find
	ErrorReplies   atomic.Uint64
	ProtocolErrors atomic.Uint64 // connections closed for broken framing
	SlowReaders    atomic.Uint64 // connections closed because replies were not taken

	commands []commandCounter // by Spec.Index

	errors struct {
		sync.Mutex
		count map[string]uint64
	}
	rate rate
}

type commandCounter struct{ calls, micros, rejected, failed atomic.Uint64 }

// errorWordsMax bounds the words counted apart; what comes later is counted in the sum only.
const errorWordsMax = 64

func newStats(commands int) *Stats {
	s := &Stats{commands: make([]commandCounter, commands)}
	s.errors.count = make(map[string]uint64)
	return s
}

// countError counts an error reply by its first word.
func (s *Stats) countError(word []byte) {
	s.ErrorReplies.Add(1)
	s.errors.Lock()
	defer s.errors.Unlock()
	if _, known := s.errors.count[string(word)]; known || len(s.errors.count) < errorWordsMax {
		s.errors.count[string(word)]++
	}
}

// reset is CONFIG RESETSTAT.
func (s *Stats) reset() {
	for _, c := range []*atomic.Uint64{&s.Connections, &s.Rejected, &s.Commands, &s.Batches,
		&s.BytesIn, &s.BytesOut, &s.Hits, &s.Misses, &s.ErrorReplies, &s.ProtocolErrors, &s.SlowReaders} {
		c.Store(0)
	}
	for i := range s.commands {
		c := &s.commands[i]
		for _, n := range []*atomic.Uint64{&c.calls, &c.micros, &c.rejected, &c.failed} {
			n.Store(0)
		}
	}
	s.errors.Lock()
	clear(s.errors.count)
	s.errors.Unlock()
	s.rate.reset()
}

func (s *Stats) commandstats(t *command.Table) []command.CommandStat {
	var list []command.CommandStat
	for i, spec := range t.Specs() {
		c := &s.commands[i]
		stat := command.CommandStat{Name: spec.Full, Calls: c.calls.Load(), Micros: c.micros.Load(),
			Rejected: c.rejected.Load(), Failed: c.failed.Load()}
		if stat.Calls+stat.Rejected > 0 {
			list = append(list, stat)
		}
	}
	return list
}

// rateSamples and rateEvery give a window of four seconds.
const (
	rateSamples = 16
	rateEvery   = 250 * time.Millisecond
)

// rate turns counters into figures per second, over the samples it holds.
type rate struct {
	mu      sync.Mutex
	samples [rateSamples]rateSample // ring
	taken   int
}

type rateSample struct {
	at                     time.Time
	commands, bytesIn, out uint64
}

func (s *Stats) sample(now time.Time) {
	r := &s.rate
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples[r.taken%rateSamples] =
		rateSample{now, s.Commands.Load(), s.BytesIn.Load(), s.BytesOut.Load()}
	r.taken++
}

func (r *rate) reset() {
	r.mu.Lock()
	r.taken = 0
	r.mu.Unlock()
}

// perSecond is the growth between the oldest and the newest sample.
func (r *rate) perSecond() (commands, bytesIn, bytesOut uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken < 2 {
		return 0, 0, 0
	}
	newest := r.samples[(r.taken-1)%rateSamples]
	oldest := r.samples[max(0, r.taken-rateSamples)%rateSamples]
	seconds := newest.at.Sub(oldest.at).Seconds()
	if seconds <= 0 {
		return 0, 0, 0
	}
	per := func(from, to uint64) uint64 { return uint64(float64(to-min(from, to)) / seconds) }
	return per(oldest.commands, newest.commands), per(oldest.bytesIn, newest.bytesIn),
		per(oldest.out, newest.out)
}

// errorstats lists the words in alphabetical order.
func (s *Stats) errorstats() []command.ErrorStat {
	s.errors.Lock()
	defer s.errors.Unlock()
	list := make([]command.ErrorStat, 0, len(s.errors.count))
	for word, n := range s.errors.count {
		list = append(list, command.ErrorStat{Word: word, Count: n})
	}
	slices.SortFunc(list, func(a, b command.ErrorStat) int { return cmp.Compare(a.Word, b.Word) })
	return list
}
