package bench

import (
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// action is a command on one key that clients do and the checker understands.
type action uint8

const (
	actGet    action = iota // text or null
	actSet                  // OK
	actSetNX                // OK, or null when the key exists
	actSetGet               // the old text or null
	actDel                  // 1 or 0
	actIncr                 // the sum
	actAppend               // the new length
)

// writes reports whether the action changes the key.
func (a action) writes() bool { return a != actGet }

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
	key     string
	arg     string
	call    int64
	ret     int64
	out     outcome
	unknown bool // no answer: it took effect at any time after call, or never
}

// cell is the state of one key.
type cell struct {
	present bool
	text    string
}

// step says whether out is a possible answer of r in state c, and what the state is after it. For
// an unknown outcome every answer is possible. (An unknown command that never took effect is the
// same as one that took effect after everything that was observed.)
func (c cell) step(r *record) (bool, cell) {
	switch r.act {
	case actGet:
		return r.out.null == !c.present && (r.out.null || r.out.text == c.text), c
	case actSet:
		return true, cell{true, r.arg}
	case actSetNX:
		if !c.present {
			return r.unknown || !r.out.null, cell{true, r.arg}
		}
		return r.unknown || r.out.null, c
	case actSetGet:
		told := r.out.null == !c.present && (r.out.null || r.out.text == c.text)
		return r.unknown || told, cell{true, r.arg}
	case actDel:
		return r.unknown || (r.out.n == 1) == c.present, cell{}
	case actIncr:
		n, _ := strconv.ParseInt(c.text, 10, 64) // absent: 0; only INCR writes counters
		return r.unknown || r.out.n == n+1, cell{true, strconv.FormatInt(n+1, 10)}
	default: // actAppend
		text := c.text + r.arg
		return r.unknown || r.out.n == int64(len(text)), cell{true, text}
	}
}

// model is the specification of one key for porcupine.
var model = porcupine.Model{
	Init: func() any { return cell{} },
	Step: func(state, input, _ any) (bool, any) {
		return state.(cell).step(input.(*record))
	},
}

// linearizable is the verdict on a history.
type linearizable struct {
	result porcupine.CheckResult // Ok, Illegal, or Unknown when the time ran out
	key    string                // the first key that is not Ok
	keys   int                   // how many were checked
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

// checkHistory checks each key by itself, on all processors, within a time limit.
func checkHistory(records []record, limit time.Duration) linearizable {
	keys := byKey(records)
	verdict := linearizable{result: porcupine.Ok, keys: len(keys)}
	deadline := time.Now().Add(limit)
	var guard sync.Mutex
	var all sync.WaitGroup
	next := make(chan []porcupine.Operation)
	for range runtime.GOMAXPROCS(0) {
		all.Add(1)
		go func() {
			defer all.Done()
			for operations := range next {
				result := checkKey(operations, time.Until(deadline))
				guard.Lock()
				verdict.add(operations[0].Input.(*record).key, result)
				guard.Unlock()
			}
		}()
	}
	for _, operations := range keys {
		next <- operations
	}
	close(next)
	all.Wait()
	return verdict
}

func checkKey(operations []porcupine.Operation, limit time.Duration) porcupine.CheckResult {
	if limit <= 0 { // porcupine takes 0 for "no limit"
		return porcupine.Unknown
	}
	return porcupine.CheckOperationsTimeout(model, operations, limit)
}

// add keeps the worst result: a violation is certain, whatever else is unknown.
func (l *linearizable) add(key string, result porcupine.CheckResult) {
	worse := result == porcupine.Illegal && l.result != porcupine.Illegal ||
		result == porcupine.Unknown && l.result == porcupine.Ok
	if worse {
		l.result, l.key = result, key
	}
}

// byKey sorts the records into histories. A read without an answer tells nothing and is left out.
func byKey(records []record) [][]porcupine.Operation {
	never := int64(0) // later than every return
	for i := range records {
		never = max(never, records[i].ret, records[i].call) + 1
	}
	index := map[string]int{}
	var keys [][]porcupine.Operation
	for i := range records {
		r := &records[i]
		if r.unknown && !r.act.writes() {
			continue
		}
		at, known := index[r.key]
		if !known {
			at = len(keys)
			index[r.key], keys = at, append(keys, nil)
		}
		operation := porcupine.Operation{ClientId: r.client, Input: r, Call: r.call, Return: r.ret}
		if r.unknown {
			operation.Return = never
		}
		keys[at] = append(keys[at], operation)
	}
	return keys
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
