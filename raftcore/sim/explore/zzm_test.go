//go:build mutants

package explore

import (
	"os"
	"strconv"
	"testing"

	"kelek/raftcore"
)

func TestMain(m *testing.M) {
	raftcore.Mutant, _ = strconv.Atoi(os.Getenv("MUTANT"))
	os.Exit(m.Run())
}
