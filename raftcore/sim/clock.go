package sim

import "kelek/raftcore"

// clockUnit is the rate of a correct clock, so that rates are exact integers.
const clockUnit = 1000

// clock turns world time into what one node's clocks show. The monotonic one runs at a rate between
// half and double and may leap forward, as after a suspend; the wall clock may also leap back.
type clock struct {
	since, base raftcore.Instant // local time was base at world time since
	rate        raftcore.Instant // local time per clockUnit of world time
	wallOffset  int64            // milliseconds
}

func (c *clock) local(world raftcore.Instant) raftcore.Instant {
	return c.base + (world-c.since)*c.rate/clockUnit
}

// world is the first instant of world time at which the local clock shows at least local.
func (c *clock) world(local raftcore.Instant) raftcore.Instant {
	if local <= c.base {
		return c.since
	}
	return c.since + ((local-c.base)*clockUnit+c.rate-1)/c.rate
}

func (c *clock) wall(world raftcore.Instant) raftcore.LogTime {
	ms := int64(c.local(world)/raftcore.Millisecond) + c.wallOffset
	return epoch + raftcore.LogTime(max(0, ms))
}

// change lets the clock run at another rate from now on, after a leap.
func (c *clock) change(now, leap, rate raftcore.Instant, wallLeap int64) {
	c.base, c.since, c.rate = c.local(now)+leap, now, rate
	c.wallOffset += wallLeap
}
