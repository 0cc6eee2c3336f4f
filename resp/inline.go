package resp

import "bytes"

// splitInline splits a line as Redis's sdssplitargs does and appends the arguments. Quotes and
// escapes only shrink, so the arguments are decoded in place, over the line itself. False:
// unbalanced quotes.
//
// "..." knows \n \r \t \b \a, \xHH and backslash before anything else; '...' knows only \'. A quote
// may open inside a word; after one has closed, a blank or the end must follow.
func splitInline(line []byte, args [][]byte) ([][]byte, bool) {
	if i := bytes.IndexByte(line, 0); i >= 0 {
		line = line[:i] // for Redis a NUL ends the line
	}
	in, out := 0, 0
	for {
		for in < len(line) && isBlank(line[in]) {
			in++
		}
		if in == len(line) {
			return args, true
		}
		from := out
		var ok bool
		if in, out, ok = decodeWord(line, in, out); !ok {
			return nil, false
		}
		args = append(args, line[from:out:out])
	}
}

// decodeWord copies one word from in to out, which never overtakes it.
func decodeWord(line []byte, in, out int) (int, int, bool) {
	for in < len(line) {
		c := line[in]
		switch {
		case c == ' ' || c == '\n' || c == '\r' || c == '\t':
			return in + 1, out, true
		case c == '"' || c == '\'':
			var ok bool
			if in, out, ok = decodeQuoted(line, in+1, out, c); !ok {
				return 0, 0, false
			}
			if in < len(line) && !isBlank(line[in]) {
				return 0, 0, false
			}
			return in, out, true
		default:
			line[out] = c
			in, out = in+1, out+1
		}
	}
	return in, out, true
}

// decodeQuoted copies until the closing quote and steps over it.
func decodeQuoted(line []byte, in, out int, quote byte) (int, int, bool) {
	for in < len(line) {
		c := line[in]
		in++
		switch {
		case c == quote:
			return in, out, true
		case c == '\\' && quote == '\'' && in < len(line) && line[in] == '\'':
			c, in = '\'', in+1
		case c == '\\' && quote == '"' && in < len(line):
			c, in = unescape(line, in)
		}
		line[out] = c
		out++
	}
	return 0, 0, false
}

// unescape reads what follows a backslash at in.
func unescape(line []byte, in int) (byte, int) {
	if line[in] == 'x' && in+2 < len(line) {
		high, ok := hexDigit(line[in+1])
		low, okLow := hexDigit(line[in+2])
		if ok && okLow {
			return high<<4 | low, in + 3
		}
	}
	switch line[in] {
	case 'n':
		return '\n', in + 1
	case 'r':
		return '\r', in + 1
	case 't':
		return '\t', in + 1
	case 'b':
		return '\b', in + 1
	case 'a':
		return '\a', in + 1
	}
	return line[in], in + 1
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// isBlank is C's isspace.
func isBlank(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// blank reports that a line holds no word.
func blank(line []byte) bool {
	for _, c := range line {
		if c == 0 {
			return true
		}
		if !isBlank(c) {
			return false
		}
	}
	return true
}
