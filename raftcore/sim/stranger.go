package sim

import (
	"math/rand/v2"
	"slices"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// Strangers. A machine of another cluster may call at a member's address: it was restored from
// elsewhere, under an id of its own or under that of a member, or somebody has added the member to
// the wrong cluster. Its leader takes our node for one of its own, in a later term: to listen to it
// would cost our node its place. So would a node that was removed. The first frame of a connection
// keeps both out, by the cluster id and by what is known of removals. That rule is the node's, see
// node/greeter.go; here it is stated again, to show that nothing less will do. (Members do listen
// to removed nodes in all other ways: that is for the core to bear, see changes.go.)

// callWrongly lets such a leader call a node.
func (w *World) callWrongly(p *process) {
	if p.core == nil || p.paused {
		return
	}
	g := w.rng.strike
	caller := wire.Hello{
		ClusterID: w.clusterID, NodeID: raftcore.NodeID(g.Uint64() | 1), Name: "stranger",
	}
	peer := w.nodes[g.IntN(len(w.nodes))]
	removed := slices.Contains(p.machine.retired[:], peer.id)
	if peer != p && g.IntN(2) == 0 {
		caller.NodeID = peer.id
	}
	if !removed || caller.NodeID != peer.id || g.IntN(2) == 0 {
		caller.ClusterID[g.IntN(len(caller.ClusterID))] ^= byte(1 + g.IntN(255))
	}
	if !p.letsIn(wire.AppendHello(nil, &caller)) {
		w.stats.Strangers++
		return
	}
	for _, m := range w.strangeMessages(caller.NodeID, p, g) {
		if p.core != nil {
			p.tick()
			p.step(&m)
		}
	}
}

// letsIn judges the first frame of a connection.
func (p *process) letsIn(hello []byte) bool {
	var h wire.Hello
	if _, err := wire.DecodeHello(hello, &h); err != nil {
		p.w.fail(15, "%s: a hello does not survive its bytes: %v", p.name(), err)
	}
	return planted(301) ||
		h.ClusterID == p.w.clusterID && !slices.Contains(p.machine.retired[:], h.NodeID)
}

// strangeMessages are what the leader of another cluster has to say to a node that it takes for a
// learner of its own: a real core, with a disk that takes no time.
func (w *World) strangeMessages(id raftcore.NodeID, p *process, g *rand.Rand) (
	said []raftcore.Message,
) {
	config := raftcore.Config{
		Voters: []raftcore.NodeID{id}, Learners: []raftcore.NodeID{p.id},
	}
	at := raftcore.Pos{Term: p.state.Term + 1 + raftcore.Term(g.IntN(3)), Index: 1}
	o := p.options(g.Uint64())
	o.ID = id
	core, err := raftcore.New(o, raftcore.Restored{
		HardState: raftcore.HardState{Term: at.Term}, Last: at, LastStamp: epoch,
		Runs:    []raftcore.TermRun{{First: 1, Term: at.Term}},
		Configs: []raftcore.ConfigAt{{Pos: at, Config: config}},
	})
	if err != nil {
		w.fail(coreAssertion, "a stranger does not start: %v", err)
	}
	var e raftcore.Effects
	for range 10 {
		core.Tick(core.Deadline(), epoch)
		for more := true; more; {
			more = core.Drain(&e)
			if e.Write != nil {
				core.Durable(e.Write.Seq)
				more = true
			}
			for i := range e.Messages {
				m := e.Messages[i]
				m.Entries = slices.Clone(m.Entries)
				said = append(said, m)
			}
			if !e.Apply.Empty() {
				core.Applied(e.Apply.Last)
			}
		}
	}
	return said
}
