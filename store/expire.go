package store

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"kelek/raftcore"
	"kelek/store/op"
)

// deadlines is the applier's picture of the deadline index: which key to look at when. The index
// may name keys that have another deadline by now, or none: a write does not read what it
// replaces. It always names those that have one.
//
// Invariants:
//   - A record with a deadline has its entry in the index.
//   - An entry that is added is later than the stamp at which it is added, so it is later than
//     every entry that was ever purged. A purge may begin where the last one ended, and does not
//     walk over the tombstones of the earlier ones.
type deadlines struct {
	next   uint64 // the earliest one in the index, the batch included; 0: none
	purged []byte // key of the last entry that was purged; there is nothing up to it

	// What the batch has added that was not purged since, and whether it dropped all else.
	added   []span
	dropped bool
	sorted  [][]byte // scratch
}

// span is a place in the memory of the batch.
type span struct{ at, n uint32 }

func (s span) in(data []byte) []byte { return data[s.at : s.at+s.n] }

func (d *deadlines) renew() {
	d.added, d.dropped = d.added[:0], false
	clear(d.sorted[:cap(d.sorted)])
}

// loadDeadlines finds the earliest deadline.
func (m *machine) loadDeadlines() error {
	it, err := m.iterateDeadlines()
	if err != nil {
		return err
	}
	defer it.Close()
	if it.First() {
		deadline, _, ok := parseDeadlineKey(it.Key())
		if !ok {
			return corrupt("the deadline index", "it has the key % x", it.Key())
		}
		m.deadlines.next = deadline
	}
	return readErrorOf("the state", it.Error())
}

// iterateDeadlines opens an iterator over what Pebble has of the index and was not purged.
func (m *machine) iterateDeadlines() (*pebble.Iterator, error) {
	lower := []byte{sysDeadline}
	if m.deadlines.purged != nil {
		lower = append(slices.Clone(m.deadlines.purged), 0)
	}
	it, err := m.db.NewIter(&pebble.IterOptions{
		LowerBound: lower, UpperBound: []byte{sysDeadline + 1},
	})
	if err != nil {
		return nil, readError("the state", err)
	}
	return it, nil
}

// addDeadline adds a deadline that has not come to the index.
func (m *machine) addDeadline(deadline uint64, p place) error {
	m.ordered = true
	size := deadlineHead + len(p.key)
	w := m.batch.SetDeferred(size, 0)
	appendDeadlineKey(w.Key[:0], deadline, p)
	if err := w.Finish(); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	end := len(m.batch.Repr()) - 1 // the length of the empty value
	d := &m.deadlines
	d.added = append(d.added, span{uint32(end - size), uint32(size)})
	if d.next == 0 || deadline < d.next {
		d.next = deadline
	}
	return nil
}

// dropDeadlines empties the index, as every key is deleted.
func (m *machine) dropDeadlines() error {
	m.ordered = true
	if err := m.batch.DeleteRange([]byte{sysDeadline}, []byte{sysDeadline + 1}, nil); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	m.deadlines.added, m.deadlines.dropped, m.deadlines.next = m.deadlines.added[:0], true, 0
	return nil
}

// applyPurge looks at the keys whose deadlines have come, at most Delta of them, and deletes those
// that still have that deadline.
func (m *machine) applyPurge(o *op.Op) error {
	var walk indexWalk
	if err := m.beginWalk(&walk); err != nil {
		return err
	}
	defer walk.close()
	var deleted int64
	for range o.Delta {
		key := walk.key()
		if key == nil {
			break
		}
		deadline, p, ok := parseDeadlineKey(key)
		if !ok {
			return corrupt("the deadline index", "it has the key % x", key)
		}
		if deadline > m.now {
			break
		}
		died, err := m.purgeOne(key, deadline, p)
		if err != nil {
			return err
		}
		if died {
			deleted++
		}
		m.deadlines.purged = append(m.deadlines.purged[:0], key...)
		walk.advance()
	}
	if err := m.endWalk(&walk); err != nil {
		return err
	}
	m.expiredKeys.Add(uint64(deleted))
	return m.answerInt(deleted)
}

func (m *machine) purgeOne(key []byte, deadline uint64, p place) (died bool, err error) {
	m.ordered = true
	if err := m.batch.Delete(key, nil); err != nil {
		return false, fmt.Errorf("write state: %w", err)
	}
	r, err := m.getRaw(p, recordHeadMax)
	if err != nil || !r.exists() || r.deadline != deadline {
		return false, err
	}
	return true, m.del(p)
}

// indexWalk goes over the index in order: what Pebble has and what the batch has added.
type indexWalk struct {
	stored *pebble.Iterator // nil: the batch dropped what Pebble has, or it has no more
	added  [][]byte
}

func (m *machine) beginWalk(w *indexWalk) error {
	d := &m.deadlines
	data := m.batch.Repr()
	d.sorted = d.sorted[:0]
	for _, s := range d.added {
		d.sorted = append(d.sorted, s.in(data))
	}
	slices.SortFunc(d.sorted, bytes.Compare)
	w.added = d.sorted
	if d.dropped {
		return nil
	}
	it, err := m.iterateDeadlines()
	if err != nil {
		return err
	}
	w.stored = it
	it.First()
	return nil
}

// key is the first entry that is left, or nil.
func (w *indexWalk) key() []byte {
	switch {
	case w.stored == nil || !w.stored.Valid():
		if len(w.added) == 0 {
			return nil
		}
		return w.added[0]
	case len(w.added) == 0 || bytes.Compare(w.stored.Key(), w.added[0]) <= 0:
		return w.stored.Key()
	}
	return w.added[0]
}

// advance leaves the first entry behind, as often as it is there.
func (w *indexWalk) advance() {
	key := w.key()
	for len(w.added) > 0 && bytes.Equal(w.added[0], key) {
		w.added = w.added[1:]
	}
	if w.stored != nil && w.stored.Valid() && bytes.Equal(w.stored.Key(), key) {
		w.stored.Next()
	}
}

func (w *indexWalk) close() {
	if w.stored != nil {
		_ = w.stored.Close() // its error is that of endWalk
	}
}

// endWalk notes where the index begins now.
func (m *machine) endWalk(w *indexWalk) error {
	if w.stored != nil {
		if err := w.stored.Error(); err != nil {
			return readError("the state", err)
		}
	}
	d := &m.deadlines
	d.next = 0
	if key := w.key(); key != nil {
		deadline, _, ok := parseDeadlineKey(key)
		if !ok {
			return corrupt("the deadline index", "it has the key % x", key)
		}
		d.next = deadline
	}
	data := m.batch.Repr()
	d.added = slices.DeleteFunc(d.added, func(s span) bool {
		return bytes.Compare(s.in(data), d.purged) <= 0
	})
	return nil
}

// NextDeadline is the earliest deadline of any key. See node.Storage.
func (m *machine) NextDeadline() raftcore.LogTime {
	return raftcore.LogTime(m.nextDeadline.Load())
}
