//go:build mutants

package raftcore

// Mutant is the planted bug that is switched on; 0 for none. Only tests of the tests set it.
var Mutant int

func planted(n int) bool { return Mutant == n }
