package sim

import (
	"testing"

	"kelek/raftcore"
)

func TestDamageInASyncedRecordIsNoticedWhereverTheBitIs(t *testing.T) {
	e := raftcore.Entry{Pos: raftcore.Pos{Term: 3, Index: 7}, Kind: raftcore.EntryNormal,
		Data: []byte("ten bytes.")}
	for chain := range uint64(1000) {
		s := slot{entry: e, chain: chain<<54 | chain}
		if got, err := readRecord(&s); err != nil || got.Pos != e.Pos {
			t.Fatalf("a sound record: %v, %v", got.Pos, err)
		}
		s.damage = rotten
		if _, err := readRecord(&s); err == nil {
			t.Fatalf("chain %x: a rotten record was taken", s.chain)
		}
		s.damage = misdirected
		if _, err := readRecord(&s); err != errWrongPlace {
			t.Fatalf("the record of another index: %v", err)
		}
	}
}

func TestDamageIsFoundAtStartAndByReads(t *testing.T) {
	d := &disk{}
	writeEntries(d, 1, 1, 1, 9)
	d.covers = 1
	d.land()
	if _, err := d.damaged(); err != nil {
		t.Fatal(err)
	}
	d.durable.log[4].damage = rotten
	if at, err := d.damaged(); at != 5 || err == nil {
		t.Errorf("damage at 5 was found at %d: %v", at, err)
	}
	entries, err := d.read(raftcore.Range{First: 1, Last: 4}, 1<<20, nil)
	if len(entries) != 4 || err != nil {
		t.Errorf("%d entries before the damage, %v", len(entries), err)
	}
	if _, err := d.read(raftcore.Range{First: 4, Last: 6}, 1<<20, nil); err == nil {
		t.Error("a read over the damage found nothing")
	}
}

func TestRequestsAreExecutedOnceOrRefused(t *testing.T) {
	var m machine
	execute := func(stamp raftcore.LogTime, request, want uint64) {
		t.Helper()
		m.stamp = stamp
		if got := m.executeOnce(1, request); got != want {
			t.Errorf("request %d at %d: %d, want %d", request, stamp, got, want)
		}
	}
	execute(0, 1, 2)
	execute(0, 1, 2) // again
	execute(0, 2, 5)
	execute(onceTTL-1, 1, 2)
	execute(onceTTL, 1, onceExpired) // by log time
	execute(onceTTL, 2, onceExpired)
	for request := uint64(3); request <= 3+onceKept; request++ {
		execute(onceTTL, request, m.once[1].sum+request%7+1)
	}
	execute(onceTTL, 3, onceExpired) // by count
	execute(onceTTL, 4, 5+4+5)
}

func TestMortalRegistersDieByLogTime(t *testing.T) {
	var m machine
	for _, key := range []uint8{0, firstMortal} {
		m.execute(100, opSet, key, 250)
		m.stamp = 350
		if m.read(opSet, key) != 250 {
			t.Errorf("register %d shows %d before its deadline", key, m.read(opSet, key))
		}
		m.stamp = 351
		if alive := m.read(opSet, key) == 250; alive != (key < firstMortal) {
			t.Errorf("register %d at its deadline: alive %t", key, alive)
		}
	}
}
