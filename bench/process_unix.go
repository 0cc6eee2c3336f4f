//go:build unix

package bench

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// The signals of kelek local.
const (
	sigKill   = syscall.SIGKILL
	sigTerm   = syscall.SIGTERM
	sigPause  = syscall.SIGSTOP
	sigResume = syscall.SIGCONT
)

// detach lets a node outlive the terminal and its Ctrl-C.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// extentOf tells which file it is, and what it takes on the disk.
func extentOf(path string, info fs.FileInfo) (fileID, int64) {
	stat, is := info.Sys().(*syscall.Stat_t)
	if !is {
		return fileID{name: path}, info.Size()
	}
	const blockBytes = 512 // of this count, whatever the blocks of the file system
	return fileID{device: uint64(stat.Dev), inode: uint64(stat.Ino)}, int64(stat.Blocks) * blockBytes
}

func isGone(err error) bool {
	return errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH)
}
