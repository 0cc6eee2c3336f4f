package store

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"

	"kelek/store/op"
)

// onceQueue is the ONCE entries in order of age, which is the order of log time, too.
//
// An entry keeps the first reply of one request id of one client. When there are too many entries,
// or the oldest is too old, the oldest goes; its client's floor rises to its id, and stays. So an
// id that comes again has its entry and gets the first reply, or is at or below the floor and gets
// an error; it is never executed a second time. Floors are 17 bytes and a name for every client
// name that was ever used: who makes up a new name for each request stores that for ever.
//
// Ids of one client grow, but need not come in order: an id above the floor that has no entry was
// never executed.
type onceQueue struct {
	first, next uint64 // numbers of the oldest entry and of the one to come
	oldest      uint64 // stamp of the oldest; 0: not known
}

func (q *onceQueue) len() uint64 { return q.next - q.first }

// onceDropsMax bounds what one op drops. It is more than one op adds, so that the queue shrinks.
const onceDropsMax = 4

// load finds the ends of the queue.
func (q *onceQueue) load(db *pebble.DB) error {
	it, err := db.NewIter(&pebble.IterOptions{
		LowerBound: []byte{sysOnceAge}, UpperBound: []byte{sysOnceAge + 1},
	})
	if err != nil {
		return readError("the state", err)
	}
	defer it.Close()
	if it.First() {
		first := it.Key()
		if len(first) != 9 {
			return corrupt("the order of ONCE entries", "it has the key % x", first)
		}
		q.first = binary.BigEndian.Uint64(first[1:])
	}
	if it.Last() {
		q.next = binary.BigEndian.Uint64(it.Key()[1:]) + 1
	}
	return readErrorOf("the state", it.Error())
}

// appendOnce appends the value of a ONCE entry:
//
//	+------------------+------------------+
//	| hash of Inner    | op.AppendResult  |
//	| 8 bytes          |                  |
//	+------------------+------------------+
func appendOnce(dst []byte, inner uint64, r *op.Result) []byte {
	return op.AppendResult(binary.BigEndian.AppendUint64(dst, inner), r)
}

func decodeOnce(b []byte, r *op.Result) (inner uint64, err error) {
	if len(b) < 8 {
		return 0, corrupt("a ONCE entry", "it has %d bytes", len(b))
	}
	if rest, err := op.DecodeResult(b[8:], r); err != nil || len(rest) != 0 {
		return 0, corrupt("a ONCE entry", "%d bytes too many: %v", len(rest), err)
	}
	return binary.BigEndian.Uint64(b), nil
}

// applyOnce executes an op the first time, and answers the same every other time.
func (m *machine) applyOnce(o *op.Op) error {
	m.onceKey = appendOnceKey(m.onceKey[:0], o.Client, o.Request)
	value, found, err := m.read(hashOf(m.onceKey), m.onceKey, &m.onceValue, everything)
	if err != nil {
		return err
	}
	if found {
		return m.answerAgain(value, xxhash.Sum64(o.Inner))
	}
	floor, err := m.onceFloor(o.Client)
	if err != nil {
		return err
	}
	if o.Request <= floor {
		return m.answerError(op.ErrOnceExpired)
	}
	rest, err := op.Decode(o.Inner, &m.inner)
	if err != nil {
		return err
	}
	if len(rest) != 0 {
		return fmt.Errorf("%w: %d bytes after the op inside ONCE", op.ErrMalformed, len(rest))
	}
	if err := m.execute(&m.inner); err != nil {
		return err
	}
	if err := m.rememberOnce(o); err != nil {
		return err
	}
	return m.dropOnce()
}

// answerAgain answers what an entry says, unless it was another command's.
func (m *machine) answerAgain(entry []byte, inner uint64) error {
	first, err := decodeOnce(entry, &m.result)
	if err == nil && first != inner {
		return m.answerError(op.ErrOnceMismatch)
	}
	return err
}

// onceFloor is the greatest id of a client whose entry was dropped.
func (m *machine) onceFloor(client []byte) (floor uint64, err error) {
	m.key = appendOnceFloorKey(m.key[:0], client)
	value, found, err := m.read(hashOf(m.key), m.key, &m.onceValue, everything)
	if err != nil || !found {
		return 0, err
	}
	if len(value) != 8 {
		return 0, corrupt("a ONCE floor", "it has %d bytes", len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

// rememberOnce keeps the result of o, which was just executed.
func (m *machine) rememberOnce(o *op.Op) error {
	m.onceValue = appendOnce(m.onceValue[:0], xxhash.Sum64(o.Inner), &m.result)
	m.onceKey = appendOnceKey(m.onceKey[:0], o.Client, o.Request)
	if err := m.putSys(m.onceKey, m.onceValue); err != nil {
		return err
	}
	q := &m.once
	if q.len() == 0 {
		q.oldest = m.now
	}
	age := appendUint64(appendUint64(m.onceValue[:0], m.now), o.Request)
	m.onceValue = append(age, o.Client...)
	if err := m.putSys(sysKey(sysOnceAge, q.next), m.onceValue); err != nil {
		return err
	}
	q.next++
	return nil
}

// dropOnce drops the oldest entries as far as they are too many or too old.
func (m *machine) dropOnce() error {
	q := &m.once
	for range onceDropsMax {
		tooMany := q.len() > m.limits.onceEntriesMax
		if q.len() == 0 || !tooMany && q.oldest != 0 && !m.onceTooOld() {
			return nil
		}
		key := sysKey(sysOnceAge, q.first)
		age, found, err := m.read(hashOf(key), key, &m.onceValue, everything)
		if err != nil {
			return err
		}
		if !found || len(age) < 16 {
			return corrupt("the order of ONCE entries", "number %d has %d bytes", q.first, len(age))
		}
		q.oldest = binary.BigEndian.Uint64(age)
		if !tooMany && !m.onceTooOld() {
			return nil
		}
		if err := m.dropOldestOnce(key, binary.BigEndian.Uint64(age[8:]), age[16:]); err != nil {
			return err
		}
		q.first, q.oldest = q.first+1, 0
	}
	return nil
}

// onceTooOld reports whether the oldest entry has outlived its time.
func (m *machine) onceTooOld() bool { return m.now >= m.once.oldest+m.limits.onceTTLMillis }

func (m *machine) dropOldestOnce(ageKey []byte, request uint64, client []byte) error {
	if err := m.delSys(ageKey); err != nil {
		return err
	}
	m.onceKey = appendOnceKey(m.onceKey[:0], client, request)
	if err := m.delSys(m.onceKey); err != nil {
		return err
	}
	m.onceKey = appendOnceFloorKey(m.onceKey[:0], client) // before onceValue, where client may be
	floor, err := m.onceFloor(m.onceKey[1:])
	if err != nil || request <= floor {
		return err
	}
	return m.putSys(m.onceKey, appendUint64(nil, request))
}
