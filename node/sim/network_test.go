package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// network carries frames between machines: each link in order, with a delay, as bytes.
type network struct {
	frames []frame
	cut    []raftcore.NodeID // these see each other, and nobody else
	lossy  int               // one frame in so many is lost; 0: none
}

type frame struct {
	at       raftcore.Instant
	from, to raftcore.NodeID
	message  bool // or a proposal
	data     []byte
}

// parted reports that two machines do not hear each other.
func (n *network) parted(a, b raftcore.NodeID) bool {
	return slices.Contains(n.cut, a) != slices.Contains(n.cut, b)
}

// post sends a frame. It keeps the order of each link.
func (w *world) post(from, to raftcore.NodeID, message bool, data []byte) {
	n := &w.network
	if n.parted(from, to) || n.lossy > 0 && w.rng.IntN(n.lossy) == 0 {
		w.stats.dropped++
		return
	}
	at := w.now + raftcore.Instant(w.rng.IntN(4))*raftcore.Millisecond
	if w.rng.IntN(50) == 0 {
		at += raftcore.Instant(w.rng.IntN(60)) * raftcore.Millisecond
	}
	for i := range n.frames {
		if f := &n.frames[i]; f.from == from && f.to == to {
			at = max(at, f.at)
		}
	}
	n.frames = append(n.frames, frame{at, from, to, message, data})
}

// deliver hands over what has arrived.
func (w *world) deliver() {
	n := &w.network
	frames := n.frames
	n.frames = nil
	for _, f := range frames {
		to := w.machine(f.to)
		switch {
		case f.at > w.now:
			n.frames = append(n.frames, f)
		case to == nil || to.process == nil || n.parted(f.from, f.to):
		case !f.message:
			to.process.node.Forwarded(f.from, f.data)
		default:
			to.process.node.Messages(f.from, w.decode(f.data))
		}
	}
}

func (w *world) decode(data []byte) (list []raftcore.Message) {
	for len(data) > 0 {
		var m raftcore.Message
		rest, err := wire.DecodeMessage(data, &m)
		if err != nil {
			w.check.violate("a message is not what was encoded: %v", err)
			return list
		}
		list, data = append(list, m), rest
	}
	return list
}

// endpoint is the node.Transport of a process.
type endpoint struct {
	w *world
	p *process
}

// Send implements node.Transport.
func (t *endpoint) Send(to raftcore.NodeID, messages []raftcore.Message) {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	if t.p.mute() && !t.p.lingering {
		return
	}
	var data []byte
	for i := range messages {
		t.w.check.sent(t.p, &messages[i])
		if t.p.lingering {
			continue
		}
		data = wire.AppendMessage(data, &messages[i])
	}
	if len(data) > 0 {
		t.w.post(t.p.m.id, to, true, data)
	}
}

// Forward implements node.Transport.
func (t *endpoint) Forward(to raftcore.NodeID, proposal []byte) bool {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	if !t.p.mute() {
		t.w.post(t.p.m.id, to, false, proposal)
	}
	return true
}

// Hellos implements node.Transport. It is called in steps of a process, and at its start.
func (t *endpoint) Hellos() (list []wire.Hello) {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	for _, m := range t.w.machines {
		running := m.process != nil || m.boot == 0
		if m != t.p.m && running && !t.w.network.parted(m.id, t.p.m.id) {
			list = append(list, m.hello())
		}
	}
	return list
}

// Invite implements node.Transport: a blank machine starts as a member to be.
func (t *endpoint) Invite(to raftcore.NodeID, inv wire.Invite) bool {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	m := t.w.machine(to)
	if m == nil || m.boot != 0 || len(m.joins) > 0 || t.p.mute() {
		return m != nil && len(m.joins) > 0
	}
	for _, f := range inv.Members {
		m.joins = append(m.joins, op.Member{ID: uint64(f.ID), Name: f.Name})
	}
	return true
}

func (t *endpoint) SetPeers([]op.Member)     {}
func (t *endpoint) Announce()                {}
func (t *endpoint) Seek([]string)            {}
func (t *endpoint) Peers() []wire.PeerStatus { return nil }
func (t *endpoint) Close() error             { return nil }

var (
	errCut     = errors.New("the connection broke")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

const chunkBytes = 2 << 10

// FetchSnapshot implements node.Transport: chunk by chunk, and others go on in between.
func (t *endpoint) FetchSnapshot(ctx context.Context, from raftcore.NodeID, id uint64,
	begin func([]wire.SnapshotFile) (op.Stage, error)) error {
	source, err := t.source(from)
	if err != nil {
		return err
	}
	streaming, files, err := source.node.BeginSnapshot(t.p.m.id, id)
	if err != nil {
		return err
	}
	sent, err := t.stream(ctx, streaming, source, id, files, begin)
	if _, still := t.source(from); still == nil {
		source.node.EndSnapshot(t.p.m.id, id, sent, err)
	}
	return err
}

// source is the process of which a snapshot is fetched.
func (t *endpoint) source(id raftcore.NodeID) (*process, error) {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	m := t.w.machine(id)
	if m == nil || m.process == nil || m.process.mute() || t.w.network.parted(id, t.p.m.id) {
		return nil, errCut
	}
	return m.process, nil
}

func (t *endpoint) stream(ctx, streaming context.Context, source *process, id uint64,
	files []wire.SnapshotFile, begin func([]wire.SnapshotFile) (op.Stage, error)) (int64, error) {
	stage, err := begin(files)
	if err != nil {
		return 0, err
	}
	sent := int64(0)
	for name, offset, done := stage.Next(); !done; name, offset, done = stage.Next() {
		t.p.driver.Yield()
		still, err := t.source(source.m.id)
		if err == nil && still != source || streaming.Err() != nil || t.breaks() {
			err = errCut
		}
		if err = errors.Join(ctx.Err(), err); err != nil {
			return sent, err
		}
		n, err := t.chunk(source, id, stage, name, offset)
		if sent += int64(n); err != nil && !errors.Is(err, op.ErrChecksum) {
			return sent, err
		}
	}
	return sent, nil
}

func (t *endpoint) breaks() bool {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return t.w.rng.IntN(30) == 0
}

// chunk brings the next bytes of a file, or its checksum. Now and then a bit arrives as another
// one.
func (t *endpoint) chunk(source *process, id uint64, stage op.Stage, name string,
	offset int64) (int, error) {
	all, err := wholeFile(source, id, name)
	if err != nil {
		return 0, err
	}
	if offset == int64(len(all)) {
		return 0, stage.FinishFile(name, crc32.Checksum(all, castagnoli))
	}
	part := slices.Clone(all[offset:min(offset+chunkBytes, int64(len(all)))])
	t.w.mu.Lock()
	if t.w.rng.IntN(100) == 0 {
		part[t.w.rng.IntN(len(part))] ^= 1 << t.w.rng.IntN(8)
		t.w.stats.garbled++
	}
	t.w.mu.Unlock()
	return len(part), stage.Write(name, offset, part)
}

func wholeFile(source *process, id uint64, name string) ([]byte, error) {
	files, err := source.storage.SnapshotFiles(id)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(files, func(f wire.SnapshotFile) bool { return f.Name == name })
	if at < 0 {
		return nil, fmt.Errorf("snapshot %x has no file %s", id, name)
	}
	reader, err := source.node.OpenSnapshotFile(id, name)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	b := make([]byte, files[at].Bytes)
	if n, err := reader.ReadAt(b, 0); n < len(b) {
		return nil, err
	}
	return b, nil
}
