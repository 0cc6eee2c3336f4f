package load

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fakeServer answers RESP over real sockets and counts what it is asked.
type fakeServer struct {
	addr   string
	refuse bool // every tenth SET is refused
	hangUp int  // after so many commands; 0: never
	guard  sync.Mutex
	counts map[string]int
	keys   map[string]bool
}

func newFakeServer(t *testing.T) *fakeServer {
	t.Helper()
	return startFakeServer(t, &fakeServer{})
}

func startFakeServer(t *testing.T, f *fakeServer) *fakeServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	f.addr, f.counts, f.keys = ln.Addr().String(), map[string]int{}, map[string]bool{}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go f.serve(conn)
		}
	}()
	return f
}

// count is how often some commands were asked.
func (f *fakeServer) count(commands ...string) int64 {
	f.guard.Lock()
	defer f.guard.Unlock()
	sum := 0
	for _, c := range commands {
		sum += f.counts[c]
	}
	return int64(sum)
}

func (f *fakeServer) keyCount() int {
	f.guard.Lock()
	defer f.guard.Unlock()
	return len(f.keys)
}

func (f *fakeServer) serve(conn net.Conn) {
	defer conn.Close()
	in, out, queued := bufio.NewReader(conn), bufio.NewWriter(conn), -1
	for {
		args, err := readCommand(in)
		if err != nil {
			return
		}
		reply := f.answer(args)
		if queued, reply = transact(args[0], queued, reply); reply == "" {
			return
		}
		out.WriteString(reply)
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
	}
}

// transact replaces the replies between MULTI and EXEC; queued is -1 outside.
func transact(command string, queued int, reply string) (int, string) {
	switch {
	case reply == "":
		return queued, ""
	case command == "MULTI":
		return 0, reply
	case command == "EXEC":
		return -1, fmt.Sprintf("*%d\r\n%s", queued, strings.Repeat("+OK\r\n", queued))
	case queued >= 0:
		return queued + 1, "+QUEUED\r\n"
	}
	return queued, reply
}

func (f *fakeServer) answer(args []string) string {
	f.guard.Lock()
	defer f.guard.Unlock()
	f.counts[args[0]]++
	total := 0
	for _, n := range f.counts {
		total += n
	}
	if f.hangUp > 0 && total > f.hangUp {
		return ""
	}
	if len(args) > 1 {
		f.keys[args[1]] = true
	}
	switch args[0] {
	case "GET":
		return "$3\r\nabc\r\n"
	case "INCR", "APPEND":
		return ":7\r\n"
	case "SET":
		if f.refuse && f.counts["SET"]%10 == 0 {
			return "-OOM no room\r\n"
		}
	case "AUTH":
		if args[1] != "secret" {
			return "-WRONGPASS no\r\n"
		}
	}
	return "+OK\r\n"
}

func readCommand(in *bufio.Reader) ([]string, error) {
	count, err := readNumber(in, '*')
	if err != nil {
		return nil, err
	}
	args := make([]string, count)
	for i := range args {
		n, err := readNumber(in, '$')
		if err != nil {
			return nil, err
		}
		text := make([]byte, n+2)
		if _, err := io.ReadFull(in, text); err != nil {
			return nil, err
		}
		if string(text[n:]) != "\r\n" {
			return nil, errors.New("an argument does not end where it should")
		}
		args[i] = string(text[:n])
	}
	return args, nil
}

func readNumber(in *bufio.Reader, kind byte) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != kind {
		return 0, fmt.Errorf("line %q", line)
	}
	return strconv.Atoi(strings.TrimSuffix(line[1:], "\r\n"))
}

// fakeClock is moved by whoever waits.
type fakeClock struct{ time int64 }

func (c *fakeClock) now() int64 { return c.time }

func (c *fakeClock) sleepUntil(t int64) { c.time = max(c.time, t) }

// fakeSocket answers each batch after a service time, and once after a stall.
type fakeSocket struct {
	clock    *fakeClock
	service  int64
	stallAt  int64 // the first batch at or after it waits for
	stall    int64
	asked    int
	batches  []int
	commands int
}

func (s *fakeSocket) Write(b []byte) (int, error) {
	s.asked += strings.Count(string(b), "PING")
	s.batches = append(s.batches, s.asked)
	s.commands += s.asked
	return len(b), nil
}

func (s *fakeSocket) Read(b []byte) (int, error) {
	s.clock.time += s.service
	if s.stall > 0 && s.clock.time >= s.stallAt {
		s.clock.time += s.stall
		s.stall = 0
	}
	n := copy(b, strings.Repeat("+PONG\r\n", s.asked))
	s.asked = 0
	return n, nil
}
