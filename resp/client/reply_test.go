package client

import (
	"bufio"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func parse(t *testing.T, wire string) (Reply, error) {
	t.Helper()
	return readReply(bufio.NewReaderSize(strings.NewReader(wire), lineBytesMax), 0)
}

func TestReplies(t *testing.T) {
	bulk := func(s string) Reply { return Reply{Kind: Bulk, Text: s} }
	for _, test := range []struct {
		wire string
		want Reply
	}{
		{"+OK\r\n", Reply{Kind: Simple, Text: "OK"}},
		{"-ERR no\r\n", Reply{Kind: Error, Text: "ERR no"}},
		{":-12\r\n", Reply{Kind: Integer, Int: -12}},
		{"$5\r\na\r\nbc\r\n", bulk("a\r\nbc")},
		{"$0\r\n\r\n", bulk("")},
		{"$-1\r\n", Reply{Kind: Nil}},
		{"*-1\r\n", Reply{Kind: Nil}},
		{"_\r\n", Reply{Kind: Nil}},
		{"*0\r\n", Reply{Kind: Array, Elems: []Reply{}}},
		{"*2\r\n$1\r\na\r\n:1\r\n", Reply{Kind: Array, Elems: []Reply{bulk("a"),
			{Kind: Integer, Int: 1}}}},
		{"%1\r\n+k\r\n#t\r\n", Reply{Kind: Map, Elems: []Reply{{Kind: Simple, Text: "k"},
			{Kind: Bool, Int: 1}}}},
		{"~1\r\n,3.5\r\n", Reply{Kind: Set, Elems: []Reply{{Kind: Double, Text: "3.5"}}}},
		{"=8\r\ntxt:a\r\nb\r\n", Reply{Kind: Verbatim, Text: "a\r\nb"}},
		{"(123456789012345678901\r\n", Reply{Kind: BigNumber, Text: "123456789012345678901"}},
		{"!5\r\nERR x\r\n", Reply{Kind: BulkError, Text: "ERR x"}},
		{"|1\r\n+ttl\r\n:3\r\n+v\r\n", Reply{Kind: Simple, Text: "v"}},
	} {
		got, err := parse(t, test.wire)
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: got %+v, %v; want %+v", test.wire, got, err, test.want)
		}
	}
}

func TestMalformedReplies(t *testing.T) {
	for _, wire := range []string{
		"\r\n", "?x\r\n", ":1x\r\n", "$-2\r\n", "$999999999999\r\n", "$1\r\nabc", "*-3\r\n",
		"*99999999999\r\n", "#y\r\n", "+no cr\n", strings.Repeat("*1\r\n", depthMax+2),
		strings.Repeat("|0\r\n", depthMax+2), "+" + strings.Repeat("x", lineBytesMax),
	} {
		if _, err := parse(t, wire); !errors.Is(err, errProtocol) {
			t.Errorf("%.40q: got %v, want a protocol error", wire, err)
		}
	}
	for _, wire := range []string{"", "+O", "$3\r\nab", "*2\r\n:1\r\n"} {
		_, err := parse(t, wire)
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: got %v, want the end of the stream", wire, err)
		}
	}
}

func TestReplyAccessors(t *testing.T) {
	failed := Reply{Kind: Error, Text: "MOVED 3 host:1"}
	if err, ok := failed.Err().(ServerError); !ok || err.Word() != "MOVED" {
		t.Errorf("Err() = %v", failed.Err())
	}
	if _, err := failed.Int64(); err == nil {
		t.Error("Int64 of an error reply must fail")
	}
	text := Reply{Kind: Bulk, Text: "42"}
	if n, err := text.Int64(); n != 42 || err != nil {
		t.Errorf("Int64 = %d, %v", n, err)
	}
	if ServerError("ALONE").Word() != "ALONE" {
		t.Error("Word of an error of one word")
	}
}

// What redis-cli 7.0.15 printed for the same replies.
func TestFormat(t *testing.T) {
	nested := "*3\r\n$1\r\na\r\n*2\r\n:1\r\n*0\r\n$-1\r\n"
	for _, test := range []struct{ wire, tty, raw string }{
		{"+OK\r\n", "OK\n", "OK\n"},
		{":7\r\n", "(integer) 7\n", "7\n"},
		{"$-1\r\n", "(nil)\n", "\n"},
		{"$7\r\na\"\\\n\x01\xc3\xa4\r\n", "\"a\\\"\\\\\\n\\x01\\xc3\\xa4\"\n", "a\"\\\n\x01\xc3\xa4\n"},
		{"-ERR no\r\n", "(error) ERR no\n", "ERR no\n\n"},
		{"*0\r\n", "(empty array)\n", "\n"},
		{nested, "1) \"a\"\n2) 1) (integer) 1\n   2) (empty array)\n3) (nil)\n", "a\n1\n\n\n"},
		{"%1\r\n$1\r\nk\r\n:1\r\n", "1# \"k\" => (integer) 1\n", "k 1\n"},
		{"~1\r\n$1\r\nk\r\n", "1~ \"k\"\n", "k\n"},
		{"#t\r\n", "(true)\n", "(true)\n"},
		{",1.5\r\n", "(double) 1.5\n", "1.5\n"},
		{"(12\r\n", "(big number) 12\n", "12\n"},
		{"%0\r\n", "(empty hash)\n", "\n"},
	} {
		reply, err := parse(t, test.wire)
		if err != nil {
			t.Fatal(err)
		}
		if got := FormatTTY(&reply); got != test.tty {
			t.Errorf("tty %q:\n%q, want\n%q", test.wire, got, test.tty)
		}
		if got := FormatRaw(&reply); got != test.raw {
			t.Errorf("raw %q: %q, want %q", test.wire, got, test.raw)
		}
	}
}

func TestNumbersOfLongArraysAreAligned(t *testing.T) {
	reply := Reply{Kind: Array}
	for i := range 10 {
		reply.Elems = append(reply.Elems, Reply{Kind: Integer, Int: int64(i)})
	}
	lines := strings.Split(FormatTTY(&reply), "\n")
	if lines[0] != " 1) (integer) 0" || lines[9] != "10) (integer) 9" {
		t.Errorf("got %q and %q", lines[0], lines[9])
	}
}

func TestSplitArgs(t *testing.T) {
	for line, want := range map[string][]string{
		"":                           {},
		"  set  a b ":                {"set", "a", "b"},
		`set "a b" 'c d'`:            {"set", "a b", "c d"},
		`"\x41\n\r\t\a\b\"\\\q"`:     {"A\n\r\t\a\b\"\\q"},
		`'it\'s' 'a\n'`:              {"it's", `a\n`},
		`"" ''`:                      {"", ""},
		`ab"cd"`:                     {"abcd"},
		"get\tk\r\n":                 {"get", "k"},
		`"\xzz"`:                     {"xzz"},
		"\"\xff\x00\" plain\\nthing": {"\xff\x00", `plain\nthing`},
	} {
		got, err := SplitArgs(line)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %q, %v; want %q", line, got, err, want)
		}
	}
	for _, line := range []string{`"open`, `'open`, `"a"b`, `'a'b`, `"a\`} {
		if got, err := SplitArgs(line); err == nil {
			t.Errorf("%q: got %q, want an error", line, got)
		}
	}
}

func FuzzReplies(f *testing.F) {
	f.Add("*2\r\n$1\r\na\r\n%1\r\n+k\r\n#t\r\n")
	f.Add("|1\r\n+ttl\r\n:3\r\n=8\r\ntxt:a\r\nb\r\n")
	f.Fuzz(func(t *testing.T, wire string) {
		reply, err := readReply(bufio.NewReaderSize(strings.NewReader(wire), lineBytesMax), 0)
		if err == nil {
			FormatTTY(&reply)
			FormatRaw(&reply)
		}
	})
}
