package daemon

import (
	"math"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// calmSetting keeps the runtime's monitor thread calm. The monitor looks for system calls that take
// long every 20 us, for a millisecond, each time that the process has been idle: a node under load
// from a few clients is idle between any two messages, and spends a tenth to a fifth of its processor
// time on that. With a trace asked for, the monitor does not sleep until it is woken up, and so it has
// no reason to hurry when it was: it looks every 10 ms, and every 20 us only while system calls do keep
// goroutines waiting. The trace itself comes every 24 days of the machine's time: one line on standard
// error that begins with SCHED. Measured with Go 1.26; a runtime that does otherwise ignores it.
const calmSetting = "schedtrace=2147483647"

// traceEvery is what calmSetting says. The runtime counts from when the machine was started: where
// that is longer ago, the trace would come at once, at every start, before the first line of the log.
const traceEvery = math.MaxInt32 * time.Millisecond

// CalmRuntime starts this program again in the same process, with calmSetting in GODEBUG: the runtime
// reads it before anything else runs. It returns when there is nothing to be done, or when that fails:
// a node works without.
func CalmRuntime() {
	environ, changed := calmed(os.Environ(), uptime())
	if !changed {
		return
	}
	if path, err := os.Executable(); err == nil {
		_ = syscall.Exec(path, os.Args, environ) // returns only an error, which is none of the user's
	}
}

// uptime is what the runtime's clock shows; 0: unknown.
func uptime() time.Duration {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return 0
	}
	return time.Duration(now.Nano())
}

// calmed adds calmSetting to what GODEBUG says, unless that has its own idea, or the machine has been
// up for so long that a trace is due.
func calmed(environ []string, up time.Duration) (out []string, changed bool) {
	if up >= traceEvery {
		return environ, false
	}
	const name = "GODEBUG="
	setting := calmSetting
	for _, v := range environ {
		given, is := strings.CutPrefix(v, name)
		switch {
		case !is:
			out = append(out, v)
		case strings.Contains(given, "schedtrace="):
			return environ, false
		case given != "":
			setting = given + "," + calmSetting
		}
	}
	return append(out, name+setting), true
}
