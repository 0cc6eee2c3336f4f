//go:build !linux

package node

// sleeplessClock: the clocks that Go offers here stand still while the machine sleeps.
func sleeplessClock() (Clock, error) { return nil, errNoSleeplessClock }
