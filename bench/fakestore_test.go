package bench

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeStore is a correct store in memory that speaks enough RESP for the load, with a bug on
// demand. It strikes on every so many of the commands that can show it, so that a run that has
// some hundred of each kind has met it, whatever their mixture.
type fakeStore struct {
	addr string
	bug  string

	guard    sync.Mutex
	keys     map[string]string
	old      map[string]string    // the value before the last SET
	ends     map[string]time.Time // deadlines
	versions map[string]int       // how often a key was written
	chances  int                  // commands so far that the bug could have struck
	reads    int
}

// fakeConn is what one connection remembers.
type fakeConn struct {
	queue   [][]string // after MULTI
	multi   bool
	watched map[string]int
}

const bugEvery = 23

func newFakeStore(t *testing.T, bug string) *fakeStore {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	f := &fakeStore{addr: ln.Addr().String(), bug: bug, keys: map[string]string{},
		old: map[string]string{}, ends: map[string]time.Time{}, versions: map[string]int{}}
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

func (f *fakeStore) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	memory := &fakeConn{watched: map[string]int{}}
	for {
		args, err := readCommand(in)
		if err != nil {
			return
		}
		reply := f.answer(memory, args)
		if reply == "" {
			return
		}
		if _, err := io.WriteString(conn, reply); err != nil {
			return
		}
	}
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
	return strconv.Atoi(strings.TrimRight(line[1:], "\r\n"))
}

// buggy says whether the bug strikes now. The caller has found that it would be seen.
func (f *fakeStore) buggy(bug string) bool {
	if f.bug != bug {
		return false
	}
	f.chances++
	return f.chances%bugEvery == 0
}

func (f *fakeStore) answer(memory *fakeConn, args []string) string {
	f.guard.Lock()
	defer f.guard.Unlock()
	f.expire()
	switch args[0] {
	case "MGET":
		return f.mget(args[1:])
	case "MULTI":
		memory.multi = true
		return "+OK\r\n"
	case "EXEC":
		return f.exec(memory)
	case "WATCH":
		memory.watched[args[1]] = f.versions[args[1]]
		return "+OK\r\n"
	}
	if memory.multi {
		memory.queue = append(memory.queue, args)
		return "+QUEUED\r\n"
	}
	if f.buggy("errors") {
		return "-CLUSTERDOWN no leader\r\n"
	}
	if f.buggy("hang up") {
		return ""
	}
	return f.execute(args)
}

// expire deletes what is past its deadline.
func (f *fakeStore) expire() {
	for key, end := range f.ends {
		if !time.Now().Before(end) {
			delete(f.keys, key)
			delete(f.ends, key)
			f.versions[key]++
		}
	}
}

func (f *fakeStore) exec(memory *fakeConn) string {
	queue, watched := memory.queue, memory.watched
	*memory = fakeConn{watched: map[string]int{}}
	for key, version := range watched {
		if f.versions[key] != version && f.bug != "watches nothing" {
			return "*-1\r\n"
		}
	}
	reply := "*" + strconv.Itoa(len(queue)) + "\r\n"
	for i, args := range queue {
		if i == 1 && args[0] == "APPEND" && f.buggy("torn transaction") {
			reply += ":" + strconv.Itoa(len(f.keys[args[1]])+len(args[2])) + "\r\n"
			continue
		}
		reply += f.execute(args)
	}
	return reply
}

func (f *fakeStore) execute(args []string) string {
	key := args[1]
	if args[0] != "GET" {
		f.versions[key]++
	}
	switch args[0] {
	case "GET":
		if value, is := f.old[key]; is && f.buggy("stale read") {
			return bulkOf(value, true)
		}
		value, is := f.keys[key]
		return bulkOf(value, is)
	case "SET":
		return f.set(args)
	case "DEL":
		_, is := f.keys[key]
		delete(f.keys, key)
		return ":" + strconv.Itoa(map[bool]int{true: 1}[is]) + "\r\n"
	case "INCR":
		n, _ := strconv.Atoi(f.keys[key])
		f.keys[key] = strconv.Itoa(n + 1)
		if f.buggy("double increment") {
			f.keys[key] = strconv.Itoa(n + 2)
		}
		return ":" + strconv.Itoa(n+1) + "\r\n"
	default: // APPEND
		f.keys[key] += args[2]
		if f.buggy("double append") {
			f.keys[key] += args[2]
		}
		return ":" + strconv.Itoa(len(f.keys[key])) + "\r\n"
	}
}

func (f *fakeStore) set(args []string) string {
	key, value := args[1], args[2]
	before, is := f.keys[key]
	option := strings.Join(args[3:], "")
	if option == "NX" && is && !f.buggy("two locks") {
		return bulkOf("", false)
	}
	if is {
		f.old[key] = before
	}
	// A lost first write of a key that nobody else writes cannot be hidden by a later one.
	if is || !f.buggy("lost write") {
		f.keys[key] = value
	}
	delete(f.ends, key)
	if ms, mortal := strings.CutPrefix(option, "PX"); mortal {
		n, _ := strconv.Atoi(ms)
		end := time.Now().Add(time.Duration(n) * time.Millisecond)
		if f.bug == "ends early" {
			end = time.Now()
		}
		f.ends[key] = end
	}
	if option == "GET" {
		return bulkOf(before, is)
	}
	return "+OK\r\n"
}

func (f *fakeStore) mget(keys []string) string {
	f.reads++
	reply := "*" + strconv.Itoa(len(keys)) + "\r\n"
	for i, key := range keys {
		value, is := f.keys[key]
		if f.bug == "nodes differ" && i == 0 {
			value, is = value+strconv.Itoa(f.reads), true
		}
		reply += bulkOf(value, is)
	}
	return reply
}

func bulkOf(value string, is bool) string {
	if !is {
		return "$-1\r\n"
	}
	return fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
}
