//go:build !unix

package daemon

// CalmRuntime does nothing: a process of this system cannot start another program in its place.
func CalmRuntime() {}
