package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// expressPair is a queue that writes to one end of a connection, and the other end.
func expressPair(t *testing.T) (q *queue, c *conn, far net.Conn) {
	t.Helper()
	if !canWriteAtOnce {
		t.Skip("sockets of this system are written by the sender alone")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		near.Close()
		far.Close()
	})
	c = &conn{Conn: near, done: make(chan struct{})}
	made := newQueue()
	q = &made
	q.begin(newExpress(c), wire.Hello{}, func() wire.Hello { return wire.Hello{} })
	return q, c, far
}

func numbered(n int) raftcore.Message {
	m := heartbeat(1, 2, 1)
	m.Round = uint64(n)
	return m
}

// rounds reads frames until the end, and returns the rounds of their messages.
func rounds(t *testing.T, src io.Reader) (seen []uint64) {
	t.Helper()
	frames := newFrameReader(src, 1<<20)
	for {
		k, payload, _, err := frames.next()
		if errors.Is(err, io.EOF) {
			return seen
		}
		var m raftcore.Message
		if err == nil && (k == kindMessage || k == kindAppend) {
			_, err = wire.DecodeMessage(payload, &m)
		}
		if err != nil {
			t.Fatalf("after %d messages: kind %d: %v", len(seen), k, err)
		}
		seen = append(seen, m.Round)
	}
}

func inOrder(t *testing.T, seen []uint64, count int) {
	t.Helper()
	if len(seen) != count {
		t.Fatalf("%d messages, want %d", len(seen), count)
	}
	for i, n := range seen {
		if n != uint64(i) {
			t.Fatalf("message %d at place %d", n, i)
		}
	}
}

func TestSmallMessagesGoWithoutTheSender(t *testing.T) {
	q, c, far := expressPair(t)
	for n := range 10 {
		q.sendMessages([]raftcore.Message{numbered(n)})
	}
	if _, passed := q.counted(); passed != 10 || len(q.take()) != 0 {
		t.Errorf("%d went at once, and the rest waits", passed)
	}
	c.Close()
	inOrder(t, rounds(t, far), 10)
}

// What the socket has no room for goes on where it stopped, and before everything that comes later.
func TestTheRestOfAMessageComesFirst(t *testing.T) {
	q, c, far := expressPair(t)
	count := 0
	for waits := false; !waits; count++ { // nobody reads, so the socket fills up
		q.sendMessages([]raftcore.Message{numbered(count)})
		waits = q.count > 0
	}
	for range 10 {
		q.sendMessages([]raftcore.Message{numbered(count)})
		count++
	}
	read := make(chan []byte)
	go func() {
		b, err := io.ReadAll(far)
		if err != nil {
			t.Error(err)
		}
		read <- b
	}()
	items := q.take()
	if items[0].kind != restOfFrames || len(items) != 11 {
		t.Errorf("%d frames wait, the first of kind %d", len(items), items[0].kind)
	}
	p := &peer{}
	if err := p.write(c, items); err != nil {
		t.Fatal(err)
	}
	q.give(items)
	if q.count != 0 || q.bytes != 0 {
		t.Errorf("%d frames, %d bytes are left", q.count, q.bytes)
	}
	q.sendMessages([]raftcore.Message{numbered(count)})
	count++
	c.Close()
	inOrder(t, rounds(t, bytes.NewReader(<-read)), count)
}

// While the sender writes, nobody else does.
func TestNothingOvertakesTheSender(t *testing.T) {
	q, _, _ := expressPair(t)
	q.sendPayload(kindProposal, []byte("x"))
	q.sendMessages([]raftcore.Message{numbered(0)})
	items := q.take()
	q.sendMessages([]raftcore.Message{numbered(1)})
	if _, passed := q.counted(); passed != 0 || len(items) != 2 {
		t.Fatalf("%d frames passed %d that waited", passed, len(items))
	}
	q.give(items)
	q.give(q.take())
	q.sendMessages([]raftcore.Message{numbered(2)})
	if _, passed := q.counted(); passed != 1 {
		t.Errorf("%d frames went at once when nothing waited", passed)
	}
}

// Large messages would keep the caller, and one on a connection that is broken is the sender's to find.
func TestWhatDoesNotGoAtOnceWaitsForTheSender(t *testing.T) {
	q, c, _ := expressPair(t)
	large := appendFrom(1, 2, 1, string(make([]byte, expressBytesMax)))
	q.sendMessages([]raftcore.Message{large})
	if items := q.take(); len(items) != 1 || items[0].kind != kindAppend {
		t.Fatalf("%+v", items)
	} else {
		q.give(items)
	}
	c.Close()
	q.sendMessages([]raftcore.Message{numbered(0)})
	if items := q.take(); len(items) != 1 || items[0].kind != restOfFrames {
		t.Errorf("%+v", items)
	}
	q.end()
	if q.express != nil || q.count != 0 {
		t.Errorf("a closed queue writes: %+v", q)
	}
}

func TestWritingAtOnceAllocatesNothing(t *testing.T) {
	q, _, far := expressPair(t)
	go io.Copy(io.Discard, far) // ends with the connection
	messages := []raftcore.Message{numbered(0), appendFrom(1, 2, 1, "data")}
	allocs := testing.AllocsPerRun(100, func() { q.sendMessages(messages) })
	if allocs != 0 {
		t.Errorf("%v allocations for each send", allocs)
	}
}
