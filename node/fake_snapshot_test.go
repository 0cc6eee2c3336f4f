package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// fakeSnapshot is a snapshot that a fakeStorage has taken: the state as text, cut into three files.
type fakeSnapshot struct {
	meta  raftcore.SnapshotMeta
	files map[string][]byte
}

// fakeImage is what of a fakeState travels.
type fakeImage struct {
	Applied     raftcore.Index
	Term        raftcore.Term
	Stamp       raftcore.LogTime
	Config      raftcore.Config
	ConfigIndex raftcore.Index
	Values      map[string]int64
	Deadlines   map[string]raftcore.LogTime
	Origins     map[uint64][2]uint64
	Members     map[uint64]op.Member
	Retired     []op.Retired
	Executed    map[string]int
}

func (s *fakeState) encode() []byte {
	image := fakeImage{s.applied, s.term, s.stamp, s.config, s.configIndex, s.values, s.deadlines,
		map[uint64][2]uint64{}, s.members, s.retired, s.executed}
	for id, o := range s.origins {
		image.Origins[id] = [2]uint64{o.boot, o.seq}
	}
	text, err := json.Marshal(image)
	if err != nil {
		panic(err)
	}
	return text
}

func decodeFakeState(text []byte) (*fakeState, error) {
	var image fakeImage
	if err := json.Unmarshal(text, &image); err != nil {
		return nil, fmt.Errorf("%w: %w", op.ErrSnapshotDamaged, err)
	}
	s := &fakeState{applied: image.Applied, term: image.Term, stamp: image.Stamp,
		config: image.Config, configIndex: image.ConfigIndex, values: image.Values,
		deadlines: image.Deadlines, origins: map[uint64]fakeOrigin{}, members: image.Members,
		retired: image.Retired, executed: image.Executed}
	for id, o := range image.Origins {
		s.origins[id] = fakeOrigin{o[0], o[1]}
	}
	return s, nil
}

func (s *fakeStorage) CompactTarget(keepBytes int64) raftcore.Index {
	s.mu.Lock()
	defer s.mu.Unlock()
	bytes := int64(0)
	for i := len(s.log.entries) - 1; i >= 0; i-- {
		if bytes += int64(s.log.entries[i].Bytes()); bytes > keepBytes {
			return s.log.entries[i].Index
		}
	}
	return 0
}

func (s *fakeStorage) OriginOf(id uint64) (boot, seq uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.state.origins[id]
	return o.boot, o.seq, ok
}

func (s *fakeStorage) TakeSnapshot(id uint64) (raftcore.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.called("TakeSnapshot"); err != nil {
		return raftcore.SnapshotMeta{}, err
	}
	s.flushed = s.state.clone()
	st := s.flushed
	x := fakeSnapshot{files: map[string][]byte{}, meta: raftcore.SnapshotMeta{ID: id,
		Pos: raftcore.Pos{Term: st.term, Index: st.applied}, Stamp: st.stamp, Config: st.config,
		ConfigIndex: st.configIndex}}
	text := st.encode()
	for i, name := range []string{"a", "b", "c"} {
		x.files[name] = text[i*len(text)/3 : (i+1)*len(text)/3]
	}
	s.snapshots[id] = x
	return x.meta, nil
}

func (s *fakeStorage) SnapshotFiles(id uint64) (files []wire.SnapshotFile, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.snapshots[id]
	if !ok {
		return nil, fmt.Errorf("fake: there is no snapshot %x", id)
	}
	for _, name := range slices.Sorted(maps.Keys(x.files)) {
		files = append(files, wire.SnapshotFile{Name: name, Bytes: int64(len(x.files[name]))})
	}
	return files, nil
}

func (s *fakeStorage) OpenSnapshotFile(id uint64, name string) (op.SnapshotReader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.snapshots[id].files[name]
	if !ok {
		return nil, fmt.Errorf("fake: there is no file %s of snapshot %x", name, id)
	}
	return fakeReader{bytes.NewReader(data)}, nil
}

type fakeReader struct{ *bytes.Reader }

func (fakeReader) Close() error { return nil }

func (s *fakeStorage) DropSnapshot(id uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.snapshots[id]; !ok {
		return fmt.Errorf("fake: there is no snapshot %x to drop", id)
	}
	delete(s.snapshots, id)
	return s.called("DropSnapshot")
}

// fakeStage is the snapshot that a fakeStorage receives. There is one at a time.
type fakeStage struct {
	s     *fakeStorage
	meta  raftcore.SnapshotMeta
	files []wire.SnapshotFile
	have  map[string][]byte
	done  map[string]bool
	state *fakeState // once complete
}

func (s *fakeStorage) Stage(meta raftcore.SnapshotMeta, files []wire.SnapshotFile) (op.Stage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.called("Stage"); err != nil {
		return nil, err
	}
	if s.staged == nil || s.staged.meta.ID != meta.ID {
		s.staged = &fakeStage{s: s, meta: meta, files: files, have: map[string][]byte{},
			done: map[string]bool{}}
	}
	return s.staged, nil
}

func (g *fakeStage) Next() (name string, offset int64, done bool) {
	for _, f := range g.files {
		if !g.done[f.Name] {
			return f.Name, int64(len(g.have[f.Name])), false
		}
	}
	return "", 0, true
}

func (g *fakeStage) Write(name string, offset int64, p []byte) error {
	if want, at, _ := g.Next(); want != name || at != offset {
		return fmt.Errorf("fake: %s at %d is staged, wanted %s at %d", name, offset, want, at)
	}
	g.have[name] = append(g.have[name], p...)
	g.s.stagedBytes += len(p)
	return nil
}

func (g *fakeStage) FinishFile(name string, sum uint32) error {
	if crc32.ChecksumIEEE(g.have[name]) != sum {
		delete(g.have, name)
		return op.ErrChecksum
	}
	g.done[name] = true
	return nil
}

func (g *fakeStage) Complete() error {
	var text []byte
	for _, f := range g.files {
		text = append(text, g.have[f.Name]...)
	}
	st, err := decodeFakeState(text)
	if err == nil && (st.applied != g.meta.Pos.Index || !st.config.Equal(&g.meta.Config)) {
		err = op.ErrSnapshotDamaged
	}
	if err == nil {
		err = g.s.called("Complete")
	}
	if err == nil {
		g.state = st
	}
	return err
}

func (g *fakeStage) Abort() error {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	if g.s.staged == g {
		g.s.staged = nil
	}
	return nil
}

func (g *fakeStage) Close() error { return nil }

// Install is atomic and durable. It insists on what node.Storage promises.
func (s *fakeStorage) Install(meta raftcore.SnapshotMeta, hard *raftcore.HardState) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.called("Install"); err != nil {
		return err
	}
	g := s.staged
	switch {
	case g == nil || g.state == nil || g.meta.ID != meta.ID:
		return fmt.Errorf("fake: snapshot %x is not staged", meta.ID)
	case meta.Pos.Index <= s.state.applied:
		return fmt.Errorf("fake: install %s over %d", meta.Pos, s.state.applied)
	}
	for len(s.unsynced) > 0 {
		if err := s.disk.perform(&s.unsynced[0]); err != nil {
			return err
		}
		s.unsynced = s.unsynced[1:]
	}
	for _, l := range []*fakeLog{&s.log, &s.disk} {
		l.base, l.entries = meta, nil
		if hard != nil {
			l.hard = *hard
		}
	}
	s.flushed, s.state, s.staged = g.state.clone(), g.state, nil
	return nil
}

// fakeStream is a snapshot on its way between two fakes: one chunk at a time.
type fakeStream struct {
	task    *fetchTask
	fetcher *fetcher
	source  *Node // nil: there is no connection
	storage *fakeStorage
	ctx     context.Context
	stage   op.Stage
	sent    int64
}

// errCut is how a fakeStream breaks.
var errCut = errors.New("the connection broke")

const fakeChunkBytes = 200

// stream moves what the member fetches on by one chunk.
func (m *member) stream() {
	if m.node == nil || m.frozen || m.streamStalls || m.node.lifecycle.failed() {
		return
	}
	if m.streaming == nil && len(m.fetches) > 0 {
		m.streaming = &fakeStream{task: m.fetches[0],
			fetcher: &fetcher{node: m.node, task: m.fetches[0]}}
		m.fetches = m.fetches[1:]
	}
	x := m.streaming
	if x == nil {
		return
	}
	if x.task.ctx.Err() != nil {
		m.endStream(x.task.ctx.Err())
		m.endFetch(x.task.ctx.Err())
		return
	}
	if err := m.chunk(x); err != nil {
		m.endStream(err)
		if errors.Is(err, wire.ErrNoSnapshot) {
			m.endFetch(err)
		}
	}
}

// chunk connects, or moves one chunk.
func (m *member) chunk(x *fakeStream) error {
	from := m.c.member(x.task.From)
	switch {
	case from == nil || from.node == nil || m.c.network.drop != nil &&
		m.c.network.drop(&delivery{from: x.task.From, to: m.id}):
		return errCut
	case from.frozen:
		return nil
	case x.source == nil:
		return m.connect(x, from)
	case x.source != from.node:
		return errCut
	case x.ctx.Err() != nil:
		return x.ctx.Err()
	}
	name, offset, done := x.stage.Next()
	if done {
		err := x.fetcher.stage.Complete()
		m.endStream(nil)
		m.endFetch(err)
		return nil
	}
	data := x.storage.snapshots[x.task.Meta.ID].files[name]
	if offset == int64(len(data)) {
		return x.stage.FinishFile(name, crc32.ChecksumIEEE(data))
	}
	p := data[offset:min(int64(len(data)), offset+fakeChunkBytes)]
	x.sent += int64(len(p))
	return x.stage.Write(name, offset, p)
}

func (m *member) connect(x *fakeStream, from *member) error {
	ctx, files, err := from.node.BeginSnapshot(m.id, x.task.Meta.ID)
	if err != nil {
		return err
	}
	x.source, x.storage, x.ctx, x.sent = from.node, from.storage, ctx, 0
	m.c.streams++
	x.stage, err = x.fetcher.begin(files)
	return err
}

// endStream ends the connection, which its sender notices if it still runs.
func (m *member) endStream(why error) {
	x := m.streaming
	if x == nil || x.source == nil {
		return
	}
	if from := m.c.member(x.task.From); from.node == x.source {
		x.source.EndSnapshot(m.id, x.task.Meta.ID, x.sent, why)
	}
	x.source = nil
}

// endFetch ends the fetch as fetcher.run does.
func (m *member) endFetch(err error) {
	x := m.streaming
	m.streaming = nil
	if x.task.ctx.Err() != nil {
		x.fetcher.release(false)
		return
	}
	news := snapshotNews{what: fetchEnded, task: x.task, err: err}
	if err == nil {
		news.all = x.fetcher.stage
	} else {
		x.fetcher.release(!errors.Is(err, wire.ErrNoSnapshot))
	}
	m.node.snapshots.put(news, 1, 0)
}

func (t *fakeTransport) FetchSnapshot(context.Context, raftcore.NodeID, uint64,
	func([]wire.SnapshotFile) (op.Stage, error)) error {
	return errCut
}
