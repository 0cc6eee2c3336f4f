//go:build !linux

package ceiling

import "os"

func syncData(f *os.File) error { return f.Sync() }
