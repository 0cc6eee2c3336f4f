package node

import (
	"errors"
	"os"
	"syscall"
)

// errSharing is ERROR_SHARING_VIOLATION: the file is open elsewhere.
const errSharing syscall.Errno = 32

// lockFile opens path so that nobody else can, which the system undoes when the process ends.
// errLocked: another process has it.
func lockFile(path string) (*os.File, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	const access = syscall.GENERIC_READ | syscall.GENERIC_WRITE
	handle, err := syscall.CreateFile(name, access, 0, nil, syscall.OPEN_ALWAYS,
		syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, errSharing) {
		return nil, errLocked
	}
	if err != nil {
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return os.NewFile(uintptr(handle), path), nil
}

// syncDir does nothing: the system has no such call, and journals its directories.
func syncDir(string) error { return nil }
