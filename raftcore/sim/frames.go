package sim

import (
	"errors"
	"hash/crc32"
	"slices"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// Frames that must not get through: damaged on the way, or from a build that can say more than the
// present one understands. Either ends the connection that it came on.

// refuseDamaged: a frame whose checksum does not match is not looked into, and ends its connection.
func (n *network) refuseDamaged(p *process, slot int32) {
	k := &n.packets[slot]
	b := k.bytes
	if !k.forward && !k.stream {
		b = wire.AppendMessage(nil, &k.message)
	}
	b = append(slices.Clone(b), byte(k.part.data))
	sum := crc32.Checksum(b, castagnoli)
	for i := range 1 + k.order%3 { // up to three neighbours
		bit := int(k.order+i) % (8 * len(b))
		b[bit/8] ^= 1 << (bit % 8)
	}
	if crc32.Checksum(b, castagnoli) == sum {
		n.w.fail(15, "%s: a damaged frame passes its checksum", p.name())
	}
	n.w.stats.Flipped++
	from := n.w.nodes[k.from]
	n.release(slot)
	n.reset(from, p)
}

// castagnoli is the polynomial of frames.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sayMore lets a newer build follow a message by one that nobody understands.
func (n *network) sayMore(p *process, m *raftcore.Message) {
	if k := &n.w.knobs; n.w.phase != faulty || p.build != &k.newer ||
		!chance(n.w.rng.network, k.newerPermille) {
		return
	}
	slot := n.pack(p, m)
	n.packets[slot].newer = true
	n.transmit(p, slot)
}

// refuseNewer takes such a message: the codec refuses it, whichever byte it is that is not known,
// and the connection ends. The core drops a kind that it does not know, if it ever sees one.
func (n *network) refuseNewer(p *process, slot int32) {
	k := &n.packets[slot]
	from := n.w.nodes[k.from]
	var got raftcore.Message
	b := wire.AppendMessage(nil, &k.message)
	entries := raftcore.Message{
		Kind: raftcore.AppendEntries, From: k.message.From, To: k.message.To, Term: k.message.Term,
		Entries: []raftcore.Entry{{Pos: raftcore.Pos{Term: 1, Index: 1}, Kind: raftcore.EntryNoop}},
	}
	switch k.order % 5 {
	case 0: // the version of the record
		b[0]++
	case 1: // the kind of the message
		b[1] = byte(raftcore.InstallSnapshotResponse) + 1 + byte(k.order/5%64)
	case 2: // a field
		b[3] |= 0x80
	case 3: // an entry of an unknown version
		b = wire.AppendMessage(nil, &entries)
		b[len(b)-len(wire.AppendEntry(nil, &entries.Entries[0]))]++
	case 4: // an entry of an unknown kind, whose checksum is right
		entries.Entries[0].Kind = raftcore.EntryConfig + 1
		b = wire.AppendMessage(nil, &entries)
	}
	if _, err := wire.DecodeMessage(b, &got); !errors.Is(err, wire.ErrUnknown) {
		n.w.fail(15, "%s: a message of a newer build is not refused: %v", p.name(), err)
	}
	if !p.burst {
		p.tick()
	}
	k.message.Kind = raftcore.InstallSnapshotResponse + 1
	p.step(&k.message)
	n.w.stats.Newer++
	n.release(slot)
	n.reset(from, p)
}
