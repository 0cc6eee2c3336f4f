//go:build race

package sim

// underRace: the race detector makes these tests ten times slower, and has little to find in a
// package without goroutines. They do less then.
const underRace = true
