package daemon

import (
	"os"
	"runtime/debug"
)

// gcPercent is how much may be allocated, in percent of what is in use, before the collector runs.
// What a node has in use are memtables and caches, some hundred megabytes in which there are no
// pointers: looking at them costs the collector nothing, and twice as much of them would be more than
// a gigabyte.
const gcPercent = 40

// boundMemory sets the collector's pace, unless the environment does.
func boundMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
