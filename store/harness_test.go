package store

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// storage is what a node asks of its storage, as far as its shape goes.
type storage interface {
	Restored() raftcore.Restored
	Write(w *raftcore.Write) (wait func() error, err error)
	Entries(r raftcore.Range, maxBytes int) ([]raftcore.Entry, error)
	Compact(upTo raftcore.Index) error
	LogBytes() int64
	Apply(entries []raftcore.Entry, observers []op.Observer) error
	Applied() (raftcore.Index, raftcore.LogTime)
	DurableApplied() (raftcore.Index, error)
	FlushState() error
	NextDeadline() raftcore.LogTime
	ApplyHash() (raftcore.Index, uint64)
	Members() ([]op.Member, error)
	Retired() ([]op.Retired, error)
	OriginOf(id uint64) (boot, seq uint64, ok bool)
	View(stable bool) op.View
	CompactTarget(keepBytes int64) raftcore.Index
	TakeSnapshot(id uint64) (raftcore.SnapshotMeta, error)
	SnapshotFiles(id uint64) ([]wire.SnapshotFile, error)
	OpenSnapshotFile(id uint64, name string) (op.SnapshotReader, error)
	DropSnapshot(id uint64) error
	Stage(meta raftcore.SnapshotMeta, files []wire.SnapshotFile) (op.Stage, error)
	Install(meta raftcore.SnapshotMeta, hard *raftcore.HardState) error
	Close() error
}

var _ storage = (*Store)(nil)

// noLock is a disk in memory of which images are taken while a database is opened on it. Its own Lock
// takes a read lock twice, which an image that is asked for in between makes wait for ever.
type noLock struct{ vfs.FS }

func (f noLock) Lock(name string) (io.Closer, error) {
	return f.FS.Create(name, vfs.WriteCategoryUnspecified)
}

// smallOptions are for databases of some hundred keys.
func smallOptions(t testing.TB, fs vfs.FS) Options {
	return Options{
		FS: fs, Logger: zerolog.Nop(),
		Fatal:            func(err error) { t.Errorf("storage failed: %v", err) },
		LogMemTableBytes: 256 << 10, StateMemTableBytes: 256 << 10, GatherBytes: 2 << 10, CacheBytes: 1 << 20,
		CompactBytesMin: 1,
	}
}

func mustOpen(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open("data", o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// self is the node that proposes in tests.
const self raftcore.NodeID = 0xa1

// replica drives a Store as a node does: write, wait, apply.
type replica struct {
	t     testing.TB
	s     *Store
	o     Options
	last  raftcore.Pos
	stamp raftcore.LogTime
	seq   uint64
	write raftcore.Seq
}

// newReplica opens a new Store whose first entry makes self a member.
func newReplica(t testing.TB, o Options) *replica {
	t.Helper()
	r := &replica{t: t, o: o, s: mustOpen(t, o), stamp: 1000}
	r.last.Term = 1
	r.must(r.commit(nil, r.configEntry(self)))
	return r
}

func (r *replica) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *replica) entry(kind raftcore.EntryKind, data []byte) raftcore.Entry {
	r.last.Index++
	return raftcore.Entry{Pos: r.last, Kind: kind, Stamp: r.stamp, Data: data}
}

func (r *replica) configEntry(voters ...raftcore.NodeID) raftcore.Entry {
	return r.entry(raftcore.EntryConfig, raftcore.EncodeConfig(raftcore.Config{Voters: voters}))
}

// proposal is an entry with the next proposal of self.
func (r *replica) proposal(ops ...op.Op) raftcore.Entry {
	r.seq++
	return r.entry(raftcore.EntryNormal, encodeProposal(uint64(self), 1, r.seq, ops...))
}

func encodeProposal(origin, boot, seq uint64, ops ...op.Op) []byte {
	p := op.Proposal{Origin: origin, Boot: boot, Seq: seq, Count: uint32(len(ops))}
	for i := range ops {
		p.Ops = ops[i].Append(p.Ops)
	}
	return op.AppendProposal(nil, &p)
}

// append writes entries to the log and waits until they are durable.
func (r *replica) append(entries ...raftcore.Entry) error {
	r.write++
	wait, err := r.s.Write(&raftcore.Write{
		Seq: r.write, HardState: &raftcore.HardState{Term: r.last.Term}, Append: entries, Sync: true,
	})
	if err != nil {
		return err
	}
	return wait()
}

// commit appends and applies entries in one batch.
func (r *replica) commit(observers []op.Observer, entries ...raftcore.Entry) error {
	return errors.Join(r.append(entries...), r.s.Apply(entries, observers))
}

// do applies one op and returns its result as text.
func (r *replica) do(o op.Op) string {
	r.t.Helper()
	var c collector
	r.must(r.commit([]op.Observer{&c}, r.proposal(o)))
	return c.results[0]
}

// reopen closes the store and opens it again.
func (r *replica) reopen() {
	r.t.Helper()
	r.must(r.s.Close())
	r.s = mustOpen(r.t, r.o)
}

// collector keeps results as text, and may look at the state after each op.
type collector struct {
	results []string
	after   func(i int, v op.View)
	step    func(i, done int, result string, v op.View) // nil: not interested in transactions
}

func (c *collector) Step(i, done int, r *op.Result, v op.View) {
	if c.step == nil {
		return
	}
	result := ""
	if done > 0 {
		result = resultText(r)
	}
	c.step(i, done, result, v)
}

func (c *collector) Applied(i int, r *op.Result, v op.View) {
	c.results = append(c.results, resultText(r))
	if c.after != nil {
		c.after(i, v)
	}
}

func resultText(r *op.Result) string {
	switch r.Kind {
	case op.ResultOK:
		return "ok"
	case op.ResultNil:
		return "nil"
	case op.ResultInt:
		return fmt.Sprint(r.Int)
	case op.ResultBytes:
		return fmt.Sprintf("%q", r.Bytes)
	}
	return errorNames[r.Error]
}

var errorNames = map[op.ErrorCode]string{
	op.ErrWrongType: "wrong type", op.ErrNotInteger: "not an integer", op.ErrOverflow: "overflow",
	op.ErrTooLong: "too long", op.ErrInvalidExpire: "invalid expire time",
	op.ErrNotFloat: "not a float", op.ErrNotFinite: "not finite",
	op.ErrOnceExpired: "once expired", op.ErrOnceMismatch: "once mismatch",
}

func put(key, value string) op.Op {
	return op.Op{Code: op.CodePut, Key: []byte(key), Value: []byte(value)}
}

// getText reads a key as text.
func getText(t testing.TB, v op.View, db uint8, key string) string {
	t.Helper()
	value, err := v.Get(db, []byte(key), nil)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case value.Type == op.TypeNone:
		return "nil"
	case value.Deadline != 0:
		return fmt.Sprintf("%q until %d", value.Bytes, value.Deadline)
	}
	return fmt.Sprintf("%q", value.Bytes)
}

// flushed makes what is applied durable.
func flushed(s *Store) error { return errors.Join(s.machine.state.settle(), s.machine.db.Flush()) }
