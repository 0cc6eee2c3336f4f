package mesh

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// inside does something on a thread in a namespace. Sockets that are made meanwhile belong there
// for ever, whoever uses them afterwards.
func inside(namespace string, act func() error) error {
	file, err := os.Open(namespaceDir + "/" + namespace)
	if err != nil {
		return err
	}
	defer file.Close() // a handle of the namespace
	done := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine, so nobody else runs in that namespace.
		runtime.LockOSThread()
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter namespace %s: %w", namespace, err)
			return
		}
		done <- act()
	}()
	return <-done
}

// apart keeps Ctrl-C from a program: what is being made or removed is not left half done.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
