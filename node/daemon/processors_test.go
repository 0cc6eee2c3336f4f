package daemon

import (
	"testing"
	"time"

	"kelek/store/op"
)

// idle is a machine of which nobody else uses anything.
var idle = sparing(64)

// sparing is a machine that has so many processors to spare whenever it is asked.
func sparing(processors float64) func() spare {
	now := time.Unix(1, 0)
	var all float64
	return func() spare {
		now = now.Add(lookInterval)
		all += processors * float64(lookInterval)
		return spare{now, time.Duration(all)}
	}
}

// counted are processors of a machine with some, and what the runtime was told last.
func counted(all int) (p *processors, told *int) {
	told = new(int)
	*told = all
	return &processors{set: func(n int) { *told = n }, all: all, now: all}, told
}

func TestANodeThatIsNotBusyHasOneProcessor(t *testing.T) {
	p, told := counted(4)
	for range calmLooks - 1 {
		p.look(0.2, 0, idle)
		if *told != 4 {
			t.Fatalf("%d processors before %d looks", *told, calmLooks)
		}
	}
	if p.look(0.2, 0, idle); *told != 1 {
		t.Fatalf("%d processors", *told)
	}
	if p.look(busyShare+0.01, 0, idle); *told != 1 {
		t.Errorf("%d processors, and it is not known yet what others use", *told)
	}
	if p.look(busyShare+0.01, 0, idle); *told != 4 {
		t.Errorf("%d processors for a node that needs more than one", *told)
	}
	for range calmLooks {
		p.look(0.2, 0, idle)
	}
	if p.end(); *told != 4 {
		t.Errorf("%d processors are left to who comes after the node", *told)
	}
}

// One busy look among calm ones begins the count anew.
func TestFewerProcessorsOnlyAfterSeveralCalmLooks(t *testing.T) {
	p, told := counted(2)
	for range 5 {
		if p.look(0.1, 0, idle); *told != 2 {
			t.Fatalf("%d processors", *told)
		}
		p.look(1.99, 0, idle)
	}
}

func TestAsManyProcessorsAsAreUsed(t *testing.T) {
	p, told := counted(16)
	for range calmLooks {
		p.look(2.5, 0, idle)
	}
	if *told != 3 {
		t.Errorf("%d processors for 2.5 that are used", *told)
	}
	if p.look(2.9, 0, idle); *told != 16 {
		t.Errorf("%d processors, and 2.9 of 3 are used", *told)
	}
}

// The load, and other nodes, run on the same two processors.
func TestNoMoreProcessorsThanOthersLeave(t *testing.T) {
	for _, c := range []struct {
		name         string
		now          int
		used, spared float64
		want         int
	}{
		{"others use half of one", 1, 1, 0.5, 1},
		{"others use half of one, and it has both", 2, 1.1, 0.4, 1},
		{"others use a quarter", 1, 1, 0.75, 2},
		{"others use next to nothing, and it has both", 2, 1.85, 0.1, 2},
		{"nobody else is there", 1, 1, 1, 2},
		{"others use all", 2, 1, 0, 1},
	} {
		p, told := counted(2)
		p.use(c.now)
		machine := sparing(c.spared)
		for range calmLooks + 1 {
			p.look(c.used, 0, machine)
		}
		if *told != c.want {
			t.Errorf("%s: %d processors, want %d", c.name, *told, c.want)
		}
	}
}

func TestWhereOthersCannotBeSeenALoadedNodeHasAll(t *testing.T) {
	p, told := counted(2)
	p.use(1)
	if p.look(1, 0, func() spare { return spare{} }); *told != 2 {
		t.Errorf("%d processors", *told)
	}
}

func TestWhatBlocksAProcessorNeedsAnother(t *testing.T) {
	p, told := counted(2)
	calm := func() {
		for range calmLooks {
			p.look(0.1, 0, idle)
		}
	}
	calm()
	if p.look(0.1, slowSync, idle); *told != 2 {
		t.Errorf("%d processors while syncs are slow", *told)
	}
	calm()
	p.tablesWorked(true)
	if *told != 2 {
		t.Errorf("%d processors while a table is written", *told)
	}
	p.tablesWorked(true)
	p.tablesWorked(false)
	if calm(); *told != 2 {
		t.Errorf("%d processors while another table is still written", *told)
	}
	p.tablesWorked(false)
	if calm(); *told != 1 {
		t.Errorf("%d processors when all is written", *told)
	}
}

func TestWhoSetsGOMAXPROCSHasDecided(t *testing.T) {
	t.Setenv("GOMAXPROCS", "2")
	p := newProcessors()
	p.tablesWorked(true)
	p.look(0.1, 0, idle)
	if p.now != 1 || p.all != 1 {
		t.Errorf("%+v", p)
	}
}

func TestUsageBetweenTwoLooks(t *testing.T) {
	begin := time.Now()
	status := func(syncs, micros uint64) *op.Status {
		return &op.Status{FsyncCount: syncs, FsyncTotalMicros: micros}
	}
	first := usageOf(begin, time.Second, status(10, 5000))
	second := usageOf(begin.Add(2*time.Second), 2*time.Second, status(14, 9000))
	if used, sync := second.since(&first); used != 0.5 || sync != time.Millisecond {
		t.Errorf("%v processors, %s for a sync", used, sync)
	}
	if used, sync := second.since(&second); used != 0 || sync != 0 {
		t.Errorf("nothing in no time: %v processors, %s for a sync", used, sync)
	}
}
