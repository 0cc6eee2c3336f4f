//go:build linux || darwin || freebsd || netbsd || openbsd

package client

import (
	"os"
	"syscall"
	"unsafe"
)

// IsTerminal reports whether f is a terminal. A character device is not enough: /dev/null is one.
func IsTerminal(f *os.File) bool {
	var state syscall.Termios
	return ioctl(f, getAttributes, &state) == nil
}

// rawMode switches echo and line buffering off, so that single keys can be read, and returns the
// function that switches them on again. Signals of the keyboard are switched off, too: Ctrl-C
// arrives as a byte.
func rawMode(f *os.File) (restore func() error, err error) {
	var before syscall.Termios
	if err := ioctl(f, getAttributes, &before); err != nil {
		return nil, err
	}
	raw := before
	raw.Iflag &^= syscall.ICRNL | syscall.IXON | syscall.BRKINT | syscall.INPCK | syscall.ISTRIP
	raw.Lflag &^= syscall.ECHO | syscall.ICANON | syscall.IEXTEN | syscall.ISIG
	raw.Cc[syscall.VMIN], raw.Cc[syscall.VTIME] = 1, 0
	if err := ioctl(f, setAttributes, &raw); err != nil {
		return nil, err
	}
	return func() error { return ioctl(f, setAttributes, &before) }, nil
}

func ioctl(f *os.File, request uintptr, state *syscall.Termios) error {
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request,
		uintptr(unsafe.Pointer(state)))
	if errno != 0 {
		return errno
	}
	return nil
}
