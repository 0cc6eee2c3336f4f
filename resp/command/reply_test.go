package command

import (
	"math"
	"testing"
)

// TestEveryFormOfReply in both protocols.
func TestEveryFormOfReply(t *testing.T) {
	for _, row := range []struct {
		name         string
		write        func(r *Reply)
		resp2, resp3 string
	}{
		{"ok", (*Reply).OK, "+OK\r\n", "+OK\r\n"},
		{"status", func(r *Reply) { r.Status("PONG") }, "+PONG\r\n", "+PONG\r\n"},
		{"error", func(r *Reply) { r.Error("ERR a\r\nb") }, "-ERR a  b\r\n", "-ERR a  b\r\n"},
		{"int", func(r *Reply) { r.Int(-7) }, ":-7\r\n", ":-7\r\n"},
		{"bulk", func(r *Reply) { r.Bulk([]byte("a\r\n")) }, "$3\r\na\r\n\r\n", "$3\r\na\r\n\r\n"},
		{"empty", func(r *Reply) { r.BulkString("") }, "$0\r\n\r\n", "$0\r\n\r\n"},
		{"verbatim", func(r *Reply) { r.Verbatim("txt", "hi") }, "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"},
		{"null", (*Reply).Null, "$-1\r\n", "_\r\n"},
		{"null array", (*Reply).NullArray, "*-1\r\n", "_\r\n"},
		{"array", func(r *Reply) { r.Array(2) }, "*2\r\n", "*2\r\n"},
		{"map", func(r *Reply) { r.Map(2) }, "*4\r\n", "%2\r\n"},
		{"set", func(r *Reply) { r.Set(2) }, "*2\r\n", "~2\r\n"},
		{"push", func(r *Reply) { r.Push(2) }, "*2\r\n", ">2\r\n"},
		{"true", func(r *Reply) { r.Bool(true) }, ":1\r\n", "#t\r\n"},
		{"false", func(r *Reply) { r.Bool(false) }, ":0\r\n", "#f\r\n"},
		{"double", func(r *Reply) { r.Double(1.5) }, "$3\r\n1.5\r\n", ",1.5\r\n"},
		{"infinity", func(r *Reply) { r.Double(math.Inf(-1)) }, "$4\r\n-inf\r\n", ",-inf\r\n"},
		{"nan", func(r *Reply) { r.Double(math.NaN()) }, "$3\r\nnan\r\n", ",nan\r\n"},
	} {
		for proto, want := range map[uint8]string{2: row.resp2, 3: row.resp3} {
			r := &Reply{Proto: proto}
			row.write(r)
			if string(r.Buf) != want {
				t.Errorf("%s in RESP%d: %q, want %q", row.name, proto, r.Buf, want)
			}
			if r.Failed != (row.name == "error") {
				t.Errorf("%s: failed %v", row.name, r.Failed)
			}
		}
	}
	if word := ErrorWord([]byte("-MOVED 1 a:1\r\n")); string(word) != "MOVED" {
		t.Errorf("word %q", word)
	}
	if word := ErrorWord([]byte("+OK\r\n")); word != nil {
		t.Errorf("word %q", word)
	}
}

func TestGlob(t *testing.T) {
	for _, row := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "", true}, {"*", "abc", true}, {"a*c", "abbbc", true}, {"a*c", "abbb", false},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"[a-c]x", "bx", true}, {"[^a-c]x", "bx", false},
		{"[^a-c]x", "dx", true}, {"\\*", "*", true}, {"\\*", "a", false}, {"[\\]]", "]", true},
		{"[abc", "c", true}, {"a[", "a", false}, {"*a*b*c*", "xaxbxcx", true}, {"", "a", false},
		{"ABC", "abc", true}, {"[z-a]", "m", true}, {"**a", "ba", true}, {"a", "", false},
		{"*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
	} {
		if got := match([]byte(row.pattern), []byte(row.text), true); got != row.want {
			t.Errorf("%q on %q: %v", row.pattern, row.text, got)
		}
	}
	if match([]byte("A"), []byte("a"), false) {
		t.Error("case was folded")
	}
}

// TestTheTable: its rows agree with themselves.
func TestTheTable(t *testing.T) {
	table := NewTable()
	for i, s := range table.Specs() {
		switch {
		case s.Index != i:
			t.Errorf("%s: index %d at %d", s.Full, s.Index, i)
		case len(s.Name) > longestName:
			t.Errorf("%s: name longer than Lookup allows", s.Full)
		case s.Handler == nil && s.Subs == nil:
			t.Errorf("%s: no handler", s.Full)
		case s.Arity == 0 || s.Summary == "":
			t.Errorf("%s: arity or summary is missing", s.Full)
		case s.Keys != noKeys && s.Class == Local:
			t.Errorf("%s: a local command with keys", s.Full)
		case s.Flags&Grows != 0 && s.Class != Write:
			t.Errorf("%s: grows without writing", s.Full)
		case s.Class != Local && s.Flags&Barrier != 0:
			t.Errorf("%s: a data command is no barrier", s.Full)
		case s.Owner == s.Name && table.Lookup([]byte(s.Name)) != s:
			t.Errorf("%s: not found under its name", s.Full)
		}
	}
	if table.Lookup([]byte("GeT")) == nil || table.Lookup(make([]byte, 1000)) != nil {
		t.Error("lookup")
	}
}

func TestCanonicalIntegers(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "-1": -1, "9223372036854775807": math.MaxInt64,
		"-9223372036854775808": math.MinInt64} {
		if n, ok := parseInt([]byte(text)); n != want || !ok {
			t.Errorf("%s: %d %v", text, n, ok)
		}
	}
	for _, text := range []string{"", "-", "+1", "01", "-0", "1 ", " 1", "1.0", "0x1",
		"9223372036854775808", "-9223372036854775809", "99999999999999999999"} {
		if n, ok := parseInt([]byte(text)); ok {
			t.Errorf("%q: %d", text, n)
		}
	}
}
