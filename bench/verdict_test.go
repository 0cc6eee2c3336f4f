package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// A history is written as one command per line: client, call and return time, command, answer.
//
//	1  0-5  set k a  ok
//	2  3-9  get k    a
//	1  6-?  incr n   ?        the outcome is not known
//	2  7-8  swap k a b  ok    found a, wrote b unless somebody was in between
func parseHistory(t *testing.T, text string) []record {
	t.Helper()
	var records []record
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		words := strings.Fields(line)
		act := map[string]action{"get": actGet, "set": actSet, "setnx": actSetNX,
			"setget": actSetGet, "del": actDel, "incr": actIncr, "append": actAppend,
			"swap": actSwap, "pair": actPair, "both": actBoth}[words[2]]
		r := record{act: act, key: words[3]}
		if act == actSwap {
			r.seen, words = strings.Trim(words[4], "-"), slices.Delete(words, 4, 5)
		}
		if _, err := fmt.Sscan(words[0], &r.client); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if act == actSet || act == actSetNX || act == actSetGet || act == actAppend ||
			act == actSwap || act == actPair {
			r.arg = words[4]
		}
		call, ret, _ := strings.Cut(words[1], "-")
		if _, err := fmt.Sscan(call, &r.call); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		answer := words[len(words)-1]
		if r.unknown = ret == "?"; !r.unknown {
			if _, err := fmt.Sscan(ret, &r.ret); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			r.out = outcome{text: answer, null: answer == "nil"}
			fmt.Sscan(answer, &r.out.n) // stays 0 for texts
		}
		records = append(records, r)
	}
	return records
}

func TestLinearizability(t *testing.T) {
	for _, test := range []struct{ name, history, want string }{
		{"in order", `
			1 0-1 set k a ok
			2 2-3 get k   a
			1 4-5 del k   1
			2 6-7 get k   nil`, "yes"},
		{"overlapping commands in any order", `
			1 0-9 set k a ok
			2 1-8 set k b ok
			3 2-3 get k   a
			4 4-5 get k   b`, "yes"},
		{"a lost write", `
			1 0-1 set k a ok
			1 2-3 set k b ok
			2 4-5 get k   a`, "NO (k)"},
		{"a stale read after a fresh one", `
			1 0-1 set k a ok
			1 2-9 set k b ok
			2 3-4 get k   b
			3 5-6 get k   a`, "NO (k)"},
		{"a value nobody wrote", `
			1 0-1 set k a ok
			2 2-3 get k   z`, "NO (k)"},
		{"a double increment", `
			1 0-1 incr n 1
			1 2-3 incr n 2
			2 4-5 get n  3`, "NO (n)"},
		{"two increments with one answer", `
			1 0-5 incr n 1
			2 0-5 incr n 1`, "NO (n)"},
		{"an unknown increment took effect", `
			1 0-? incr n ?
			2 2-3 get n  1`, "yes"},
		{"an unknown increment did not", `
			1 0-? incr n ?
			2 2-3 get n  nil
			2 4-5 incr n 1`, "yes"},
		{"an unknown increment took effect late", `
			1 0-? incr n ?
			2 2-3 get n  nil
			2 4-5 get n  1`, "yes"},
		{"an unknown increment took effect twice", `
			1 0-? incr n ?
			2 2-3 get n  2`, "NO (n)"},
		{"an unknown write that came and went", `
			1 0-? set k a ?
			2 2-3 get k   a
			2 4-5 get k   nil`, "NO (k)"},
		{"an append that is lost", `
			1 0-1 append t x, 2
			1 2-3 append t y, 2`, "NO (t)"},
		{"appends in order", `
			1 0-1 append t x, 2
			2 2-3 append t y, 4
			3 4-5 get t    x,y,`, "yes"},
		{"set if absent, twice successful", `
			1 0-5 setnx k a ok
			2 0-5 setnx k b ok`, "NO (k)"},
		{"set if absent, once successful", `
			1 0-5 setnx k a ok
			2 0-5 setnx k b nil
			3 6-7 get k     a`, "yes"},
		{"set and get of what was not there", `
			1 0-1 set k a    ok
			2 2-3 setget k b z`, "NO (k)"},
		{"a delete of nothing that says 1", `
			1 0-1 del k 1`, "NO (k)"},
		{"keys do not mix", `
			1 0-1 set k a ok
			1 2-3 set j b ok
			2 4-5 get k   a
			2 6-7 get j   b`, "yes"},
		{"a swap of what was seen", `
			1 0-1 set k a     ok
			2 2-3 swap k a b  ok
			1 4-5 get k       b`, "yes"},
		{"a swap of nothing", `
			2 2-3 swap k - b  ok
			1 4-5 get k       b`, "yes"},
		{"a swap although somebody was in between", `
			1 0-1 set k a     ok
			2 2-3 set k c     ok
			2 4-5 swap k a b  ok`, "NO (k)"},
		{"two swaps of the same", `
			1 0-1 set k a     ok
			2 2-5 swap k a b  ok
			3 2-5 swap k a c  ok`, "NO (k)"},
		{"a refused swap that was carried out", `
			1 0-1 set k a     ok
			2 2-5 swap k a b  nil
			3 6-7 get k       b`, "NO (k)"},
		{"an unknown swap that was carried out", `
			1 0-1 set k a     ok
			2 2-? swap k a b  ?
			3 6-7 get k       b`, "yes"},
		{"an unknown swap that could not be carried out", `
			1 0-1 set k c     ok
			2 2-? swap k a b  ?
			3 6-7 get k       b`, "NO (k)"},
		{"transactions in order", `
			1 0-1 pair p x, 2
			2 2-3 both p    x,
			1 4-5 pair p y, 4
			2 6-7 both p    x,y,`, "yes"},
		{"a transaction that is lost", `
			1 0-1 pair p x, 2
			2 2-3 both p    nil`, "NO (p)"},
		{"an unknown read tells nothing", `
			1 0-? get k ?
			2 1-2 set k a ok`, "yes"},
	} {
		verdict := checkHistory(parseHistory(t, test.history), time.Minute)
		if verdict.String() != test.want {
			t.Errorf("%s: %s, want %s", test.name, &verdict, test.want)
		}
	}
}

func TestACheckWithoutTimeIsNoPass(t *testing.T) {
	records := parseHistory(t, "1 0-1 set k a ok")
	verdict := checkHistory(records, 0)
	if verdict.result != porcupine.Unknown {
		t.Errorf("%s, want unknown", &verdict)
	}
	v := Verdict{Commands: 1, History: verdict}
	if v.Pass() {
		t.Error("unknown must not pass")
	}
	v.History.add(history{key: "other"}, porcupine.Illegal)
	v.History.add(history{key: "third"}, porcupine.Unknown)
	if v.History.String() != "NO (other)" {
		t.Errorf("%s: a violation must win over what is unknown", &v.History)
	}
}

func TestCounterBounds(t *testing.T) {
	records := parseHistory(t, `
		1 0-1 incr n 1
		1 2-3 incr n 2
		1 4-? incr n ?`)
	for final, wrong := range map[string]bool{"1": true, "2": false, "3": false, "4": true,
		"nil": true, "x": true} {
		got := checkCounters(records, parseHistory(t, "9 8-9 get n "+final))
		if (len(got) > 0) != wrong {
			t.Errorf("final %s: %v", final, got)
		}
	}
}

func TestTexts(t *testing.T) {
	records := parseHistory(t, `
		1 0-1 append t a, 2
		2 2-? append t b, ?`)
	for final, wrong := range map[string]bool{"a,": false, "a,b,": false, "b,a,": false, "b,": true,
		"a,a,": true, "a,b,b,": true, "nil": true} {
		finals := parseHistory(t, "9 8-9 get t "+final)
		if got := checkTexts(records, finals); (len(got) > 0) != wrong {
			t.Errorf("final %s: %v", final, got)
		}
		// The same on the second of two nodes, the first being right.
		finals = append(parseHistory(t, "9 8-9 get t a,b,"), finals...)
		if got := checkTexts(records, finals); (len(got) > 0) != wrong {
			t.Errorf("final %s on the second node: %v", final, got)
		}
	}
}

func TestAudits(t *testing.T) {
	acknowledged, refused, unknown := audit{acknowledged: true}, audit{refused: true}, audit{}
	for _, test := range []struct {
		audit audit
		value outcome
		wrong bool
	}{
		{acknowledged, outcome{text: "v"}, false},
		{acknowledged, outcome{null: true}, true},
		{acknowledged, outcome{text: "w"}, true},
		{refused, outcome{null: true}, false},
		{refused, outcome{text: "v"}, true},
		{unknown, outcome{null: true}, false},
		{unknown, outcome{text: "v"}, false},
		{unknown, outcome{text: "w"}, true},
	} {
		if got := test.audit.wrong(test.value, "v"); (got != "") != test.wrong {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

// A key with a deadline is there until about then, and not after it.
func TestDeadlines(t *testing.T) {
	const ms = int64(time.Millisecond)
	const ttl = time.Second
	late := (ttl + lateMax).Milliseconds()
	for _, test := range []struct {
		name    string
		unknown bool // the SET with the deadline, from 0 to 10 ms
		reads   []int64
		want    string // there, gone: what the reads show, in order
		legal   bool
	}{
		{"before it", false, []int64{20, 900}, "there there", true},
		{"gone too early", false, []int64{20, 900}, "there gone", false},
		{"about then", false, []int64{960, 970, 990}, "there there gone", true},
		{"there again", false, []int64{960, 970, 990}, "there gone there", false},
		{"there much too long", false, []int64{late + 20}, "there", false},
		{"gone in the end", false, []int64{late + 20}, "gone", true},
		{"never written", true, []int64{20, 900}, "gone gone", true},
		{"written late", true, []int64{20, 900, late + 20}, "gone there there", true},
		{"written late, gone too early", true, []int64{20, 900, 910}, "gone there gone", false},
		{"written, gone", true, []int64{900, 990, 1000}, "there gone gone", true},
	} {
		records := []record{{act: actSetPX, key: "k", arg: "v", ttl: ttl, call: 0, ret: 10 * ms,
			unknown: test.unknown}}
		for i, word := range strings.Fields(test.want) {
			read := record{client: 1, act: actGet, key: "k", call: test.reads[i] * ms}
			read.ret = read.call + ms
			if read.out.null = word == "gone"; !read.out.null {
				read.out.text = "v"
			}
			records = append(records, read)
		}
		verdict := checkHistory(records, time.Minute)
		if (verdict.result == porcupine.Ok) != test.legal {
			t.Errorf("%s: %s", test.name, &verdict)
		}
	}
}

// A plain SET takes the deadline away.
func TestADeadlineIsOfOneTextOnly(t *testing.T) {
	const second = int64(time.Second)
	records := []record{
		{act: actSetPX, key: "k", arg: "v", ttl: time.Second, call: 0, ret: 1},
		{act: actSet, key: "k", arg: "w", call: 2, ret: 3},
		{act: actGet, key: "k", call: 60 * second, ret: 61 * second, out: outcome{text: "w"}},
	}
	if verdict := checkHistory(records, time.Minute); verdict.result != porcupine.Ok {
		t.Errorf("%s", &verdict)
	}
	records[2].out = outcome{null: true}
	if verdict := checkHistory(records, time.Minute); verdict.result != porcupine.Illegal {
		t.Errorf("the deadline of an overwritten text took the new one: %s", &verdict)
	}
}

func TestPercentile(t *testing.T) {
	all := sortedLatencies([]int64{5, 1}, []int64{4, 2, 3})
	if !slices.Equal(all, []int64{1, 2, 3, 4, 5}) || percentile(all, 0.5) != 3 ||
		percentile(all, 1) != 5 || percentile(nil, 0.5) != 0 {
		t.Errorf("sorted %v", all)
	}
}

// judge runs the load against a fake store for a moment.
func judge(t *testing.T, bug string) *Verdict {
	t.Helper()
	fake := newFakeStore(t, bug)
	w := &Workload{Prefix: "t", Groups: 2, Seed: 1}
	w.Start(context.Background(), []string{fake.addr, fake.addr, fake.addr})
	for w.Acknowledged() < 1500 {
		time.Sleep(time.Millisecond)
	}
	w.Stop()
	v, err := w.Judge(checkLimit)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTheLoadPassesOnAStoreWithoutFaults(t *testing.T) {
	v := judge(t, "")
	if !v.Pass() || v.Commands < 1500 || v.Unknown != 0 || v.P99 < v.P50 || v.PerSecond <= 0 {
		t.Errorf("verdict %+v", v)
	}
}

// Each bug of the store has to make the verdict fail, and where it should.
func TestTheLoadFindsPlantedBugs(t *testing.T) {
	for bug, found := range map[string]func(v *Verdict) bool{
		"lost write":       func(v *Verdict) bool { return len(v.Lost) > 0 },
		"stale read":       func(v *Verdict) bool { return v.History.result == porcupine.Illegal },
		"double increment": func(v *Verdict) bool { return len(v.Counters) > 0 },
		"double append":    func(v *Verdict) bool { return len(v.Lost) > 0 },
		"errors":           func(v *Verdict) bool { return v.Failures > 0 },
		"torn transaction": func(v *Verdict) bool { return v.History.result == porcupine.Illegal },
		"watches nothing":  func(v *Verdict) bool { return v.History.result == porcupine.Illegal },
		"two locks":        func(v *Verdict) bool { return v.History.result == porcupine.Illegal },
		"ends early":       func(v *Verdict) bool { return v.History.result == porcupine.Illegal },
		"nodes differ":     func(v *Verdict) bool { return len(v.Disagreement) > 0 },
		"hang up":          func(v *Verdict) bool { return v.Failures > 0 && v.Unknown > 0 },
	} {
		t.Run(bug, func(t *testing.T) {
			if v := judge(t, bug); v.Pass() || !found(v) {
				t.Errorf("the bug was not found: %+v", v)
			}
		})
	}
}
