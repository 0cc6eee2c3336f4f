package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"kelek/raftcore"
)

// castagnoli is the polynomial that current processors compute in hardware.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	entryVersion    = 1
	entryHeaderSize = 1 + 1 + 8 + 8 + 8 + 4
	crcSize         = 4

	// EntryOverhead is how many bytes an encoded entry has beside its data.
	EntryOverhead = entryHeaderSize + crcSize
)

// EntrySize is the length of e when encoded.
func EntrySize(e *raftcore.Entry) int { return EntryOverhead + len(e.Data) }

// AppendEntry appends the encoded form of e, equal on disk and between nodes:
//
//	0         1         2          10         18         26          30        30+n     34+n
//	+---------+---------+----------+----------+----------+-----------+---------+--------+
//	| version | kind    | term     | index    | stamp    | n: length | data    | CRC32C |
//	| 1 byte  | 1 byte  | 8 bytes  | 8 bytes  | 8 bytes  | 4 bytes   | n bytes | 4 bytes|
//	+---------+---------+----------+----------+----------+-----------+---------+--------+
//	|<------------------------- the checksum covers all of this ------------->|
func AppendEntry(dst []byte, e *raftcore.Entry) []byte {
	dst = slices.Grow(dst, EntrySize(e))
	start := len(dst)
	dst = append(dst, entryVersion, byte(e.Kind))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.Term))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.Index))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.Stamp))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(e.Data)))
	dst = append(dst, e.Data...)
	return appendCRC(dst, start)
}

// DecodeEntry reads the entry at the front of b. e.Data points into b, and is nil when empty. The
// kind is judged after the checksum, so that an unknown one is what was written and not damage.
func DecodeEntry(b []byte, e *raftcore.Entry) (rest []byte, err error) {
	r := reader{b: b}
	if err := r.version("entry", entryVersion); err != nil {
		return nil, err
	}
	e.Kind = raftcore.EntryKind(r.uint8())
	e.Term = raftcore.Term(r.uint64())
	e.Index = raftcore.Index(r.uint64())
	e.Stamp = raftcore.LogTime(r.uint64())
	e.Data = r.bytes()
	if len(e.Data) == 0 {
		e.Data = nil
	}
	if err := r.checkCRC(b); err != nil {
		return nil, fmt.Errorf("entry %v: %w", e.Pos, err)
	}
	if e.Kind < raftcore.EntryNormal || e.Kind > raftcore.EntryConfig {
		return nil, fmt.Errorf("entry %v: %w: kind %d", e.Pos, ErrUnknown, e.Kind)
	}
	return r.b, nil
}

// appendCRC appends the checksum of dst[start:].
func appendCRC(dst []byte, start int) []byte {
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// checkCRC reads a checksum and compares it with the one over what was read of record before it.
func (r *reader) checkCRC(record []byte) error {
	covered := len(record) - len(r.b)
	want := r.uint32()
	if r.short {
		return fmt.Errorf("%w of %d bytes", ErrShort, len(record))
	}
	if got := crc32.Checksum(record[:covered], castagnoli); got != want {
		return fmt.Errorf("%w: stored %08x, computed %08x", ErrChecksum, want, got)
	}
	return nil
}
