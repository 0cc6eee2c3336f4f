//go:build !unix

package bench

import (
	"errors"
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

func isGone(err error) bool { return errors.Is(err, os.ErrProcessDone) }
