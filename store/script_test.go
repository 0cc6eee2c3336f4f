package store

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"

	"kelek/raftcore"
	"kelek/store/op"
)

// The scripts say what ops do. Each line is an op or a read; each block is applied at one stamp:
//
//	apply stamp=1000
//	set k v ttl=500          set k v nx|xx|ifeq=x get ttl=ms|at=ms|keep db=n
//	get k
//	multi set k w ; add n 1  one transaction; the results of its ops stand before its own
//	watch k                  a read: the next transaction of a later block has this condition
//	----
//	ok
//	"v" until 1500
//
// Every script runs in several modes, and must give the same in each: how ops are batched is
// nobody's business, and neither is a restart.
func TestScripts(t *testing.T) {
	for _, mode := range []string{"one entry", "one batch", "one by one", "restarts"} {
		t.Run(mode, func(t *testing.T) {
			datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
				s := script{mode: mode, replica: newReplica(t, smallOptions(t, vfs.NewMem()))}
				if filepath.Base(path) == "once.txt" {
					s.limit()
				}
				datadriven.RunTest(t, path, s.block)
				s.must(s.s.Close())
			})
		})
	}
}

type script struct {
	*replica
	mode    string
	watched []op.Watched
}

// limit makes the limits of ONCE small enough for a script.
func (s *script) limit() {
	s.s.limits.onceEntriesMax = 3
	s.s.limits.onceTTLMillis = 1000
}

func (s *script) block(t *testing.T, d *datadriven.TestData) string {
	var stamp int
	d.ScanArgs(t, "stamp", &stamp)
	s.stamp = raftcore.LogTime(stamp)
	if s.mode == "restarts" {
		limits := s.s.limits
		s.reopen()
		s.s.limits = limits
	}
	var out []string
	steps := s.steps(d.Input)
	switch s.mode {
	case "one entry", "one batch":
		out = s.together(steps)
	default:
		for i := range steps {
			out = append(out, s.together(steps[i:i+1])...)
		}
	}
	return strings.Join(out, "\n") + "\n"
}

// step is some reads, or an op and the reads that follow it.
type step struct {
	op    *op.Op
	reads [][]string
}

func (s *script) steps(input string) (steps []step) {
	steps = []step{{}}
	for _, line := range strings.Split(strings.TrimSpace(input), "\n") {
		words := strings.Fields(line)
		if o := parseOp(s.t, words); o != nil {
			if o.Code == op.CodeMulti {
				o.Watched, s.watched = s.watched, nil
			}
			steps = append(steps, step{op: o})
			continue
		}
		last := &steps[len(steps)-1]
		last.reads = append(last.reads, words)
	}
	return steps
}

// together applies the ops of all steps in one batch, and does the reads between them.
func (s *script) together(steps []step) (out []string) {
	var entries []raftcore.Entry
	var observers []op.Observer
	var ops []op.Op
	var after [][][]string
	live := s.s.View(false)
	for _, st := range steps {
		switch {
		case st.op == nil:
			for _, words := range st.reads {
				out = append(out, s.read(live, words))
			}
			continue
		case s.mode == "one entry":
			ops, after = append(ops, *st.op), append(after, st.reads)
		default:
			entries = append(entries, s.proposal(*st.op))
			observers = append(observers, s.observer(&out, [][][]string{st.reads}))
		}
	}
	if len(ops) > 0 {
		entries = append(entries, s.proposal(ops...))
		observers = append(observers, s.observer(&out, after))
	}
	s.must(s.commit(observers, entries...))
	return out
}

// observer writes results and reads to out.
func (s *script) observer(out *[]string, reads [][][]string) op.Observer {
	c := &collector{}
	c.step = func(_, done int, result string, _ op.View) {
		if done > 0 {
			*out = append(*out, "  "+result)
		}
	}
	c.after = func(i int, v op.View) {
		*out = append(*out, c.results[i])
		for _, words := range reads[i] {
			*out = append(*out, s.read(v, words))
		}
	}
	return c
}

func (s *script) read(v op.View, words []string) string {
	db, args := databaseOf(s.t, words)
	switch args[0] {
	case "get":
		return getText(s.t, v, db, args[1])
	case "head":
		value, n, err := v.Head(db, []byte(args[1]))
		s.must(err)
		return fmt.Sprintf("%v of %d bytes until %d", value.Type, n, value.Deadline)
	case "watch":
		value, _, err := v.Head(db, []byte(args[1]))
		s.must(err)
		w := op.Watched{DB: db, Key: []byte(args[1]), Version: value.Version}
		s.watched = append(s.watched, w)
		return fmt.Sprint("watching ", args[1])
	case "count":
		keys, expires, err := v.Count(db)
		s.must(err)
		return fmt.Sprintf("%d keys, %d expire", keys, expires)
	case "time":
		return fmt.Sprint(v.LogTime())
	}
	s.t.Fatalf("unknown line %q", words)
	return ""
}

// databaseOf takes db=n out of words.
func databaseOf(t testing.TB, words []string) (db uint8, rest []string) {
	for _, w := range words {
		if n, ok := strings.CutPrefix(w, "db="); ok {
			db = uint8(number(t, n))
		} else {
			rest = append(rest, w)
		}
	}
	return db, rest
}

func number(t testing.TB, s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var conditions = map[string]op.Cond{
	"nx": op.IfAbsent, "xx": op.IfExists, "gt": op.IfLater, "lt": op.IfSooner,
	"xxgt": op.IfExistsLater, "xxlt": op.IfExistsSooner,
}

// parseOp returns the op that a line says, or nil when it is a read.
func parseOp(t testing.TB, words []string) *op.Op {
	db, args := databaseOf(t, words)
	o := &op.Op{DB: db}
	if len(args) > 1 {
		o.Key = []byte(args[1])
	}
	switch args[0] {
	case "set":
		o.Code, o.Value = op.CodePut, []byte(args[2])
		parseOptions(t, o, args[3:])
	case "expire":
		o.Code = op.CodeExpire
		parseOptions(t, o, args[2:])
	case "del", "mset", "msetnx":
		o.Code = map[string]op.Code{"del": op.CodeDelete, "mset": op.CodePutMany,
			"msetnx": op.CodePutNew}[args[0]]
		for _, arg := range args[1:] {
			o.Args = append(o.Args, []byte(arg))
		}
	case "take":
		o.Code = op.CodeTake
	case "getex":
		o.Code = op.CodeGetEx
		parseOptions(t, o, args[2:])
	case "copy", "move":
		o.Code, o.Move, o.ToDB, o.To = op.CodeCopy, args[0] == "move", db, []byte(args[2])
		if len(args) > 3 && args[3] == "nx" {
			o.Cond, args = op.IfAbsent, args[1:]
		}
		if len(args) > 3 {
			o.ToDB = uint8(number(t, args[3]))
		}
	case "setrange":
		o.Code, o.Delta = op.CodeSetRange, number(t, args[2])
		o.Value = []byte(strings.Join(args[3:], " "))
	case "addfloat":
		o.Code, o.Value = op.CodeAddFloat, []byte(args[2])
	case "persist":
		o.Code = op.CodePersist
	case "add":
		o.Code, o.Delta = op.CodeAdd, number(t, args[2])
	case "append":
		o.Code, o.Value = op.CodeAppend, []byte(strings.Join(args[2:], " "))
	case "flush":
		o.Code = op.CodeFlush
		if len(args) > 1 {
			o.DB = op.AllDatabases
		}
	case "purge":
		o.Code, o.Delta = op.CodePurge, number(t, args[1])
	case "once":
		o.Code, o.Client, o.Request = op.CodeOnce, []byte(args[1]), uint64(number(t, args[2]))
		o.Inner = parseOp(t, words[3:]).Append(nil)
	case "multi":
		o = &op.Op{Code: op.CodeMulti}
		for _, line := range strings.Split(strings.Join(words[1:], " "), " ; ") {
			o.Inner = parseOp(t, strings.Fields(line)).Append(o.Inner)
			o.Count++
		}
	default:
		return nil
	}
	return o
}

func parseOptions(t testing.TB, o *op.Op, words []string) {
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "get":
			o.Return = true
		case "ifeq":
			o.Cond, o.Match = op.IfEqual, []byte(value)
		case "ttl":
			o.TTL, o.Time = op.TTLAfter, number(t, value)
		case "at":
			o.TTL, o.Time = op.TTLAt, number(t, value)
		case "keep":
			o.TTL = op.TTLKeep
		default:
			cond, ok := conditions[name]
			if !ok {
				t.Fatalf("unknown option %q", w)
			}
			o.Cond = cond
		}
	}
}
