package explore

import (
	"fmt"
	"slices"

	"kelek/raftcore"
)

// setup returns the state in which a search begins. Its events are not charged.
func (x *explorer) setup() (*state, error) {
	s, err := x.form()
	if err != nil {
		return nil, err
	}
	play := player{x: x, s: s}
	switch x.scope.Setup {
	case Led, Awaited:
		play.lead(1)
	case Lagging:
		play.lead(1)
		play.cut = 3
		play.do(event{kind: propose, arg: 20})
		play.settle()
		play.do(event{kind: snapshot})
	case Deposed:
		play.lead(3)
		play.cut = 3
		play.do(event{kind: propose, node: 2, arg: 20})
		play.do(event{kind: change, node: 2, arg: remove*nodes + 0})
		play.settle()
		play.do(event{kind: lapse, node: 1})
		play.lead(1)
		play.do(event{kind: snapshot})
	case Divergent:
		play.lead(3)
		play.cut = 3
		play.do(event{kind: propose, node: 2, arg: 20})
		play.do(event{kind: propose, node: 2, arg: 21})
		play.settle()
		play.do(event{kind: lapse, node: 1})
		play.lead(1)
	}
	play.s.used, play.s.wire = Bounds{}, nil
	if x.scope.Setup == Awaited {
		play.await()
		play.s.used = Bounds{}
	}
	return play.s, play.err
}

// form makes three voters with the first configuration on their disks.
func (x *explorer) form() (*state, error) {
	config := raftcore.Config{Voters: []raftcore.NodeID{1, 2, 3}}
	first := raftcore.Entry{Pos: raftcore.Pos{Term: 1, Index: 1}, Kind: raftcore.EntryConfig,
		Stamp: wallClock, Data: raftcore.EncodeConfig(config)}
	log := x.extend(0, &first)
	s := &state{history: x.addHistory(0, log, 1)}
	for i := range s.nodes {
		now := max(x.now(s), 1)
		disk := image{hard: raftcore.HardState{Term: 1}, last: log}
		n, err := x.start(raftcore.NodeID(i+1), 1, now, disk)
		if err != nil {
			return nil, err
		}
		n.core.Tick(now, wallClock)
		r := run{x: x, n: n}
		r.drain()
		s.nodes[i] = x.intern(n)
	}
	return s, nil
}

// player runs the events of a setup.
type player struct {
	x   *explorer
	s   *state
	cut raftcore.NodeID // it receives nothing, nor do others from it
	err error
}

func (p *player) do(ev event) {
	if p.err != nil {
		return
	}
	t, problem := p.x.apply(p.s, ev)
	if problem != nil || t == nil {
		p.err = fmt.Errorf("set up %s: %s: %v", p.x.scope.Name, p.x.describeEvent(p.s, ev), problem)
		return
	}
	p.s = t
}

// settle delivers everything that is on the wire, and what that sends. What changes nothing is
// lost.
func (p *player) settle() {
	for p.err == nil {
		i := slices.IndexFunc(p.s.wire, func(id packetID) bool {
			m := &p.x.packets[id].message
			return m.To != p.cut && m.From != p.cut
		})
		if i < 0 {
			return
		}
		id := p.s.wire[i]
		ev := event{kind: deliver, node: uint8(p.x.packets[id].message.To - 1), arg: uint32(id)}
		t, problem := p.x.apply(p.s, ev)
		switch {
		case problem != nil:
			p.err = fmt.Errorf("set up %s: %v", p.x.scope.Name, problem)
		case t != nil:
			p.s = t
		default:
			u := *p.s
			u.wire = slices.Delete(slices.Clone(u.wire), i, i+1)
			p.s = &u
		}
	}
}

// await lets n2 hear a round of n1, and leaves its answer on the wire for an election time-out.
func (p *player) await() {
	p.do(event{kind: tick})
	for _, id := range p.s.wire {
		if p.x.packets[id].message.To == 2 {
			p.do(event{kind: deliver, node: 1, arg: uint32(id)})
			break
		}
	}
	p.s.wire = slices.DeleteFunc(p.s.wire, func(id packetID) bool {
		return p.x.packets[id].message.From != 2
	})
	for range timeoutTimed / passTimed {
		p.do(event{kind: pass})
		p.do(event{kind: tick, node: 2}) // n3 is awake, and has not heard that round
	}
}

// lead makes a node the leader of all that are not cut off. On a common clock it may take a while
// until it campaigns.
func (p *player) lead(id raftcore.NodeID) {
	campaign := event{kind: timeout, node: uint8(id - 1)}
	if p.x.scope.Leases {
		campaign.kind = tick
		for range 2*timeoutTimed/passTimed - 1 {
			p.do(event{kind: pass})
		}
	}
	for range 2 {
		if p.x.scope.Leases {
			p.do(event{kind: pass})
		}
		if p.x.nodes[p.s.nodes[id-1]].status.Role != raftcore.Leader {
			p.do(campaign)
			p.settle()
		}
	}
	if n := p.x.nodes[p.s.nodes[id-1]]; p.err == nil && n.status.Role != raftcore.Leader {
		p.err = fmt.Errorf("set up %s: %s", p.x.scope.Name, p.x.describe(p.s))
	}
}
