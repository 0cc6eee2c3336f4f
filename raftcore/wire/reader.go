package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What can be wrong with bytes. Decoders wrap one of these with the numbers.
var (
	// ErrShort means that the input ends inside the record: torn, or cut.
	ErrShort = errors.New("wire: input ends inside a record")
	// ErrChecksum means that all bytes are there and some of them are not what was written.
	ErrChecksum = errors.New("wire: checksum mismatch")
	// ErrUnknown means that a version, a kind or a field is newer than this build, or nonsense.
	ErrUnknown = errors.New("wire: not understood by this version of kelek")
)

// reader takes fixed-width values from the front of b. After the first value that is not there,
// short is set and everything reads as zero, so a decoder checks once and not at each field.
type reader struct {
	b     []byte
	short bool
}

// take returns the next n bytes, or nil when they are not there.
func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.short, r.b = true, nil
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) uint8() uint8 {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if p := r.take(2); p != nil {
		return binary.LittleEndian.Uint16(p)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if p := r.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if p := r.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

// bytes reads a 32-bit length and that many bytes.
func (r *reader) bytes() []byte {
	n := r.uint32()
	if uint64(n) > uint64(len(r.b)) {
		r.short, r.b = true, nil
		return nil
	}
	return r.take(int(n))
}

// version reads the first byte of a record and refuses all but the one that this build writes.
func (r *reader) version(record string, known uint8) error {
	v := r.uint8()
	if r.short {
		return fmt.Errorf("%s: %w: it is empty", record, ErrShort)
	}
	if v != known {
		return fmt.Errorf("%s: %w: version %d, want %d", record, ErrUnknown, v, known)
	}
	return nil
}

// appendString appends a 32-bit length and the bytes of s.
func appendString(dst []byte, s string) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}
