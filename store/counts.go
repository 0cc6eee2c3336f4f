package store

import (
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"kelek/raftcore"
	"kelek/store/op"
)

// counts knows how many keys there are, by slot, as far as it was asked. A write does not read what
// it replaces, so nobody knows whether a SET made a new key without looking; but a slot that nothing
// was written to since it was counted has as many keys as it had. So asking costs what was written
// since it was last asked, and nothing when that was nothing: INFO asks for 16 databases every
// second.
//
// Scenario: entry 7 writes to a slot that is being counted. The applier notes 7 before the database
// shows what it wrote. Whoever counts takes a snapshot first and looks at the note then; so
//
//  1. the snapshot shows entry 7: the note is there, and a count of an earlier state does not pass;
//  2. it does not: what is counted is the state before, and says so. If the note is there already,
//     the count will not pass for any later state.
//
// Invariant: a count at an index is that of every state from there on up to the next note.
type counts struct {
	flushed [op.Databases]atomic.Uint64 // the last entry that took the whole database
	dbs     [op.Databases]atomic.Pointer[slotCounts]
}

// slotCounts is one database's.
type slotCounts struct {
	written [op.Slots]atomic.Uint64 // the last entry that wrote to the slot, or a later one

	mu    sync.Mutex
	known [op.Slots]slotCount
}

type slotCount struct {
	at    raftcore.Index // the state that it is of; 0: not known
	until uint64         // log time at which the next key expires
	tally tally
}

// of returns the counts of a database.
func (c *counts) of(db uint8) *slotCounts {
	if s := c.dbs[db].Load(); s != nil {
		return s
	}
	c.dbs[db].CompareAndSwap(nil, &slotCounts{})
	return c.dbs[db].Load()
}

// begin notes which slots a batch has written to, before the database shows it. index is that of the
// last entry in it, and data is its memory.
func (c *counts) begin(o *overlay, data []byte, index raftcore.Index) {
	for db, flushed := range o.flushedAt {
		if flushed > 0 {
			c.flushed[db].Store(uint64(index))
		}
	}
	for _, at := range o.written {
		s := &o.slots[at]
		c.note(data[s.keyAt], s.hash, index)
	}
}

// note notes one record, by the first byte of its storeKey and its prefix.
func (c *counts) note(db uint8, prefix uint64, index raftcore.Index) {
	if db < op.Databases {
		c.of(db).written[slotOfPrefix(prefix)].Store(uint64(index))
	}
}

// slotOfPrefix is the slot of an order prefix: its upper 14 bits.
func slotOfPrefix(prefix uint64) int { return int(prefix >> 50) }

// counting is one count of a database in one state.
type counting struct {
	r       pebble.Reader
	db      uint8
	at      position
	flushed raftcore.Index
	it      *pebble.Iterator // over the database; nil: not needed yet
}

// count returns how many keys a database has in a state that r shows.
func (c *counts) count(r pebble.Reader, db uint8, at position) (t tally, err error) {
	if c.dbs[db].Load() == nil {
		if none, err := isEmpty(r, db); err != nil || none {
			return tally{}, err
		}
	}
	s := c.of(db)
	x := counting{r: r, db: db, at: at, flushed: raftcore.Index(c.flushed[db].Load())}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		if x.it != nil {
			_ = x.it.Close() // its error is that of each run
		}
	}()
	for slot := 0; slot < op.Slots; {
		if s.passes(slot, &x) {
			t.join(s.known[slot].tally)
			slot++
			continue
		}
		end := slot + 1
		for end < op.Slots && !s.passes(end, &x) {
			end++
		}
		if err := s.countRun(slot, end, &x, &t); err != nil {
			return tally{}, err
		}
		slot = end
	}
	return t, nil
}

// isEmpty reports whether a database has no keys: most have none, and need no memory for counts.
func isEmpty(r pebble.Reader, db uint8) (empty bool, err error) {
	empty = true
	err = eachRecord(r, []byte{db}, []byte{db + 1}, func([]byte, record) bool {
		empty = false
		return false
	})
	return empty, err
}

// passes reports whether what is known of a slot is true of the state of x.
func (s *slotCounts) passes(slot int, x *counting) bool {
	k := &s.known[slot]
	return k.at != 0 && k.at <= x.at.index && x.flushed <= k.at &&
		s.written[slot].Load() <= uint64(k.at) && uint64(x.at.stamp) < k.until
}

// countRun counts the slots from first on, before end, adds them to t, and remembers them, unless
// something is known of a later state.
func (s *slotCounts) countRun(first, end int, x *counting, t *tally) error {
	if x.it == nil {
		it, err := x.r.NewIter(&pebble.IterOptions{
			LowerBound: []byte{x.db}, UpperBound: []byte{x.db + 1},
		})
		if err != nil {
			return readError("the state", err)
		}
		x.it = it
	}
	lower, _ := slotRange(x.db, uint16(first))
	ok := x.it.SeekGE(lower)
	for slot := first; slot < end; slot++ {
		k := slotCount{at: x.at.index, until: math.MaxUint64}
		for ; ok && slotAt(x.it) == slot; ok = x.it.Next() {
			if err := k.add(x.it, uint64(x.at.stamp)); err != nil {
				return err
			}
		}
		t.join(k.tally)
		if k.at > s.known[slot].at {
			s.known[slot] = k
		}
	}
	return readErrorOf("the state", x.it.Error())
}

func slotAt(it *pebble.Iterator) int { return slotOfPrefix(binary.BigEndian.Uint64(it.Key()[1:])) }

// add counts the record that it is at.
func (k *slotCount) add(it *pebble.Iterator, now uint64) error {
	value, err := it.ValueAndErr()
	if err != nil {
		return readError("the state", err)
	}
	found, err := parseRecord(value)
	if err != nil {
		return err
	}
	if found = found.at(now); found.deadline != 0 {
		k.until = min(k.until, found.deadline)
	}
	k.tally.add(found)
	return nil
}

// tally is a number of keys and how many of them have a deadline.
type tally struct{ keys, expires int64 }

func (t *tally) add(r record) {
	if r.exists() {
		t.keys++
	}
	if r.exists() && r.deadline != 0 {
		t.expires++
	}
}

func (t *tally) join(other tally) {
	t.keys += other.keys
	t.expires += other.expires
}
