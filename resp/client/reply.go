package client

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Kind is the type byte of a reply on the wire.
type Kind byte

// The kinds of RESP2 and RESP3. The null forms of RESP2 ("$-1" and "*-1") are read as Nil.
const (
	Simple    Kind = '+'
	Error     Kind = '-'
	Integer   Kind = ':'
	Bulk      Kind = '$'
	Array     Kind = '*'
	Nil       Kind = '_'
	Double    Kind = ','
	Bool      Kind = '#'
	BigNumber Kind = '('
	Verbatim  Kind = '='
	BulkError Kind = '!'
	Map       Kind = '%'
	Set       Kind = '~'
	Push      Kind = '>'
	attribute Kind = '|'
)

// Limits of what a server may send. They are far above what kelek sends and protect the client
// from a stream that is not RESP at all.
const (
	bulkBytesMax  = 512 << 20
	elementsMax   = 64 << 20
	depthMax      = 32
	lineBytesMax  = 64 << 10
	elementsAhead = 1024 // elements allocated before the first of them has arrived
)

// Reply is one value from the server. Which fields are set follows from Kind.
type Reply struct {
	Kind  Kind
	Text  string  // Simple, Error, Bulk, Double, BigNumber, Verbatim (without its "txt:"), BulkError
	Int   int64   // Integer; Bool: 0 or 1
	Elems []Reply // Array, Set, Push; Map: key, value, key, value...
}

// ServerError is an error reply as a Go error.
type ServerError string

func (e ServerError) Error() string { return string(e) }

// Word is the first word of the error, which is what clients act on: "MOVED", "UNCERTAIN"...
func (e ServerError) Word() string {
	for i := 0; i < len(e); i++ {
		if e[i] == ' ' {
			return string(e[:i])
		}
	}
	return string(e)
}

// Err returns the error reply as an error, or nil when the reply is none.
func (r *Reply) Err() error {
	if r.Kind == Error || r.Kind == BulkError {
		return ServerError(r.Text)
	}
	return nil
}

// IsNil reports whether the reply is a null.
func (r *Reply) IsNil() bool { return r.Kind == Nil }

// Int64 is the reply as a number, whether it came as an integer or as decimal text.
func (r *Reply) Int64() (int64, error) {
	if err := r.Err(); err != nil {
		return 0, err
	}
	if r.Kind == Integer {
		return r.Int, nil
	}
	return strconv.ParseInt(r.Text, 10, 64)
}

var errProtocol = errors.New("the peer does not speak RESP")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errProtocol, fmt.Sprintf(format, args...))
}

// readReply reads one reply. Attributes (RESP3 "|") belong to the reply that follows and are
// dropped.
func readReply(r *bufio.Reader, depth int) (Reply, error) {
	if depth > depthMax {
		return Reply{}, malformed("replies nested deeper than %d", depthMax)
	}
	line, err := readLine(r)
	if err != nil {
		return Reply{}, err
	}
	if len(line) == 0 {
		return Reply{}, malformed("empty line instead of a reply")
	}
	kind, rest := Kind(line[0]), string(line[1:])
	switch kind {
	case Simple, Error, Double, BigNumber:
		return Reply{Kind: kind, Text: rest}, nil
	case Integer:
		return readInteger(rest)
	case Bool:
		return readBool(rest)
	case Nil:
		return Reply{Kind: Nil}, nil
	case Bulk, Verbatim, BulkError:
		return readBulk(r, kind, rest)
	case Array, Set, Push, Map:
		return readElements(r, kind, rest, depth)
	case attribute:
		if _, err := readElements(r, Map, rest, depth); err != nil {
			return Reply{}, err
		}
		return readReply(r, depth+1)
	}
	return Reply{}, malformed("unknown type byte %q", line[0])
}

func readInteger(text string) (Reply, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return Reply{}, malformed("bad integer %q", text)
	}
	return Reply{Kind: Integer, Int: n}, nil
}

func readBool(text string) (Reply, error) {
	switch text {
	case "t":
		return Reply{Kind: Bool, Int: 1}, nil
	case "f":
		return Reply{Kind: Bool}, nil
	}
	return Reply{}, malformed("bad boolean %q", text)
}

func readBulk(r *bufio.Reader, kind Kind, header string) (Reply, error) {
	n, err := strconv.Atoi(header)
	if err != nil || n < -1 || n > bulkBytesMax {
		return Reply{}, malformed("bad length %q, limit %d", header, bulkBytesMax)
	}
	if n == -1 {
		return Reply{Kind: Nil}, nil
	}
	text := make([]byte, n+2)
	if _, err := io.ReadFull(r, text); err != nil {
		return Reply{}, err
	}
	if text[n] != '\r' || text[n+1] != '\n' {
		return Reply{}, malformed("%d bytes announced and no line end after them", n)
	}
	text = text[:n]
	if kind == Verbatim && n >= 4 && text[3] == ':' {
		text = text[4:]
	}
	return Reply{Kind: kind, Text: string(text)}, nil
}

func readElements(r *bufio.Reader, kind Kind, header string, depth int) (Reply, error) {
	n, err := strconv.Atoi(header)
	if err != nil || n < -1 || n > elementsMax {
		return Reply{}, malformed("bad count %q, limit %d", header, elementsMax)
	}
	if n == -1 {
		return Reply{Kind: Nil}, nil
	}
	if kind == Map {
		n *= 2
	}
	reply := Reply{Kind: kind, Elems: make([]Reply, 0, min(n, elementsAhead))}
	for i := 0; i < n; i++ {
		element, err := readReply(r, depth+1)
		if err != nil {
			return Reply{}, err
		}
		reply.Elems = append(reply.Elems, element)
	}
	return reply, nil
}

// readLine reads up to CRLF; the slice is valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		return nil, malformed("line longer than %d bytes", lineBytesMax)
	}
	if err != nil {
		return nil, err
	}
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return nil, malformed("line without CR")
	}
	return line[:len(line)-2], nil
}
