//go:build mutants

package sim

import "kelek/raftcore"

func planted(n int) bool { return raftcore.Mutant == n }
