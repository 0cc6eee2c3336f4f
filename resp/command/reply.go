package command

import (
	"bytes"
	"math"
	"strconv"
)

// Reply is where replies are written, one after the other, as RESP2 or RESP3. The methods append
// and never fail. A composite is its header followed by that many replies.
type Reply struct {
	Buf   []byte
	Proto uint8 // 2 or 3
	// BytesMax bounds Buf: who writes many elements asks Full in between and stops. 0: no bound.
	BytesMax int
	// Failed is set by Error; who wants to count errors clears it.
	Failed bool
}

// Full reports that the reply has reached its bound.
func (r *Reply) Full() bool { return r.BytesMax > 0 && len(r.Buf) >= r.BytesMax }

func (r *Reply) header(kind byte, n int64) {
	r.Buf = append(r.Buf, kind)
	r.Buf = strconv.AppendInt(r.Buf, n, 10)
	r.Buf = append(r.Buf, '\r', '\n')
}

// OK is `+OK`.
func (r *Reply) OK() { r.Buf = append(r.Buf, "+OK\r\n"...) }

// Status is a simple string. It must not hold CR or LF.
func (r *Reply) Status(s string) {
	r.Buf = append(r.Buf, '+')
	r.Buf = append(r.Buf, s...)
	r.Buf = append(r.Buf, '\r', '\n')
}

// Error is an error line: the word that clients match, then text. CR and LF become a blank each,
// because texts quote what users sent.
func (r *Reply) Error(line string) {
	r.Failed = true
	r.Buf = append(r.Buf, '-')
	from := len(r.Buf)
	r.Buf = append(r.Buf, line...)
	OneLine(r.Buf[from:])
	r.Buf = append(r.Buf, '\r', '\n')
}

// OneLine replaces CR and LF by blanks, in place.
func OneLine(text []byte) []byte {
	for i, c := range text {
		if c == '\r' || c == '\n' {
			text[i] = ' '
		}
	}
	return text
}

// Int is an integer.
func (r *Reply) Int(n int64) { r.header(':', n) }

// Bulk is a string of any bytes.
func (r *Reply) Bulk(b []byte) {
	r.header('$', int64(len(b)))
	r.Buf = append(r.Buf, b...)
	r.Buf = append(r.Buf, '\r', '\n')
}

// BulkString is Bulk.
func (r *Reply) BulkString(s string) {
	r.header('$', int64(len(s)))
	r.Buf = append(r.Buf, s...)
	r.Buf = append(r.Buf, '\r', '\n')
}

// Verbatim is a text with a format of three letters; a bulk string in RESP2.
func (r *Reply) Verbatim(format, s string) {
	if r.Proto < 3 {
		r.BulkString(s)
		return
	}
	r.header('=', int64(len(s)+4))
	r.Buf = append(r.Buf, format...)
	r.Buf = append(r.Buf, ':')
	r.Buf = append(r.Buf, s...)
	r.Buf = append(r.Buf, '\r', '\n')
}

// Null is the absent string.
func (r *Reply) Null() {
	if r.Proto < 3 {
		r.Buf = append(r.Buf, "$-1\r\n"...)
		return
	}
	r.Buf = append(r.Buf, "_\r\n"...)
}

// NullArray is the absent array.
func (r *Reply) NullArray() {
	if r.Proto < 3 {
		r.Buf = append(r.Buf, "*-1\r\n"...)
		return
	}
	r.Buf = append(r.Buf, "_\r\n"...)
}

// Array is followed by n replies.
func (r *Reply) Array(n int) { r.header('*', int64(n)) }

// Map is followed by n keys with their values; a flat array in RESP2.
func (r *Reply) Map(n int) {
	if r.Proto < 3 {
		r.header('*', int64(2*n))
		return
	}
	r.header('%', int64(n))
}

// Set is followed by n replies; an array in RESP2.
func (r *Reply) Set(n int) { r.composite('~', n) }

// Push is followed by n replies. It is no answer to anything; an array in RESP2.
func (r *Reply) Push(n int) { r.composite('>', n) }

func (r *Reply) composite(kind byte, n int) {
	if r.Proto < 3 {
		kind = '*'
	}
	r.header(kind, int64(n))
}

// Bool is `#t` or `#f`; 1 or 0 in RESP2.
func (r *Reply) Bool(b bool) {
	switch {
	case r.Proto < 3 && b:
		r.Int(1)
	case r.Proto < 3:
		r.Int(0)
	case b:
		r.Buf = append(r.Buf, "#t\r\n"...)
	default:
		r.Buf = append(r.Buf, "#f\r\n"...)
	}
}

// Double is a floating-point number; its shortest text as a bulk string in RESP2.
func (r *Reply) Double(f float64) {
	text := formatDouble(f)
	if r.Proto < 3 {
		r.BulkString(text)
		return
	}
	r.Buf = append(r.Buf, ',')
	r.Buf = append(r.Buf, text...)
	r.Buf = append(r.Buf, '\r', '\n')
}

func formatDouble(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// ErrorWord returns the first word of an error line at the start of a reply, or nil.
func ErrorWord(reply []byte) []byte {
	if len(reply) == 0 || reply[0] != '-' {
		return nil
	}
	word := reply[1:]
	if i := bytes.IndexAny(word, " \r"); i >= 0 {
		word = word[:i]
	}
	return word
}
