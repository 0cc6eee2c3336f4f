package client

import "errors"

var errQuotes = errors.New("invalid argument(s): a quote is not closed, or text follows it")

// SplitArgs cuts a line into arguments as redis-cli does: blanks separate; double quotes know
// \n \r \t \a \b \xHH and \c for any other c; single quotes know \' only; a closing quote must be
// followed by a blank or the end.
func SplitArgs(line string) ([]string, error) {
	args := []string{}
	for i := 0; ; {
		for i < len(line) && isBlank(line[i]) {
			i++
		}
		if i == len(line) {
			return args, nil
		}
		arg, next, err := splitOne(line, i)
		if err != nil {
			return nil, err
		}
		args = append(args, arg)
		i = next
	}
}

func splitOne(line string, i int) (string, int, error) {
	var arg []byte
	for i < len(line) && !isBlank(line[i]) {
		switch line[i] {
		case '"', '\'':
			quote := line[i]
			next, ok := splitQuoted(line, i+1, quote, &arg)
			if !ok || next < len(line) && !isBlank(line[next]) {
				return "", 0, errQuotes
			}
			i = next
		default:
			arg = append(arg, line[i])
			i++
		}
	}
	return string(arg), i, nil
}

// splitQuoted appends up to the closing quote and returns the position behind it.
func splitQuoted(line string, i int, quote byte, arg *[]byte) (int, bool) {
	for i < len(line) {
		c := line[i]
		switch {
		case c == quote:
			return i + 1, true
		case c == '\\' && quote == '\'' && i+1 < len(line) && line[i+1] == '\'':
			*arg = append(*arg, '\'')
			i += 2
		case c == '\\' && quote == '"' && i+1 < len(line):
			i = unescape(line, i+1, arg)
		default:
			*arg = append(*arg, c)
			i++
		}
	}
	return i, false
}

func unescape(line string, i int, arg *[]byte) int {
	if line[i] == 'x' && i+2 < len(line) && isHex(line[i+1]) && isHex(line[i+2]) {
		*arg = append(*arg, hexValue(line[i+1])<<4|hexValue(line[i+2]))
		return i + 3
	}
	c := line[i]
	switch c {
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'a':
		c = '\a'
	case 'b':
		c = '\b'
	}
	*arg = append(*arg, c)
	return i + 1
}

func isBlank(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f' || c == 0
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func hexValue(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
