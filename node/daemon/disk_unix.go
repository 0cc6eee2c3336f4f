//go:build linux || darwin || freebsd

package daemon

import "syscall"

// freeBytes is the space that this process may still use on the disk of a directory; 0: unknown.
func freeBytes(dir string) uint64 {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0
	}
	return uint64(stat.Bavail) * uint64(stat.Bsize)
}
