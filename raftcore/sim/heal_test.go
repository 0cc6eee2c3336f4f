package sim

import (
	"slices"
	"testing"

	"kelek/raftcore"
)

func TestHealingEndsTheStallUnderASnapshotThatIsHere(t *testing.T) {
	w := newWorld(Case{Seed: 1, Profile: "slow-disk"})
	p := w.nodes[0]
	p.start()
	p.fetch = fetch{number: 1, whole: true}
	p.disk.stalled = w.now + 60*sec
	p.fetchTakes(w.syncLatency(&p.disk))
	if p.fetch.syncEnds < w.now+60*sec {
		t.Fatalf("a disk that stalls has synced the snapshot at %d", p.fetch.syncEnds)
	}
	w.healNode(p, true)
	if most := w.now + w.promptly(); p.fetch.syncEnds > most {
		t.Errorf("after healing the snapshot is synced at %d, not within %d", p.fetch.syncEnds, most)
	}
}

// A crash may leave all parts of a snapshot and not the knowledge that they are sound.
func TestAllPartsOfASnapshotAreVerifiedAfterACrash(t *testing.T) {
	for _, c := range []struct {
		damage uint64
		whole  bool
	}{{0, true}, {1, false}} {
		w := newWorld(Case{Seed: 1, Profile: "slow-disk"})
		p, from := w.nodes[0], w.nodes[1]
		p.start()
		sent, s, n := &snapshot{base: 7}, &p.disk.stage, w.knobs.snapshotParts
		for i := range n {
			s.parts = append(s.parts, sent.part(i))
		}
		s.parts[n-1] ^= c.damage
		p.fetch = fetch{Fetch: raftcore.Fetch{From: from.id}, number: 1}
		p.takePart(from, streamPart{answer: true, number: 1, offset: n, snapshot: sent})
		if whole := s.whole != nil; whole != c.whole || whole != (len(s.parts) == n) {
			t.Errorf("damage %d: whole %t, %d of %d parts", c.damage, whole, len(s.parts), n)
		}
	}
}

// Who is connected after healing has to suffice for a configuration that a leader has taken, and
// that a pause has kept it from writing.
func TestPossibleConfigsHoldWhatNoDiskHas(t *testing.T) {
	w := newWorld(Case{Seed: 1, Profile: "calm", Overrides: Overrides{Nodes: 1}})
	p := w.nodes[0]
	p.start()
	for p.state.Role != raftcore.Leader || len(w.checker.configs) == 0 || p.machine.applied < 2 {
		e := w.heap.pop()
		w.now = e.at
		w.take(&e)
	}
	const learner raftcore.NodeID = 4711
	has := func() bool {
		return slices.ContainsFunc(w.checker.possibleConfigs(), func(c raftcore.Config) bool {
			return c.IsMember(learner)
		})
	}
	if has() {
		t.Fatal("a configuration before it was proposed")
	}
	_, err := p.core.ProposeConfig(raftcore.ConfigChange{
		Voters: []raftcore.NodeID{p.id}, Learners: []raftcore.NodeID{learner},
	})
	p.dirty = true
	if err != nil || !has() {
		t.Errorf("the configuration that was proposed is not possible: %v", err)
	}
}
