package bench

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// The shortest history is a violation that can be read at a glance.
func TestShrinking(t *testing.T) {
	for _, test := range []struct{ name, history, want string }{
		{"a stale read", `
			1 0-1   set k a  ok
			2 2-3   get k    a
			1 4-5   set k b  ok
			3 6-7   get k    b
			4 8-?   set k c  ?
			2 10-11 get k    b
			3 12-13 get k    a
			1 14-15 set k d  ok
			1 16-17 get k    d`, "set k a, set k b, get k -> a"},
		{"a lost write", `
			1 0-1   set k a  ok
			1 2-3   set k b  ok
			2 4-5   get k    a`, "set k a, set k b, get k -> a"},
		{"a value nobody wrote", `
			1 0-1   set k a  ok
			2 2-3   get k    z
			1 4-5   set k b  ok`, "get k -> z"},
		{"a counter that went back", `
			1 0-1   incr n 1
			2 2-3   incr n 2
			1 4-5   incr n 3
			2 4-9   get n  2
			1 6-7   incr n 4
			2 10-11 get n  3
			1 12-13 incr n 5`, "incr n -> 4, get n -> 3"},
		{"an append that is lost", `
			1 0-1   append t a, 2
			2 2-3   append t b, 4
			1 4-5   append t c, 6
			2 6-7   append t d, 8
			1 8-9   append t e, 10
			1 8-9   append t f, 12
			2 10-11 append t g, 14
			2 12-13 append t h, 14
			2 14-15 get t       a,b,c,d,e,f,h,`, "append t g, -> 14, append t h, -> 14"},
		{"two locks", `
			1 0-1   setnx k a ok
			1 2-3   del k     1
			2 4-9   setnx k b ok
			3 5-8   setnx k c ok`, "setnx k a, del k -> 1, setnx k b, setnx k c"},
	} {
		verdict := checkHistory(parseHistory(t, test.history), time.Minute)
		small, of := smallest(verdict.illegal)
		var got []string
		for _, r := range small.records {
			got = append(got, brief(r))
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%s: %q, want %q", test.name, strings.Join(got, ", "), test.want)
		}
		if lines := strings.Count(strings.TrimSpace(test.history), "\n") + 1; of != lines {
			t.Errorf("%s: %d commands, want %d", test.name, of, lines)
		}
	}
}

func brief(r *record) string {
	name := map[action]string{actGet: "get", actSet: "set", actSetNX: "setnx", actIncr: "incr",
		actAppend: "append", actDel: "del"}[r.act]
	text := strings.TrimSpace(fmt.Sprintf("%s %s %s", name, r.key, r.arg))
	if answer := strings.Trim(r.answer(), `"`); answer != "OK" {
		text += " -> " + answer
	}
	return text
}

func TestAHistoryIsPrinted(t *testing.T) {
	records := []record{
		{client: 3, act: actPair, key: "p", arg: "x,", call: 1e9, ret: 1.5e9, out: outcome{n: 2}},
		{client: 4, act: actSwap, key: "k", arg: "b", seen: "a", call: 2e9, unknown: true},
	}
	var text strings.Builder
	h := history{key: "k", records: []*record{&records[0], &records[1]}}
	h.write(&text, func(client int) string { return fmt.Sprint("client ", client) })
	for _, want := range []string{
		"client 3            1.0000 .. 1.5000    MULTI; APPEND p:a x,; APPEND p:b x,; EXEC -> 2\n",
		`client 4            2.0000 .. ?         WATCH k; GET k = "a"; MULTI; SET k b; EXEC -> ?`,
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%s\ndoes not say %s", &text, want)
		}
	}
}

// legalHistory is what random clients of a correct store could see.
func legalHistory(random *rand.Rand, acts []action) history {
	h := history{key: "k"}
	var state cell
	var deadlines []*record
	moment, number := int64(0), 0
	for range 4 + random.IntN(10) {
		// One linearization point after the other; the intervals around them overlap.
		moment += 100
		if len(deadlines) > 0 && random.IntN(3) == 0 {
			expire := deadlines[0]
			deadlines = deadlines[1:]
			expire.call, expire.ret = moment-random.Int64N(400), moment+random.Int64N(400)
			_, state = state.step(expire)
			h.records = append(h.records, expire)
			continue
		}
		number++
		r := &record{client: number, act: acts[random.IntN(len(acts))], key: "k",
			arg: fmt.Sprintf("%d,", number), call: moment - random.Int64N(400),
			ret: moment + random.Int64N(400)}
		r.unknown = random.IntN(6) == 0 && r.act.writes()
		r.answerFrom(random, state)
		if !r.unknown || random.IntN(2) == 0 {
			_, state = state.step(r)
		}
		if r.act == actSetPX {
			deadlines = append(deadlines, &record{client: clockClient, act: actExpire, key: "k",
				arg: r.arg, unknown: r.unknown})
		}
		h.records = append(h.records, r)
	}
	for _, expire := range deadlines { // those that have not passed
		expire.call, expire.ret = moment+1000, moment+2000
		h.records = append(h.records, expire)
	}
	return h
}

// answerFrom is the answer of a store in a state.
func (r *record) answerFrom(random *rand.Rand, state cell) {
	before := outcome{null: !state.present, text: state.text}
	switch r.act {
	case actGet, actSetGet, actBoth:
		r.out = before
	case actSetNX:
		r.out.null = state.present
	case actDel:
		r.out.n = map[bool]int64{true: 1}[state.present]
	case actIncr:
		fmt.Sscan(state.text, &r.out.n) // absent: 0
		r.out.n++
	case actAppend, actPair:
		r.out.n = int64(len(state.text + r.arg))
	case actSwap:
		if r.seen = state.text; random.IntN(3) == 0 {
			r.seen = "other,"
		}
		r.out.null = r.seen != state.text
	}
	if r.unknown {
		r.out = outcome{}
	}
}

// No step of shrinking makes a legal history illegal: what it leaves over is never an artefact.
func TestShrinkingInventsNothing(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	legal := func(h history, first cell) bool {
		return h.check(first, time.Minute) == porcupine.Ok
	}
	steps := 0
	for range times(600, 20000) {
		h := legalHistory(random, [][]action{
			{actSet, actGet, actGet, actSetGet, actSwap}, {actIncr, actGet}, {actAppend, actGet},
			{actSet, actGet, actSetNX, actDel, actSetGet, actSwap}, {actPair, actBoth},
			{actSetPX, actGet, actGet, actSet}, {actSetNX, actDel, actGet},
		}[random.IntN(7)])
		if !legal(h, cell{}) || !legal(h, vagueCell()) {
			t.Fatalf("seed %d: not legal to begin with: %v", seed, h.records)
		}
		for i, r := range h.records {
			if h.dispensable(i) && !legal(h.without(i), cell{}) {
				t.Fatalf("seed %d: without record %d: %v", seed, i, h.records)
			}
			if !legal(h.until(r.ret), cell{}) {
				t.Fatalf("seed %d: until %d: %v", seed, r.ret, h.records)
			}
			late, ok := h.since(r.ret)
			if ok && !legal(late, vagueCell()) {
				t.Fatalf("seed %d: since %d: %v", seed, r.ret, h.records)
			}
			for j := range late.records {
				if ok && late.dispensable(j) && !legal(late.without(j), vagueCell()) {
					t.Fatalf("seed %d: since %d without %d: %v", seed, r.ret, j, h.records)
				}
				steps++
			}
		}
	}
	t.Logf("%d steps", steps)
}
