package wire

import (
	"encoding/binary"
	"fmt"
	"slices"

	"kelek/raftcore"
)

const (
	messageVersion    = 1
	messageHeaderSize = 1 + 1 + 2 + 8 + 8 + 8
)

// The bit set of a message: which optional fields follow the header, in this order, and the two
// booleans. Numbers are a wire format: they never change.
const (
	hasPrev    = 1 << 0 // term 8 bytes, index 8 bytes
	hasCommit  = 1 << 1 // 8 bytes
	hasMatch   = 1 << 2 // 8 bytes
	hasHint    = 1 << 3 // term 8 bytes, index 8 bytes
	hasEpoch   = 1 << 4 // 8 bytes
	hasRound   = 1 << 5 // 8 bytes
	hasEntries = 1 << 6 // count 4 bytes, then the entries
	isReject   = 1 << 7
	isForce    = 1 << 8

	hasLease    = 1 << 9  // 8 bytes
	hasSnapshot = 1 << 10 // see appendSnapshotMeta

	knownBits = 1<<11 - 1
)

// MessageSize is the length of m when encoded.
func MessageSize(m *raftcore.Message) int {
	n := messageHeaderSize
	bits := messageBits(m)
	for bit, size := range [...]int{16, 8, 8, 16, 8, 8, 4} {
		if bits&(1<<bit) != 0 {
			n += size
		}
	}
	if bits&hasLease != 0 {
		n += 8
	}
	if bits&hasSnapshot != 0 {
		n += snapshotMetaSize(&m.Snapshot)
	}
	for i := range m.Entries {
		n += EntrySize(&m.Entries[i])
	}
	return n
}

// messageBits computes the bit set of m: a field that is zero does not travel.
func messageBits(m *raftcore.Message) (bits uint16) {
	set := func(on bool, bit uint16) {
		if on {
			bits |= bit
		}
	}
	set(m.Prev != raftcore.Pos{}, hasPrev)
	set(m.Commit != 0, hasCommit)
	set(m.Match != 0, hasMatch)
	set(m.Hint != raftcore.Pos{}, hasHint)
	set(m.Epoch != 0, hasEpoch)
	set(m.Round != 0, hasRound)
	set(len(m.Entries) != 0, hasEntries)
	set(m.Reject, isReject)
	set(m.Force, isForce)
	set(m.Lease != 0, hasLease)
	set(m.Snapshot.ID != 0, hasSnapshot)
	return bits
}

// AppendMessage appends the encoded form of m. After is local and does not travel.
//
//	0         1         2         4          12         20         28
//	+---------+---------+---------+----------+----------+----------+-- - - - - - -+-- - - - -+
//	| version | kind    | bits    | from     | to       | term     | fields by bit | entries  |
//	| 1 byte  | 1 byte  | 2 bytes | 8 bytes  | 8 bytes  | 8 bytes  |               |          |
//	+---------+---------+---------+----------+----------+----------+-- - - - - - -+-- - - - -+
//
// The fields are prev, commit, match, hint, epoch, round, lease, the description of a snapshot and
// the count of entries, each there only when its bit is set. Entries have the layout of
// AppendEntry.
func AppendMessage(dst []byte, m *raftcore.Message) []byte {
	dst = slices.Grow(dst, MessageSize(m))
	bits := messageBits(m)
	dst = append(dst, messageVersion, byte(m.Kind))
	dst = binary.LittleEndian.AppendUint16(dst, bits)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.From))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.To))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Term))
	if bits&hasPrev != 0 {
		dst = appendPos(dst, m.Prev)
	}
	if bits&hasCommit != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Commit))
	}
	if bits&hasMatch != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Match))
	}
	if bits&hasHint != 0 {
		dst = appendPos(dst, m.Hint)
	}
	if bits&hasEpoch != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Epoch))
	}
	if bits&hasRound != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, m.Round)
	}
	if bits&hasLease != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Lease))
	}
	if bits&hasSnapshot != 0 {
		dst = appendSnapshotMeta(dst, &m.Snapshot)
	}
	if bits&hasEntries != 0 {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(m.Entries)))
	}
	for i := range m.Entries {
		dst = AppendEntry(dst, &m.Entries[i])
	}
	return dst
}

// DecodeMessage reads the message at the front of b and overwrites all of m. The Entries slice of m
// is reused when it is large enough; the Data of its entries point into b.
func DecodeMessage(b []byte, m *raftcore.Message) (rest []byte, err error) {
	entries := m.Entries[:0]
	*m = raftcore.Message{Entries: entries}
	r := reader{b: b}
	if err := r.version("message", messageVersion); err != nil {
		return nil, err
	}
	m.Kind = raftcore.MessageKind(r.uint8())
	if !r.short && (m.Kind < raftcore.PreVote || m.Kind > raftcore.InstallSnapshotResponse) {
		return nil, fmt.Errorf("message: %w: kind %d", ErrUnknown, m.Kind)
	}
	bits := r.uint16()
	if bits&^knownBits != 0 {
		return nil, fmt.Errorf("message: %w: field bits %#x", ErrUnknown, bits&^knownBits)
	}
	count, err := r.messageFields(bits, m)
	if r.short {
		return nil, fmt.Errorf("message: %w of %d bytes", ErrShort, len(b))
	}
	if err != nil {
		return nil, fmt.Errorf("message from node %x: %w", m.From, err)
	}
	if err := r.messageEntries(count, m); err != nil {
		return nil, fmt.Errorf("message from node %x: %w", m.From, err)
	}
	return r.b, nil
}

// messageFields reads everything between the bit set and the entries, and returns their count.
func (r *reader) messageFields(bits uint16, m *raftcore.Message) (count uint32, err error) {
	m.From = raftcore.NodeID(r.uint64())
	m.To = raftcore.NodeID(r.uint64())
	m.Term = raftcore.Term(r.uint64())
	if bits&hasPrev != 0 {
		m.Prev = r.pos()
	}
	if bits&hasCommit != 0 {
		m.Commit = raftcore.Index(r.uint64())
	}
	if bits&hasMatch != 0 {
		m.Match = raftcore.Index(r.uint64())
	}
	if bits&hasHint != 0 {
		m.Hint = r.pos()
	}
	if bits&hasEpoch != 0 {
		m.Epoch = raftcore.Index(r.uint64())
	}
	if bits&hasRound != 0 {
		m.Round = r.uint64()
	}
	if bits&hasLease != 0 {
		m.Lease = raftcore.Instant(r.uint64())
	}
	if bits&hasSnapshot != 0 {
		err = r.snapshotMeta(&m.Snapshot)
	}
	if bits&hasEntries != 0 {
		count = r.uint32()
	}
	m.Reject = bits&isReject != 0
	m.Force = bits&isForce != 0
	return count, err
}

// messageEntries reads count entries into m.Entries and checks that they continue m.Prev.
func (r *reader) messageEntries(count uint32, m *raftcore.Message) error {
	if count == 0 {
		return nil
	}
	if m.Kind != raftcore.AppendEntries {
		return fmt.Errorf("%w: %d entries in a message of kind %d", ErrUnknown, count, m.Kind)
	}
	// An entry has at least EntryOverhead bytes: more cannot be there, and must not be reserved.
	if uint64(count) > uint64(len(r.b)/EntryOverhead) {
		return fmt.Errorf("%w: %d entries in %d bytes", ErrShort, count, len(r.b))
	}
	m.Entries = slices.Grow(m.Entries, int(count))[:count]
	want := m.Prev
	for i := range m.Entries {
		e := &m.Entries[i]
		rest, err := DecodeEntry(r.b, e)
		if err != nil {
			return err
		}
		if e.Index != want.Index+1 || e.Term < want.Term {
			return fmt.Errorf("%w: entry %v does not follow %v", ErrUnknown, e.Pos, want)
		}
		r.b, want = rest, e.Pos
	}
	return nil
}

func appendPos(dst []byte, p raftcore.Pos) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(p.Term))
	return binary.LittleEndian.AppendUint64(dst, uint64(p.Index))
}

func (r *reader) pos() raftcore.Pos {
	term := raftcore.Term(r.uint64())
	return raftcore.Pos{Term: term, Index: raftcore.Index(r.uint64())}
}
