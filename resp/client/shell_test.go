package client

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// serve answers each connection of a listener by script: the n-th command gets the n-th reply; an
// empty reply closes the connection. It returns the address and the commands that arrived.
func serve(t *testing.T, replies ...string) (addr string, seen chan string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	seen = make(chan string, 100)
	go func() {
		for i := 0; ; {
			socket, err := ln.Accept()
			if err != nil {
				return
			}
			i = answer(socket, replies, i, seen)
		}
	}()
	return ln.Addr().String(), seen
}

func answer(socket net.Conn, replies []string, i int, seen chan string) int {
	defer socket.Close()
	in := bufio.NewReaderSize(socket, lineBytesMax)
	for ; i < len(replies); i++ {
		command, err := readReply(in, 0)
		if err != nil {
			return i
		}
		var words []string
		for _, arg := range command.Elems {
			words = append(words, arg.Text)
		}
		seen <- strings.Join(words, " ")
		if replies[i] == "" {
			return i + 1
		}
		if _, err := io.WriteString(socket, replies[i]); err != nil {
			return i + 1
		}
	}
	return i
}

func deadAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func newShell(in string, addrs ...string) (*Shell, *bytes.Buffer, *bytes.Buffer) {
	var out, errs bytes.Buffer
	return &Shell{
		Dialer: Dialer{Addrs: addrs, Timeout: 5 * time.Second},
		In:     strings.NewReader(in), Out: &out, Err: &errs,
	}, &out, &errs
}

func TestPipelineKeepsOrderAndSkipsPushes(t *testing.T) {
	addr, _ := serve(t, "+a\r\n", ">2\r\n+invalidate\r\n_\r\n:2\r\n", "$-1\r\n")
	conn, err := Dial(addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	replies, err := conn.Pipeline([][]string{{"A"}, {"B"}, {"C"}})
	if err != nil || len(replies) != 3 {
		t.Fatalf("%v, %v", replies, err)
	}
	if replies[0].Text != "a" || replies[1].Int != 2 || !replies[2].IsNil() {
		t.Errorf("replies %+v", replies)
	}
}

func TestALostConnectionStaysLost(t *testing.T) {
	addr, seen := serve(t, "+OK\r\n", "")
	conn, err := Dial(addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Do("PING"); err != nil {
		t.Fatal(err)
	}
	_, first := conn.Do("INCR", "n")
	_, second := conn.Do("INCR", "n")
	if first == nil || first != second || conn.Err() != first {
		t.Errorf("first %v, second %v", first, second)
	}
	if len(seen) != 2 {
		t.Errorf("%d commands arrived, want 2: nothing may be sent twice", len(seen))
	}
}

func TestRunTriesEveryNode(t *testing.T) {
	addr, seen := serve(t, "+OK\r\n", "+OK\r\n", "$1\r\nv\r\n")
	shell, out, errs := newShell("", deadAddr(t), addr)
	shell.Dialer.Password, shell.Dialer.DB = "secret", 3
	if code := shell.Run([]string{"GET", "k"}); code != 0 || out.String() != "\"v\"\n" {
		t.Errorf("code %d, out %q, errors %q", code, out, errs)
	}
	for _, want := range []string{"AUTH secret", "SELECT 3", "GET k"} {
		if got := <-seen; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestRunReportsFailures(t *testing.T) {
	addr, _ := serve(t, "-ERR no\r\n")
	shell, out, errs := newShell("", addr)
	if code := shell.Run([]string{"X"}); code != 1 || out.String() != "(error) ERR no\n" ||
		errs.Len() != 0 {
		t.Errorf("error reply: code %d, out %q, errors %q", code, out, errs)
	}
	shell, _, errs = newShell("", deadAddr(t), deadAddr(t))
	if code := shell.Run([]string{"X"}); code != 1 ||
		!strings.Contains(errs.String(), "no node answers") || strings.Count(errs.String(), "\n") != 1 {
		t.Errorf("dead nodes: code %d, errors %q", code, errs)
	}
	addr, _ = serve(t, "")
	shell, _, errs = newShell("", addr)
	if code := shell.Run([]string{"X"}); code != 1 ||
		!strings.Contains(errs.String(), "outcome unknown") {
		t.Errorf("lost connection: code %d, errors %q", code, errs)
	}
	shell, _, errs = newShell("")
	if code := shell.Run([]string{"X"}); code != 1 || !strings.Contains(errs.String(), "--nodes") {
		t.Errorf("no address: code %d, errors %q", code, errs)
	}
}

func TestScript(t *testing.T) {
	addr, seen := serve(t, "+OK\r\n", ":1\r\n", ":2\r\n", "-ERR no\r\n", "+OK\r\n")
	script := "SELECT 4\n# a comment\n\n2 INCR n\nBAD\n\"open\nPING\nquit\nNEVER\n"
	shell, out, errs := newShell(script, addr)
	shell.Raw = true
	if code := shell.Script(); code != 1 {
		t.Errorf("code %d, want 1: one command failed", code)
	}
	if want := "OK\n1\n2\nERR no\n\nOK\n"; out.String() != want {
		t.Errorf("out %q, want %q", out, want)
	}
	if !strings.Contains(errs.String(), "quote") {
		t.Errorf("errors %q do not tell of the open quote", errs)
	}
	if shell.Dialer.DB != 4 {
		t.Error("the database is not remembered for the next connection")
	}
	if len(seen) != 5 {
		t.Errorf("%d commands arrived, want 5", len(seen))
	}
}

func TestTextRepliesAreShownWithoutQuotes(t *testing.T) {
	addr, _ := serve(t, "$13\r\n# Raft\r\na:1\r\n\r\n", "$3\r\na\r\n\r\n")
	shell, out, _ := newShell("info raft\nget k\n", addr)
	shell.Script()
	if want := "# Raft\na:1\n\"a\\r\\n\"\n"; out.String() != want {
		t.Errorf("out %q, want %q", out, want)
	}
}

func TestEditor(t *testing.T) {
	for _, test := range []struct{ name, keys, want string }{
		{"plain", "get k\r", "get k"},
		{"backspace", "gex\x7ft\r", "get"},
		{"insert in the middle", "gt\x1b[De\r", "get"},
		{"home and end", "et\x01g\x05 k\r", "get k"},
		{"home and end by escape", "et\x1b[Hg\x1b[4~ k\r", "get k"},
		{"delete forward", "xget\x1b[1~\x1b[3~\r", "get"},
		{"delete word", "get abc def\x17\x17k\r", "get k"},
		{"cut both ends", "abcdef\x1b[D\x1b[D\x0b\x15x\r", "x"},
		{"right at the end stays", "a\x1b[C\x06b\r", "ab"},
		{"unknown sequences do nothing", "a\x1b[1;5Pb\x1bxc\r", "abc"},
		{"control bytes are not inserted", "a\x00\x02\x06b\r", "ab"},
		{"more than ASCII", "sät\x7f\r", "sä"},
	} {
		e := &editor{in: bufio.NewReader(strings.NewReader(test.keys)), out: io.Discard}
		if got, err := e.ReadLine("> "); got != test.want || err != nil {
			t.Errorf("%s: %q, %v; want %q", test.name, got, err, test.want)
		}
	}
}

func TestEditorHistory(t *testing.T) {
	up, down := "\x1b[A", "\x1b[B"
	keys := "one\rtwo\rtwo\r" + // a repeated line is kept once
		up + up + "\r" + // one
		"draft" + up + down + "!\r" + // what was being typed comes back
		up + up + up + up + up + up + "\r" // the oldest stays
	e := &editor{in: bufio.NewReader(strings.NewReader(keys)), out: io.Discard}
	for i, want := range []string{"one", "two", "two", "one", "draft!", "one"} {
		if got, err := e.ReadLine("> "); got != want || err != nil {
			t.Fatalf("line %d: %q, %v; want %q", i, got, err, want)
		}
	}
	for i := range historyMax + 5 {
		e.in.Reset(strings.NewReader(strings.Repeat("x", i%7+1) + "\r"))
		if _, err := e.ReadLine(""); err != nil {
			t.Fatal(err)
		}
	}
	if len(e.history) != historyMax {
		t.Errorf("history of %d lines, limit %d", len(e.history), historyMax)
	}
}

func TestEditorEnds(t *testing.T) {
	e := &editor{in: bufio.NewReader(strings.NewReader("abc\x03\x04")), out: io.Discard}
	if _, err := e.ReadLine("> "); err != (errInterrupted{}) {
		t.Errorf("Ctrl-C: %v", err)
	}
	if _, err := e.ReadLine("> "); err != io.EOF {
		t.Errorf("Ctrl-D: %v", err)
	}
}
