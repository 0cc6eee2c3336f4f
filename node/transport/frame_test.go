package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

func frame(k kind, payload string) []byte {
	b, start := beginFrame(nil, k)
	b = append(b, payload...)
	endFrame(b, start)
	return b
}

// The bytes are a wire format.
func TestFrameGoldenBytes(t *testing.T) {
	want := "\x03\x00\x00\x00" + "\xbd\xe9\x99\x64" + "\x02no"
	if got := string(frame(kindRefusal, "no")); got != want {
		t.Fatalf("%x, want %x", got, want)
	}
	if preamble := string(appendPreamble(nil)); preamble != "\x8bKELEK\x01\x00" {
		t.Fatalf("preamble %q", preamble)
	}
}

// However the bytes come in pieces, the same frames come out.
func TestFramesInPieces(t *testing.T) {
	const room = readBufferBytes - frameHeaderBytes
	sizes := []int{0, 1, 100, room - 1, room, readBufferBytes, 3, 2*growBytes + 7, growBytes, 5}
	var stream []byte
	for i, n := range sizes {
		stream = append(stream, frame(kind(i+1), strings.Repeat(string(rune('a'+i)), n))...)
	}
	for name, src := range map[string]io.Reader{
		"whole":  bytes.NewReader(stream),
		"halves": iotest.HalfReader(bytes.NewReader(stream)),
		"eof":    iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		r := newFrameReader(src, MaxFrameBytes)
		for i, n := range sizes {
			k, payload, owned, err := r.next()
			if err != nil || k != kind(i+1) || len(payload) != n ||
				strings.Trim(string(payload), string(rune('a'+i))) != "" {
				t.Fatalf("%s: frame %d of %d bytes: kind %d, %d bytes, %v", name, i, n, k, len(payload), err)
			}
			if wantOwned := n+1 > readBufferBytes-frameHeaderBytes; owned != wantOwned {
				t.Fatalf("%s: frame %d: owned %t", name, i, owned)
			}
		}
		if _, _, _, err := r.next(); err != io.EOF {
			t.Fatalf("%s: after the last frame: %v", name, err)
		}
	}
}

// A stream may end between frames only, and no bit of it may change.
func TestFrameDamage(t *testing.T) {
	whole := frame(kindMessage, "payload")
	for i := 1; i < len(whole); i++ {
		_, _, _, err := newFrameReader(bytes.NewReader(whole[:i]), 100).next()
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	for i := range whole {
		for bit := range 8 {
			damaged := bytes.Clone(whole)
			damaged[i] ^= 1 << bit
			if _, _, _, err := newFrameReader(bytes.NewReader(damaged), 100).next(); err == nil {
				t.Fatalf("bit %d of byte %d is not noticed", bit, i)
			}
		}
	}
}

// Sizes at the limit and beside it (raft.md, mistake 36).
func TestFrameLengthLimits(t *testing.T) {
	const limit = 100
	for n, want := range map[int]error{limit - 2: nil, limit - 1: nil, limit: errFrameLength} {
		r := newFrameReader(bytes.NewReader(frame(kindMessage, strings.Repeat("x", n))), limit)
		if _, _, _, err := r.next(); !errors.Is(err, want) {
			t.Errorf("payload of %d bytes: %v, want %v", n, err, want)
		}
	}
	for _, length := range []uint32{0, 1 << 31, 1<<32 - 1} {
		b := append(binary.LittleEndian.AppendUint32(nil, length), make([]byte, 9)...)
		_, _, _, err := newFrameReader(bytes.NewReader(b), MaxFrameBytes).next()
		if !errors.Is(err, errFrameLength) {
			t.Errorf("length %d: %v", length, err)
		}
	}
}

// A length is a claim. What it claims is not allocated before it has come.
func TestFrameClaimsAllocateLittle(t *testing.T) {
	b := binary.LittleEndian.AppendUint32(nil, MaxFrameBytes)
	stream := append(b, make([]byte, 3*growBytes)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, _, err := newFrameReader(bytes.NewReader(stream), MaxFrameBytes).next()
	runtime.ReadMemStats(&after)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 9*growBytes {
		t.Fatalf("%d bytes for %d that came", got, len(stream))
	}
}

// FuzzFrames: whatever comes, in whatever pieces, nothing panics, and what comes out was framed.
func FuzzFrames(f *testing.F) {
	f.Add(frame(kindHello, "hello"), uint8(1))
	f.Add(append(frame(kindAppend, ""), frame(kindMessage, "abc")...), uint8(3))
	f.Add([]byte("\xff\xff\xff\xff aaaaaaaaaaa"), uint8(0))
	f.Add([]byte("\x10\x00\x01\x00 aaaaaaaaaaa"), uint8(7))
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		r := newFrameReader(&pieces{stream, int(piece) + 1}, 1<<20)
		var again []byte
		for {
			k, payload, _, err := r.next()
			if err != nil {
				break
			}
			again = append(again, frame(k, string(payload))...)
		}
		if !bytes.HasPrefix(stream, again) {
			t.Fatalf("%x came out of %x", again, stream)
		}
	})
}

// pieces is a reader that gives so many bytes at a time.
type pieces struct {
	left []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.left[:min(p.size, len(p.left))])
	p.left = p.left[n:]
	return n, nil
}
