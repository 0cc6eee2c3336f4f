//go:build !linux

package resp

// What INFO says of the process where the system is not asked: nothing is known.

func cpuMicros() (sys, user uint64) { return 0, 0 }

func residentBytes() uint64 { return 0 }

func systemBytes() uint64 { return 0 }
