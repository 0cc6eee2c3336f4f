package daemon

import (
	"testing"
	"time"

	"kelek/store/op"
)

// counted are processors of a machine with some, and what the runtime was told last.
func counted(all int) (p *processors, told *int) {
	told = new(int)
	*told = all
	return &processors{set: func(n int) { *told = n }, all: all, now: all}, told
}

func TestANodeThatIsNotBusyHasOneProcessor(t *testing.T) {
	p, told := counted(4)
	for range calmLooks - 1 {
		p.look(0.2, 0)
		if *told != 4 {
			t.Fatalf("%d processors before %d looks", *told, calmLooks)
		}
	}
	if p.look(0.2, 0); *told != 1 {
		t.Fatalf("%d processors", *told)
	}
	if p.look(busyShare+0.01, 0); *told != 4 {
		t.Errorf("%d processors for a node that needs more than one", *told)
	}
	for range calmLooks {
		p.look(0.2, 0)
	}
	if p.end(); *told != 4 {
		t.Errorf("%d processors are left to who comes after the node", *told)
	}
}

// One busy look among calm ones begins the count anew.
func TestFewerProcessorsOnlyAfterSeveralCalmLooks(t *testing.T) {
	p, told := counted(2)
	for range 5 {
		if p.look(0.1, 0); *told != 2 {
			t.Fatalf("%d processors", *told)
		}
		p.look(1.99, 0)
	}
}

func TestAsManyProcessorsAsAreUsed(t *testing.T) {
	p, told := counted(16)
	for range calmLooks {
		p.look(2.5, 0)
	}
	if *told != 3 {
		t.Errorf("%d processors for 2.5 that are used", *told)
	}
	if p.look(2.9, 0); *told != 16 {
		t.Errorf("%d processors, and 2.9 of 3 are used", *told)
	}
}

func TestWhatBlocksAProcessorNeedsAnother(t *testing.T) {
	p, told := counted(2)
	calm := func() {
		for range calmLooks {
			p.look(0.1, 0)
		}
	}
	calm()
	if p.look(0.1, slowSync); *told != 2 {
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
	p.look(0.1, 0)
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
