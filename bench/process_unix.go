//go:build unix

package bench

import (
	"errors"
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

func isGone(err error) bool {
	return errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH)
}
