package client

import (
	"fmt"
	"strconv"
	"strings"
)

// FormatRaw renders a reply as redis-cli does when its output is not a terminal: the bare text,
// one element per line, and an empty line after an error.
func FormatRaw(r *Reply) string {
	var b strings.Builder
	appendRaw(&b, r)
	b.WriteByte('\n')
	return b.String()
}

func appendRaw(b *strings.Builder, r *Reply) {
	switch r.Kind {
	case Error, BulkError:
		b.WriteString(r.Text)
		b.WriteByte('\n')
	case Integer:
		b.WriteString(strconv.FormatInt(r.Int, 10))
	case Bool:
		b.WriteString([]string{"(false)", "(true)"}[r.Int])
	case Nil:
	case Array, Set, Push:
		for i := range r.Elems {
			if i > 0 {
				b.WriteByte('\n')
			}
			appendRaw(b, &r.Elems[i])
		}
	case Map:
		for i := 0; i+1 < len(r.Elems); i += 2 {
			if i > 0 {
				b.WriteByte('\n')
			}
			appendRaw(b, &r.Elems[i])
			b.WriteByte(' ')
			appendRaw(b, &r.Elems[i+1])
		}
	default:
		b.WriteString(r.Text)
	}
}

// FormatTTY renders a reply as redis-cli does on a terminal: types and quotes are shown.
func FormatTTY(r *Reply) string {
	var b strings.Builder
	appendTTY(&b, r, "")
	return b.String()
}

func appendTTY(b *strings.Builder, r *Reply, prefix string) {
	switch r.Kind {
	case Error, BulkError:
		fmt.Fprintf(b, "(error) %s\n", r.Text)
	case Simple, Verbatim:
		fmt.Fprintf(b, "%s\n", r.Text)
	case Integer:
		fmt.Fprintf(b, "(integer) %d\n", r.Int)
	case Double:
		fmt.Fprintf(b, "(double) %s\n", r.Text)
	case BigNumber:
		fmt.Fprintf(b, "(big number) %s\n", r.Text)
	case Bool:
		b.WriteString([]string{"(false)\n", "(true)\n"}[r.Int])
	case Nil:
		b.WriteString("(nil)\n")
	case Array, Set, Push, Map:
		appendAggregate(b, r, prefix)
	default:
		fmt.Fprintf(b, "%s\n", Quote(r.Text))
	}
}

// appendAggregate numbers the elements; the marker behind the number tells the kind. Nested
// elements are indented below the number of the outer one.
func appendAggregate(b *strings.Builder, r *Reply, prefix string) {
	if len(r.Elems) == 0 {
		b.WriteString(emptyAggregate(r.Kind))
		return
	}
	step, marker := 1, aggregateMarker(r.Kind)
	if r.Kind == Map {
		step = 2
	}
	width := len(strconv.Itoa(len(r.Elems) / step))
	inner := prefix + strings.Repeat(" ", width+2)
	for i := 0; i+step <= len(r.Elems); i += step {
		if i > 0 {
			b.WriteString(prefix)
		}
		fmt.Fprintf(b, "%*d%c ", width, i/step+1, marker)
		if r.Kind == Map {
			key := FormatTTY(&r.Elems[i])
			b.WriteString(strings.TrimSuffix(key, "\n"))
			b.WriteString(" => ")
		}
		appendTTY(b, &r.Elems[i+step-1], inner)
	}
}

func emptyAggregate(kind Kind) string {
	switch kind {
	case Map:
		return "(empty hash)\n"
	case Set:
		return "(empty set)\n"
	case Push:
		return "(empty push)\n"
	}
	return "(empty array)\n"
}

func aggregateMarker(kind Kind) byte {
	switch kind {
	case Map:
		return '#'
	case Set:
		return '~'
	case Push:
		return '>'
	}
	return ')'
}

// Quote renders bytes as redis-cli does: printable ASCII as it is, the rest escaped.
func Quote(s string) string {
	b := make([]byte, 0, len(s)+2)
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		b = appendQuoted(b, s[i])
	}
	return string(append(b, '"'))
}

func appendQuoted(b []byte, c byte) []byte {
	switch c {
	case '\\', '"':
		return append(b, '\\', c)
	case '\n':
		return append(b, `\n`...)
	case '\r':
		return append(b, `\r`...)
	case '\t':
		return append(b, `\t`...)
	case '\a':
		return append(b, `\a`...)
	case '\b':
		return append(b, `\b`...)
	}
	if c < ' ' || c > '~' {
		return fmt.Appendf(b, `\x%02x`, c)
	}
	return append(b, c)
}
