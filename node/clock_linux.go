package node

import (
	"time"

	"golang.org/x/sys/unix"

	"kelek/raftcore"
)

// sleeplessClock is MachineClock on a monotonic clock that runs on while the machine sleeps: a
// leader that was suspended must not take its lease for valid.
func sleeplessClock() (Clock, error) {
	read := func() raftcore.Instant {
		var now unix.Timespec
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
			return 0
		}
		return raftcore.Instant(now.Nano())
	}
	start := read()
	if start == 0 {
		return nil, errNoSleeplessClock
	}
	return func() (raftcore.Instant, raftcore.LogTime) {
		return read() - start + raftcore.Second, raftcore.LogTime(time.Now().UnixMilli())
	}, nil
}
