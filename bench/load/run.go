package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Result is what a load has shown.
type Result struct {
	Elapsed   time.Duration `json:"elapsed_ns"`  // the measured time
	Commands  int64         `json:"commands"`    // answered in it, without errors
	PerSecond float64       `json:"ops_per_sec"` // of Commands
	Errors    int64         `json:"errors"`      // error replies
	Refusal   string        `json:"first_error,omitempty"`
	Latency   Latency       `json:"latency"` // replies after the end of the time included
	Reads     Latency       `json:"reads"`
	Writes    Latency       `json:"writes"`
	// Missed commands of an open loop were due and could not be sent before the end. They count in
	// Latency with the time they had waited by then.
	Missed int64 `json:"missed,omitempty"`
	// Late is the longest time that the generator itself was late, with a connection free.
	Late   time.Duration `json:"generator_late_ns,omitempty"`
	Series []Interval    `json:"series,omitempty"`
}

// Interval is a part of a load, of a second or as long as was wanted.
type Interval struct {
	At        time.Duration `json:"at_ns"` // its end, since the begin of the measured time
	Count     int64         `json:"count"` // of commands that were answered in it, without errors
	PerSecond float64       `json:"ops_per_sec"`
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
	Max       time.Duration `json:"max_ns"`
	Errors    int64         `json:"errors,omitempty"`
	Resident  []int64       `json:"resident_bytes,omitempty"` // of each server process; -1: not known
}

// trial is one load under way.
type trial struct {
	options *Options
	clock   realClock
	end     atomic.Int64 // when the last command is sent; brought forward to end early
	probes  []probe
	done    sync.WaitGroup
	cancel  context.CancelCauseFunc
}

// probe is where measurements come from: an event loop or a connection.
type probe struct {
	recorder *recorder
	pace     *pace
}

// Run puts a load on a server and returns what it measured. It fails when a connection does; error
// replies are counted instead.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	conns, err := dialAll(&o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &trial{options: &o, clock: realClock{time.Now()}, cancel: cancel}
	r.end.Store(int64(o.Warmup + o.For))
	if o.Sequential {
		r.end.Store(math.MaxInt64)
	}
	if err := r.runAll(conns); err != nil {
		return nil, err
	}
	return r.measure(ctx)
}

// start runs an event loop or a connection; the first that fails ends the load.
func (r *trial) start(rec *recorder, p *pace, loop func() error) {
	r.probes = append(r.probes, probe{rec, p})
	r.done.Add(1)
	go func() {
		defer r.done.Done()
		if err := loop(); err != nil {
			r.cancel(err)
		}
	}()
}

// startWorkers runs the portable loop: a goroutine per connection, and one schedule for all.
func (r *trial) startWorkers(conns []net.Conn) {
	shared := newPace(r.options.Rate, 0)
	for i, conn := range conns {
		w := &worker{session: newSession(r.options, i), clock: r.clock, pace: shared,
			socket: patient{conn, r.options.Timeout}, recorder: newRecorder(), end: &r.end}
		r.start(w.recorder, shared, func() error { return errors.Join(w.run(), conn.Close()) })
	}
}

// measure collects until the load has ended.
func (r *trial) measure(ctx context.Context) (*Result, error) {
	defer r.done.Wait()
	defer r.end.Store(0) // an early return ends the loops, too
	result, total := &Result{}, newTally()
	ended := r.ended()
	if err := pause(ctx, ended, r.options.Warmup); err != nil {
		return nil, err
	}
	call(r.options.Begin)
	begin := int64(0) // without a warm-up replies may have come already, and count
	if r.options.Warmup > 0 {
		r.collect(newTally()) // what it has recorded is forgotten
		begin = r.clock.now()
	}
	if err := r.watch(ctx, ended, begin, result, total); err != nil {
		return nil, err
	}
	result.Elapsed = time.Duration(r.clock.now() - begin)
	call(r.options.End)
	result.Commands = total.count()
	result.PerSecond = float64(result.Commands) / result.Elapsed.Seconds()
	r.done.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	r.conclude(result, total)
	return result, nil
}

// watch adds up one interval after the other until the measured time is over.
func (r *trial) watch(ctx context.Context, ended <-chan struct{}, begin int64, result *Result,
	total *tally) error {
	every := r.options.Every
	for over := false; !over; {
		from := r.clock.now()
		left := int64(math.MaxInt64)
		if !r.options.Sequential {
			left = begin + int64(r.options.For) - from
		}
		over = left <= int64(every)*3/2 // no short interval at the end
		wait := every
		if over {
			wait = time.Duration(left)
		}
		if err := pause(ctx, ended, wait); err != nil {
			return err
		}
		over = over || isClosed(ended)
		part := newTally()
		r.collect(part)
		total.add(part)
		interval := newInterval(part, time.Duration(r.clock.now()-from), r.clock.now()-begin)
		if r.options.Progress != nil {
			r.options.Progress(&interval)
		}
		result.Series = append(result.Series, interval)
	}
	return nil
}

func newInterval(part *tally, length time.Duration, at int64) Interval {
	all := part.summary()
	return Interval{At: time.Duration(at), Count: all.Count, PerSecond: float64(all.Count) / length.Seconds(),
		P50: all.P50, P99: all.P99, Max: all.Max, Errors: part.errors}
}

// conclude adds the replies that came after the end, and the commands that were never sent.
func (r *trial) conclude(result *Result, total *tally) {
	r.collect(total)
	end, seen := int64(r.options.Warmup+r.options.For), map[*pace]bool{}
	for _, s := range r.probes {
		if !seen[s.pace] {
			seen[s.pace] = true
			result.Missed += s.pace.missed(end, func(waited int64) {
				total.record(r.options.kind(), waited)
			})
		}
	}
	result.Errors, result.Refusal, result.Late = total.errors, total.refusal, time.Duration(total.late)
	result.Latency = total.summary()
	result.Reads, result.Writes = summarize(total.latency[reads]), summarize(total.latency[writes])
}

func (r *trial) collect(sum *tally) {
	for _, s := range r.probes {
		s.recorder.moveTo(sum)
	}
}

// ended is closed when all connections are finished.
func (r *trial) ended() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		r.done.Wait()
		close(ended)
	}()
	return ended
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// pause returns after a time, or when the load has ended, or with the reason for ending it early.
func pause(ctx context.Context, ended <-chan struct{}, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ended:
	case <-ctx.Done():
	}
	return context.Cause(ctx)
}

func call(f func()) {
	if f != nil {
		f()
	}
}

// dialAll makes the connections, over all addresses in turn.
func dialAll(o *Options) ([]net.Conn, error) {
	var conns []net.Conn
	for i := range o.Connections {
		conn, err := dial(o, o.Addrs[i%len(o.Addrs)])
		if err != nil {
			return nil, errors.Join(err, closeAll(conns))
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

func dial(o *Options, addr string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", addr, o.Timeout)
	if err != nil {
		return nil, err
	}
	if o.Password == "" || o.Protocol != RESP {
		return conn, nil
	}
	if err := authenticate(patient{conn, o.Timeout}, o.Password); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", addr, err), conn.Close())
	}
	return conn, nil
}

func authenticate(conn net.Conn, password string) error {
	if _, err := fmt.Fprintf(conn, "*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n", len(password),
		password); err != nil {
		return err
	}
	reply := make([]byte, 0, 512)
	for {
		n, err := conn.Read(reply[len(reply):cap(reply)])
		if err != nil {
			return err
		}
		reply = reply[:len(reply)+n]
		length, refusal, err := frameRESP(reply)
		switch {
		case err != nil || len(reply) == cap(reply):
			return errors.Join(err, errors.New("AUTH was not answered as by a Redis"))
		case refusal != nil:
			return fmt.Errorf("AUTH: %s", refusal)
		case length > 0:
			return nil
		}
	}
}

func closeAll(conns []net.Conn) error {
	var failures []error
	for _, conn := range conns {
		if err := conn.Close(); !errors.Is(err, net.ErrClosed) {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}
