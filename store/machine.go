package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"kelek/raftcore"
	"kelek/store/op"
)

// machine is state/: what the committed entries have made of the empty state.
type machine struct {
	fuse   *fuse
	limits limits

	// Published, for everybody.
	current      atomic.Pointer[database] // in force; see acquire
	nextDeadline atomic.Uint64            // ms; 0: none
	expiredKeys  atomic.Uint64            // since the start
	onceEntries  atomic.Uint64
	flushes      sync.WaitGroup

	applying
}

// applying is what the goroutine that calls Apply has in memory of the state. It belongs to that
// goroutine, and an install replaces it as a whole.
type applying struct {
	state *database
	db    *pebble.DB // of state

	failed      error // the first; what is in memory is then ahead of the disk
	config      raftcore.Config
	configIndex raftcore.Index
	origins     []origin // sorted by id; at most the members of config
	once        onceQueue
	deadlines   deadlines

	// The batch in the making. Its memory is what overlay and deadlines point into.
	batch    *pebble.Batch
	ordered  bool // there is more in it than what overlay knows; see settle.go
	overlay  overlay
	reached  position // as of the last entry in it
	hash     folder
	now      uint64 // stamp of the entry being applied
	ops      uint64 // number of the op being executed: the version of what it writes
	op       op.Op
	inner    op.Op // the one inside a CodeOnce
	step     op.Op // one inside a CodeMulti
	at       int   // the op's place in its proposal
	steps    op.StepObserver
	result   op.Result
	observed batchView

	key       []byte // scratch: a storeKey
	value     []byte // scratch: the value of the last get that Pebble answered
	onceKey   []byte
	onceValue []byte
	digits    [20]byte
}

// origin is the last proposal of one node that was applied. See design.md 5.
type origin struct {
	id        raftcore.NodeID
	boot, seq uint64
	dirty     bool // not in the batch yet
}

const originSize = 16 // boot and seq

func (o *origin) key() []byte { return sysKey(sysOrigin, uint64(o.id)) }

func (o *origin) value() []byte {
	return appendUint64(appendUint64(make([]byte, 0, originSize), o.boot), o.seq)
}

const (
	// batchBytesInitial holds what is applied at once under a usual load; batchBytesKept is what
	// may stay allocated after an unusual one.
	batchBytesInitial = 64 << 10
	batchBytesKept    = 4 << 20
	scratchBytesKept  = 1 << 20
)

func newMachine(d *database, f *fuse, l limits) *machine {
	m := &machine{fuse: f, limits: l, applying: applying{state: d, db: d.db}}
	m.current.Store(d)
	m.batch = d.db.NewBatch(pebble.WithInitialSizeBytes(batchBytesInitial),
		pebble.WithMaxRetainedSizeBytes(batchBytesKept))
	m.overlay.reset()
	m.observed.m = m
	return m
}

// load reads what the machine keeps in memory beside the database.
func (m *machine) load() error {
	if err := m.loadPosition(); err != nil {
		return err
	}
	if err := m.loadConfig(); err != nil {
		return err
	}
	if err := m.loadOrigins(); err != nil {
		return err
	}
	if err := m.once.load(m.db); err != nil {
		return err
	}
	return m.loadDeadlines()
}

func (m *machine) loadPosition() error {
	p, err := readPosition(m.db)
	m.reached, m.ops = p, p.ops
	m.state.position.Store(&p)
	return err
}

func (m *machine) loadConfig() (err error) {
	m.config, m.configIndex, err = readConfig(m.db)
	return err
}

func readPosition(r pebble.Reader) (p position, err error) {
	_, err = get(r, []byte{sysPosition}, "the state", p.decode)
	return p, err
}

func readConfig(r pebble.Reader) (config raftcore.Config, index raftcore.Index, err error) {
	_, err = get(r, []byte{sysConfig}, "the state", func(value []byte) (err error) {
		if len(value) < 8 {
			return corrupt("the membership", "it has %d bytes", len(value))
		}
		index = raftcore.Index(binary.BigEndian.Uint64(value))
		if config, err = raftcore.DecodeConfig(value[8:]); err != nil {
			return corrupt("the membership", "%w", err)
		}
		return nil
	})
	return config, index, err
}

func (m *machine) loadOrigins() error {
	return eachSys(m.db, sysOrigin, func(id uint64, value []byte) error {
		if len(value) != originSize {
			return corrupt("an origin record", "it has %d bytes", len(value))
		}
		m.origins = append(m.origins, origin{
			id:   raftcore.NodeID(id),
			boot: binary.BigEndian.Uint64(value),
			seq:  binary.BigEndian.Uint64(value[8:]),
		})
		return nil
	})
}

// eachSys visits the numbered system records of one kind, in order.
func eachSys(r pebble.Reader, kind byte, visit func(number uint64, value []byte) error) error {
	it, err := r.NewIter(&pebble.IterOptions{
		LowerBound: []byte{kind}, UpperBound: []byte{kind + 1},
	})
	if err != nil {
		return readError("the state", err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return readError("the state", err)
		}
		if len(it.Key()) != 9 {
			return corrupt("a system record", "its key is % x", it.Key())
		}
		if err := visit(binary.BigEndian.Uint64(it.Key()[1:]), value); err != nil {
			return err
		}
	}
	return readErrorOf("the state", it.Error())
}

// Apply applies consecutive committed entries in one batch. See node.Storage.
func (m *machine) Apply(entries []raftcore.Entry, observers []op.Observer) error {
	if m.failed == nil {
		m.failed = m.fuse.err()
	}
	for i := range entries {
		if m.failed != nil {
			return m.failed
		}
		var observer op.Observer
		if i < len(observers) {
			observer = observers[i]
		}
		m.failed = m.applyEntry(&entries[i], observer)
	}
	if m.failed == nil && len(entries) > 0 {
		m.failed = m.commit()
	}
	return m.failed
}

// applyEntry applies one entry, of which nothing is visible before commit.
func (m *machine) applyEntry(e *raftcore.Entry, observer op.Observer) error {
	if e.Index != m.reached.index+1 || e.Stamp < m.reached.stamp {
		return fmt.Errorf("store: apply %v stamped %d after %d stamped %d",
			e.Pos, e.Stamp, m.reached.index, m.reached.stamp)
	}
	m.now = uint64(e.Stamp)
	m.hash.begin(m.reached.hash, e)
	switch e.Kind {
	case raftcore.EntryNormal:
		if err := m.applyProposal(e, observer); err != nil {
			return fmt.Errorf("apply %v: %w", e.Pos, err)
		}
	case raftcore.EntryConfig:
		if err := m.applyConfig(e); err != nil {
			return fmt.Errorf("apply %v: %w", e.Pos, err)
		}
	case raftcore.EntryNoop:
	default:
		return &UnknownKindError{e.Pos, e.Kind}
	}
	m.reached = position{e.Index, e.Term, e.Stamp, m.hash.sum(), m.ops}
	return nil
}

// commit makes the batch visible: data, origin records and the position up to which they go, all or
// nothing. It is not synced; what a crash takes away is in the log.
func (m *machine) commit() error {
	reached := m.reached
	err := m.state.show(&written{m.batch, &m.overlay, m.origins, reached, m.ordered})
	if err != nil {
		return m.fuse.blow(err)
	}
	for i := range m.origins {
		m.origins[i].dirty = false
	}
	// In this order: whoever sees the position finds at least its state. See liveView.
	m.state.position.Store(&reached)
	m.publish()
	m.renew()
	return m.fuse.err()
}

func (m *machine) publish() {
	m.nextDeadline.Store(m.deadlines.next)
	m.onceEntries.Store(m.once.len())
}

// renew empties what belongs to one batch.
func (m *machine) renew() {
	m.batch.Reset()
	m.ordered = false
	m.overlay.reset()
	m.deadlines.renew()
	for _, scratch := range [...]*[]byte{
		&m.key, &m.value, &m.onceKey, &m.onceValue, &m.observed.key, &m.observed.body, &m.hash.b,
	} {
		if cap(*scratch) > scratchBytesKept {
			*scratch = nil
		}
	}
}

// applyProposal executes the ops of a proposal that the rule of design.md 5 admits.
func (m *machine) applyProposal(e *raftcore.Entry, observer op.Observer) error {
	var p op.Proposal
	if err := op.DecodeProposal(e.Data, &p); err != nil {
		return err
	}
	if !m.admit(&p) {
		return nil
	}
	m.hash.addData(e.Data)
	m.steps, _ = observer.(op.StepObserver)
	rest := p.Ops
	for i := range int(p.Count) {
		var err error
		if rest, err = op.Decode(rest, &m.op); err != nil {
			return fmt.Errorf("op %d of %d: %w", i+1, p.Count, err)
		}
		m.result = op.Result{}
		m.ops++
		m.at = i
		if err := m.execute(&m.op); err != nil {
			return fmt.Errorf("op %d of %d: %w", i+1, p.Count, err)
		}
		m.hash.addResult(&m.result)
		if observer != nil {
			observer.Applied(i, &m.result, &m.observed)
		}
	}
	if len(rest) != 0 {
		return fmt.Errorf("%w: %d bytes after the last of %d ops",
			op.ErrMalformed, len(rest), p.Count)
	}
	return nil
}

// admit decides whether a proposal is executed here, or is a copy or a straggler, and if so notes
// that it was. Without a record, only a member of the configuration in force may begin: ids are
// never used again, so what is left of a removed node dies here.
func (m *machine) admit(p *op.Proposal) bool {
	id := raftcore.NodeID(p.Origin)
	at, known := m.findOrigin(id)
	if !known {
		if p.Seq != 1 || !m.config.IsMember(id) {
			return false
		}
		m.origins = slices.Insert(m.origins, at, origin{id: id})
	}
	o := &m.origins[at]
	next := p.Boot == o.boot && p.Seq == o.seq+1
	first := p.Seq == 1 && (!known || p.Boot > o.boot)
	if !next && !first {
		return false
	}
	*o = origin{id, p.Boot, p.Seq, true}
	return true
}

func (m *machine) findOrigin(id raftcore.NodeID) (at int, found bool) {
	return slices.BinarySearchFunc(m.origins, id, func(o origin, id raftcore.NodeID) int {
		switch {
		case o.id < id:
			return -1
		case o.id > id:
			return 1
		}
		return 0
	})
}

// Applied is the last applied index and its stamp. See node.Storage.
func (m *machine) Applied() (raftcore.Index, raftcore.LogTime) {
	p := m.current.Load().position.Load()
	return p.index, p.stamp
}

// ApplyHash is the running hash over all applied effects. See node.Storage.
func (m *machine) ApplyHash() (raftcore.Index, uint64) {
	p := m.current.Load().position.Load()
	return p.index, p.hash
}

// DurableApplied is the applied index that would survive a power cut now. See node.Storage.
func (m *machine) DurableApplied() (raftcore.Index, error) {
	if err := m.fuse.err(); err != nil {
		return 0, err
	}
	d := m.acquire()
	defer d.release()
	return d.durable()
}

// durable reads the position past the memtables, which is what a crash would leave: they are
// flushed in order, and each batch is in one of them as a whole.
func (d *database) durable() (raftcore.Index, error) {
	it, err := d.db.NewIter(&pebble.IterOptions{
		LowerBound: []byte{sysPosition}, UpperBound: []byte{sysPosition + 1},
		OnlyReadGuaranteedDurable: true,
	})
	if err != nil {
		return 0, readError("the state", err)
	}
	defer it.Close()
	if !it.First() {
		return 0, readErrorOf("the state", it.Error())
	}
	value, err := it.ValueAndErr()
	if err != nil {
		return 0, readError("the state", err)
	}
	var p position
	err = p.decode(value)
	return p.index, err
}

// FlushState makes everything applied so far durable, in the background. See node.Storage. While
// one flush is under way it does nothing.
func (m *machine) FlushState() error {
	if err := m.fuse.err(); err != nil {
		return err
	}
	d := m.acquire()
	select {
	case d.flushing <- struct{}{}:
	default:
		d.release()
		return nil
	}
	done, err := d.flush()
	if err != nil || done == nil {
		d.flushed()
		return m.flushFailed(err)
	}
	m.flushes.Add(1)
	go func() {
		defer m.flushes.Done()
		<-done
		d.flushed()
	}()
	return nil
}

// flushed ends a flush, and gives back the reference of who did it.
func (d *database) flushed() {
	<-d.flushing
	d.release()
}

func (m *machine) flushFailed(err error) error {
	if err == nil {
		return nil
	}
	return m.fuse.blow(fmt.Errorf("flush state: %w", err))
}

// close makes the state durable, so that the next start has nothing to replay, and closes it.
func (m *machine) close() error {
	m.flushes.Wait()
	return errors.Join(m.state.settle(), m.db.Flush(), m.batch.Close(), m.state.close())
}
