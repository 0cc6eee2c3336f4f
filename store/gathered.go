package store

import (
	"bytes"
	"encoding/binary"
	"sync"
)

// gathered is what was applied last and Pebble does not have yet.
//
// Random keys are what a memtable is worst at: each insert goes down some eighteen levels of a
// skiplist, and most of them miss the processor's caches. So records are gathered in a hash table
// first, where a key that is written again takes the place of what it was, and are given to Pebble
// in order of their keys, some megabytes at once (settle.go). A crash takes it all away, as it takes
// a memtable, and the log has it.
//
// There are two tables: one that is filled, and one that is being given to Pebble meanwhile. Readers
// look in them first, then in the rows, then ask Pebble; what is newer is found earlier. A reader
// that found nothing here before a batch came answers from a state that was current when it began.
//
// Invariants:
//   - A batch comes as a whole, so no reader sees half of one.
//   - What is in a table is in Pebble before it leaves the table.
//   - What is in front was applied after what is in back, and that after what Pebble has.
type gathered struct {
	// gate is held by whoever changes anything, and shared by readers.
	gate  sync.RWMutex
	front *table
	back  *table // does not change; nil: nothing is being given to Pebble
}

// get appends the value of storeKey to dst, if it is known.
func (g *gathered) get(dst []byte, hash uint64, storeKey []byte) ([]byte, knowledge) {
	g.gate.RLock()
	defer g.gate.RUnlock()
	dst, k := g.front.get(dst, hash, storeKey)
	if k == askPebble && g.back != nil {
		return g.back.get(dst, hash, storeKey)
	}
	return dst, k
}

// table is an open-addressing hash table of records. The collector looks at nothing in it: no
// pointers.
type table struct {
	refs    []tableRef // a power of two of them
	live    int        // in use
	data    []byte     // records, in the order in which they came
	reached position   // as of the last batch
	any     bool       // whether there is a batch, which may have written nothing
	usual   int        // how many bytes of records there are when it is settled, usually
}

// tableRef says where a record begins in data, plus one; above that are upper bits of its hash. Zero
// is none.
type tableRef uint64

func tableRefOf(hash uint64, at int) tableRef { return tableRef(hash&^(1<<32-1) | uint64(at+1)) }

func (r tableRef) at() int { return int(uint32(r)) - 1 }

func (r tableRef) mayBe(hash uint64) bool { return uint64(r)>>32 == hash>>32 }

// A record, integers in the machine's order since nothing leaves it:
//
//	0           4             8
//	+-----------+-------------+-----+-------+
//	| key bytes | value bytes | key | value |
//	|           | and flags   |     |       |
//	+-----------+-------------+-----+-------+
const (
	tableHeadSize = 8
	// tableDeleted: the key was deleted; there is no value.
	tableDeleted = 1 << 31
	// tableDead: the key was written again, and this is not it.
	tableDead = 1 << 30
	// tableSizeMask is of the value's length, which ValueBytesMax keeps below the flags.
	tableSizeMask = tableDead - 1
)

const (
	tableRefsMin = 1 << 10
	// tableSlack is for the last batch before what is gathered is settled. A larger one makes data
	// grow.
	tableSlack = 1 << 20
)

// tableRecord is one record in data.
type tableRecord struct {
	key, value []byte
	deleted    bool
	dead       bool
}

// record reads the one at a place, and says where the next one is.
func (t *table) record(at int) (r tableRecord, next int) {
	b := t.data[at:]
	keyBytes := int(binary.NativeEndian.Uint32(b))
	flags := binary.NativeEndian.Uint32(b[4:])
	r.deleted, r.dead = flags&tableDeleted != 0, flags&tableDead != 0
	end := tableHeadSize + keyBytes + int(flags&tableSizeMask)
	r.key, r.value = b[tableHeadSize:tableHeadSize+keyBytes], b[tableHeadSize+keyBytes:end]
	return r, at + end
}

// refOf finds the reference to a key, or the empty one where it belongs.
func (t *table) refOf(hash uint64, storeKey []byte) *tableRef {
	mask := uint64(len(t.refs) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		ref := &t.refs[i]
		if *ref == 0 {
			return ref
		}
		if ref.mayBe(hash) {
			if r, _ := t.record(ref.at()); bytes.Equal(r.key, storeKey) {
				return ref
			}
		}
	}
}

// get appends the value of storeKey to dst, if it is known.
func (t *table) get(dst []byte, hash uint64, storeKey []byte) ([]byte, knowledge) {
	if t.live == 0 {
		return dst, askPebble
	}
	ref := t.refOf(hash, storeKey)
	if *ref == 0 {
		return dst, askPebble
	}
	r, _ := t.record(ref.at())
	if r.deleted {
		return dst, isAbsent
	}
	return append(dst, r.value...), isPresent
}

// put takes a record; a deletion has no value.
func (t *table) put(hash uint64, storeKey, value []byte, deleted bool) {
	if 2*(t.live+1) > len(t.refs) {
		t.grow()
	}
	ref := t.refOf(hash, storeKey)
	if *ref == 0 {
		t.live++
	} else {
		last, _ := t.record(ref.at())
		if !deleted && !last.deleted && len(last.value) == len(value) {
			copy(last.value, value)
			return
		}
		t.flag(ref.at(), tableDead)
	}
	if t.data == nil {
		t.data = make([]byte, 0, t.dataBytes())
	}
	at := len(t.data)
	*ref = tableRefOf(hash, at)
	t.data = binary.NativeEndian.AppendUint32(t.data, uint32(len(storeKey)))
	t.data = binary.NativeEndian.AppendUint32(t.data, uint32(len(value)))
	t.data = append(append(t.data, storeKey...), value...)
	if deleted {
		t.flag(at, tableDeleted)
	}
}

func (t *table) flag(at int, flag uint32) {
	b := t.data[at+4:]
	binary.NativeEndian.PutUint32(b, binary.NativeEndian.Uint32(b)|flag)
}

// grow doubles the references.
func (t *table) grow() {
	t.refs = make([]tableRef, max(tableRefsMin, 2*len(t.refs)))
	for at := 0; at < len(t.data); {
		r, next := t.record(at)
		if !r.dead {
			hash := hashOf(r.key)
			*t.refOf(hash, r.key) = tableRefOf(hash, at)
		}
		at = next
	}
}

// reset empties the table. What it has allocated stays, unless a large batch has made it larger
// than it has to be: fresh memory of some megabytes costs more than what is done with it.
func (t *table) reset() {
	if cap(t.data) > t.dataBytes() {
		t.refs, t.data = nil, nil
	}
	t.data = t.data[:0]
	clear(t.refs)
	t.live, t.any = 0, false
}

// dataBytes is how much memory records get at once.
func (t *table) dataBytes() int { return t.usual + min(t.usual, tableSlack) }
