package node

import (
	"testing"

	"kelek/raftcore"
)

func TestALoneClientNeverWaitsForCompany(t *testing.T) {
	var p pace
	now := raftcore.Second
	for range 10 {
		if !p.ready(now, 1, 1) {
			t.Fatal("the next command of the only client waits")
		}
		p.begin(now, 1)
		now += 300 * raftcore.Microsecond
		p.end(now, 0)
		now += 20 * raftcore.Microsecond
	}
}

func TestClientsFallIntoStep(t *testing.T) {
	// Fifty clients; ten were in the round, forty came while it was under way. Those ten come back one
	// by one: the next round starts with the last of them, and carries all fifty.
	var p pace
	now := raftcore.Second
	p.begin(now, 10)
	now += 500 * raftcore.Microsecond
	p.end(now, 40)
	for waiting := 40; waiting < 50; waiting++ {
		now += 10 * raftcore.Microsecond
		if p.ready(now, waiting, waiting) {
			t.Fatalf("started with %d of 50", waiting)
		}
	}
	if !p.ready(now, 50, 50) {
		t.Fatal("waits although everybody is here")
	}
}

func TestAGroupThatDoesNotGrowWaitsTwiceAsLongAsTheLastRoundTook(t *testing.T) {
	var p pace
	p.begin(raftcore.Second, 20)
	end := raftcore.Second + 400*raftcore.Microsecond
	p.end(end, 0)
	if p.ready(end+799*raftcore.Microsecond, 3, 3) || !p.ready(end+800*raftcore.Microsecond, 3, 3) {
		t.Fatal("not by twice the time of the last round")
	}
	p.begin(end, 20)
	end += raftcore.Second // a very slow link
	p.end(end, 0)
	if p.ready(end+paceMax-1, 3, 3) || !p.ready(end+paceMax, 3, 3) {
		t.Fatal("not by paceMax")
	}
}

func TestManyCommandsDoNotWait(t *testing.T) {
	var p pace
	p.begin(raftcore.Second, 50)
	p.end(raftcore.Second+raftcore.Millisecond, 0)
	if !p.ready(raftcore.Second+raftcore.Millisecond, 4, paceEnough) {
		t.Fatal("a few long pipelines wait for company")
	}
}
