package node

import (
	"errors"
	"io/fs"
	"syscall"
)

// Exit codes of `kelek serve`. Supervisors and scripts depend on them: a number never changes its
// meaning. 64 to 68 say that starting again without a person's help is pointless.
const (
	ExitOK           = 0
	ExitUnexpected   = 1
	ExitUsage        = 2
	ExitAddressInUse = 3
	ExitLocked       = 4  // another process holds the data directory
	ExitDiskFull     = 5  // a write failed for want of space
	ExitIdentity     = 64 // the directory or a peer belongs to another cluster or name
	ExitCorrupt      = 65 // damaged data, or a replica that diverged
	ExitRemoved      = 66 // the cluster removed this node
	ExitNewer        = 67 // data of a newer version; unknown op or entry kind
	ExitConfig       = 68 // configuration invalid
)

// ExitError is an error that decides how the process ends.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string { return e.Err.Error() }
func (e *ExitError) Unwrap() error { return e.Err }

// ExitCode is the code that err asks for: ExitOK for nil, ExitUnexpected when it names none.
func ExitCode(err error) int {
	var exit *ExitError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &exit):
		return exit.Code
	}
	return ExitUnexpected
}

// fileError gives a failed file operation its exit code: no space, no right to write (which a
// person has to change), or something that nobody expected.
func fileError(err error) error {
	code := ExitUnexpected
	switch {
	case errors.Is(err, syscall.ENOSPC):
		code = ExitDiskFull
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS),
		errors.Is(err, syscall.ENOTDIR):
		code = ExitConfig
	}
	return &ExitError{Code: code, Err: err}
}
