package daemon

import (
	"context"
	"math"
	"os"
	"runtime"
	"sync"
	"time"

	"kelek/store/op"
)

// processors keeps as many processors for the runtime as the node has use for.
//
// A message passes some five goroutines on its way through a node, and hardly any of them has more
// than a few microseconds to do. With several processors to choose from, the runtime wakes another
// one for each of them, which costs more than the work; with one it goes on with the next goroutine.
// So a node that is not busy has one: it needs a third less processor time for a command, and a lone
// client waits for less long. What one is not enough for:
//
//	load               a share of busyShare of what the node has, within one look: all that others
//	                   leave it. More than that would bring nothing but their cost
//	work on tables     sorts, and system calls that take milliseconds, keep the processor that they
//	                   began on, until the runtime's monitor notices: all, as long as they last
//	slow disks         the same holds for the syncs of the log: all, while they take slowSync
//
// Fewer come only after calmLooks in a row have found that fewer would do.
//
// Who sets GOMAXPROCS has decided, and nothing is changed.
type processors struct {
	set func(int)
	all int

	mu     sync.Mutex
	now    int
	tables int // work on tables that is under way
	calm   int // looks in a row that found fewer would do
	spared spare
}

// spare is what the machine had to spare up to a moment.
type spare struct {
	at   time.Time
	time time.Duration // of all its processors
}

const (
	lookInterval = 250 * time.Millisecond
	calmLooks    = 2
	// busyShare of a processor is used before another one is worth its cost.
	busyShare = 0.95
	// leftShare of a processor may be used by others before the node is better off without it: with
	// the second one it needs almost half as much again for the same work.
	leftShare = 0.4
	// slowSync is the mean duration of the log's syncs since the last look.
	slowSync = 3 * time.Millisecond
)

func newProcessors() *processors {
	p := &processors{set: func(n int) { runtime.GOMAXPROCS(n) }, all: runtime.GOMAXPROCS(0)}
	if os.Getenv("GOMAXPROCS") != "" {
		p.all = 1 // nothing to choose from
		p.set = func(int) {}
	}
	p.now = p.all
	return p
}

// tablesWorked hears when work on tables begins and ends.
func (p *processors) tablesWorked(begin bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !begin {
		p.tables--
		return
	}
	p.tables++
	p.use(p.all)
}

// look takes what was used since the last look, as a number of processors, and the mean duration of a
// sync. spared is asked only when it matters.
func (p *processors) look(used float64, sync time.Duration, spared func() spare) {
	p.mu.Lock()
	defer p.mu.Unlock()
	need := min(p.all, max(1, int(math.Ceil(used/busyShare))))
	if used >= busyShare*float64(p.now) {
		need = p.all
	}
	if need > 1 {
		need = min(need, p.left(used, spared()))
	} else {
		p.spared = spare{}
	}
	if p.tables > 0 || sync >= slowSync {
		need = p.all
	}
	switch {
	case need >= p.now:
		p.use(need)
	case p.calm+1 < calmLooks:
		p.calm++
	default:
		p.use(need)
	}
}

// left is how many processors others leave to the node, which has used some since the last look.
// Locked.
func (p *processors) left(used float64, now spare) int {
	last := p.spared
	p.spared = now
	switch {
	case now.at.IsZero():
		return p.all // not known on this system
	case last.at.IsZero() || !now.at.After(last.at):
		return p.now // known at the next look
	}
	spared := float64(now.time-last.time) / float64(now.at.Sub(last.at))
	return max(1, int(used+spared+leftShare))
}

// end gives the runtime back what it had.
func (p *processors) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.use(p.all)
}

// use makes the runtime use n. Locked.
func (p *processors) use(n int) {
	p.calm = 0
	if n != p.now {
		p.now = n
		p.set(n)
	}
}

// adaptProcessors looks until the daemon stops.
func (d *Daemon) adaptProcessors(context.Context) error {
	if _, known := processorTime(); !known || d.processors.all == 1 {
		return nil
	}
	end, ended := make(chan struct{}), make(chan struct{})
	d.onStop("processors", func(context.Context) error {
		close(end)
		<-ended
		d.processors.end()
		return nil
	})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(lookInterval)
		defer ticker.Stop()
		last := d.usage()
		for {
			select {
			case <-end:
				return
			case <-ticker.C:
				now := d.usage()
				used, sync := now.since(&last)
				d.processors.look(used, sync, machineSpare)
				last = now
			}
		}
	}()
	return nil
}

// usage is what has been used up to a moment.
type usage struct {
	at         time.Time
	processors time.Duration
	syncs      uint64
	syncTime   time.Duration
}

func (d *Daemon) usage() usage {
	used, _ := processorTime() // known: see adaptProcessors
	return usageOf(time.Now(), used, d.node.Status())
}

func usageOf(at time.Time, used time.Duration, s *op.Status) usage {
	return usage{at: at, processors: used, syncs: s.FsyncCount,
		syncTime: time.Duration(s.FsyncTotalMicros) * time.Microsecond}
}

// since returns how many processors were used, and the mean duration of a sync.
func (u *usage) since(last *usage) (used float64, sync time.Duration) {
	if syncs := u.syncs - last.syncs; syncs > 0 {
		sync = (u.syncTime - last.syncTime) / time.Duration(syncs)
	}
	passed := max(u.at.Sub(last.at), time.Millisecond)
	return float64(u.processors-last.processors) / float64(passed), sync
}
