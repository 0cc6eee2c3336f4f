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
func parseHistory(t *testing.T, text string) []record {
	t.Helper()
	var records []record
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		words := strings.Fields(line)
		act := map[string]action{"get": actGet, "set": actSet, "setnx": actSetNX,
			"setget": actSetGet, "del": actDel, "incr": actIncr, "append": actAppend}[words[2]]
		r := record{act: act, key: words[3]}
		if _, err := fmt.Sscan(words[0], &r.client); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if act == actSet || act == actSetNX || act == actSetGet || act == actAppend {
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
	v.History.add("other", porcupine.Illegal)
	v.History.add("third", porcupine.Unknown)
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
	for _, test := range []struct {
		acknowledged bool
		value        outcome
		wrong        bool
	}{
		{true, outcome{text: "v"}, false},
		{true, outcome{null: true}, true},
		{true, outcome{text: "w"}, true},
		{false, outcome{null: true}, false},
		{false, outcome{text: "v"}, false},
		{false, outcome{text: "w"}, true},
	} {
		if got := auditError(test.acknowledged, test.value, "v"); (got != "") != test.wrong {
			t.Errorf("%+v: %q", test, got)
		}
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
	v, err := w.Judge()
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
