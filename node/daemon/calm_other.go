//go:build !linux

package daemon

// CalmRuntime does nothing: what it is good for was seen on Linux only.
func CalmRuntime() {}
