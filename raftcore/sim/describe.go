package sim

import (
	"fmt"
	"runtime"
	"strings"

	"kelek/raftcore"
)

// The text forms of the trace. Nodes are n1, n2...; ids are random and say nothing to a reader.

// describe is a message on one line, with node names.
func (w *World) describe(m *raftcore.Message) string {
	text := m.String()
	for i, p := range w.nodes {
		text = strings.ReplaceAll(text, fmt.Sprintf("%x", uint64(p.id)), fmt.Sprintf("n%d", i+1))
	}
	return text
}

// describeEvent is an event of a core on one line, with node names.
func (w *World) describeEvent(e raftcore.Event) string {
	text := e.String()
	for i, p := range w.nodes {
		text = strings.ReplaceAll(text, fmt.Sprintf("%x", uint64(p.id)), fmt.Sprintf("n%d", i+1))
	}
	return text
}

// describeConfig is a configuration with node names: voters, old voters, learners.
func (w *World) describeConfig(c *raftcore.Config) string {
	var b strings.Builder
	for i, ids := range [3][]raftcore.NodeID{c.Voters, c.OldVoters, c.Learners} {
		if i > 0 && len(ids) == 0 {
			continue
		}
		b.WriteString([...]string{"voters", ", old", ", learners"}[i])
		for _, id := range ids {
			fmt.Fprintf(&b, " n%d", w.indexOf(id)+1)
		}
	}
	return b.String()
}

// describe is the neighbours of each of n nodes.
func (g graph) describe(n int) string {
	var b strings.Builder
	for a := range n {
		fmt.Fprintf(&b, " n%d:", a+1)
		for peer := range n {
			if peer != a && g.linked(a, peer) {
				fmt.Fprintf(&b, "%d", peer+1)
			}
		}
	}
	return b.String()
}

func describeWrite(w *raftcore.Write) string {
	var b strings.Builder
	if w.Snapshot != nil {
		fmt.Fprintf(&b, ", install %v", w.Snapshot.Pos)
	}
	if w.TruncateFrom != 0 {
		fmt.Fprintf(&b, ", truncate %d..", w.TruncateFrom)
	}
	if n := len(w.Append); n > 0 {
		fmt.Fprintf(&b, ", append %v..%v", w.Append[0].Pos, w.Append[n-1].Pos)
	}
	if w.HardState != nil {
		fmt.Fprintf(&b, ", term %d vote %x", w.HardState.Term, w.HardState.VotedFor)
	}
	return b.String()
}

// foldWrite folds a write into the replay hash.
func (w *World) foldWrite(x *raftcore.Write) {
	w.fold(uint64(x.Seq)<<32 ^ uint64(x.TruncateFrom))
	if n := len(x.Append); n > 0 {
		w.fold(uint64(x.Append[n-1].Term)<<32 ^ uint64(x.Append[n-1].Index) ^ uint64(n)<<56)
	}
	if x.Snapshot != nil {
		w.fold(x.Snapshot.ID<<32 ^ uint64(x.Snapshot.Pos.Index))
	}
	if x.HardState != nil {
		w.fold(uint64(x.HardState.Term)<<32 ^ uint64(x.HardState.VotedFor))
	}
}

// stack is where a panic that is no Violation came from.
func stack() string {
	b := make([]byte, 8<<10)
	return string(b[:runtime.Stack(b, false)])
}
