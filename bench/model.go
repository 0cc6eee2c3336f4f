package bench

import (
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// cell is the state of one object. Its zero value is the state of a new key.
//
// A vague cell is a state that nobody has told yet, for histories whose beginning was cut off. Its
// text is then the known end of the text, and size its length, -1 when it is not known. A command
// that a vague cell allows may be one that no real state allows, never the other way round.
type cell struct {
	present bool
	text    string
	vague   bool
	size    int
}

func vagueCell() cell { return cell{vague: true, size: -1} }

// step says whether r.out is a possible answer of r in state c, and what the state is after it. For
// an unknown outcome every answer is possible. (An unknown command that never took effect is the
// same as one that took effect after everything that was observed.)
func (c cell) step(r *record) (bool, cell) {
	if c.vague {
		return c.vagueStep(r)
	}
	after := cell{present: true, text: r.arg}
	switch r.act {
	case actGet, actBoth:
		return r.unknown || c.shows(r.out), c
	case actSet, actSetPX:
		return true, after
	case actSetNX:
		if !c.present {
			return r.unknown || !r.out.null, after
		}
		return r.unknown || r.out.null, c
	case actSetGet:
		return r.unknown || c.shows(r.out), after
	case actDel:
		return r.unknown || (r.out.n == 1) == c.present, cell{}
	case actIncr:
		n, _ := strconv.ParseInt(c.text, 10, 64) // absent: 0; only INCR writes counters
		return r.unknown || r.out.n == n+1, number(n + 1)
	case actSwap:
		return c.swap(r, after)
	case actExpire: // every text is written once, so it tells who wrote it
		if c.text == r.arg {
			return true, cell{}
		}
		return true, c
	default: // actAppend, actPair
		after.text = c.text + r.arg
		return r.unknown || r.out.n == int64(len(after.text)), after
	}
}

// shows reports whether a read may say so.
func (c cell) shows(out outcome) bool {
	return out.null == !c.present && (out.null || out.text == c.text)
}

func number(n int64) cell { return cell{present: true, text: strconv.FormatInt(n, 10)} }

// swap is a transaction that is carried out if nobody has touched the key since it was seen. That
// it was not carried out tells nothing: somebody may have been there between WATCH and GET.
func (c cell) swap(r *record, after cell) (bool, cell) {
	untouched := c.text == r.seen && c.present == (r.seen != "")
	switch {
	case r.unknown && untouched, !r.unknown && !r.out.null:
		return untouched, after
	default:
		return true, c
	}
}

// vagueStep is step for a state that is not known, or known in part.
func (c cell) vagueStep(r *record) (bool, cell) {
	after := cell{present: true, text: r.arg}
	switch r.act {
	case actGet, actBoth:
		if r.unknown {
			return true, c
		}
		fits := strings.HasSuffix(r.out.text, c.text) && (c.size < 0 || c.size == len(r.out.text))
		return fits, cell{present: !r.out.null, text: r.out.text}
	case actIncr:
		if r.unknown {
			return true, c
		}
		return true, number(r.out.n)
	case actAppend, actPair:
		return c.vagueAppend(r)
	case actDel:
		return true, cell{}
	case actSetNX, actSwap:
		if !r.unknown && !r.out.null {
			return true, after
		}
		return true, c // whether it did anything is not known
	case actExpire:
		return true, c
	default: // actSet, actSetPX, actSetGet
		return true, after
	}
}

func (c cell) vagueAppend(r *record) (bool, cell) {
	c.text += r.arg
	size := c.size
	if c.size >= 0 {
		c.size += len(r.arg)
	}
	if r.unknown {
		return true, c
	}
	c.size = int(r.out.n)
	fits := size < 0 && c.size >= len(c.text) || size >= 0 && c.size == size+len(r.arg)
	return fits, c
}

// modelFrom is the specification of one object for porcupine.
func modelFrom(first cell) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return first },
		Step: func(state, input, _ any) (bool, any) {
			return state.(cell).step(input.(*record))
		},
	}
}

// How far a deadline may be from where the clients see it. Log time is the wall clock of the leader,
// in whole milliseconds; a key is gone when the leader has proposed so and was heard, which a busy
// machine delays.
const (
	earlyMax = 50 * time.Millisecond
	lateMax  = 5 * time.Second
)

// history is the records of one object. Unknown ones have no return.
type history struct {
	key     string
	records []*record
}

// histories sorts the records by object, and adds the deadlines. A read without an answer tells
// nothing and is left out.
func histories(records []record) []history {
	index := map[string]int{}
	var all []history
	for i := range records {
		r := &records[i]
		if r.unknown && !r.act.writes() {
			continue
		}
		at, known := index[r.key]
		if !known {
			at = len(all)
			index[r.key], all = at, append(all, history{key: r.key})
		}
		all[at].records = append(all[at].records, r)
		if r.act == actSetPX {
			all[at].records = append(all[at].records, deadlineOf(r))
		}
	}
	return all
}

// clockClient does the deadlines.
const clockClient = -1 << 16

func deadlineOf(r *record) *record {
	return &record{client: clockClient, act: actExpire, key: r.key, arg: r.arg, unknown: r.unknown,
		call: r.call + int64(r.ttl-earlyMax), ret: r.ret + int64(r.ttl+lateMax)}
}

// operations is the history as porcupine takes it.
func (h *history) operations() []porcupine.Operation {
	never := int64(0) // later than every return
	for _, r := range h.records {
		never = max(never, r.ret, r.call) + 1
	}
	operations := make([]porcupine.Operation, len(h.records))
	for i, r := range h.records {
		operations[i] = porcupine.Operation{ClientId: r.client, Input: r, Call: r.call, Return: r.ret}
		if r.unknown {
			operations[i].Return = never
		}
	}
	return operations
}

// check judges one history, that begins in a state.
func (h *history) check(first cell, limit time.Duration) porcupine.CheckResult {
	if limit <= 0 { // porcupine takes 0 for "no limit"
		return porcupine.Unknown
	}
	return porcupine.CheckOperationsTimeout(modelFrom(first), h.operations(), limit)
}

// linearizable is the verdict on all histories.
type linearizable struct {
	result  porcupine.CheckResult // Ok, Illegal, or Unknown when the time ran out
	key     string                // the first that is not Ok
	keys    int                   // how many were checked
	illegal []history
}

// String is the word that the verdict prints.
func (l *linearizable) String() string {
	switch l.result {
	case porcupine.Ok:
		return "yes"
	case porcupine.Illegal:
		return "NO (" + l.key + ")"
	}
	return "unknown, the check ran out of time (" + l.key + ")"
}

// checkHistory checks each object by itself, on all processors, within a time limit.
func checkHistory(records []record, limit time.Duration) linearizable {
	all := histories(records)
	verdict := linearizable{result: porcupine.Ok, keys: len(all)}
	deadline := time.Now().Add(limit)
	var guard sync.Mutex
	var workers sync.WaitGroup
	next := make(chan history)
	for range runtime.GOMAXPROCS(0) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for h := range next {
				result := h.check(cell{}, time.Until(deadline))
				guard.Lock()
				verdict.add(h, result)
				guard.Unlock()
			}
		}()
	}
	for _, h := range all {
		next <- h
	}
	close(next)
	workers.Wait()
	return verdict
}

// add keeps the worst result: a violation is certain, whatever else is unknown.
func (l *linearizable) add(h history, result porcupine.CheckResult) {
	worse := result == porcupine.Illegal && l.result != porcupine.Illegal ||
		result == porcupine.Unknown && l.result == porcupine.Ok
	if worse {
		l.result, l.key = result, h.key
	}
	if result == porcupine.Illegal {
		l.illegal = append(l.illegal, h)
	}
}

// percentile of a sorted list; 0 for an empty one.
func percentile(sorted []int64, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	at := min(int(float64(len(sorted))*share), len(sorted)-1)
	return time.Duration(sorted[at])
}

// sortedLatencies are the answered commands' times, in nanoseconds.
func sortedLatencies(latencies ...[]int64) []int64 {
	all := slices.Concat(latencies...)
	slices.Sort(all)
	return all
}
