package resp

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"kelek/store/op"
)

// TestAPipelineOfWritesIsOneSubmission: and one that only reads asks for one read point, for one
// view, which is stable only where a query wants several keys.
func TestAPipelineOfWritesIsOneSubmission(t *testing.T) {
	f := newFace(t, Options{})
	c := f.dial(t)
	c.send(strings.Repeat("INCR n\r\nGET n\r\n", 100))
	var want strings.Builder
	for i := 1; i <= 100; i++ {
		fmt.Fprintf(&want, ":%d\r\n$%d\r\n%d\r\n", i, len(fmt.Sprint(i)), i)
	}
	c.expect(want.String())
	if s, r := f.node.Submissions.Load(), f.node.Reads.Load(); s != 1 || r != 0 {
		t.Errorf("%d submissions, %d reads", s, r)
	}
	c.send("GET n\r\nGET n\r\nPING\r\nTTL n\r\n").expect("$3\r\n100\r\n$3\r\n100\r\n+PONG\r\n:-1\r\n")
	r, v, stable := f.node.Reads.Load(), f.node.Views.Load(), f.node.StableViews.Load()
	if r != 1 || v != 1 || stable != 0 {
		t.Errorf("%d reads, %d views, %d of them stable", r, v, stable)
	}
	c.send("GET n\r\nMGET n m\r\n").expect("$3\r\n100\r\n*2\r\n$3\r\n100\r\n$-1\r\n")
	if stable := f.node.StableViews.Load(); stable != 1 {
		t.Errorf("%d stable views", stable)
	}
	c.send("PING\r\nECHO x\r\nSELECT 1\r\nNOSUCH\r\n")
	c.expect("+PONG\r\n$1\r\nx\r\n+OK\r\n-ERR unknown")
	if r := f.node.Reads.Load(); r != 2 {
		t.Errorf("local commands asked for a read point: %d", r)
	}
}

// TestBarriersSeeWhatWasBefore: INFO behind a write in one pipeline counts its key.
func TestBarriersSeeWhatWasBefore(t *testing.T) {
	f := newFace(t, Options{})
	c := f.dial(t)
	c.send("SET a 1\r\nINFO keyspace\r\nSET b 1\r\nCONFIG GET timeout\r\nGET b\r\n")
	c.expect("+OK\r\n$44\r\n# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0\r\n\r\n+OK\r\n" +
		"*2\r\n$7\r\ntimeout\r\n$1\r\n0\r\n$1\r\n1\r\n")
}

// TestHeavyQueriesLeaveTheNodesGoroutine: a count, or very many keys, behind a write wait for it
// and are answered from a view.
func TestHeavyQueriesLeaveTheNodesGoroutine(t *testing.T) {
	f := newFace(t, Options{})
	c := f.dial(t)
	c.send("SET a 1\r\nDBSIZE\r\nSET b 1\r\nEXISTS a b" + strings.Repeat(" a", inlineKeysMax) + "\r\n")
	c.expect(fmt.Sprintf("+OK\r\n:1\r\n+OK\r\n:%d\r\n", inlineKeysMax+2))
	if r, v := f.node.Reads.Load(), f.node.Views.Load(); r != 2 || v != 2 {
		t.Errorf("%d reads, %d views", r, v)
	}
}

// TestABatchIsBounded: a pipeline beyond the bounds is several submissions, and nobody can tell.
func TestABatchIsBounded(t *testing.T) {
	f := newFace(t, Options{Limits: Limits{BatchOpsMax: 7, BatchBytesMax: 100}})
	c := f.dial(t)
	c.send(strings.Repeat("INCR n\r\nGET n\r\n", 20))
	for i := 1; i <= 20; i++ {
		c.expect(fmt.Sprintf(":%d\r\n$%d\r\n%d\r\n", i, len(fmt.Sprint(i)), i))
	}
	if s := f.node.Submissions.Load(); s != 6 {
		t.Errorf("%d submissions for 40 commands with at most 7 each", s)
	}
	big := strings.Repeat("x", 60)
	c.send("SET a " + big + "\r\nSET b " + big + "\r\nGET a\r\n")
	c.send("SET c " + strings.Repeat("y", 300) + "\r\nSTRLEN c\r\n")
	c.expect("+OK\r\n+OK\r\n$60\r\n" + big + "\r\n+OK\r\n:300\r\n")
	if s := f.node.Submissions.Load(); s != 9 {
		t.Errorf("%d submissions, want one for each of the three ops", s)
	}
}

// TestLargeReplies: what a batch may hold in memory is bounded, behind a write as well as without.
func TestLargeReplies(t *testing.T) {
	f := newFace(t, Options{Limits: Limits{ReplyBytesMax: 100_000}})
	c := f.dial(t)
	value := strings.Repeat("v", 60_000)
	c.send("SET k " + value + "\r\n").expect("+OK\r\n")
	bulk := "$60000\r\n" + value + "\r\n"
	c.send("GET k\r\nGET k\r\nGET k\r\nGET k\r\n").expect(strings.Repeat(bulk, 4))
	tooLong := "-ERR reply exceeds the output buffer limit: ask for fewer values at once\r\n"
	c.send("SET x 1\r\nGET k\r\nGET k\r\nGET k\r\nINCR x\r\n")
	c.expect("+OK\r\n" + bulk + bulk + tooLong + ":2\r\n")
	c.send("MGET k k k\r\nMGET k x\r\n").expect(tooLong + "*2\r\n" + bulk + "$1\r\n2\r\n")
}

// TestHeldCommandsWaitAndLocalOnesDoNot: without a leader PING answers on another connection.
func TestHeldCommandsWaitAndLocalOnesDoNot(t *testing.T) {
	f := newFace(t, Options{})
	f.node.Hold()
	writer, reader, probe := f.dial(t), f.dial(t), f.dial(t)
	writer.send("SET k v\r\nGET k\r\n")
	reader.send("GET k\r\n")
	waitFor(t, func() bool { return f.node.Held() == 2 })
	probe.send("PING\r\n").expect("+PONG\r\n").send("INFO server\r\n").expect("$")
	f.node.Release()
	writer.expect("+OK\r\n$1\r\nv\r\n")
	reader.expect("$")
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never happens")
		}
	}
}

// allocBackend resolves at once, on the caller's goroutine, and allocates nothing.
type allocBackend struct {
	status op.Status
	result op.Result
	view   allocView
}

func (b *allocBackend) Propose(s *op.Submission) {
	for i := range s.Count {
		s.Sink.Applied(i, &b.result, &b.view)
	}
	s.Sink.Resolve(nil)
}
func (b *allocBackend) Read(r *op.ReadRequest) { r.Resolve(nil) }
func (b *allocBackend) View(bool) op.View      { return &b.view }
func (b *allocBackend) Status() *op.Status     { return &b.status }
func (b *allocBackend) Admin(context.Context, op.AdminRequest) (op.AdminReply, error) {
	return op.AdminReply{}, op.NotLeaderError{}
}

type allocView struct{ value []byte }

func (v *allocView) LogTime() uint64 { return 1 }
func (v *allocView) Get(_ uint8, _, buf []byte) (op.Value, error) {
	return op.Value{Type: op.TypeString, Bytes: append(buf, v.value...)}, nil
}
func (v *allocView) Head(uint8, []byte) (op.Value, int, error) { return op.Value{}, 0, nil }
func (v *allocView) Count(uint8) (int64, int64, error)         { return 0, 0, nil }
func (v *allocView) Close()                                    {}

// TestPlainCommandsAllocateNothing, from the bytes of the client to the bytes of the reply.
func TestPlainCommandsAllocateNothing(t *testing.T) {
	for _, text := range []string{
		"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n",
		"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
		"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
		"PING\r\n",
	} {
		c, sink := discardConn(&allocBackend{result: op.Result{Kind: op.ResultOK},
			view: allocView{value: []byte("value")}})
		serve := func() {
			c.guard.received(copy(c.guard.space(), text))
			if err := c.serve(); err != nil {
				t.Fatal(err)
			}
		}
		serve()
		if sink.bytes == 0 {
			t.Fatalf("%q: no reply", text)
		}
		if n := testing.AllocsPerRun(100, serve); n != 0 {
			t.Errorf("%.40q: %v allocations", text, n)
		}
	}
}

func BenchmarkPipelineOf16Sets(b *testing.B) {
	text := strings.Repeat("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n", 16)
	c, _ := discardConn(&allocBackend{result: op.Result{Kind: op.ResultOK}})
	b.ReportAllocs()
	for range b.N {
		c.guard.received(copy(c.guard.space(), text))
		if err := c.serve(); err != nil {
			b.Fatal(err)
		}
	}
}
