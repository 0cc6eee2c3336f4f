package store

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"kelek/raftcore"
	"kelek/store/op"
)

// Three views of the state, for three kinds of reader:
//
//	liveView    what is applied now; a Get of it costs what Pebble's costs, and opening it a counter
//	stableView  one instant, held by a snapshot of Pebble: for MGET, SCAN, DBSIZE
//	batchView   inside Apply, between two ops: for replies that depend on other keys
//
// All of them decide about expiry by log time alone.

// View opens a read view of what is applied now. See node.Storage.
func (m *machine) View(stable bool) op.View {
	d := m.acquire()
	if !stable {
		return (*liveView)(d)
	}
	return d.stableView()
}

// stableView takes over the caller's reference.
func (d *database) stableView() *stableView {
	settled := d.settle()
	v := &stableView{d: d, snapshot: d.db.NewSnapshot(), err: settled}
	if settled != nil {
		return v
	}
	// The snapshot may be newer than the published position, so the position is its own.
	_, v.err = get(v.snapshot, []byte{sysPosition}, "the state", v.position.decode)
	return v
}

// viewScratch is a buffer for one storeKey, and one for its record.
type viewScratch struct{ key, value []byte }

var viewScratches = sync.Pool{New: func() any { return new(viewScratch) }}

// lookup reads the record of a key, as of a log time, and hands it to visit, which must not keep
// it.
func lookup(
	from source, now raftcore.LogTime, db uint8, key []byte, visit func(record),
) error {
	scratch := viewScratches.Get().(*viewScratch)
	defer viewScratches.Put(scratch)
	p := placeOf(db, key)
	scratch.key = p.append(scratch.key[:0])
	visitValue := func(value []byte) error {
		found, err := parseRecord(value)
		if found = found.at(uint64(now)); found.exists() {
			visit(found)
		}
		return err
	}
	if from.live != nil {
		var k knowledge
		scratch.value, k = from.live.recent(scratch.value[:0], p.prefix, scratch.key)
		switch k {
		case isPresent:
			return visitValue(scratch.value)
		case isAbsent:
			return nil
		}
	}
	if from.live != nil {
		return from.live.ask(p.prefix, scratch.key, visitValue)
	}
	_, err := get(from.db, scratch.key, "the state", visitValue)
	return err
}

// ask asks Pebble, and lets the rows keep what it answers.
func (d *database) ask(hash uint64, storeKey []byte, visit func(value []byte) error) error {
	changes := d.rows.changes.Load()
	found, err := get(d.db, storeKey, "the state", func(value []byte) error {
		d.rows.fill(changes, hash, storeKey, value, false)
		return visit(value)
	})
	if err == nil && !found {
		d.rows.fill(changes, hash, storeKey, nil, true)
	}
	return err
}

// source is what a view reads.
type source struct {
	db   pebble.Reader
	live *database // what there is beside db; nil: nothing
}

// recent is what is known of a key without asking Pebble.
func (d *database) recent(dst []byte, hash uint64, storeKey []byte) ([]byte, knowledge) {
	dst, k := d.gathered.get(dst, hash, storeKey)
	if k != askPebble {
		return dst, k
	}
	return d.rows.get(dst, hash, storeKey)
}

// fetch is op.View.Get over a reader.
func fetch(
	r source, now raftcore.LogTime, db uint8, key, buf []byte,
) (v op.Value, err error) {
	err = lookup(r, now, db, key, func(found record) { v = valueOf(found, buf) })
	return v, err
}

func fetchHead(
	r source, now raftcore.LogTime, db uint8, key []byte,
) (v op.Value, bodyBytes int, err error) {
	err = lookup(r, now, db, key, func(found record) {
		v, bodyBytes = headOf(found)
	})
	return v, bodyBytes, err
}

func valueOf(r record, buf []byte) op.Value {
	return op.Value{Type: r.kind, Deadline: r.deadline, Version: r.version,
		Bytes: append(buf, r.body...)}
}

func headOf(r record) (op.Value, int) {
	return op.Value{Type: r.kind, Deadline: r.deadline, Version: r.version}, len(r.body)
}

// liveView reads what is applied at the moment of each call. It has no state of its own.
//
// Each Get answers from a state that was current during the call, though it reads two things, the
// log time and the key, while entries are applied. It reads the log time first. Let T be that time,
// S the state it belongs to, and r the record that is then found, in S or a later state.
//
//	deadline of r > T: if r was in S already, it was alive there. Otherwise it came after S, during
//	the call, and was alive when it came, since no record is written with a deadline that has come.
//	deadline of r <= T: r was written before S, for the same reason, and had expired in S; no write
//	came between S and the read. So the key was gone, during the whole call.
//
// The other way round it would fail: r is read, then the key is written again with a later
// deadline, then log time passes the deadline of r. The answer would be "gone", and it never was.
//
// It is a reference to the database that was in force when it was opened.
type liveView database

func (v *liveView) LogTime() uint64 { return uint64(v.position.Load().stamp) }

func (v *liveView) Get(db uint8, key, buf []byte) (op.Value, error) {
	now := v.position.Load().stamp
	return fetch(source{v.db, (*database)(v)}, now, db, key, buf)
}

func (v *liveView) Head(db uint8, key []byte) (op.Value, int, error) {
	now := v.position.Load().stamp
	return fetchHead(source{v.db, (*database)(v)}, now, db, key)
}

// Count has to see one state, which only a stable view does.
func (v *liveView) Count(db uint8) (keys, expires int64, err error) {
	stable := v.stable()
	defer stable.Close()
	return stable.Count(db)
}

// stable opens a stable view of the same database. It can, since v has a reference.
func (v *liveView) stable() *stableView {
	d := (*database)(v)
	d.refs.Add(1)
	return d.stableView()
}

func (v *liveView) Close() { (*database)(v).release() }

// stableView reads one state.
type stableView struct {
	d        *database
	snapshot *pebble.Snapshot
	position position
	err      error // the position could not be read
}

func (v *stableView) LogTime() uint64 { return uint64(v.position.stamp) }

func (v *stableView) Get(db uint8, key, buf []byte) (op.Value, error) {
	if v.err != nil {
		return op.Value{}, v.err
	}
	return fetch(source{db: v.snapshot}, v.position.stamp, db, key, buf)
}

func (v *stableView) Head(db uint8, key []byte) (op.Value, int, error) {
	if v.err != nil {
		return op.Value{}, 0, v.err
	}
	return fetchHead(source{db: v.snapshot}, v.position.stamp, db, key)
}

func (v *stableView) Count(db uint8) (keys, expires int64, err error) {
	if v.err != nil {
		return 0, 0, v.err
	}
	t, err := v.d.counts.count(v.snapshot, db, v.position)
	return t.keys, t.expires, err
}

func (v *stableView) Close() {
	_ = v.snapshot.Close()
	v.d.release()
}

// batchView reads the state after the op that an observer is told of. It is used on the applier's
// goroutine only. It has a scratch of its own: the result that the observer holds may be in the
// machine's.
type batchView struct {
	m    *machine
	key  []byte
	body []byte
}

func (v *batchView) record(db uint8, key []byte, limit int) (record, error) {
	p := placeOf(db, key)
	v.key = p.append(v.key[:0])
	value, found, err := v.m.read(p.prefix, v.key, &v.body, limit)
	if err != nil || !found {
		return record{}, err
	}
	r, err := parseRecord(value)
	return r.at(v.m.now), err
}

func (v *batchView) LogTime() uint64 { return v.m.now }

func (v *batchView) Get(db uint8, key, buf []byte) (op.Value, error) {
	r, err := v.record(db, key, everything)
	if err != nil || !r.exists() {
		return op.Value{}, err
	}
	return valueOf(r, buf), nil
}

func (v *batchView) Head(db uint8, key []byte) (op.Value, int, error) {
	r, err := v.record(db, key, everything)
	if err != nil || !r.exists() {
		return op.Value{}, 0, err
	}
	value, bodyBytes := headOf(r)
	return value, bodyBytes, nil
}

// Count is that of the database without what the batch has touched, and of what the batch has put.
func (v *batchView) Count(db uint8) (keys, expires int64, err error) {
	m := v.m
	if err := m.state.settle(); err != nil {
		return 0, 0, err
	}
	t, err := countStored(m.db, db, m.now, v.touched)
	if err != nil {
		return 0, 0, err
	}
	m.overlay.each(db, m.batch.Repr(), func(_, value []byte) {
		var r record
		if r, err = parseRecord(value); err == nil {
			t.add(r.at(m.now))
		}
	})
	return t.keys, t.expires, err
}

func (v *batchView) Close() {}

// countStored counts the keys of a database one by one, without those that skip names.
func countStored(
	r pebble.Reader, db uint8, now uint64, skip func(storeKey []byte) bool,
) (t tally, err error) {
	err = eachRecord(r, []byte{db}, []byte{db + 1}, func(storeKey []byte, found record) bool {
		if !skip(storeKey) {
			t.add(found.at(now))
		}
		return true
	})
	return t, err
}
