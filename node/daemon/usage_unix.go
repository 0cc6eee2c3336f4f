//go:build unix

package daemon

import (
	"syscall"
	"time"
)

// processorTime is what this process has used, of all processors together; false: unknown.
func processorTime() (time.Duration, bool) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0, false
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), true
}
