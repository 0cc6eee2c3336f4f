package command

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"kelek/resp/resptest"
	"kelek/store/op"
)

// The scripts of testdata try every command without a socket: a line is a command, its words may be
// quoted as in Go; the reply follows it. Commands of the scripts:
//
//	run                    commands, one per line
//	advance ms=N           log time and clock
//	face cluster=true      behave as the cluster listener; password=true: one is needed
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		h := newFakeHost(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			return h.script(t, d)
		})
	})
}

// fakeHost is a Host over a fake node, and the dispatcher in its simplest form: one command at a
// time.
type fakeHost struct {
	t       *testing.T
	node    *resptest.Backend
	face    Face
	session Session
	table   *Table
	config  map[string]string
	calls   []string // what commands did to the host
	facts   Facts
}

func newFakeHost(t *testing.T) *fakeHost {
	h := &fakeHost{t: t, node: resptest.New(), table: NewTable(),
		config: map[string]string{"maxclients": "10000", "maxmemory-policy": "noeviction", "save": ""}}
	h.face = Face{SelfHost: "127.0.0.1", SelfPort: 6380, UseMain: true}
	h.session = Session{ID: 7}
	h.session.Reset(&h.face)
	t.Cleanup(h.node.Close)
	return h
}

func (h *fakeHost) script(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "advance":
		var ms int
		d.ScanArgs(t, "ms", &ms)
		h.node.Advance(uint64(ms))
		return ""
	case "face":
		d.MaybeScanArgs(t, "cluster", &h.face.Cluster)
		d.MaybeScanArgs(t, "password", &h.face.Password)
		h.session.Reset(&h.face)
		return ""
	case "run":
		var b strings.Builder
		for _, line := range strings.Split(d.Input, "\n") {
			fmt.Fprintf(&b, "%s\n", line)
			for _, part := range strings.SplitAfter(string(h.do(words(t, line))), "\r\n") {
				if part != "" {
					quoted := strconv.Quote(part)
					fmt.Fprintf(&b, "  %s\n", strings.TrimSuffix(quoted[1:len(quoted)-1], `\r\n`))
				}
			}
			for _, call := range h.calls {
				fmt.Fprintf(&b, "  (%s)\n", call)
			}
			h.calls = nil
		}
		return b.String()
	}
	d.Fatalf(t, "unknown command %s", d.Cmd)
	return ""
}

// words splits at blanks; "..." is a Go string.
func words(t *testing.T, line string) (list [][]byte) {
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if line[0] != '"' {
			word, rest, _ := strings.Cut(line, " ")
			list, line = append(list, []byte(word)), rest
			continue
		}
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		word, _ := strconv.Unquote(quoted)
		list, line = append(list, []byte(word)), line[len(quoted):]
	}
	return list
}

// do carries out one command and returns its reply.
func (h *fakeHost) do(args [][]byte) []byte {
	r := &Reply{Proto: h.session.Proto}
	spec, bad := h.table.Find(args)
	if bad != "" {
		h.session.Doom()
		r.Error(bad)
		return r.Buf
	}
	o := &op.Op{}
	call := &Call{Args: args, Spec: spec, Table: h.table, Session: &h.session, Host: h, Reply: r, Op: o}
	handler := spec.Handler
	if h.session.InMulti() && spec.Flags&Control == 0 {
		handler = Queue
	}
	outcome := handler(call)
	if outcome.Name == "" {
		outcome.Name = spec.Name
	}
	q := &Query{DB: h.session.DB, Args: args, Reply: r, NowMs: uint64(h.NowMicros() / 1000),
		Session: &h.session, Random: func() uint64 { return 1 << 63 }}
	switch outcome.Kind {
	case Proposed:
		sink := &oneResult{reply: r, outcome: &outcome, query: q, done: make(chan error, 1)}
		h.node.Propose(&op.Submission{Ops: o.Append(nil), Count: 1, Sink: sink})
		if err := <-sink.done; err != nil {
			h.t.Fatal(err)
		}
	case Queried:
		q.View = h.node.View(true)
		defer q.View.Close()
		err := error(nil)
		if outcome.Exec != nil {
			err = outcome.Exec.Read(q, func(int, error) {})
		} else {
			err = q.Run(outcome.Query)
		}
		if err != nil {
			h.t.Fatal(err)
		}
	}
	if outcome.Exec != nil {
		outcome.Exec.Settle(&h.session)
	}
	return r.Buf
}

type oneResult struct {
	reply   *Reply
	outcome *Outcome
	query   *Query
	done    chan error
}

func (s *oneResult) Applied(_ int, result *op.Result, _ op.View) {
	if s.outcome.Exec != nil {
		s.outcome.Exec.End(s.reply, result)
		return
	}
	WriteResult(s.reply, s.outcome, result)
}

func (s *oneResult) Step(_, _ int, result *op.Result, view op.View) {
	s.query.View = view
	s.outcome.Exec.Advance(s.query, result, func(int, error) {})
}

func (s *oneResult) Resolve(err error) { s.done <- err }
func (s *oneResult) Gone() bool        { return false }

func (h *fakeHost) Face() *Face                 { return &h.face }
func (h *fakeHost) NowMicros() int64            { return h.node.Clock().UnixMicro() }
func (h *fakeHost) Status() *op.Status          { return h.node.Status() }
func (h *fakeHost) View() op.View               { return h.node.View(true) }
func (h *fakeHost) CheckPassword(p []byte) bool { return bytes.Equal(p, []byte("secret")) }
func (h *fakeHost) ResetStats()                 { h.calls = append(h.calls, "stats reset") }
func (h *fakeHost) Facts(bool) *Facts           { return &h.facts }
func (h *fakeHost) Pause(ms int64, all bool) {
	h.calls = append(h.calls, fmt.Sprint("pause ", ms, all))
}

// Admin says what it was asked; it fails for the name "nobody".
func (h *fakeHost) Admin(r op.AdminRequest, args [][]byte, relay bool) (text, line string) {
	words := bytes.Join(args, []byte(" "))
	h.calls = append(h.calls, fmt.Sprintf("admin %+v relay=%v %s", r, relay, words))
	if r.Name == "nobody" {
		return "", "ERR no member is called nobody"
	}
	return r.Action.String() + " is done", ""
}

func (h *fakeHost) Clients() []ClientInfo {
	return []ClientInfo{
		{ID: 7, Addr: "127.0.0.1:1007", LocalAddr: "127.0.0.1:6380", Proto: 2, Name: h.session.Name,
			Command: "client|list", AgeSec: 5, Queued: h.session.Queued(),
			Watching: h.session.Watching()},
		{ID: 9, Addr: "127.0.0.1:1009", LocalAddr: "127.0.0.1:6380", Proto: 3, DB: 2, IdleSec: 3, Queued: -1,
			Command: "get", LibName: "lib", LibVer: "1", NoEvict: true, ReadOnly: true},
	}
}

func (h *fakeHost) Kill(pick func(*ClientInfo) bool) int {
	n := 0
	for _, c := range h.Clients() {
		if pick(&c) {
			h.calls = append(h.calls, fmt.Sprint("kill ", c.ID))
			n++
		}
	}
	return n
}

func (h *fakeHost) Config() []ConfigOption {
	var list []ConfigOption
	for _, name := range []string{"maxclients", "maxmemory-policy", "save"} {
		o := ConfigOption{Name: name, Get: func() string { return h.config[name] }}
		if name == "maxclients" {
			o.Set = func(value string) error {
				if _, err := strconv.Atoi(value); err != nil {
					return fmt.Errorf("argument couldn't be parsed into an integer")
				}
				h.config[name] = value
				return nil
			}
		}
		list = append(list, o)
	}
	return list
}
