//go:build darwin || freebsd || netbsd || openbsd

package client

import "syscall"

const (
	getAttributes = syscall.TIOCGETA
	setAttributes = syscall.TIOCSETA
)
