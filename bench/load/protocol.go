package load

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
)

// Protocol is how commands are written and replies are told apart.
type Protocol int

const (
	// RESP is the protocol of Redis.
	RESP Protocol = iota
	// EtcdHTTP is etcd's gateway, JSON over HTTP/1.1: put and range, without pipelines.
	EtcdHTTP
)

func (p Protocol) supports(o *Options) error {
	if p == EtcdHTTP && (o.Depth > 1 || o.Command != "set" && o.Command != "get") {
		return ErrUnsupported
	}
	return nil
}

// ErrUnsupported says that a protocol has no such command.
var ErrUnsupported = errors.New("etcd's gateway is measured with set and get, without pipelines")

// encoder appends commands. The keys have 16 bytes, like those of redis-benchmark: a prefix of four
// and twelve digits.
type encoder struct {
	protocol Protocol
	host     string // for HTTP
	scratch  []byte
}

const keyDigits = 12

func appendKey(b []byte, prefix string, number int) []byte {
	b = append(b, prefix...)
	var digits [keyDigits]byte
	for i := keyDigits - 1; i >= 0; i-- {
		digits[i], number = byte('0'+number%10), number/10
	}
	return append(b, digits[:]...)
}

func appendBulkHeader(b []byte, n int) []byte {
	b = append(b, '$')
	b = strconv.AppendInt(b, int64(n), 10)
	return append(b, '\r', '\n')
}

func appendBulkKey(b []byte, prefix string, number int) []byte {
	b = appendBulkHeader(b, len(prefix)+keyDigits)
	return append(appendKey(b, prefix, number), '\r', '\n')
}

func appendBulkValue(b []byte, r *source, n int) []byte {
	b = appendBulkHeader(b, n)
	return append(r.appendBytes(b, n), '\r', '\n')
}

// get appends a read.
func (e *encoder) get(b []byte, number int) []byte {
	if e.protocol == EtcdHTTP {
		e.scratch = appendKey(e.scratch[:0], "key:", number)
		return e.post(b, "range", `{"key":"`, e.scratch, `"}`, nil, "")
	}
	return appendBulkKey(append(b, "*2\r\n$3\r\nGET\r\n"...), "key:", number)
}

// set appends a write.
func (e *encoder) set(b []byte, number int, r *source, size int) []byte {
	if e.protocol == EtcdHTTP {
		e.scratch = appendKey(e.scratch[:0], "key:", number)
		e.scratch = r.appendBytes(e.scratch, size)
		key, value := e.scratch[:4+keyDigits], e.scratch[4+keyDigits:]
		return e.post(b, "put", `{"key":"`, key, `","value":"`, value, `"}`)
	}
	b = appendBulkKey(append(b, "*3\r\n$3\r\nSET\r\n"...), "key:", number)
	return appendBulkValue(b, r, size)
}

// post appends a request whose body is two base64 texts between fixed ones.
func (e *encoder) post(b []byte, method, open string, key []byte, middle string, value []byte,
	end string) []byte {
	coding := base64.StdEncoding
	length := len(open) + coding.EncodedLen(len(key)) + len(middle) + coding.EncodedLen(len(value)) +
		len(end)
	b = append(b, "POST /v3/kv/"...)
	b = append(b, method...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, e.host...)
	b = append(b, "\r\nContent-Type: application/json\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(length), 10)
	b = append(b, "\r\n\r\n"...)
	b = coding.AppendEncode(append(b, open...), key)
	b = coding.AppendEncode(append(b, middle...), value)
	return append(b, end...)
}

// frame finds the first reply in b: its length (0: it is not complete yet), and for an error reply
// its text.
func (p Protocol) frame(b []byte) (length int, refusal []byte, err error) {
	if p == EtcdHTTP {
		return frameHTTP(b)
	}
	return frameRESP(b)
}

// headerBytesMax bounds a line or an HTTP header; a reply that is longer is not one of ours.
const headerBytesMax = 64 << 10

func frameRESP(b []byte) (int, []byte, error) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return 0, nil, tooLong(b)
	}
	line := bytes.TrimSuffix(b[:end], []byte{'\r'})
	if len(line) == 0 {
		return 0, nil, errors.New("an empty line is no reply")
	}
	switch line[0] {
	case '+', ':', '_', '#', ',', '(':
		return end + 1, nil, nil
	case '-':
		return end + 1, line[1:], nil
	case '*':
		return frameArray(b, end+1)
	case '$':
		n, err := strconv.Atoi(string(line[1:])) // the conversion does not allocate
		if err != nil || n < -1 || n > 2*valueBytesMax {
			return 0, nil, fmt.Errorf("reply %q: not the length of a value", line)
		}
		if n == -1 {
			return end + 1, nil, nil
		}
		if total := end + 1 + n + 2; total <= len(b) {
			return total, nil, nil
		}
		return 0, nil, nil
	}
	return 0, nil, fmt.Errorf("reply %.40q: not one that a measured command has", line)
}

// elementsMax bounds the array that EXEC answers.
const elementsMax = multiSetsMax

// frameArray is the reply of EXEC, whose elements begin at a place. Its first element that is an
// error is its refusal; that it has no elements at all is one, too.
func frameArray(b []byte, begin int) (int, []byte, error) {
	line := bytes.TrimSuffix(b[:begin-1], []byte{'\r'})
	count, err := strconv.Atoi(string(line[1:])) // the conversion does not allocate
	if err != nil || count < -1 || count > elementsMax {
		return 0, nil, fmt.Errorf("reply %.40q: not the length of an array", line)
	}
	if count == -1 {
		return begin, []byte("the transaction was not executed"), nil
	}
	var refusal []byte
	at := begin
	for range count {
		if at < len(b) && b[at] == '*' {
			return 0, nil, fmt.Errorf("reply %.40q: an array in an array, which no measured command has",
				b)
		}
		length, refused, err := frameRESP(b[at:])
		if length == 0 || err != nil {
			return 0, nil, err
		}
		if refusal == nil {
			refusal = refused
		}
		at += length
	}
	return at, refusal, nil
}

func tooLong(b []byte) error {
	if len(b) > headerBytesMax {
		return fmt.Errorf("reply %.40q...: no end of line within %d bytes", b, headerBytesMax)
	}
	return nil
}

// frameHTTP understands what etcd's gateway answers: a body with its length, or in chunks.
func frameHTTP(b []byte) (int, []byte, error) {
	head := bytes.Index(b, []byte("\r\n\r\n"))
	if head < 0 {
		return 0, nil, tooLong(b)
	}
	header := bytes.ToLower(b[:head+2])
	if !bytes.HasPrefix(header, []byte("http/1.1 ")) {
		return 0, nil, fmt.Errorf("reply %.40q: not HTTP/1.1", b)
	}
	length, found := headerValue(header, "\r\ncontent-length:")
	total := 0
	if n, err := strconv.ParseUint(string(length), 10, 31); found && err == nil {
		total = head + 4 + int(n)
	} else if coding, _ := headerValue(header, "\r\ntransfer-encoding:"); string(coding) == "chunked" {
		end := bytes.Index(b[head+2:], []byte("\r\n0\r\n\r\n")) // no value of ours holds line ends
		if end < 0 {
			return 0, nil, nil
		}
		total = head + 2 + end + len("\r\n0\r\n\r\n")
	} else {
		return 0, nil, fmt.Errorf("reply %.80q: its length is not told", header)
	}
	if total > len(b) {
		return 0, nil, nil
	}
	if !bytes.HasPrefix(header, []byte("http/1.1 200")) {
		return total, bytes.ReplaceAll(b[len("HTTP/1.1 "):total], []byte("\r\n"), []byte(" ")), nil
	}
	return total, nil, nil
}

func headerValue(header []byte, name string) ([]byte, bool) {
	_, rest, found := bytes.Cut(header, []byte(name))
	value, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return bytes.TrimSpace(value), found
}
