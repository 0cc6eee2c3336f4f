//go:build !mutants

package daemon

// plantBug is for the tests of tests: what production runs has no planted bugs.
func plantBug() error { return nil }
