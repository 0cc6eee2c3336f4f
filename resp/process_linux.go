package resp

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// cpuMicros is the time this process has used, in the kernel and outside of it.
func cpuMicros() (sys, user uint64) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, 0
	}
	micros := func(t syscall.Timeval) uint64 { return uint64(t.Sec)*1_000_000 + uint64(t.Usec) }
	return micros(u.Stime), micros(u.Utime)
}

// residentBytes is the second field of statm, in pages; 0 when there is no /proc.
func residentBytes() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}

func systemBytes() uint64 {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 0
	}
	return uint64(info.Totalram) * uint64(info.Unit)
}
