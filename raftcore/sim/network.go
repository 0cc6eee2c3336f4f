package sim

import (
	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// noSlot is the absence of a packet.
const noSlot int32 = -1

// packet is what travels on a link: a Raft message, or a proposal forwarded to the leader. The
// encoded form is used in runs with the codec and for proposals. Copies of a packet share it.
type packet struct {
	from, to int8
	forward  bool // a proposal
	stream   bool // part of a snapshot's transfer
	flipped  bool // a bit changed on the way
	newer    bool // of a version, or with a kind or field, that nobody knows yet
	copies   int32
	life     uint32 // of the link when it was sent, see link
	order    uint64 // on the link
	bytes    []byte
	message  raftcore.Message
	part     streamPart
}

// link is one direction between two nodes. A reset drops the end of what was under way: packets of
// an older life than the link's arrive only when their order is at most kept.
type link struct {
	blocked bool // by a partition
	cut     bool // by an asymmetric cut
	life    uint32
	order   uint64
	kept    uint64
	lastAt  raftcore.Instant // arrival of the packet sent last, for FIFO runs
	propAt  raftcore.Instant // the same for forwarded proposals, which are always in order
	clogged raftcore.Instant // nothing arrives before this
	freeAt  raftcore.Instant // when what was sent has left, on links with a bandwidth
	latency raftcore.Instant // one way
}

// network carries packets between all pairs of nodes.
type network struct {
	w       *World
	links   [nodesMax][nodesMax]link
	packets []packet
	free    []int32
	sent    uint64           // packets that left one member for another
	late    raftcore.Instant // when the last packet of the faulty phase arrives
}

func (n *network) init(w *World) {
	n.w = w
	for i := range foundersMax {
		for j := range foundersMax {
			l := &n.links[i][j]
			l.latency = around(w.rng.setup, w.knobs.latency) + raftcore.Microsecond
			if w.knobs.uneven {
				l.latency *= raftcore.Instant(1 + w.rng.setup.IntN(8))
			}
		}
	}
}

// join draws the links of a new node.
func (n *network) join(p *process) {
	for _, peer := range n.w.nodes {
		for _, l := range [2]*link{
			&n.links[p.index][peer.index], &n.links[peer.index][p.index],
		} {
			l.latency = around(n.w.rng.strike, n.w.knobs.latency) + raftcore.Microsecond
		}
	}
}

// take returns a free packet, its buffers empty.
func (n *network) take(from, to int) (int32, *packet) {
	if len(n.free) == 0 {
		n.packets = append(n.packets, packet{})
		n.free = append(n.free, int32(len(n.packets)-1))
	}
	slot := n.free[len(n.free)-1]
	n.free = n.free[:len(n.free)-1]
	k := &n.packets[slot]
	k.from, k.to, k.copies = int8(from), int8(to), 1
	k.forward, k.stream, k.flipped, k.newer = false, false, false, false
	k.bytes = k.bytes[:0]
	return slot, k
}

// release gives one copy back. A buffer with entries is left to the garbage collector, because a
// core may keep their data.
func (n *network) release(slot int32) {
	if slot == noSlot {
		return
	}
	k := &n.packets[slot]
	if k.copies--; k.copies > 0 {
		return
	}
	if k.forward || len(k.message.Entries) > 0 {
		k.bytes = nil
	}
	k.part = streamPart{}
	clear(k.message.Entries)
	k.message.Entries = k.message.Entries[:0]
	n.free = append(n.free, slot)
}

// pack makes a packet of a message: a copy, since the core reuses what the message points to.
func (n *network) pack(p *process, m *raftcore.Message) int32 {
	to := n.w.indexOf(m.To)
	if to < 0 {
		n.w.fail(15, "%s sends to the unknown node %x", p.name(), m.To)
	}
	slot, k := n.take(p.index, to)
	entries := append(k.message.Entries, m.Entries...)
	k.message = *m
	k.message.Entries = entries
	k.message.After = 0
	if n.w.knobs.codec {
		k.bytes = wire.AppendMessage(k.bytes, m)
	}
	return slot
}

// forward sends an encoded proposal. The bytes are immutable.
func (n *network) forward(p *process, to int, proposal []byte) {
	slot, k := n.take(p.index, to)
	k.forward, k.bytes = true, proposal
	n.transmit(p, slot)
}

// stream sends a part of a snapshot's transfer, or the request for one.
func (n *network) stream(p *process, to int, part streamPart) {
	slot, k := n.take(p.index, to)
	k.stream, k.part = true, part
	n.transmit(p, slot)
}

// transmit draws the fate of a packet and schedules its arrivals.
func (n *network) transmit(p *process, slot int32) {
	k := &n.packets[slot]
	l := &n.links[k.from][k.to]
	n.foldPacket(k)
	g, knobs := n.w.rng.network, &n.w.knobs
	healed := n.w.phase != faulty
	n.w.checker.sent(p, k)
	if n.w.checker.member(p) && n.w.checker.member(n.w.nodes[k.to]) {
		n.sent++
	}
	if l.blocked || l.cut || !healed && chance(g, knobs.dropPermille) {
		n.w.stats.Dropped++
		n.release(slot)
		return
	}
	l.order++
	k.life, k.order = l.life, l.order
	k.flipped = !healed && chance(g, knobs.flipPermille)
	n.arrive(slot, l, n.delay(l, healed)+n.queued(k, l))
	if healed || !chance(g, knobs.dupPermille) {
		return
	}
	for range 1 + g.IntN(3) {
		n.w.stats.Duplicated++
		n.packets[slot].copies++
		n.deliverAt(slot, between(g, 0, knobs.dupLate))
	}
}

// delay draws how long a packet travels: around the latency, or, in the tail, much longer.
func (n *network) delay(l *link, healed bool) raftcore.Instant {
	g, knobs := n.w.rng.network, &n.w.knobs
	if !healed && chance(g, knobs.tailPermille) {
		return l.latency + between(g, 0, knobs.tailMax)
	}
	if healed {
		return min(around(g, l.latency), n.w.promptly())
	}
	return around(g, l.latency)
}

// queued is how long a packet waits for those before it to leave, and itself takes to leave.
func (n *network) queued(k *packet, l *link) raftcore.Instant {
	perByte := n.w.knobs.perByte
	if perByte == 0 || n.w.phase != faulty {
		return 0
	}
	size := packetBytes
	switch {
	case k.stream:
		size += partBytes
	case k.forward:
		size += len(k.bytes)
	default:
		for i := range k.message.Entries {
			size += k.message.Entries[i].Bytes()
		}
	}
	l.freeAt = max(l.freeAt, n.w.now) + raftcore.Instant(size)*perByte
	return l.freeAt - n.w.now
}

// packetBytes is about what a message without entries takes, partBytes what a part of a snapshot
// takes more.
const (
	packetBytes = 64
	partBytes   = 4000
)

// arrive schedules the packet, behind the one before when links are in order. Proposals always are:
// an origin's come on one connection, and the leader takes them in that order or not at all.
func (n *network) arrive(slot int32, l *link, delay raftcore.Instant) {
	at := max(n.w.now+delay, l.clogged)
	switch {
	case n.packets[slot].forward:
		at = max(at, l.propAt+1)
		l.propAt = at
	case n.w.knobs.fifo:
		at = max(at, l.lastAt+1)
		l.lastAt = at
	}
	n.deliverAt(slot, at-n.w.now)
}

func (n *network) deliverAt(slot int32, delay raftcore.Instant) {
	if n.w.phase == faulty {
		n.late = max(n.late, n.w.now+delay)
	}
	n.w.heap.push(event{
		at: n.w.now + delay, kind: evDeliver, node: n.packets[slot].to, slot: slot,
	})
}

// deliver hands an arrived packet to its receiver.
func (n *network) deliver(p *process, slot int32) {
	k := &n.packets[slot]
	l := &n.links[k.from][k.to]
	if p.core == nil || n.lostToReset(k, l) {
		n.w.stats.Dropped++
		n.release(slot)
		return
	}
	if k.flipped {
		n.refuseDamaged(p, slot)
		return
	}
	if k.newer {
		n.refuseNewer(p, slot)
		return
	}
	if !p.burst {
		p.tick()
	}
	switch {
	case k.forward:
		p.takeForwarded(k.bytes)
	case k.stream:
		p.takePart(n.w.nodes[k.from], k.part)
	default:
		p.step(n.unpack(k))
	}
	n.release(slot)
}

// lostToReset reports whether the connection that carried a packet broke under it. In runs without
// order there are no connections to speak of, and every other packet outlives the reset.
func (n *network) lostToReset(k *packet, l *link) bool {
	return k.life != l.life && k.order > l.kept && (n.w.knobs.fifo || k.order%2 == 0)
}

// unpack returns the message of a packet, decoded from bytes in runs with the codec.
func (n *network) unpack(k *packet) *raftcore.Message {
	if !n.w.knobs.codec {
		return &k.message
	}
	m := &n.w.scratch
	rest, err := wire.DecodeMessage(k.bytes, m)
	if err != nil || len(rest) != 0 {
		n.w.fail(15, "message does not survive its bytes: %v, %d left: %s", err, len(rest), &k.message)
	}
	return m
}

// reset breaks both directions between two nodes: the end of what is under way is lost, and both
// sides find out a little later.
func (n *network) reset(a, b *process) {
	g := n.w.rng.network
	for _, l := range [2]*link{&n.links[a.index][b.index], &n.links[b.index][a.index]} {
		l.life++
		l.kept = l.order - min(l.order, uint64(g.IntN(8)))
	}
	n.disconnect(a, b)
	n.disconnect(b, a)
}

// disconnect lets p find out that its connection from peer is gone.
func (n *network) disconnect(p, peer *process) {
	l := &n.links[peer.index][p.index]
	n.w.scheduleWorld(p, around(n.w.rng.network, l.latency), evDisconnect, uint64(peer.id))
}

// processGone resets the connections of a dead process. A killed process closes its sockets and its
// peers notice; after a power cut they do not.
func (n *network) processGone(p *process) {
	noticed := n.w.rng.network.IntN(4) > 0
	for _, peer := range n.w.nodes {
		if peer == p {
			continue
		}
		for _, l := range [2]*link{
			&n.links[p.index][peer.index], &n.links[peer.index][p.index],
		} {
			l.life++
			l.kept = l.order - min(l.order, uint64(n.w.rng.network.IntN(4)))
		}
		if noticed && !n.links[p.index][peer.index].blocked {
			n.disconnect(peer, p)
		}
	}
}

// partitionKind is a shape of broken connectivity.
type partitionKind uint8

const (
	uniform       partitionKind = iota // two random groups
	isolateOne                         // a random node alone
	isolateLeader                      // the leader alone
	bridge                             // two halves that share one node
	ring                               // everybody sees two neighbours
	alone                              // nobody sees anybody
	partitionKinds
)

func (k partitionKind) String() string {
	return [...]string{"uniform", "isolate one", "isolate the leader", "bridge", "ring", "alone"}[k]
}

// partition blocks links in the given shape, replacing the partition before.
func (n *network) partition(kind partitionKind) {
	g := n.w.rng.strike
	nodes := len(n.w.nodes)
	lonely := g.IntN(nodes)
	if leader := n.w.leader(); kind == isolateLeader && leader != nil {
		lonely = leader.index
	}
	var group [nodesMax]int
	for i := range max(nodes, foundersMax) {
		group[i] = g.IntN(2)
	}
	n.block(func(a, b int) bool {
		switch kind {
		case uniform:
			return group[a] != group[b]
		case isolateOne, isolateLeader:
			return a == lonely || b == lonely
		case bridge:
			return a != lonely && b != lonely && group[a] != group[b]
		case ring:
			return b != (a+1)%nodes && a != (b+1)%nodes
		}
		return true
	})
}

func (n *network) block(blocked func(a, b int) bool) {
	for a := range n.w.nodes {
		for b := range n.w.nodes {
			n.links[a][b].blocked = a != b && blocked(a, b)
		}
	}
}

// foldPacket folds what leaves a node into the replay hash.
func (n *network) foldPacket(k *packet) {
	m := &k.message
	switch {
	case k.forward:
		n.w.fold(mixBytes(uint64(k.from)<<8^uint64(k.to), k.bytes))
		return
	case k.stream:
		n.w.fold(mix(uint64(k.from)<<8^uint64(k.to), k.part.number<<16^uint64(k.part.offset)))
		return
	}
	h := mix(uint64(m.Kind)<<56^uint64(m.Term), uint64(m.From)^uint64(m.To)<<1)
	h = mix(h, uint64(m.Prev.Term)<<40^uint64(m.Prev.Index)^uint64(m.Commit)<<20)
	h = mix(h, uint64(m.Match)^uint64(m.Hint.Index)<<20^uint64(m.Hint.Term)<<40)
	h = mix(h, m.Round^uint64(m.Epoch)<<40^uint64(len(m.Entries))<<20)
	h = mix(h, m.Snapshot.ID^uint64(m.Snapshot.Pos.Index)<<32^uint64(m.Lease))
	if m.Reject {
		h++
	}
	if m.Force {
		h += 2
	}
	n.w.fold(h)
}
