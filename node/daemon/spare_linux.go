package daemon

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// statTick is the unit of /proc/stat, whatever the kernel's own is (proc(5), sysconf(_SC_CLK_TCK)).
const statTick = 10 * time.Millisecond

// machineSpare is how long the processors of the machine have had nothing to do; zero: unknown.
func machineSpare() spare {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return spare{}
	}
	idle, ok := idleTicks(text)
	if !ok {
		return spare{}
	}
	return spare{time.Now(), time.Duration(idle) * statTick}
}

// idleTicks reads the first line of /proc/stat: "cpu", user, nice, system, idle, iowait and others.
func idleTicks(text []byte) (ticks uint64, ok bool) {
	line, _, _ := bytes.Cut(text, []byte{'\n'})
	fields := bytes.Fields(line)
	if len(fields) < 6 || string(fields[0]) != "cpu" {
		return 0, false
	}
	for _, field := range fields[4:6] {
		n, err := strconv.ParseUint(string(field), 10, 64)
		if err != nil {
			return 0, false
		}
		ticks += n
	}
	return ticks, true
}
