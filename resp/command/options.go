package command

import (
	"bytes"
	"math"

	"kelek/store/op"
)

// parseInt reads a canonical signed 64-bit decimal: no blank, no plus, no leading zero, no "-0".
func parseInt(b []byte) (int64, bool) {
	digits, negative := b, false
	if len(b) > 0 && b[0] == '-' {
		digits, negative = b[1:], true
	}
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' && len(b) > 1 {
		return 0, false
	}
	var n uint64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	switch {
	case negative && n <= 1<<63:
		return -int64(n), true
	case !negative && n <= math.MaxInt64:
		return int64(n), true
	}
	return 0, false
}

// is compares an option word, which is given in upper case, without regard to case.
func is(arg []byte, word string) bool {
	if len(arg) != len(word) {
		return false
	}
	for i := range arg {
		c := arg[i]
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// expiry is a time option: its unit, and whether it is a span or a moment.
type expiry struct {
	ttl     op.TTL
	seconds bool
}

// expiryOption knows EX, PX, EXAT and PXAT.
func expiryOption(arg []byte) (expiry, bool) {
	switch {
	case is(arg, "EX"):
		return expiry{op.TTLAfter, true}, true
	case is(arg, "PX"):
		return expiry{op.TTLAfter, false}, true
	case is(arg, "EXAT"):
		return expiry{op.TTLAt, true}, true
	case is(arg, "PXAT"):
		return expiry{op.TTLAt, false}, true
	}
	return expiry{}, false
}

// millis turns the number of an option into milliseconds. False: it does not fit.
func (e expiry) millis(n int64) (int64, bool) {
	if !e.seconds {
		return n, true
	}
	if n > math.MaxInt64/1000 || n < math.MinInt64/1000 {
		return 0, false
	}
	return n * 1000, true
}

// positiveExpiry reads a time that must be positive, and sets it in o. It returns an error line.
func positiveExpiry(o *op.Op, e expiry, arg []byte, name string) string {
	n, ok := parseInt(arg)
	if !ok {
		return errNotInteger
	}
	ms, ok := e.millis(n)
	if !ok || n <= 0 {
		return errInvalidExpire(name)
	}
	o.TTL, o.Time = e.ttl, ms
	return ""
}

// setOptions reads everything behind the value of SET into o. It returns an error line, or "".
func setOptions(o *op.Op, args [][]byte, name string) string {
	var at expiry
	var number []byte
	for i := 0; i < len(args); i++ {
		arg, last := args[i], i+1 == len(args)
		e, timed := expiryOption(arg)
		switch {
		case timed && o.TTL == op.TTLClear && number == nil && !last:
			i++
			at, number = e, args[i]
		case is(arg, "KEEPTTL") && number == nil:
			o.TTL = op.TTLKeep
		case is(arg, "NX") && (o.Cond == op.Always || o.Cond == op.IfAbsent):
			o.Cond = op.IfAbsent
		case is(arg, "XX") && (o.Cond == op.Always || o.Cond == op.IfExists):
			o.Cond = op.IfExists
		case is(arg, "IFEQ") && o.Cond == op.Always && !last:
			i++
			o.Cond, o.Match = op.IfEqual, args[i]
		case is(arg, "GET"):
			o.Return = true
		default:
			return errSyntax
		}
	}
	if number == nil {
		return ""
	}
	return positiveExpiry(o, at, number, name)
}

// expireOptions reads NX, XX, GT and LT behind EXPIRE. It returns an error line, or "".
func expireOptions(o *op.Op, args [][]byte) string {
	var nx, xx, gt, lt bool
	for _, arg := range args {
		switch {
		case is(arg, "NX"):
			nx = true
		case is(arg, "XX"):
			xx = true
		case is(arg, "GT"):
			gt = true
		case is(arg, "LT"):
			lt = true
		default:
			return "ERR Unsupported option " + string(cut(arg))
		}
	}
	switch {
	case nx && (xx || gt || lt):
		return errExpireNX
	case gt && lt:
		return errExpireGTLT
	}
	o.Cond = expireCond(nx, xx, gt, lt)
	return ""
}

func expireCond(nx, xx, gt, lt bool) op.Cond {
	switch {
	case nx:
		return op.IfAbsent
	case xx && gt:
		return op.IfExistsLater
	case xx && lt:
		return op.IfExistsSooner
	case xx:
		return op.IfExists
	case gt:
		return op.IfLater
	case lt:
		return op.IfSooner
	}
	return op.Always
}

// match is Redis's glob: * ? [set] [^set] and backslash, without regard to case when fold is set.
// It remembers one star to go back to, so it is never exponential.
func match(pattern, text []byte, fold bool) bool {
	if fold {
		pattern, text = bytes.ToLower(pattern), bytes.ToLower(text)
	}
	p, t := 0, 0
	starP, starT := -1, 0
	for t < len(text) {
		if p < len(pattern) && pattern[p] == '*' {
			starP, starT = p, t
			p++
			continue
		}
		if n, ok := matchOne(pattern[min(p, len(pattern)):], text[t]); ok {
			p, t = p+n, t+1
			continue
		}
		if starP < 0 {
			return false
		}
		starT++
		p, t = starP+1, starT
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne matches one character and says how much of the pattern it took.
func matchOne(pattern []byte, c byte) (int, bool) {
	switch {
	case len(pattern) == 0:
		return 0, false
	case pattern[0] == '?':
		return 1, true
	case pattern[0] == '[':
		return matchSet(pattern, c)
	case pattern[0] == '\\' && len(pattern) > 1:
		return 2, pattern[1] == c
	}
	return 1, pattern[0] == c
}

// matchSet matches [abc], [a-z], [^...]; a set that is not closed ends with the pattern.
func matchSet(pattern []byte, c byte) (int, bool) {
	i, negated, found := 1, false, false
	if i < len(pattern) && pattern[i] == '^' {
		i, negated = i+1, true
	}
	for i < len(pattern) && pattern[i] != ']' {
		switch {
		case pattern[i] == '\\' && i+1 < len(pattern):
			i++
			found = found || pattern[i] == c
		case i+2 < len(pattern) && pattern[i+1] == '-':
			low, high := min(pattern[i], pattern[i+2]), max(pattern[i], pattern[i+2])
			found = found || c >= low && c <= high
			i += 2
		default:
			found = found || pattern[i] == c
		}
		i++
	}
	return min(i+1, len(pattern)), found != negated
}
