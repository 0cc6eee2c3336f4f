package explore

import (
	"slices"

	"kelek/raftcore"
)

// packetID names a packet.
type packetID uint32

// packet is a message on the wire. Equal messages are one packet, however often they are sent.
type packet struct {
	message raftcore.Message
	hashes  hashes
}

// pack returns the packet of a message.
func (x *explorer) pack(m *raftcore.Message) packetID {
	var p packet
	for r := range renamings {
		p.hashes[r] = x.hashMessage(r, m)
	}
	if id, ok := x.packetOf[p.hashes[0]]; ok {
		return id
	}
	p.message = *m
	p.message.After = 0
	p.message.Entries = slices.Clone(m.Entries)
	id := packetID(len(x.packets))
	x.packets = append(x.packets, p)
	x.packetOf[p.hashes[0]] = id
	return id
}

func (x *explorer) hashMessage(r int, m *raftcore.Message) uint64 {
	flags := uint64(0)
	if m.Reject {
		flags |= 1
	}
	if m.Force {
		flags |= 2
	}
	h := mix(4, uint64(m.Kind), uint64(rename(r, m.From)), uint64(rename(r, m.To)), uint64(m.Term),
		uint64(m.Prev.Term), uint64(m.Prev.Index), uint64(m.Commit), uint64(m.Match), flags,
		uint64(m.Hint.Term), uint64(m.Hint.Index), uint64(m.Epoch), m.Round, uint64(m.Lease))
	s := &m.Snapshot
	h = mix(h, x.cells[s.ID].hashes[r])
	for i := range m.Entries {
		h = mix(h, hashEntry(r, &m.Entries[i]))
	}
	return h
}

// dead reports whether a message can have no effect on its receiver any more, whatever happens: it
// belongs to a term that the receiver has left for good, and would not even be answered.
func (x *explorer) dead(p packetID, to *node) bool {
	m := &x.packets[p].message
	switch m.Kind {
	case raftcore.RequestVoteResponse, raftcore.AppendEntriesResponse, raftcore.InstallSnapshotResponse,
		raftcore.ReadIndex, raftcore.ReadIndexResponse, raftcore.TimeoutNow:
		return m.Term < to.disk.hard.Term
	case raftcore.PreVoteResponse:
		return !m.Reject && m.Term <= to.disk.hard.Term
	}
	return false
}
