package resp

import (
	"math"
	"time"
)

// sweepMin and sweepMax bound how often silent and stalled clients are looked for.
const (
	sweepMin = 10 * time.Millisecond
	sweepMax = time.Second
)

// sweep ends the connections whose client has been silent, or has not taken its replies, for too
// long. It is late by a quarter of the time-out at most.
func (r *reactor) sweep() {
	timer := time.NewTimer(r.sweepEvery())
	defer timer.Stop()
	for {
		select {
		case <-r.done:
			return
		case now := <-timer.C:
			r.sweepAt(now)
			timer.Reset(r.sweepEvery())
		}
	}
}

func (r *reactor) sweepEvery() time.Duration {
	shared := r.server.shared
	every := 4 * sweepMax
	for _, timeout := range [...]time.Duration{time.Duration(shared.idleTimeout.Load()),
		shared.limits.WriteTimeout, shared.limits.AuthTimeout} {
		if timeout > 0 {
			every = min(every, timeout)
		}
	}
	return min(max(every/4, sweepMin), sweepMax)
}

func (r *reactor) sweepAt(now time.Time) {
	for _, c := range r.connected() {
		stalled := c.stalledAt.Load()
		switch {
		case stalled != 0 && now.UnixNano()-stalled > int64(r.server.shared.limits.WriteTimeout):
			r.server.shared.Stats.SlowReaders.Add(1)
			c.guard.interrupt()
		case stalled == 0 && c.silentSince(now) > r.allowed(c):
			c.guard.interrupt()
		}
	}
}

func (r *reactor) connected() []*conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*conn, 0, r.live)
	for _, c := range r.slots {
		if c != nil {
			list = append(list, c)
		}
	}
	return list
}

// allowed is how long a client may say nothing.
func (r *reactor) allowed(c *conn) time.Duration {
	shared := r.server.shared
	if c.stranger.Load() {
		return shared.limits.AuthTimeout
	}
	if idle := time.Duration(shared.idleTimeout.Load()); idle > 0 {
		return idle
	}
	return math.MaxInt64
}

// silentSince is for how long a connection has had nothing to do.
func (c *conn) silentSince(now time.Time) time.Duration {
	if c.turn.state.Load()&owned != 0 {
		return 0
	}
	return time.Duration(now.UnixNano() - c.touched.Load())
}
