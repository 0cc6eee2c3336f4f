package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"kelek/store/op"
)

// This file is how what was applied comes to Pebble: gathered first, and then in order.
//
// Most batches are gathered. What is more than records that are found by their key goes to Pebble at
// once, behind what was gathered before it: deletions of ranges, and records that the applier finds
// by going through them in order, as it does with the index of deadlines.
//
// Whoever needs to see a state in Pebble settles first: stable views, flushes, and the applier
// before it goes through keys. Nobody else has to, so a node with nothing to do does nothing.
//
// A settlement of several megabytes goes on beside the applier, which fills the other table. It is
// larger than half a memtable, and then Pebble takes it as it is, in place of a memtable: since it is
// in order, that costs next to nothing.

// settling is what the goroutine that changes what is gathered needs; database has it.
type settling struct {
	mu   sync.Mutex    // held by whoever changes anything
	done chan struct{} // closed when the settlement under way is done; nil: there is none
	err  error         // of the last one

	// What belongs to the settlement under way.
	listed []settled // in the order in which it came
	sorted []settled
	ends   []uint32      // scratch of deal
	batch  *pebble.Batch // for a small one, kept
	spare  *table
}

// settled is one record on its way to Pebble.
type settled struct {
	prefix uint64 // of the storeKey, from its second byte on
	at     uint32
	db     uint8 // its first byte
}

// sameSlot reports whether a note of one is a note of the other. See counts.
func (x *settled) sameSlot(y *settled) bool {
	return x.db == y.db && slotOfPrefix(x.prefix) == slotOfPrefix(y.prefix)
}

// written is a batch that was applied and that nobody sees yet.
type written struct {
	batch   *pebble.Batch
	overlay *overlay // what is in it
	origins []origin // those that are dirty belong to it
	reached position
	ordered bool // there is more in it than what overlay knows
}

// show makes a batch visible.
func (d *database) show(w *written) error {
	d.settling.mu.Lock()
	defer d.settling.mu.Unlock()
	if w.ordered || w.batch.Len() >= d.gatherBytes {
		if err := d.settleAndWait(); err != nil {
			return err
		}
		return d.showAtOnce(w)
	}
	d.gather(w)
	if len(d.gathered.front.data) < d.gatherBytes {
		return nil
	}
	return d.startSettling()
}

// gather takes a batch. It is seen as a whole from then on.
func (d *database) gather(w *written) {
	g, o, data := &d.gathered, w.overlay, w.batch.Repr()
	g.gate.Lock()
	defer g.gate.Unlock()
	t := g.front
	for _, at := range o.written {
		s := &o.slots[at]
		key := data[s.keyAt : s.keyAt+s.keyBytes]
		if s.valueAt == 0 {
			t.put(s.hash, key, nil, true)
		} else {
			t.put(s.hash, key, data[s.valueAt:s.valueAt+s.valueBytes], false)
		}
	}
	for i := range w.origins {
		if o := &w.origins[i]; o.dirty {
			key := o.key()
			t.put(hashOf(key), key, o.value(), false)
		}
	}
	t.reached, t.any = w.reached, true
}

// showAtOnce gives a batch to Pebble, which has all before it. Readers pass the rows meanwhile:
//
//	applier:  the rows are to be passed    Pebble shows the batch    the rows take it    no more
//	reader:   are the rows to be passed? if not, look there
//
// A reader that was not told to pass the rows began before Pebble showed the batch, or after the
// rows had taken it. In the first case it may be told of the state before; it began when nobody had
// seen the next one.
func (d *database) showAtOnce(w *written) error {
	b := w.batch
	for i := range w.origins {
		if o := &w.origins[i]; o.dirty {
			if err := b.Set(o.key(), o.value(), nil); err != nil {
				return err
			}
		}
	}
	if err := b.Set([]byte{sysPosition}, w.reached.append(nil), nil); err != nil {
		return err
	}
	data := b.Repr() // Pebble keeps the memory of a large batch, and leaves the batch without
	d.counts.begin(w.overlay, data, w.reached.index)
	d.rows.passed.Store(true)
	d.rows.changes.Add(1)
	if err := d.db.Apply(b, pebble.NoSync); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	d.rows.takeBatch(w.overlay, data)
	d.rows.changes.Add(1)
	d.rows.passed.Store(false)
	return nil
}

// settle gives Pebble all that was gathered, and returns when it has it.
func (d *database) settle() error {
	d.settling.mu.Lock()
	defer d.settling.mu.Unlock()
	return d.settleAndWait()
}

func (d *database) settleAndWait() error {
	if err := d.startSettling(); err != nil {
		return err
	}
	return d.waitSettled()
}

// waitSettled waits for the settlement under way.
func (d *database) waitSettled() error {
	s := &d.settling
	if s.done != nil {
		<-s.done
		s.done = nil
	}
	return s.err
}

// startSettling begins to give Pebble what is in front, once it has what is in back.
func (d *database) startSettling() error {
	s, g := &d.settling, &d.gathered
	if err := d.waitSettled(); err != nil || !g.front.any {
		return err
	}
	t := g.front
	g.gate.Lock()
	g.front, g.back = s.spare, t
	g.gate.Unlock()
	s.done = make(chan struct{})
	if len(t.data) < d.gatherBytes {
		d.perform(t)
	} else {
		go func() {
			d.tables(true)
			defer d.tables(false)
			d.perform(t)
		}()
	}
	return nil
}

// perform is a settlement. It is alone with everything in settling but mu.
func (d *database) perform(t *table) {
	s, g := &d.settling, &d.gathered
	defer close(s.done)
	if s.err = d.give(t); s.err != nil {
		return
	}
	g.gate.Lock()
	g.back = nil
	g.gate.Unlock()
	t.reset()
	s.spare = t
}

// give gives Pebble what is in t.
func (d *database) give(t *table) error {
	s := &d.settling
	s.sort(t)
	b := s.batch
	if large := len(t.data) >= d.gatherBytes; large {
		b = d.db.NewBatchWithSize(len(t.data) + positionBytes) // Pebble keeps its memory
		defer b.Close()
	} else {
		defer b.Reset()
	}
	if err := s.fill(b, t, &d.counts); err != nil {
		return err
	}
	d.rows.changes.Add(1)
	if err := d.db.Apply(b, pebble.NoSync); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	d.rows.take(t, s.sorted)
	d.rows.changes.Add(1)
	return nil
}

// positionBytes is more than what the position occupies in a batch.
const positionBytes = 64

// sort lists what is in t in the order of storeKeys. Prefixes are spread by a hash, so when records
// are dealt out by the upper bits of theirs, some eight each are left to be compared. Where they are
// not spread, as those of one slot, more are.
func (s *settling) sort(t *table) {
	databases := s.list(t)
	width := min(max(bits.Len(uint(len(s.listed)/8)), databaseBits), sortBitsMax)
	ends := s.deal(width, databases == 1)
	first := 0
	for _, end := range ends {
		slices.SortFunc(s.sorted[first:end], func(x, y settled) int { return compare(t, x, y) })
		first = int(end)
	}
}

const (
	// databaseBits are enough for the number of a database.
	databaseBits = 4
	// sortBitsMax keeps the places of sort in the nearest cache.
	sortBitsMax = 13
)

func compare(t *table, x, y settled) int {
	if x.db == y.db && x.prefix != y.prefix {
		return cmp.Compare(x.prefix, y.prefix)
	}
	a, _ := t.record(int(x.at))
	b, _ := t.record(int(y.at))
	return bytes.Compare(a.key, b.key)
}

// list lists what is in t as it came, and tells how many databases it belongs to.
func (s *settling) list(t *table) (databases int) {
	s.listed = s.listed[:0]
	var seen uint16
	for at := 0; at < len(t.data); {
		r, next := t.record(at)
		if !r.dead {
			s.listed = append(s.listed, settled{
				prefix: binary.BigEndian.Uint64(r.key[1:]), at: uint32(at), db: r.key[0],
			})
			seen |= 1 << r.key[0] // nothing for the machine's own
		}
		at = next
	}
	return bits.OnesCount16(seen)
}

// deal puts what is listed to sorted by the upper width bits of what it is sorted by, the machine's own
// keys last, and tells where each group ends.
func (s *settling) deal(width int, oneDatabase bool) (ends []uint32) {
	groups := 1<<width + 1
	group := func(x *settled) uint64 {
		switch {
		case x.db >= op.Databases:
			return uint64(groups - 1)
		case oneDatabase:
			return x.prefix >> (64 - width)
		}
		return uint64(x.db)<<(width-databaseBits) | x.prefix>>(64-width+databaseBits)
	}
	ends = slices.Grow(s.ends[:0], groups)[:groups]
	clear(ends)
	for i := range s.listed {
		ends[group(&s.listed[i])]++
	}
	next := uint32(0)
	for i, n := range ends {
		ends[i] = next // where the group begins, until it is dealt
		next += n
	}
	s.sorted = slices.Grow(s.sorted[:0], len(s.listed))[:len(s.listed)]
	for i := range s.listed {
		at := &ends[group(&s.listed[i])]
		s.sorted[*at] = s.listed[i]
		*at++
	}
	s.ends = ends
	return ends
}

// fill writes the batch that Pebble gets.
//
// Hot: in the order of keys, records are all over the table. Some of them are looked at before the
// first is copied, so that the processor fetches them at the same time (BenchmarkFill).
func (s *settling) fill(b *pebble.Batch, t *table, c *counts) error {
	var records [fillAtOnce]tableRecord
	var last *settled
	for part := range slices.Chunk(s.sorted, fillAtOnce) {
		for i := range part {
			records[i], _ = t.record(int(part[i].at))
		}
		for i := range part {
			x := &part[i]
			if last == nil || !x.sameSlot(last) {
				c.note(x.db, x.prefix, t.reached.index)
			}
			last = x
			if err := records[i].write(b); err != nil {
				return fmt.Errorf("write state: %w", err)
			}
		}
	}
	if err := b.Set([]byte{sysPosition}, t.reached.append(nil), nil); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// fillAtOnce is how many records fill looks at before it copies the first.
const fillAtOnce = 16

func (r *tableRecord) write(b *pebble.Batch) error {
	if r.deleted {
		return b.Delete(r.key, nil)
	}
	return b.Set(r.key, r.value, nil)
}
