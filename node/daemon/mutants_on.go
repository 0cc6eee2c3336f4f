//go:build mutants

package daemon

import (
	"fmt"
	"os"
	"strconv"

	"kelek/raftcore"
)

// plantBug switches on the planted bug with the number in KELEK_MUTANT. Programs that are built with
// the tag mutants exist to show that the tests of whole nodes find such bugs.
func plantBug() error {
	text, set := os.LookupEnv("KELEK_MUTANT")
	if !set {
		return nil
	}
	number, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("KELEK_MUTANT %q is no number of a planted bug", text)
	}
	raftcore.Mutant = number
	return nil
}
