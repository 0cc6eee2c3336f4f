package load

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has used since it started.
type Usage struct {
	CPU          time.Duration // user and system time of all threads
	WrittenBytes int64         // that it has caused to be sent to the disk; -1: not known
	Resident     int64         // bytes of memory now; -1: not known
	ResidentMax  int64         // and at its peak
}

// tick is the unit of CPU times in /proc. It is part of the system's interface, whatever the
// frequency of its clock.
const tick = 10 * time.Millisecond

// UsageOf reads /proc. It fails where there is none, and when the process has ended.
func UsageOf(pid int) (Usage, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return Usage{}, err
	}
	u := Usage{WrittenBytes: -1, Resident: -1, ResidentMax: -1}
	if u.CPU, err = parseStat(string(stat)); err != nil {
		return Usage{}, err
	}
	// What is missing here belongs to another user; CPU alone is worth telling.
	if io, err := os.ReadFile(filepath.Join(dir, "io")); err == nil {
		u.WrittenBytes = field(string(io), "write_bytes:")
	}
	if status, err := os.ReadFile(filepath.Join(dir, "status")); err == nil {
		u.Resident = kibibytes(field(string(status), "VmRSS:"))
		u.ResidentMax = kibibytes(field(string(status), "VmHWM:"))
	}
	return u, nil
}

// kibibytes as bytes; what is not known stays unknown.
func kibibytes(n int64) int64 {
	if n < 0 {
		return -1
	}
	return n << 10
}

// parseStat reads user and system time from /proc/PID/stat.
func parseStat(text string) (time.Duration, error) {
	// The second field is the command in parentheses and may hold anything: count from its end.
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const user, system = 11, 12
	if len(fields) <= system {
		return 0, fmt.Errorf("/proc stat %.60q: too few fields", text)
	}
	ticks := int64(0)
	for _, i := range []int{user, system} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc stat %.60q: %w", text, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// field finds the number after a name, or -1.
func field(text, name string) int64 {
	for _, line := range strings.Split(text, "\n") {
		if rest, found := strings.CutPrefix(line, name); found {
			number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			if n, err := strconv.ParseInt(number, 10, 64); err == nil {
				return n
			}
		}
	}
	return -1
}

// Listener finds the process on this machine that listens on an address: the socket's inode from
// /proc/net/tcp, then the process that holds it. 0: there is none that this user may see.
func Listener(addr string) int {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !isLocal(host) {
		return 0
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			continue // a system without /proc, or without IPv6
		}
		if inode := listeningInode(string(text), uint16(number)); inode != "" {
			return holderOf("socket:[" + inode + "]")
		}
	}
	return 0
}

// isLocal says whether a host is this machine.
func isLocal(host string) bool {
	addrs, err := net.LookupIP(host)
	if err != nil {
		return false
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return addrs[0].IsLoopback()
	}
	for _, addr := range own {
		if block, is := addr.(*net.IPNet); is && block.IP.Equal(addrs[0]) {
			return true
		}
	}
	return addrs[0].IsLoopback()
}

// listeningInode finds a listening socket in the text of /proc/net/tcp.
func listeningInode(table string, port uint16) string {
	const local, state, inode, listening = 1, 3, 9, "0A"
	suffix := fmt.Sprintf(":%04X", port)
	for _, line := range strings.Split(table, "\n") {
		fields := strings.Fields(line)
		if len(fields) > inode && fields[state] == listening &&
			strings.HasSuffix(fields[local], suffix) {
			return fields[inode]
		}
	}
	return ""
}

func holderOf(socket string) int {
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == socket {
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2]) // the pattern has digits only
			return pid
		}
	}
	return 0
}
