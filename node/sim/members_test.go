package sim

import (
	"fmt"
	"slices"
	"testing"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// TestMembers changes who is a member while everything fails as in TestSeeds: machines ask to be
// let in, and persons promote, demote, remove, and hand leadership over.
func TestMembers(t *testing.T) {
	var all stats
	for seed := range uint64(4) {
		w := newWorld(t, *shift+seed)
		w.random = true
		w.until("names", w.acquainted)
		for round := 0; round < 2500 && len(w.check.violated) == 0; round++ {
			w.strike()
			w.load()
			if w.rng.IntN(60) == 0 {
				w.rearrange()
			}
			w.round()
		}
		if w.calm() {
			w.verdict()
		}
		all.add(&w.stats)
		all.changes += len(w.check.model.known) - 3
		w.end()
	}
	t.Logf("%+v", all)
	if all.changes == 0 {
		t.Error("the membership has not changed")
	}
}

// rearrange lets a machine ask to be let in, or a person ask for something else.
func (w *world) rearrange() {
	if len(w.machines) < 5 && w.rng.IntN(2) == 0 {
		id := raftcore.NodeID(len(w.machines) + len(w.replaced) + 1)
		m := w.newMachine(id, fmt.Sprint("n", id))
		m.asks = []wire.JoinKind{wire.JoinVoter, wire.JoinLearner}[w.rng.IntN(2)]
		w.note("%s asks to join", m.name)
		w.meet(m)
		return
	}
	leader := slices.IndexFunc(w.machines, func(m *machine) bool {
		return m.process != nil && m.process.node.Status().Role == "leader"
	})
	if leader < 0 {
		return
	}
	actions := []op.AdminAction{op.MemberRemove, op.MemberPromote, op.MemberDemote, op.LeaderTransfer}
	r := op.AdminRequest{Action: actions[w.rng.IntN(len(actions))],
		Name: w.machines[w.rng.IntN(len(w.machines))].name}
	w.admin(w.machines[leader].process, r)
}

// admin asks a node for something, and does not wait for the answer.
func (w *world) admin(p *process, r op.AdminRequest) {
	w.note("%s: %s %s", p, r.Action, r.Name)
	go func() {
		_, err := p.node.Admin(p.ctx, r)
		w.mu.Lock()
		defer w.mu.Unlock()
		if err == nil && !p.mute() {
			w.note("%s: %s %s is done", p, r.Action, r.Name)
			w.stats.changes++
		}
	}()
}

// meet tells those that run of a machine that asks to be let in.
func (w *world) meet(m *machine) {
	for _, p := range w.running() {
		if p.node != nil && !w.network.parted(p.m.id, m.id) {
			p.node.Connected(m.hello())
		}
	}
}

// retire takes a machine away for good.
func (w *world) retire(m *machine) {
	if m.process != nil {
		m.disk.cutPower(w.kept())
		w.bury(m.process)
	}
	w.machines = slices.DeleteFunc(slices.Clone(w.machines), func(x *machine) bool { return x == m })
	w.replaced = append(w.replaced, m)
}
