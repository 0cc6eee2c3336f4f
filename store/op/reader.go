package op

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed means that bytes are not what any version wrote. Decoders wrap it with what was
// wrong.
var ErrMalformed = errors.New("op: malformed")

// UnknownCodeError is an operation that this build does not know, written by a newer one.
type UnknownCodeError struct{ Code Code }

func (e UnknownCodeError) Error() string {
	return fmt.Sprintf("op: code %d is unknown to this version of kelek; start a newer one", e.Code)
}

// UnknownVersionError is a proposal layout that this build does not know, written by a newer one.
type UnknownVersionError struct{ Version uint8 }

func (e UnknownVersionError) Error() string {
	return fmt.Sprintf("op: proposal version %d is unknown to this version of kelek; start a newer one",
		e.Version)
}

// reader takes values from the front of b. After the first one that is not there, bad is set and
// everything reads as zero, so a decoder checks once and not at each field.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) fail() { r.b, r.bad = nil, true }

func (r *reader) uint8() uint8 {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) uint64() uint64 {
	if len(r.b) < 8 {
		r.fail()
		return 0
	}
	v := binary.BigEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

func (r *reader) uvarint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 { // Hot: most lengths; BenchmarkDecodePut
		v := r.b[0]
		r.b = r.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bytes reads a length and that many bytes. The result points into the input.
func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string { return string(r.bytes()) }

// list appends count byte strings to dst. Each has at least its length byte, so a count that the
// input cannot hold fails before memory is reserved for it.
func (r *reader) list(dst [][]byte, count uint64) [][]byte {
	if count > uint64(len(r.b)) {
		r.fail()
		return dst
	}
	for ; count > 0 && !r.bad; count-- {
		dst = append(dst, r.bytes())
	}
	return dst
}

// require marks the input as malformed unless ok.
func (r *reader) require(ok bool) {
	if !ok {
		r.fail()
	}
}

func appendBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}
