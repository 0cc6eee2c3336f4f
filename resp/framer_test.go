package resp

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

var testLimits = frameLimits{elements: 1 << 20, bulkBytes: 64 << 20, inlineBytes: 64 << 10,
	queryBytes: 128 << 20}

// cutAll feeds chunks to a framer and returns the commands and the fault that ends them.
func cutAll(l *frameLimits, chunks ...[]byte) (commands [][]string, fault string) {
	var f framer
	for _, chunk := range chunks {
		for len(chunk) > 0 {
			n := copy(f.space(), chunk)
			f.received(n)
			chunk = chunk[n:]
			for {
				v := f.check(l)
				if v == ready {
					args, taken := f.take(nil)
					if taken == ready {
						commands = append(commands, texts(args))
						continue
					}
				}
				if f.fault != "" {
					return commands, f.fault
				}
				break
			}
		}
	}
	return commands, ""
}

func texts(args [][]byte) []string {
	list := make([]string, len(args))
	for i, arg := range args {
		list[i] = string(arg)
	}
	return list
}

// guardTable is the table of bad and odd input: what the framer must make of each.
var guardTable = []struct {
	in       string
	commands string // arguments joined by "|", commands by blanks
	fault    string
}{
	{"\r\n\n  \r\nPING\r\n", "PING", ""},
	{"PING\nPING\n", "PING PING", ""},
	{"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", "PING ECHO|", ""},
	{"*0\r\n*-1\r\n*-10\r\nPING\r\n", "PING", ""},
	{"*2147483648\r\n", "", "invalid multibulk length"},
	{"*3000000000\r\n", "", "invalid multibulk length"},
	{"*1048577\r\n", "", "invalid multibulk length"},
	{"*99999999999999999999999\r\n", "", "invalid multibulk length"},
	{"*1\r\n$9223372036854775807\r\nabc\r\n", "", "invalid bulk length"},
	{"*1\r\n$2000000000\r\n", "", "invalid bulk length"},
	{"*1\r\n$67108865\r\n", "", "invalid bulk length"},
	{"*abc\r\n", "", "invalid multibulk length"},
	{"*+1\r\n", "", "invalid multibulk length"},
	{"*01\r\n", "", "invalid multibulk length"},
	{"* 1\r\n", "", "invalid multibulk length"},
	{"*\r\n", "", "invalid multibulk length"},
	{"*-0\r\n", "", "invalid multibulk length"},
	{"*-\r\n", "", "invalid multibulk length"},
	{"*1\n$4\nPING\n", "", "invalid multibulk length"},
	{"*1\r\n$4\nPING\n", "", "invalid bulk length"},
	{"*1\r\n$blabla\r\n", "", "invalid bulk length"},
	{"*1\r\n$-10\r\n", "", "invalid bulk length"},
	{"*1\r\n$-1\r\n", "", "invalid bulk length"},
	{"*1\r\n$04\r\nPING\r\n", "", "invalid bulk length"},
	{"*1\r\n$\r\n", "", "invalid bulk length"},
	{"*3\r\nfoo", "", "expected '$', got 'f'"},
	{"*1\r\n*1\r\n", "", "expected '$', got '*'"},
	{"*1\r\n\r\n", "", "expected '$', got ' '"},
	{"set a \"foo\r\n", "", "unbalanced quotes in request"},
	{"set a 'foo\r\n", "", "unbalanced quotes in request"},
	{"ECHO \"a\"b\r\n", "", "unbalanced quotes in request"},
	{"ECHO \"\\x41\"\r\n", "ECHO|A", ""},
	{"ECHO \"\\xzz\\n\\\\\\\"\"\r\n", "ECHO|xzz\n\\\"", ""},
	{"ECHO 'a\\'b\\n'\r\n", "ECHO|a'b\\n", ""},
	{"ECHO a\"b c\"\r\n", "ECHO|ab c", ""},
	{"ECHO \"\" ''\r\n", "ECHO||", ""},
	{"*1\r\n$4\r\nPINGxx*1\r\n", "", "invalid bulk length"},
	{"PING\r\n*1\r\n$x\r\n", "PING", "invalid bulk length"},
	{"PING " + strings.Repeat("x", 65<<10), "", "too big inline request"},
	{"PING " + strings.Repeat("x", 65<<10) + "\r\n", "", "too big inline request"},
	{"*" + strings.Repeat("1", 65<<10), "", "too big mbulk count string"},
	{"*1\r\n$" + strings.Repeat("1", 65<<10), "", "too big bulk count string"},
}

func TestTheGuardTable(t *testing.T) {
	for _, row := range guardTable {
		for _, size := range []int{len(row.in), 1, 7} {
			got, fault := cutAll(&testLimits, pieces(row.in, size)...)
			if joined(got) != row.commands || fault != row.fault {
				t.Errorf("%.60q in pieces of %d: %q, %q; want %q, %q",
					row.in, size, joined(got), fault, row.commands, row.fault)
			}
		}
	}
}

func pieces(text string, size int) [][]byte {
	var list [][]byte
	for len(text) > size {
		list, text = append(list, []byte(text[:size])), text[size:]
	}
	return append(list, []byte(text))
}

func joined(commands [][]string) string {
	var list []string
	for _, args := range commands {
		list = append(list, strings.Join(args, "|"))
	}
	return strings.Join(list, " ")
}

func TestLimitsBeforeAuth(t *testing.T) {
	before := testLimits
	before.elements, before.bulkBytes, before.beforeAuth = 10, 16384, true
	for in, want := range map[string]string{
		"*10\r\n":                        "",
		"*11\r\n":                        "unauthenticated multibulk length",
		"*1\r\n$16384\r\n":               "",
		"*1\r\n$16385\r\n":               "unauthenticated bulk length",
		"*2147483648\r\n":                "unauthenticated multibulk length",
		"PING a b c d e f g h i j k\r\n": "",
	} {
		if _, fault := cutAll(&before, []byte(in)); fault != want {
			t.Errorf("%q: %q, want %q", in, fault, want)
		}
	}
}

func TestTheQueryBufferLimitCountsTheWholeCommand(t *testing.T) {
	l := frameLimits{elements: 100, bulkBytes: 1000, inlineBytes: 64, queryBytes: 1500}
	in := "*2\r\n$900\r\n" + strings.Repeat("x", 900) + "\r\n$900\r\n"
	_, fault := cutAll(&l, []byte(in))
	if !strings.Contains(fault, "client-query-buffer-limit of 1500") {
		t.Fatalf("fault %q", fault)
	}
}

// TestEveryCut splits a stream of all forms at every byte: the commands stay the same.
func TestEveryCut(t *testing.T) {
	stream := "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n\r\nPING\r\n*0\r\n*1\r\n$4\r\nPING\r\n" +
		"ECHO \"a b\\x41\"\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n*-1\r\nGET k\r\n"
	want, fault := cutAll(&testLimits, []byte(stream))
	if len(want) != 6 || fault != "" {
		t.Fatalf("whole: %q %q", want, fault)
	}
	for i := range stream {
		got, fault := cutAll(&testLimits, []byte(stream[:i]), []byte(stream[i:]))
		if !reflect.DeepEqual(got, want) || fault != "" {
			t.Fatalf("cut at %d: %q %q", i, got, fault)
		}
	}
}

// TestManySmallPiecesAreLinear counts the bytes that searches look at, by the one thing that could
// make them quadratic: a header, an inline line and a command of many elements, byte by byte.
func TestManySmallPiecesAreLinear(t *testing.T) {
	const elements = 20000
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", elements)
	for range elements {
		b.WriteString("$1\r\nx\r\n")
	}
	var f framer
	looked := 0
	for _, c := range b.Bytes() {
		f.space()[0] = c
		f.received(1)
		before := f.scan + f.seen
		v := f.check(&testLimits)
		looked += f.scan + f.seen - before
		if v == broken {
			t.Fatal(f.fault)
		}
	}
	if !f.whole {
		t.Fatal("the command is not whole")
	}
	if looked > 2*b.Len() {
		t.Fatalf("looked at %d bytes of %d", looked, b.Len())
	}
	args, _ := f.take(nil)
	if len(args) != elements {
		t.Fatalf("%d arguments", len(args))
	}
}

func TestMemoryFollowsTheBytesThatCame(t *testing.T) {
	var f framer
	feed := func(text string) {
		for len(text) > 0 {
			n := copy(f.space(), text)
			f.received(n)
			text = text[n:]
			for f.check(&testLimits) == ready {
				f.take(nil)
			}
		}
	}
	feed("*2\r\n$3\r\nGET\r\n$67108864\r\n")
	if f.space(); len(f.buf) > 2*queryBytesInitial {
		t.Fatalf("%d bytes for an announced bulk", len(f.buf))
	}
	for range 1024 {
		feed(strings.Repeat("x", 64<<10))
	}
	if len(f.buf) > 65<<20 {
		t.Fatalf("%d bytes for a bulk of 64 MiB", len(f.buf))
	}
	feed("\r\n")
	if f.space(); len(f.buf) != queryBytesInitial {
		t.Fatalf("%d bytes are kept afterwards", len(f.buf))
	}
}

// slowCut is the obvious parser: it looks at everything from the front, on the whole input.
func slowCut(in string, l *frameLimits) (commands [][]string, fault string) {
	for in != "" {
		line, rest, whole := strings.Cut(in, "\n")
		if in[0] != '*' {
			if len(line) > l.inlineBytes {
				return commands, "too big inline request"
			}
			if !whole {
				return commands, ""
			}
			args, ok := splitInline([]byte(line), nil)
			if !ok {
				return commands, "unbalanced quotes in request"
			}
			if !blank([]byte(line)) {
				commands = append(commands, texts(args))
			}
			in = rest
			continue
		}
		args, rest, done, fault := slowArray(in, l)
		if fault != "" || !done {
			return commands, fault
		}
		if len(args) > 0 {
			commands = append(commands, args)
		}
		in = rest
	}
	return commands, ""
}

func slowArray(in string, l *frameLimits) (args []string, rest string, done bool, fault string) {
	n, in, done, fault := slowLength(in, l, "multibulk", "mbulk")
	if fault != "" || !done {
		return nil, "", false, fault
	}
	if n > l.elements {
		return nil, "", false, "invalid multibulk length"
	}
	for ; n > 0; n-- {
		if in == "" {
			return nil, "", false, ""
		}
		if in[0] != '$' {
			return nil, "", false, strings.NewReplacer("\r", " ", "\n", " ").
				Replace("expected '$', got '" + in[:1] + "'")
		}
		size, body, done, fault := slowLength(in, l, "bulk", "bulk")
		switch {
		case fault != "" || !done:
			return nil, "", false, fault
		case size < 0 || size > l.bulkBytes:
			return nil, "", false, "invalid bulk length"
		case len(body) < size+2:
			return nil, "", false, ""
		case body[size:size+2] != "\r\n":
			return nil, "", false, "invalid bulk length"
		}
		args, in = append(args, body[:size]), body[size+2:]
	}
	return args, in, true, ""
}

func slowLength(in string, l *frameLimits, name, short string) (
	n int, rest string, done bool, fault string,
) {
	line, rest, whole := strings.Cut(in, "\n")
	if len(line) > l.inlineBytes {
		return 0, "", false, "too big " + short + " count string"
	}
	if !whole {
		return 0, "", false, ""
	}
	digits, hasCR := strings.CutSuffix(line, "\r")
	_, err := fmt.Sscanf(digits[1:], "%d", &n)
	if err != nil || fmt.Sprint(n) != digits[1:] || !hasCR {
		return 0, "", false, "invalid " + name + " length"
	}
	return n, rest, true, ""
}

// FuzzGuard compares the framer with the obvious parser, in one piece and in small ones.
func FuzzGuard(f *testing.F) {
	for _, row := range guardTable {
		if len(row.in) < 200 {
			f.Add([]byte(row.in), uint8(3))
		}
	}
	l := frameLimits{elements: 64, bulkBytes: 256, inlineBytes: 128, queryBytes: 1 << 20}
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		want, wantFault := slowCut(string(in), &l)
		got, fault := cutAll(&l, pieces(string(in), 1+int(size))...)
		if joined(got) != joined(want) || fault != wantFault {
			t.Fatalf("in pieces of %d: %q %q\nwant %q %q", 1+int(size), got, fault, want, wantFault)
		}
	})
}
