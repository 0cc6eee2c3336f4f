package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
	"unicode"

	"kelek/raftcore/wire"
)

// Each direction of a connection begins with eight bytes, so that a browser, a TLS or a Redis
// client is recognised by its first byte: none of them begins with 0x8b.
//
//	0                    6         8
//	+--------------------+---------+
//	| 0x8b K E L E K     | version | of the framing, little endian
//	+--------------------+---------+
const (
	magic          = "\x8bKELEK"
	framingVersion = 1
	preambleBytes  = len(magic) + 2
)

// errStranger: whoever is there does not speak our protocol. It gets no answer.
var errStranger = errors.New("not a kelek node")

// refusedError is the reason that the other side gave before it hung up.
type refusedError struct {
	reason string
	class  error // wire.ErrOtherCluster, ErrExpelled, ErrNoSnapshot, or nil: only a person can tell
}

func (e *refusedError) Error() string { return "refused by the peer: " + e.reason }
func (e *refusedError) Unwrap() error { return e.class }

// refusal is what a frame says that ends the connection; nil when it is no refusal.
func refusal(k kind, payload []byte) *refusedError {
	switch k {
	case kindRefusal:
		return &refusedError{reason: plainText(payload)}
	case kindForeign:
		return &refusedError{plainText(payload), wire.ErrOtherCluster}
	case kindRemoved:
		return &refusedError{plainText(payload), wire.ErrExpelled}
	case kindSnapshotGone:
		return &refusedError{plainText(payload), wire.ErrNoSnapshot}
	}
	return nil
}

func appendPreamble(dst []byte) []byte {
	return binary.LittleEndian.AppendUint16(append(dst, magic...), framingVersion)
}

func appendHello(dst []byte, h *wire.Hello) []byte { return appendPurpose(dst, kindHello, h) }

// appendPurpose appends the hello of a connection for the purpose that k says.
func appendPurpose(dst []byte, k kind, h *wire.Hello) []byte {
	dst, start := beginFrame(dst, k)
	dst = wire.AppendHello(dst, h)
	endFrame(dst, start)
	return dst
}

// readPreamble looks at the bytes as they come: a stranger's first wrong one ends it.
func readPreamble(src io.Reader) error {
	var got [preambleBytes]byte
	for n := 0; n < len(got); {
		more, err := src.Read(got[n:])
		n += more
		if seen := got[:min(n, len(magic))]; !bytes.HasPrefix([]byte(magic), seen) {
			return fmt.Errorf("%w: it speaks %s", errStranger, guessProtocol(seen))
		}
		if err != nil && n < len(got) {
			return err
		}
	}
	if version := binary.LittleEndian.Uint16(got[len(magic):]); version != framingVersion {
		return fmt.Errorf("framing version %d there, %d here: run the same version of kelek on all "+
			"nodes", version, framingVersion)
	}
	return nil
}

// guessProtocol names the usual visitors, for the person who mixed up two ports.
func guessProtocol(b []byte) string {
	switch {
	case b[0] == 0x16:
		return "TLS"
	case b[0] == '*' || b[0] == '$':
		return "RESP; Redis clients belong to the port of --listen"
	case b[0] >= 'A' && b[0] <= 'Z':
		return "HTTP or another text protocol"
	}
	return fmt.Sprintf("something that begins with 0x%02x", b[0])
}

// readHello reads the frame that has to come first in the direction of who dialled.
func readHello(r *frameReader) (wire.Hello, error) {
	h, purpose, err := readPurpose(r)
	if err == nil && purpose != kindHello {
		err = fmt.Errorf("frame of kind %d instead of a hello", purpose)
	}
	return h, err
}

// readPurpose reads the frame that has to come first: its kind says what the connection is for.
func readPurpose(r *frameReader) (h wire.Hello, purpose kind, err error) {
	k, payload, _, err := r.next()
	if err != nil {
		return h, k, err
	}
	if refused := refusal(k, payload); refused != nil {
		return h, k, refused
	}
	if k != kindHello && k != kindSnapshotHello {
		return h, k, fmt.Errorf("frame of kind %d instead of a hello", k)
	}
	h, err = decodeHello(payload)
	return h, k, err
}

func decodeHello(payload []byte) (h wire.Hello, err error) {
	rest, err := wire.DecodeHello(payload, &h)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes after a hello", len(rest))
	}
	return h, err
}

// refuse sends the one frame that an unacceptable peer gets, and hangs up. Data that was not read
// would make the kernel reset the connection and take our words with it, so it is read first; not
// much, and not for long.
func refuse(c net.Conn, preamble bool, reason error) {
	var b []byte
	if preamble {
		b = appendPreamble(b)
	}
	k := kindRefusal
	switch {
	case errors.Is(reason, wire.ErrOtherCluster):
		k = kindForeign
	case errors.Is(reason, wire.ErrRemoved):
		k = kindRemoved
	case errors.Is(reason, wire.ErrNoSnapshot):
		k = kindSnapshotGone
	}
	b, start := beginFrame(b, k)
	text := reason.Error()
	b = append(b, text[:min(len(text), refusalBytesMax)]...)
	endFrame(b, start)
	c.SetDeadline(time.Now().Add(lingerTimeout))
	if _, err := c.Write(b); err == nil {
		if half, ok := c.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			io.CopyN(io.Discard, c, helloFrameBytesMax) // an error means that it is gone already
		}
	}
	c.Close()
}

// plainText makes bytes of a peer fit for one line of a log.
func plainText(b []byte) string {
	b = b[:min(len(b), refusalBytesMax)]
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, string(b))
}

// isBroken: the line failed or the other side hung up, so there is nobody to tell.
func isBroken(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, io.ErrUnexpectedEOF)
}

// readable gives err the words of cause, and keeps what it is.
func readable(err error) error {
	if text := cause(err); text != err.Error() {
		return &plainError{text, err}
	}
	return err
}

type plainError struct {
	text string
	err  error
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.err }

// cause is the innermost words of a network error: "connection refused" instead of the whole
// "dial tcp 10.0.0.3:7380: connect: connection refused", whose address the reader knows.
func cause(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &dns):
		return dns.Err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the peer closed the connection"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.As(err, &op):
		err = op.Err
		for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
			err = inner
		}
	}
	return err.Error()
}
