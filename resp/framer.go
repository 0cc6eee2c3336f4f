package resp

import (
	"fmt"

	"github.com/tidwall/redcon"

	"kelek/resp/command"
)

// verdict is what the framer knows of the bytes it was given.
type verdict uint8

const (
	needMore verdict = iota // no whole command is there
	ready                   // one whole, checked command is there
	broken                  // the stream is broken: framer.fault is the text for the client
)

// frameLimits are the bounds in force for the next command.
type frameLimits struct {
	elements, bulkBytes, inlineBytes, queryBytes int
	beforeAuth                                   bool // the first two are those before AUTH
}

// framer cuts a stream of client bytes into whole commands and checks every length before anything
// trusts it. It is pure: the guard reads into it, tests feed it.
//
//	buf    | taken | whole command      | unfinished or unseen |  free  |
//	       0       start         next = scan                   end      len
//
// While a command is unfinished, scan is where the framer goes on: everything before it has been
// looked at and is not looked at again, so that a command which arrives in many pieces costs its
// length once. bulkLeft > 0 says that scan stands before a body whose length is known, which is
// skipped and never searched.
//
// Invariant: start <= scan <= end once a command is whole; an unfinished body may put scan past
// end. A multibulk frame that is ready obeys redcon's grammar exactly: canonical decimal lengths
// within the limits, CRLF after every header and body.
type framer struct {
	buf    []byte
	start  int // first byte that was not taken
	scan   int // how far the first command is understood
	end    int // end of the received bytes
	seen   int // bytes after scan that hold no line end
	left   int // elements the unfinished multibulk still lacks
	inBody bool
	whole  bool // buf[start:scan] is a command that was not taken yet
	inline bool // and it is an inline line
	fault  string
}

// check goes on until the first command is whole, broken, or the bytes end. Empty lines and empty
// arrays disappear here, as in Redis.
func (f *framer) check(l *frameLimits) verdict {
	for {
		switch {
		case f.fault != "":
			return broken
		case f.whole:
			return ready
		case f.inBody:
			if f.end < f.scan+2 {
				return needMore
			}
			f.endBody()
		case f.scan >= f.end:
			return needMore
		case f.left > 0:
			if !f.bulkHeader(l) {
				return f.stopped()
			}
		case f.buf[f.start] == '*':
			if !f.arrayHeader(l) {
				return f.stopped()
			}
		default:
			if !f.inlineLine(l) {
				return f.stopped()
			}
		}
	}
}

func (f *framer) stopped() verdict {
	if f.fault != "" {
		return broken
	}
	return needMore
}

// take returns the arguments of the command that check called ready and steps over it. They point
// into the buffer and live until the next read into it.
func (f *framer) take(args [][]byte) ([][]byte, verdict) {
	frame := f.buf[f.start:f.scan]
	inline := f.inline
	f.start, f.whole, f.inline = f.scan, false, false
	if inline {
		args, ok := splitInline(frame, args[:0])
		if !ok {
			f.fault = "unbalanced quotes in request"
			return nil, broken
		}
		return args, ready
	}
	complete, args, _, rest, err := redcon.ReadNextCommand(frame, args)
	if !complete || err != nil || len(rest) != 0 {
		panic(fmt.Sprintf("resp: redcon refuses a frame of %d bytes that the framer passed: %v",
			len(frame), err))
	}
	return args, ready
}

// line finds the end of a header that begins at scan and returns it without CRLF. tooLong is the
// complaint when there is no end within the limit.
func (f *framer) line(max int, tooLong, noCR string) (header []byte, next int, ok bool) {
	for i := f.scan + f.seen; i < f.end; i++ {
		if f.buf[i] != '\n' {
			continue
		}
		if i-f.scan > max {
			break
		}
		f.seen = 0
		if i == f.scan || f.buf[i-1] != '\r' {
			f.fault = noCR
			return nil, 0, false
		}
		return f.buf[f.scan : i-1], i + 1, true
	}
	f.seen = f.end - f.scan
	if f.seen > max {
		f.fault = tooLong
	}
	return nil, 0, false
}

// arrayHeader reads `*<count>CRLF`.
func (f *framer) arrayHeader(l *frameLimits) bool {
	const invalid = "invalid multibulk length"
	header, next, ok := f.line(l.inlineBytes, "too big mbulk count string", invalid)
	if !ok {
		return false
	}
	n, ok := parseLength(header[1:])
	switch {
	case !ok:
		f.fault = invalid
	case l.beforeAuth && n > l.elements:
		f.fault = "unauthenticated multibulk length"
	case n > l.elements:
		f.fault = invalid
	case n <= 0:
		f.start, f.scan = next, next // `*0` and `*-1` are nothing at all
		return true
	default:
		f.scan, f.left = next, n
		return true
	}
	return false
}

// bulkHeader reads `$<length>CRLF`.
func (f *framer) bulkHeader(l *frameLimits) bool {
	const invalid = "invalid bulk length"
	if c := f.buf[f.scan]; c != '$' {
		f.fault = "expected '$', got '" + string(command.OneLine([]byte{c})) + "'"
		return false
	}
	header, next, ok := f.line(l.inlineBytes, "too big bulk count string", invalid)
	if !ok {
		return false
	}
	n, ok := parseLength(header[1:])
	switch {
	case !ok || n < 0:
		f.fault = invalid
	case l.beforeAuth && n > l.bulkBytes:
		f.fault = "unauthenticated bulk length"
	case n > l.bulkBytes:
		f.fault = invalid
	case next-f.start+n+2 > l.queryBytes:
		f.fault = fmt.Sprintf("command exceeds client-query-buffer-limit of %d bytes", l.queryBytes)
	default:
		f.scan, f.inBody = next+n, true
		return true
	}
	return false
}

// endBody checks the CRLF after a body that is complete.
func (f *framer) endBody() {
	if f.buf[f.scan] != '\r' || f.buf[f.scan+1] != '\n' {
		f.fault = "invalid bulk length"
		return
	}
	f.scan += 2
	f.inBody = false
	f.left--
	f.whole = f.left == 0
}

// inlineLine looks for the end of a line that begins at start; LF alone ends it, too.
func (f *framer) inlineLine(l *frameLimits) bool {
	for i := f.scan + f.seen; i < f.end; i++ {
		if f.buf[i] != '\n' {
			continue
		}
		if i-f.start > l.inlineBytes {
			break
		}
		f.seen, f.scan = 0, i+1
		if blank(f.buf[f.start:i]) {
			f.start = f.scan
			return true
		}
		f.whole, f.inline = true, true
		return true
	}
	f.seen = f.end - f.scan
	if f.seen > l.inlineBytes {
		f.fault = "too big inline request"
	}
	return false
}

// idle reports that no byte waits that was not taken.
func (f *framer) idle() bool { return f.start == f.end }

// space makes room behind end and returns it. It moves what was not taken to the front, doubles a
// full buffer, and gives a large one back once it is empty: memory follows the bytes that came,
// never the length that was announced.
func (f *framer) space() []byte {
	if f.start == f.end {
		f.rewind(0)
		if cap(f.buf) > readBytesMax {
			f.buf = nil
		}
	} else if f.start > 0 && len(f.buf)-f.end < len(f.buf)/2 {
		f.rewind(copy(f.buf, f.buf[f.start:f.end]))
	}
	if f.buf == nil {
		f.buf = make([]byte, queryBytesInitial)
	}
	if f.end == len(f.buf) {
		f.grow()
	}
	free := f.buf[f.end:]
	if need := f.scan + 2 - f.end; f.inBody && need > readBytesMax {
		return free[:min(len(free), need)]
	}
	return free[:min(len(free), readBytesMax)]
}

// rewind says that the bytes from start on now lie at the front, n of them.
func (f *framer) rewind(n int) {
	f.scan -= f.start
	f.start, f.end = 0, n
}

// grow doubles the buffer, but not past the end of a body that is known to end earlier.
func (f *framer) grow() {
	size := 2 * len(f.buf)
	if f.inBody {
		size = min(size, max(f.scan+2, len(f.buf)+queryBytesInitial))
	}
	grown := make([]byte, size)
	copy(grown, f.buf[:f.end])
	f.buf = grown
}

// received says that n bytes were read into space. A read that filled a small buffer is the sign of
// a long pipeline: the next one gets more room, so that it needs fewer system calls.
func (f *framer) received(n int) {
	f.end += n
	if f.end == len(f.buf) && len(f.buf) < readBytesMax {
		f.grow()
	}
}

// parseLength reads a canonical decimal: no blank, no plus, no leading zero, as Redis's string2ll.
// Anything with more than eighteen digits is beyond every limit and not a number here.
func parseLength(b []byte) (int, bool) {
	digits := b
	if len(b) > 0 && b[0] == '-' {
		digits = b[1:]
	}
	if len(digits) == 0 || len(digits) > 18 || digits[0] == '0' && len(b) > 1 {
		return 0, false
	}
	n := 0
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	if len(digits) != len(b) {
		n = -n
	}
	return n, true
}
