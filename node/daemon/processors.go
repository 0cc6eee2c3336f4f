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
//	load               a share of busyShare of what the node has, within one look: all, at once
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
}

const (
	lookInterval = 250 * time.Millisecond
	calmLooks    = 2
	// busyShare of a processor is used before another one is worth its cost.
	busyShare = 0.95
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
// sync.
func (p *processors) look(used float64, sync time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	need := min(p.all, max(1, int(math.Ceil(used/busyShare))))
	if p.tables > 0 || sync >= slowSync || used >= busyShare*float64(p.now) {
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
				d.processors.look(now.since(&last))
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
