package explore

import (
	"fmt"
	"slices"

	"kelek/raftcore"
)

// explain prints the run to a state, and the event that breaks an invariant there.
func (x *explorer) explain(s *state, last event, p *Problem) []string {
	var events []event
	for n := s.number; n != 0; n = x.parent[n] {
		events = append(events, x.via[n])
	}
	slices.Reverse(events)
	at, err := x.setup()
	if err != nil {
		return []string{err.Error()}
	}
	lines := []string{"begin: " + x.describe(at)}
	for _, ev := range events {
		lines = append(lines, x.describeEvent(at, ev))
		next, problem := x.apply(at, ev)
		if next == nil {
			return append(lines, fmt.Sprintf("this run cannot be repeated: %v", problem))
		}
		if ev.kind != pass {
			lines[len(lines)-1] += "  →  " + x.describeNode(next, int(ev.node))
		}
		at = next
	}
	return append(lines, x.describeEvent(at, last),
		fmt.Sprintf("invariant %d: %s", p.Invariant, p.What))
}

func (x *explorer) describe(s *state) (text string) {
	for i := range s.nodes {
		text += x.describeNode(s, i) + "; "
	}
	return text + fmt.Sprintf("%d messages", len(s.wire))
}

func (x *explorer) describeNode(s *state, i int) string {
	n := x.nodes[s.nodes[i]]
	st := &n.status
	text := fmt.Sprintf("n%d %s@%d vote %d log %s commit %d durable %d", n.id, st.Role, st.Term,
		st.VotedFor, st.Last, st.Commit, x.index(n.disk.last))
	if len(n.writes) > 0 {
		text += fmt.Sprintf(" writes in flight %d", len(n.writes))
	}
	if n.base != 0 {
		text += fmt.Sprintf(" compacted %d", x.index(n.base))
	}
	return text
}

var kindNames = [...]string{
	deliver: "receives", timeout: "times out", lapse: "has not heard its leader for long",
	heartbeat: "sends heartbeats", resign: "hears nobody for long", propose: "gets a proposal",
	change: "is asked to change the configuration", read: "is asked to read",
	syncOne: "has written its oldest write", crash: "crashes and restarts", transfer: "hands over to",
	snapshot: "takes a snapshot and compacts", fetched: "has fetched the snapshot",
	tick: "looks at the clock", pass: "time passes",
}

func (x *explorer) describeEvent(s *state, ev event) string {
	if ev.kind == pass {
		return kindNames[pass]
	}
	text := fmt.Sprintf("n%d %s", ev.node+1, kindNames[ev.kind])
	switch ev.kind {
	case deliver:
		text += " " + x.packets[ev.arg].message.String()
	case crash:
		text += fmt.Sprintf(", %d of %d writes in flight survive", ev.arg,
			len(x.nodes[s.nodes[ev.node]].writes))
	case change:
		wanted := changeOf(ev.arg, &x.nodes[s.nodes[ev.node]].status.Config)
		text += fmt.Sprintf(": voters %v, learners %v", wanted.Voters, wanted.Learners)
	case transfer:
		text += fmt.Sprintf(" n%d", raftcore.NodeID(ev.arg))
	}
	if ev.keep {
		text += ", which will come again"
	}
	if ev.slow {
		text += ", its disk is slow"
	}
	return text
}
