//go:build !(linux || darwin || freebsd || netbsd || openbsd)

package client

import (
	"errors"
	"os"
)

// IsTerminal reports whether f is a terminal. Here it cannot tell; output is then raw, as for a
// pipe, which every program can read.
func IsTerminal(*os.File) bool { return false }

func rawMode(*os.File) (restore func() error, err error) {
	return nil, errors.New("this system has no raw terminal mode")
}
