package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// kind says what a frame holds. The numbers are a wire format: they never change.
type kind uint8

const (
	kindHello    kind = 1 // wire.Hello: the first frame, and again when it changed
	kindRefusal  kind = 2 // a text; the last frame
	kindMessage  kind = 3 // a raftcore.Message without entries
	kindAppend   kind = 4 // a raftcore.Message with entries: its bytes are kept by the receiver
	kindProposal kind = 5 // an encoded proposal of the sender
	kindInvite   kind = 6 // wire.Invite
	kindForeign  kind = 7 // a refusal, and the reason is wire.ErrOtherCluster
	kindRemoved  kind = 8 // a refusal, and the reason is wire.ErrRemoved

	// Of snapshot connections: see stream.go.
	kindSnapshotHello   kind = 16 // wire.Hello: the first frame instead of kindHello
	kindSnapshotRequest kind = 17
	kindSnapshotFiles   kind = 18 // wire's list of files
	kindSnapshotFrom    kind = 19
	kindSnapshotChunk   kind = 20
	kindSnapshotSum     kind = 21
	kindSnapshotGone    kind = 22 // a refusal, and the reason is wire.ErrNoSnapshot

	// restOfFrames is no frame: bytes of frames of which the socket has the first part.
	restOfFrames kind = 255
)

// A frame, all integers little endian:
//
//	0         4         8        9               8+length
//	+---------+---------+--------+----------------+
//	| length  | CRC-32C | kind   | payload        |
//	| 4 bytes | 4 bytes | 1 byte | length-1 bytes |
//	+---------+---------+--------+----------------+
//	                    |<- the checksum covers ->|
const frameHeaderBytes = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errFrameCRC    = errors.New("frame checksum mismatch")
	errFrameLength = errors.New("frame length out of bounds")
)

// beginFrame appends the header of a frame whose payload the caller appends next. start is for
// endFrame.
func beginFrame(dst []byte, k kind) (buf []byte, start int) {
	start = len(dst)
	return append(dst, 0, 0, 0, 0, 0, 0, 0, 0, byte(k)), start
}

// endFrame completes the frame that began at start and ends where buf does.
func endFrame(buf []byte, start int) {
	body := buf[start+frameHeaderBytes:]
	binary.LittleEndian.PutUint32(buf[start:], uint32(len(body)))
	binary.LittleEndian.PutUint32(buf[start+4:], crc32.Checksum(body, castagnoli))
}

// frameReader cuts a stream into frames.
//
// Invariant: what it allocates is bounded by the buffer, growBytes and twice what has arrived.
type frameReader struct {
	src      io.Reader
	buf      []byte // of fixed size
	from, to int    // buf[from:to] has arrived and was not returned yet
	maxBytes int    // of a frame without its header
}

func newFrameReader(src io.Reader, maxBytes int) *frameReader {
	return &frameReader{src: src, buf: make([]byte, readBufferBytes), maxBytes: maxBytes}
}

// next returns the next frame. Unless owned, its payload is valid until the next call.
func (r *frameReader) next() (k kind, payload []byte, owned bool, err error) {
	if err := r.fill(frameHeaderBytes); err != nil {
		return 0, nil, false, err
	}
	length := r.length()
	if length < 1 || length > uint64(r.maxBytes) {
		return 0, nil, false, fmt.Errorf("%w: %d bytes, limit %d", errFrameLength, length, r.maxBytes)
	}
	want := binary.LittleEndian.Uint32(r.buf[r.from+4:])
	body, owned, err := r.body(int(length))
	if err != nil {
		return 0, nil, false, noEOF(err)
	}
	if got := crc32.Checksum(body, castagnoli); got != want {
		return 0, nil, false, fmt.Errorf("%w: %08x, computed %08x", errFrameCRC, want, got)
	}
	return kind(body[0]), body[1:], owned, nil
}

// ready reports whether next would return without reading.
func (r *frameReader) ready() bool {
	have := uint64(r.to - r.from)
	return have >= frameHeaderBytes && have-frameHeaderBytes >= r.length()
}

// length is that of the frame at the front, whose header has arrived.
func (r *frameReader) length() uint64 {
	return uint64(binary.LittleEndian.Uint32(r.buf[r.from:]))
}

func (r *frameReader) body(length int) (body []byte, owned bool, err error) {
	if length > len(r.buf)-frameHeaderBytes {
		r.from += frameHeaderBytes
		body, err = r.large(length)
		return body, true, err
	}
	if err := r.fill(frameHeaderBytes + length); err != nil {
		return nil, false, err
	}
	body = r.buf[r.from+frameHeaderBytes : r.from+frameHeaderBytes+length]
	r.from += frameHeaderBytes + length
	return body, false, nil
}

// large reads a body that the buffer cannot hold into memory of its own. A length is a claim: no
// more is allocated than a constant and a multiple of what has arrived.
func (r *frameReader) large(length int) ([]byte, error) {
	body := make([]byte, 0, min(length, growBytes))
	n := copy(body[:cap(body)], r.buf[r.from:r.to])
	body, r.from = body[:n], r.from+n
	for len(body) < length {
		if len(body) == cap(body) {
			grown := make([]byte, len(body), min(length, 2*cap(body)))
			copy(grown, body)
			body = grown
		}
		n, err := r.src.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err != nil && len(body) < length {
			return nil, err
		}
	}
	return body, nil
}

// fill reads until n unread bytes are in the buffer. io.EOF means: cleanly between two frames.
func (r *frameReader) fill(n int) error {
	if r.from == r.to {
		r.from, r.to = 0, 0
	}
	if len(r.buf)-r.from < n {
		r.to = copy(r.buf, r.buf[r.from:r.to])
		r.from = 0
	}
	for r.to-r.from < n {
		got, err := r.src.Read(r.buf[r.to:])
		r.to += got
		if err != nil && r.to-r.from < n {
			if r.to > r.from {
				return noEOF(err)
			}
			return err
		}
	}
	return nil
}

// noEOF: the end of a stream inside a frame is not a clean one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
