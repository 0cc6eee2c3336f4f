package store

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"kelek/raftcore"
	"kelek/store/op"
)

// rows keeps the records that were written or read last in memory, by storeKey, beside the database
// that has them, and which keys were looked for and are not there. Pebble asks the filters of some
// tables for a key that it has not, and goes down an index and a block for one that it has; a read
// of this is two cache misses.
//
// Readers come here after what is gathered, and what is settled comes here with it. Until then they
// find the newer record there, so it does not matter that the one here is old. Batches that are not
// gathered are another case; see showAtOnce.
//
// What a reader had to ask Pebble for is kept, too, unless something was settled meanwhile: changes
// counts the beginnings and the ends of that, so it is odd while something is on its way, and if it
// is even and the same as before Pebble was asked, then what Pebble has is what the reader found.
// That holds for nothing, if nothing was found, as it does for a record. The machine's own keys are
// never kept: what is written to them does not come here.
//
// Most nodes are read by nobody, and then it would be filled for nothing. It is empty until
// somebody looks in it, and emptied when nobody has for a while.
type rows struct {
	shards  [rowShards]rowShard
	changes atomic.Uint64
	passed  atomic.Bool // readers are to ask Pebble
	asked   atomic.Bool // somebody has looked since the last settlement
	askedAt raftcore.LogTime
	idle    bool     // nobody has looked for a while, or ever
	places  []uint32 // scratch of arrange
}

const (
	// rowsIdleAfter is for how many milliseconds of log time nobody has looked when it is emptied.
	rowsIdleAfter = 60_000
	// rowBytesMax is the largest record, with its key, that is kept.
	rowBytesMax = 4 << 10
	// rowShards is a power of two, so that readers seldom wait for the applier.
	rowShards = 64
	// rowsAtOnce is how many are taken while readers of a shard wait: some microseconds.
	rowsAtOnce = 64
	rowWays    = 4
	// ringBytesMin is what a shard begins with; it doubles until it has its share.
	ringBytesMin = 8 << 10
	// ringBytesPerRef is how many bytes of a ring there are for one reference to it.
	ringBytesPerRef = 64
)

func newRows(bytesMax int64) *rows {
	r := &rows{idle: true}
	share := int(bytesMax) / rowShards
	for i := range r.shards {
		r.shards[i].bytesMax = max(ringBytesMin, share/ringBytesMin*ringBytesMin)
	}
	return r
}

// get appends the record of storeKey to dst, if it is known. Every node looks for keys of the
// machine, and that does not count.
func (r *rows) get(dst []byte, hash uint64, storeKey []byte) ([]byte, knowledge) {
	if storeKey[0] >= op.Databases {
		return dst, askPebble
	}
	r.ask()
	if r.passed.Load() {
		return dst, askPebble
	}
	return r.shardOf(hash).get(dst, hash, storeKey)
}

// ask notes that somebody has looked.
func (r *rows) ask() {
	if !r.asked.Load() {
		r.asked.Store(true)
	}
}

// fill takes what a reader found in Pebble, or that there was nothing. changes is what it was
// before Pebble was asked.
//
// It asks again, since rows that nobody asks are not told of what is written: get may have been
// long ago. If changes is the same after that, the next settlement sees that somebody has asked.
func (r *rows) fill(changes, hash uint64, storeKey, value []byte, absent bool) {
	if changes%2 != 0 || storeKey[0] >= op.Databases || len(storeKey)+len(value) > rowBytesMax {
		return
	}
	r.ask()
	s := r.shardOf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.changes.Load() == changes {
		s.keep(hash, storeKey, value, absent)
	}
}

// The low bits of an order prefix are its hash. shardOf, tag and set share them out.
func (r *rows) shardOf(hash uint64) *rowShard { return &r.shards[hash%rowShards] }

// takeBatch takes what a batch has written. data is its memory.
func (r *rows) takeBatch(o *overlay, data []byte) {
	if o.flushes > 0 {
		r.reset()
	}
	if !r.wanted() {
		return
	}
	for _, at := range o.written {
		s := &o.slots[at]
		key := data[s.keyAt : s.keyAt+s.keyBytes]
		gone := s.valueAt == 0 || s.flushes < o.flushedBefore(key[0])
		r.takeOne(s.hash, key, data[s.valueAt:s.valueAt+s.valueBytes], gone)
	}
}

// take takes what was settled, shard by shard: what belongs to one fits the processor's caches, and
// what belongs to all of them does not.
func (r *rows) take(t *table, sorted []settled) {
	r.awaken(t.reached.stamp)
	if !r.wanted() {
		return
	}
	starts := r.arrange(sorted)
	for i := range r.shards {
		for places := range slices.Chunk(r.places[starts[i]:starts[i+1]], rowsAtOnce) {
			r.shards[i].take(t, sorted, places)
		}
	}
}

// awaken notes whether anybody has looked since it was last asked, and empties the rows if that is
// long ago.
func (r *rows) awaken(now raftcore.LogTime) {
	switch {
	case r.asked.Swap(false):
		r.askedAt, r.idle = now, false
	case !r.idle && now > r.askedAt+rowsIdleAfter:
		r.idle = true
		r.reset()
	}
}

// arrange lists the places of user keys in sorted by their shard: those of shard i are in places
// from starts[i] on, up to starts[i+1].
func (r *rows) arrange(sorted []settled) (starts [rowShards + 1]int) {
	var next [rowShards]int
	n := 0
	for i := range sorted {
		if sorted[i].db < op.Databases {
			next[sorted[i].prefix%rowShards]++
			n++
		}
	}
	for i := range next {
		starts[i+1] = starts[i] + next[i]
		next[i] = starts[i]
	}
	r.places = slices.Grow(r.places[:0], n)[:n]
	for i := range sorted {
		if sorted[i].db < op.Databases {
			shard := sorted[i].prefix % rowShards
			r.places[next[shard]] = uint32(i)
			next[shard]++
		}
	}
	return starts
}

// wanted: otherwise it is empty, so that what is not taken is not here.
func (r *rows) wanted() bool { return !r.idle || r.asked.Load() }

func (r *rows) takeOne(hash uint64, key, value []byte, gone bool) {
	if key[0] >= op.Databases {
		return // the machine's own
	}
	s := r.shardOf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takeOne(hash, key, value, gone)
}

// take takes some places of what was settled.
func (s *rowShard) take(t *table, sorted []settled, places []uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range places {
		found, _ := t.record(int(sorted[i].at))
		s.takeOne(sorted[i].prefix, found.key, found.value, found.deleted)
	}
}

// takeOne takes what was written to a key. The caller holds mu.
func (s *rowShard) takeOne(hash uint64, key, value []byte, gone bool) {
	if gone || len(key)+len(value) > rowBytesMax {
		s.drop(hash, key)
	} else {
		s.keep(hash, key, value, false)
	}
}

func (r *rows) reset() {
	for i := range r.shards {
		r.shards[i].reset()
	}
}

// rowShard is a ring of records, the oldest of which are overwritten, and a table of references
// into it, in sets of rowWays. There are no pointers, so the collector looks at neither.
//
// A position counts all bytes that were ever written; a record at position p is at p modulo the
// length of the ring, in one piece, and is there until head is more than that length past it. A
// reference is a position and 16 bits of the hash. Zero is none: nothing is at position 0.
type rowShard struct {
	mu       sync.RWMutex
	refs     []uint64 // sets of rowWays; a power of two of them
	ring     []byte
	head     uint64 // where the next record goes
	bytesMax int
}

// A record, integers in the machine's order since nothing leaves it:
//
//	0         8           10            12
//	+---------+-----------+-------------+-----+-------+
//	| hash    | key bytes | value bytes | key | value |
//	|         |           | or absent   |     |       |
//	+---------+-----------+-------------+-----+-------+
const (
	rowHeadSize = 12
	// rowAbsent: there is no such key, and no value. It is above rowBytesMax.
	rowAbsent = 1<<16 - 1
)

const refTagBits = 16

func refOf(hash, position uint64) uint64 { return position<<refTagBits | tagOf(hash) }

func tagOf(hash uint64) uint64 { return hash >> 6 & (1<<refTagBits - 1) }

// set returns the references that may be of a hash.
func (s *rowShard) set(hash uint64) []uint64 {
	if len(s.refs) == 0 {
		return nil
	}
	at := int(hash>>(6+refTagBits)) % (len(s.refs) / rowWays) * rowWays
	return s.refs[at : at+rowWays]
}

// record returns the key and the value that ref stands for, unless they are overwritten; askPebble
// if they are.
func (s *rowShard) record(ref uint64) (key, value []byte, k knowledge) {
	position := ref >> refTagBits
	if position == 0 || s.head-position > uint64(len(s.ring)) {
		return nil, nil, askPebble
	}
	b := s.ring[position%uint64(len(s.ring)):]
	keyBytes := int(binary.NativeEndian.Uint16(b[8:]))
	valueBytes := int(binary.NativeEndian.Uint16(b[10:]))
	b = b[rowHeadSize:]
	if valueBytes == rowAbsent {
		return b[:keyBytes], nil, isAbsent
	}
	return b[:keyBytes], b[keyBytes : keyBytes+valueBytes], isPresent
}

// find returns the place of the reference to a key, and what is known of it. Without a reference
// that is nothing.
func (s *rowShard) find(hash uint64, storeKey []byte) (ref *uint64, value []byte, k knowledge) {
	set := s.set(hash)
	for i := range set {
		if set[i]&(1<<refTagBits-1) != tagOf(hash) {
			continue
		}
		key, value, k := s.record(set[i])
		if k != askPebble && bytes.Equal(key, storeKey) {
			return &set[i], value, k
		}
	}
	return nil, nil, askPebble
}

func (s *rowShard) get(dst []byte, hash uint64, storeKey []byte) ([]byte, knowledge) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, value, k := s.find(hash, storeKey)
	return append(dst, value...), k
}

// drop forgets what is known of a key. The caller holds mu.
func (s *rowShard) drop(hash uint64, storeKey []byte) {
	if ref, _, _ := s.find(hash, storeKey); ref != nil {
		*ref = 0
	}
}

func (s *rowShard) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refs, s.ring, s.head = nil, nil, 0
}

// keep keeps a record, or that there is none. One of the same length takes the place of the last.
// The caller holds mu.
func (s *rowShard) keep(hash uint64, storeKey, value []byte, absent bool) {
	ref, last, k := s.find(hash, storeKey)
	if k == isPresent && !absent && len(last) == len(value) {
		copy(last, value)
		return
	}
	if ref != nil {
		*ref = 0
	}
	position := s.reserve(rowHeadSize + len(storeKey) + len(value))
	b := s.ring[position%uint64(len(s.ring)):]
	binary.NativeEndian.PutUint64(b, hash)
	binary.NativeEndian.PutUint16(b[8:], uint16(len(storeKey)))
	binary.NativeEndian.PutUint16(b[10:], uint16(len(value)))
	if absent {
		binary.NativeEndian.PutUint16(b[10:], rowAbsent)
	}
	copy(b[rowHeadSize+copy(b[rowHeadSize:], storeKey):], value)
	s.refer(hash, position)
}

// refer takes the reference of a set that is the oldest, or none.
func (s *rowShard) refer(hash, position uint64) {
	set := s.set(hash)
	oldest := 0
	for i := range set {
		if set[i]>>refTagBits < set[oldest]>>refTagBits {
			oldest = i
		}
	}
	set[oldest] = refOf(hash, position)
}

// reserve moves head past the next record and returns where that is.
func (s *rowShard) reserve(size int) (position uint64) {
	for {
		end := uint64(len(s.ring))
		if s.head+uint64(size) <= end || len(s.ring) == s.bytesMax {
			break
		}
		s.grow()
	}
	length := uint64(len(s.ring))
	if at := s.head % length; at+uint64(size) > length {
		s.head += length - at
	}
	position = s.head
	s.head += uint64(size)
	return position
}

// grow doubles a ring that is full for the first time: until then positions are places.
func (s *rowShard) grow() {
	ring := make([]byte, min(max(2*len(s.ring), ringBytesMin), s.bytesMax))
	copy(ring, s.ring)
	s.ring = ring
	s.head = max(s.head, 1)
	old := s.refs
	s.refs = make([]uint64, len(ring)/ringBytesPerRef)
	for _, ref := range old {
		if position := ref >> refTagBits; position != 0 {
			s.refer(binary.NativeEndian.Uint64(ring[position:]), position)
		}
	}
}
