package daemon

import "testing"

func TestIdleTicksOfTheMachine(t *testing.T) {
	const two = "cpu  2713610 604995 1088582 1176449 44799 0 152026 13911 0 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n"
	if ticks, ok := idleTicks([]byte(two)); !ok || ticks != 1176449+44799 {
		t.Errorf("%d, %t", ticks, ok)
	}
	for _, bad := range []string{"", "cpu 1 2 3 4", "cpu0 1 2 3 4 5 6", "cpu 1 2 3 x 5 6"} {
		if ticks, ok := idleTicks([]byte(bad)); ok {
			t.Errorf("%q: %d", bad, ticks)
		}
	}
	if s := machineSpare(); s.at.IsZero() || s.time <= 0 {
		t.Errorf("nothing is known of this machine: %+v", s)
	}
}
