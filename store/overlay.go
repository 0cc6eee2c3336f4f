package store

import (
	"bytes"
	"encoding/binary"

	"kelek/store/op"
)

// overlay answers reads of what the batch in the making has written: INCR after SET in one
// pipeline, and views for observers between two ops.
//
// Pebble's indexed batch would do it, at the cost of a skiplist insert for each write and of a
// merge for each read. This is an open-addressing table, by the hash that is part of each key
// anyway, and its slots hold offsets into the batch: no pointers, so the collector does not look
// at it; valid while the batch grows and moves; and nothing to clear, since a slot of an older
// generation is empty.
//
// A flush of a database makes void what its slots say, by a number that grows with each flush, and
// hides what Pebble still has of it.
//
// Invariant: while a batch is in the making, a key that the batch has written or deleted since the
// last flush of its database is in the table, with what was written last.
type overlay struct {
	slots      []slot   // a power of two
	written    []uint32 // those in use
	generation uint32
	flushes    uint32               // of this batch
	flushedAt  [op.Databases]uint32 // the last of them that took the database; 0: none
}

type slot struct {
	hash       uint64
	generation uint32
	flushes    uint32 // how many there had been when it was written
	keyAt      uint32
	keyBytes   uint32
	valueAt    uint32 // 0: deleted
	valueBytes uint32
}

const (
	overlaySlotsMin = 1 << 10
	// overlaySlotsKept bounds what a table may occupy between batches: 2.5 MB.
	overlaySlotsKept = 1 << 16
)

// reset empties the table.
func (o *overlay) reset() {
	if o.generation++; o.generation == 0 || len(o.slots) > overlaySlotsKept || o.slots == nil {
		o.slots, o.generation = make([]slot, overlaySlotsMin), 1
	}
	o.written, o.flushes = o.written[:0], 0
	o.flushedAt = [op.Databases]uint32{}
}

// What find knows of a key.
type knowledge uint8

const (
	askPebble knowledge = iota // the batch has not touched it
	isAbsent
	isPresent
)

// find looks storeKey up. data is the batch's memory; the value points into it.
func (o *overlay) find(hash uint64, storeKey, data []byte) (value []byte, k knowledge) {
	hidden := o.flushedBefore(storeKey[0])
	s := &o.slots[o.slotOf(hash, storeKey, data)]
	switch {
	case s.generation == o.generation && s.flushes >= hidden && s.valueAt != 0:
		return data[s.valueAt : s.valueAt+s.valueBytes], isPresent
	case s.generation == o.generation, hidden > 0:
		return nil, isAbsent
	}
	return nil, askPebble
}

// flushedBefore is the number of the last flush that took the database of a storeKey; 0: none did.
func (o *overlay) flushedBefore(first byte) uint32 {
	if first < op.Databases {
		return o.flushedAt[first]
	}
	return 0
}

// slotOf finds the slot of storeKey, or the empty one where it belongs.
func (o *overlay) slotOf(hash uint64, storeKey, data []byte) (at uint64) {
	mask := uint64(len(o.slots) - 1)
	for at = hash & mask; ; at = (at + 1) & mask {
		s := &o.slots[at]
		if s.generation != o.generation || s.hash == hash && s.holds(storeKey, data) {
			return at
		}
	}
}

func (s *slot) holds(storeKey, data []byte) bool {
	return bytes.Equal(data[s.keyAt:s.keyAt+s.keyBytes], storeKey)
}

// put notes the record that the batch has just got, which ends its memory: a key, and a value
// unless it is a deletion.
func (o *overlay) put(hash uint64, data []byte, keyBytes, valueBytes int, deleted bool) {
	end := len(data)
	written := slot{
		hash: hash, generation: o.generation, flushes: o.flushes,
		keyAt: uint32(end - keyBytes), keyBytes: uint32(keyBytes),
	}
	if !deleted {
		written.valueAt, written.valueBytes = uint32(end-valueBytes), uint32(valueBytes)
		written.keyAt -= uint32(valueBytes + uvarintBytes(uint64(valueBytes)))
	}
	key := data[written.keyAt : written.keyAt+written.keyBytes]
	at := o.slotOf(hash, key, data)
	if o.slots[at].generation != o.generation {
		if 2*(len(o.written)+1) > len(o.slots) {
			o.grow(data)
			at = o.slotOf(hash, key, data)
		}
		o.written = append(o.written, uint32(at))
	}
	o.slots[at] = written
}

// uvarintBytes is the length of the varint that stands before a value in a batch.
func uvarintBytes(n uint64) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutUvarint(b[:], n)
}

func (o *overlay) grow(data []byte) {
	old := o.slots
	o.slots = make([]slot, 2*len(old))
	for i, was := range o.written {
		s := &old[was]
		at := o.slotOf(s.hash, data[s.keyAt:s.keyAt+s.keyBytes], data)
		o.slots[at], o.written[i] = *s, uint32(at)
	}
}

// flush makes everything void that was written to db so far.
func (o *overlay) flush(db uint8) {
	o.flushes++
	for i := range o.flushedAt {
		if db == op.AllDatabases || uint8(i) == db {
			o.flushedAt[i] = o.flushes
		}
	}
}

// each visits what the batch has put into db, and not deleted or flushed since.
func (o *overlay) each(db uint8, data []byte, visit func(storeKey, value []byte)) {
	for _, at := range o.written {
		s := &o.slots[at]
		if s.valueAt != 0 && data[s.keyAt] == db && s.flushes >= o.flushedBefore(db) {
			visit(data[s.keyAt:s.keyAt+s.keyBytes], data[s.valueAt:s.valueAt+s.valueBytes])
		}
	}
}
