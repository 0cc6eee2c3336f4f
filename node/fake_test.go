package node

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// errInjected is what a failing call of a fake returns.
var errInjected = errors.New("injected failure")

// fakeLog is the content of a log database.
type fakeLog struct {
	hard    raftcore.HardState
	base    raftcore.SnapshotMeta // what was compacted
	entries []raftcore.Entry      // from base.Pos.Index+1
}

func (l *fakeLog) clone() fakeLog {
	c := *l
	c.entries = slices.Clone(l.entries)
	return c
}

func (l *fakeLog) last() raftcore.Pos {
	if len(l.entries) == 0 {
		return l.base.Pos
	}
	return l.entries[len(l.entries)-1].Pos
}

// perform is one atomic write: truncate, append, hard state.
func (l *fakeLog) perform(w *raftcore.Write) error {
	if w.TruncateFrom != 0 {
		if w.TruncateFrom <= l.base.Pos.Index {
			return fmt.Errorf("fake: truncate from %d, compacted %d", w.TruncateFrom, l.base.Pos.Index)
		}
		l.entries = l.entries[:w.TruncateFrom-l.base.Pos.Index-1]
	}
	for _, e := range w.Append {
		if e.Index != l.last().Index+1 {
			return fmt.Errorf("fake: append %s after %s", e.Pos, l.last())
		}
		l.entries = append(l.entries, e)
	}
	if w.HardState != nil {
		l.hard = *w.HardState
	}
	return nil
}

// fakeState is the content of a state database.
type fakeState struct {
	applied     raftcore.Index
	term        raftcore.Term // of the entry at applied
	stamp       raftcore.LogTime
	config      raftcore.Config
	configIndex raftcore.Index
	values      map[string]int64
	deadlines   map[string]raftcore.LogTime
	origins     map[uint64]fakeOrigin
	members     map[uint64]op.Member
	retired     []op.Retired
	executed    map[string]int // proposals by origin/boot/seq
}

type fakeOrigin struct{ boot, seq uint64 }

func newFakeState() *fakeState {
	return &fakeState{values: map[string]int64{}, deadlines: map[string]raftcore.LogTime{},
		origins: map[uint64]fakeOrigin{}, members: map[uint64]op.Member{}, executed: map[string]int{}}
}

func (s *fakeState) clone() *fakeState {
	c := *s
	c.values, c.deadlines = maps.Clone(s.values), maps.Clone(s.deadlines)
	c.retired = slices.Clone(s.retired)
	c.origins, c.members = maps.Clone(s.origins), maps.Clone(s.members)
	c.executed, c.retired = maps.Clone(s.executed), slices.Clone(s.retired)
	return &c
}

// fakeStorage is a Storage with exact crash semantics: a write is lost by a crash until its wait
// returned, and the state is lost back to its last flush. It counts calls, and can fail each.
type fakeStorage struct {
	mu       sync.Mutex
	disk     fakeLog // what a crash leaves
	log      fakeLog // what reads see
	unsynced []raftcore.Write
	flushed  *fakeState // what a crash leaves
	state    *fakeState // what reads see

	snapshots map[uint64]fakeSnapshot // taken here; a crash forgets them, and what is staged
	staged    *fakeStage

	tailMax     int // entries in Restored.Tail; the rest has to be replayed from the log
	calls       map[string]int
	failAt      map[string]int // fail the n-th call from now of this name
	waiting     int            // waits not yet called
	lastWrite   raftcore.Seq
	flushEach   bool // every batch is durable at once
	extraBytes  int64
	skipOrigin  bool // a store with a bug: it forgets who proposed what
	appliedMost int  // entries in one Apply
	stagedBytes int
}

func newFakeStorage() *fakeStorage {
	return &fakeStorage{flushed: newFakeState(), state: newFakeState(), tailMax: 3,
		snapshots: map[uint64]fakeSnapshot{},
		calls:     map[string]int{}, failAt: map[string]int{}}
}

// crash returns the storage that a restart would find: keep of the unsynced writes survive.
func (s *fakeStorage) crash(keep int) *fakeStorage {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := newFakeStorage()
	next.disk = s.disk.clone()
	for i := range min(keep, len(s.unsynced)) {
		if err := next.disk.perform(&s.unsynced[i]); err != nil {
			panic(err)
		}
	}
	next.log = next.disk.clone()
	next.flushed, next.state = s.flushed.clone(), s.flushed.clone()
	next.tailMax, next.flushEach = s.tailMax, s.flushEach
	return next
}

// called counts a call, and reports whether it shall fail.
func (s *fakeStorage) called(name string) error {
	s.calls[name]++
	if s.failAt[name] > 0 {
		if s.failAt[name]--; s.failAt[name] == 0 {
			return fmt.Errorf("%s: %w", name, errInjected)
		}
	}
	return nil
}

func (s *fakeStorage) Restored() raftcore.Restored {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.disk
	r := raftcore.Restored{HardState: l.hard, Snapshot: l.base, Last: l.last(),
		LastStamp: l.base.Stamp, Applied: s.flushed.applied}
	for _, e := range l.entries {
		if len(r.Runs) == 0 || r.Runs[len(r.Runs)-1].Term != e.Term {
			r.Runs = append(r.Runs, raftcore.TermRun{First: e.Index, Term: e.Term})
		}
		if e.Kind == raftcore.EntryConfig {
			c, err := raftcore.DecodeConfig(e.Data)
			if err != nil {
				panic(err)
			}
			r.Configs = append(r.Configs, raftcore.ConfigAt{Pos: e.Pos, Config: c})
		}
		r.LastStamp = e.Stamp
	}
	r.Tail = slices.Clone(l.entries[max(0, len(l.entries)-s.tailMax):])
	return r
}

func (s *fakeStorage) Write(w *raftcore.Write) (func() error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.called("Write"); err != nil {
		return nil, err
	}
	if w.Seq <= s.lastWrite && w.Seq != 0 {
		return nil, fmt.Errorf("fake: write %d after %d", w.Seq, s.lastWrite)
	}
	s.lastWrite = w.Seq
	kept := *w
	kept.Append = slices.Clone(w.Append)
	if w.HardState != nil {
		hard := *w.HardState
		kept.HardState = &hard
	}
	if err := s.log.perform(&kept); err != nil {
		return nil, err
	}
	s.unsynced = append(s.unsynced, kept)
	s.waiting++
	return func() error { return s.sync(kept.Seq) }, nil
}

// sync makes every write up to seq durable.
func (s *fakeStorage) sync(seq raftcore.Seq) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting--
	if err := s.called("wait"); err != nil {
		return err
	}
	for len(s.unsynced) > 0 && s.unsynced[0].Seq <= seq {
		if err := s.disk.perform(&s.unsynced[0]); err != nil {
			return err
		}
		s.unsynced = s.unsynced[1:]
	}
	return nil
}

func (s *fakeStorage) Entries(r raftcore.Range, maxBytes int) ([]raftcore.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.called("Entries"); err != nil {
		return nil, err
	}
	var list []raftcore.Entry
	for i, bytes := r.First, 0; i <= r.Last && (len(list) == 0 || bytes < maxBytes); i++ {
		if i <= s.log.base.Pos.Index {
			return nil, fmt.Errorf("fake: entry %d: %w", i, op.ErrCompacted)
		}
		if i > s.log.last().Index {
			return nil, fmt.Errorf("fake: entry %d is not in the log", i)
		}
		e := s.log.entries[i-s.log.base.Pos.Index-1]
		list = append(list, e)
		bytes += e.Bytes()
	}
	return list, nil
}

func (s *fakeStorage) Compact(upTo raftcore.Index) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.called("Compact"); err != nil {
		return err
	}
	if upTo > s.flushed.applied {
		return fmt.Errorf("fake: compact %d, durable applied %d", upTo, s.flushed.applied)
	}
	for _, l := range []*fakeLog{&s.log, &s.disk} {
		for len(l.entries) > 0 && l.entries[0].Index <= upTo {
			e := l.entries[0]
			l.base.Pos, l.base.Stamp = e.Pos, e.Stamp
			if e.Kind == raftcore.EntryConfig {
				l.base.Config, _ = raftcore.DecodeConfig(e.Data)
				l.base.ConfigIndex = e.Index
			}
			l.entries = l.entries[1:]
		}
	}
	return nil
}

func (s *fakeStorage) LogBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	bytes := s.extraBytes
	for i := range s.log.entries {
		bytes += int64(s.log.entries[i].Bytes())
	}
	return bytes
}

func (s *fakeStorage) Apply(entries []raftcore.Entry, observers []op.Observer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.called("Apply"); err != nil {
		return err
	}
	if len(observers) != len(entries) {
		return fmt.Errorf("fake: %d observers of %d entries", len(observers), len(entries))
	}
	s.appliedMost = max(s.appliedMost, len(entries))
	for i := range entries {
		if err := s.applyEntry(&entries[i], observers[i]); err != nil {
			return err
		}
	}
	if s.flushEach {
		s.flushed = s.state.clone()
	}
	return nil
}

func (s *fakeStorage) applyEntry(e *raftcore.Entry, observer op.Observer) error {
	st := s.state
	if e.Index != st.applied+1 || e.Stamp < st.stamp {
		return fmt.Errorf("fake: apply %s stamped %d after %d stamped %d",
			e.Pos, e.Stamp, st.applied, st.stamp)
	}
	st.applied, st.term, st.stamp = e.Index, e.Term, e.Stamp
	switch e.Kind {
	case raftcore.EntryNoop:
		return nil
	case raftcore.EntryConfig:
		c, err := raftcore.DecodeConfig(e.Data)
		st.enter(c, e.Index)
		return err
	}
	var p op.Proposal
	if err := op.DecodeProposal(e.Data, &p); err != nil {
		return err
	}
	if !s.counts(&p) {
		return nil
	}
	st.executed[fmt.Sprintf("%d/%d/%d", p.Origin, p.Boot, p.Seq)]++
	rest := p.Ops
	for i := range int(p.Count) {
		var o op.Op
		var err error
		if rest, err = op.Decode(rest, &o); err != nil {
			return err
		}
		result := st.execute(&o)
		if observer != nil {
			observer.Applied(i, &result, fakeView{s, st.clone()})
		}
	}
	return nil
}

// enter takes a configuration: who is in it no longer is gone for good.
func (st *fakeState) enter(c raftcore.Config, at raftcore.Index) {
	for _, id := range st.config.Members() {
		if c.IsMember(id) || c.Joint() {
			continue
		}
		st.retired = append(st.retired, op.Retired{ID: uint64(id), Name: st.members[uint64(id)].Name,
			Index: uint64(at)})
		delete(st.origins, uint64(id))
		delete(st.members, uint64(id))
	}
	st.config, st.configIndex = c, at
}

// counts is the apply rule of design.md 5.
func (s *fakeStorage) counts(p *op.Proposal) bool {
	st := s.state
	last, known := st.origins[p.Origin]
	next := known && last.boot == p.Boot && p.Seq == last.seq+1
	first := p.Seq == 1 && (known && p.Boot > last.boot ||
		!known && st.config.IsMember(raftcore.NodeID(p.Origin)))
	if s.skipOrigin || !next && !first {
		return false
	}
	st.origins[p.Origin] = fakeOrigin{p.Boot, p.Seq}
	return true
}

func (st *fakeState) execute(o *op.Op) op.Result {
	key := string(o.Key)
	switch o.Code {
	case op.CodeAdd:
		st.values[key] += o.Delta
		return op.Result{Kind: op.ResultInt, Int: st.values[key]}
	case op.CodePut:
		st.values[key], _ = strconv.ParseInt(string(o.Value), 10, 64)
		delete(st.deadlines, key)
		if o.TTL == op.TTLAfter {
			st.deadlines[key] = st.stamp + raftcore.LogTime(o.Time)
		}
	case op.CodePurge:
		for _, key := range slices.Sorted(maps.Keys(st.deadlines)) {
			if st.deadlines[key] <= st.stamp {
				delete(st.values, key)
				delete(st.deadlines, key)
			}
		}
	case op.CodeMember:
		m := o.Member
		m.Standing = m.Standing || st.members[m.ID].Standing
		st.members[m.ID] = m
	default:
		panic(fmt.Sprintf("fake: op code %d", o.Code))
	}
	return op.Result{Kind: op.ResultOK}
}

func (s *fakeStorage) Applied() (raftcore.Index, raftcore.LogTime) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.applied, s.state.stamp
}

func (s *fakeStorage) DurableApplied() (raftcore.Index, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flushed.applied, s.called("DurableApplied")
}

func (s *fakeStorage) FlushState() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushed = s.state.clone()
	return s.called("FlushState")
}

func (s *fakeStorage) NextDeadline() (next raftcore.LogTime) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.state.deadlines {
		if next == 0 || at < next {
			next = at
		}
	}
	return next
}

func (s *fakeStorage) ApplyHash() (raftcore.Index, uint64) { return 0, 0 }

func (s *fakeStorage) Members() ([]op.Member, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []op.Member
	for _, id := range slices.Sorted(maps.Keys(s.state.members)) {
		list = append(list, s.state.members[id])
	}
	return list, s.called("Members")
}

func (s *fakeStorage) Retired() ([]op.Retired, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.state.retired), s.called("Retired")
}

func (s *fakeStorage) View(bool) op.View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fakeView{s, s.state.clone()}
}

func (s *fakeStorage) Close() error { return nil }

// value reads what is applied here, whether that is current or not.
func (s *fakeStorage) value(key string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.values[key]
}

type fakeView struct {
	*fakeStorage
	at *fakeState
}

func (v fakeView) LogTime() uint64 { return uint64(v.at.stamp) }
func (v fakeView) Close()          {}

func (v fakeView) Get(_ uint8, key, buf []byte) (op.Value, error) {
	n, ok := v.at.values[string(key)]
	if !ok {
		return op.Value{}, nil
	}
	return op.Value{Type: op.TypeString, Bytes: strconv.AppendInt(buf, n, 10)}, nil
}

func (v fakeView) Head(db uint8, key []byte) (op.Value, int, error) {
	value, err := v.Get(db, key, nil)
	return value, len(value.Bytes), err
}

func (v fakeView) Count(uint8) (keys, expires int64, err error) {
	return int64(len(v.at.values)), int64(len(v.at.deadlines)), nil
}

// fakeTransport is one node's end of a fakeNetwork.
type fakeTransport struct {
	network *fakeNetwork
	self    raftcore.NodeID
	peers   []op.Member // as told by SetPeers
	sought  []string    // as told by Seek

	announced int
}

// delivery is one frame under way.
type delivery struct {
	from, to raftcore.NodeID
	messages []raftcore.Message
	proposal []byte
}

// fakeNetwork carries frames in order, unless drop says otherwise.
type fakeNetwork struct {
	queue     []delivery
	drop      func(d *delivery) bool
	refuse    func(to raftcore.NodeID) bool // Forward answers false
	forwarded int

	hellos func(self raftcore.NodeID) []wire.Hello // nil: nobody says hello
	invite func(to raftcore.NodeID, inv wire.Invite) bool
}

func (t *fakeTransport) Send(to raftcore.NodeID, messages []raftcore.Message) {
	kept := slices.Clone(messages)
	for i := range kept {
		kept[i].Entries = slices.Clone(kept[i].Entries)
		kept[i].After = 0
	}
	t.network.queue = append(t.network.queue, delivery{from: t.self, to: to, messages: kept})
}

func (t *fakeTransport) Forward(to raftcore.NodeID, proposal []byte) bool {
	t.network.forwarded++
	if t.network.refuse != nil && t.network.refuse(to) {
		return false
	}
	t.network.queue = append(t.network.queue, delivery{from: t.self, to: to, proposal: proposal})
	return true
}

func (t *fakeTransport) Invite(to raftcore.NodeID, inv wire.Invite) bool {
	return t.network.invite != nil && t.network.invite(to, inv)
}

func (t *fakeTransport) Hellos() []wire.Hello {
	if t.network.hellos == nil {
		return nil
	}
	return t.network.hellos(t.self)
}

func (t *fakeTransport) SetPeers(members []op.Member) { t.peers = members }
func (t *fakeTransport) Announce()                    { t.announced++ }
func (t *fakeTransport) Seek(addrs []string)          { t.sought = addrs }
func (t *fakeTransport) Peers() []wire.PeerStatus     { return nil }
func (t *fakeTransport) Close() error                 { return nil }
