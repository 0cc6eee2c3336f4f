//go:build !unix

package bench

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// Signals that this system cannot send fail when they are used.
const (
	sigKill   = syscall.SIGKILL
	sigTerm   = syscall.SIGTERM
	sigPause  = syscall.Signal(-1)
	sigResume = syscall.Signal(-2)
)

func detach(*exec.Cmd) {}

// extentOf knows names and sizes only.
func extentOf(path string, info fs.FileInfo) (fileID, int64) {
	return fileID{name: path}, info.Size()
}

func isGone(err error) bool { return errors.Is(err, os.ErrProcessDone) }
