package bench

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// action is a command on one object that clients do and the checker understands. An object is one
// key, or the two keys of a pair.
type action uint8

const (
	actGet    action = iota // text or null
	actSet                  // OK
	actSetNX                // OK, or null when the key exists
	actSetGet               // the old text or null
	actSetPX                // OK; the key lives for record.ttl
	actDel                  // 1 or 0
	actIncr                 // the sum
	actAppend               // the new length
	actSwap                 // WATCH, GET, MULTI, SET, EXEC: OK, or null when somebody was in between
	actPair                 // MULTI, APPEND to both keys, EXEC: the new length of both
	actBoth                 // MULTI, GET of both keys, EXEC: the text of both
	actExpire               // no command: the deadline of what an actSetPX wrote
)

// writes reports whether the action changes the object.
func (a action) writes() bool { return a != actGet && a != actBoth }

// onPair reports whether the object is two keys.
func (a action) onPair() bool { return a == actPair || a == actBoth }

// outcome is what the client was told.
type outcome struct {
	text string
	n    int64
	null bool
}

// record is one command of a history. Times are nanoseconds since the start of the workload.
type record struct {
	client  int
	act     action
	key     string // of the object
	arg     string
	seen    string // actSwap: the text it found; empty: none
	ttl     time.Duration
	call    int64
	ret     int64
	out     outcome
	unknown bool // no answer: it took effect at any time after call, or never
}

// pairKeys are the two keys of a pair.
func pairKeys(object string) (string, string) { return object + ":a", object + ":b" }

// commands is what the client sends; the last reply is the answer.
func (r *record) commands() [][]string {
	a, b := pairKeys(r.key)
	switch r.act {
	case actGet:
		return [][]string{{"GET", r.key}}
	case actSet:
		return [][]string{{"SET", r.key, r.arg}}
	case actSetNX:
		return [][]string{{"SET", r.key, r.arg, "NX"}}
	case actSetGet:
		return [][]string{{"SET", r.key, r.arg, "GET"}}
	case actSetPX:
		return [][]string{{"SET", r.key, r.arg, "PX", strconv.FormatInt(r.ttl.Milliseconds(), 10)}}
	case actDel:
		return [][]string{{"DEL", r.key}}
	case actIncr:
		return [][]string{{"INCR", r.key}}
	case actSwap:
		return [][]string{{"MULTI"}, {"SET", r.key, r.arg}, {"EXEC"}}
	case actPair:
		return [][]string{{"MULTI"}, {"APPEND", a, r.arg}, {"APPEND", b, r.arg}, {"EXEC"}}
	case actBoth:
		return [][]string{{"MULTI"}, {"GET", a}, {"GET", b}, {"EXEC"}}
	}
	return [][]string{{"APPEND", r.key, r.arg}}
}

// String is the record as a line of a history, without its times.
func (r *record) String() string {
	var words []string
	if r.act == actExpire {
		return fmt.Sprintf("(the deadline of %q passes)", r.arg)
	}
	for _, command := range r.commands() {
		words = append(words, strings.Join(command, " "))
	}
	text := strings.Join(words, "; ")
	if r.act == actSwap {
		text = fmt.Sprintf("WATCH %s; GET %s = %q; %s", r.key, r.key, r.seen, text)
	}
	return text + " -> " + r.answer()
}

// answer is what the client was told, as text.
func (r *record) answer() string {
	switch {
	case r.unknown:
		return "?"
	case r.out.null:
		return "null"
	case r.act == actGet || r.act == actSetGet || r.act == actBoth:
		return strconv.Quote(r.out.text)
	case r.act == actDel || r.act == actIncr || r.act == actAppend || r.act == actPair:
		if r.out.text != "" {
			return r.out.text
		}
		return strconv.FormatInt(r.out.n, 10)
	}
	return "OK"
}
