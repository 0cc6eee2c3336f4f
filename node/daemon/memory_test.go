package daemon

import (
	"runtime/debug"
	"testing"
)

func TestMemoryIsBoundedUnlessSomebodyHasDecided(t *testing.T) {
	const given = 77
	defer debug.SetGCPercent(debug.SetGCPercent(given))
	t.Setenv("GOGC", "77")
	boundMemory()
	if percent := debug.SetGCPercent(given); percent != given {
		t.Errorf("GOGC was set, and it is %d %%", percent)
	}
	t.Setenv("GOGC", "")
	boundMemory()
	if percent := debug.SetGCPercent(given); percent != gcPercent {
		t.Errorf("%d %%, want %d", percent, gcPercent)
	}
}
