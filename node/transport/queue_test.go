package transport

import (
	"bytes"
	"testing"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

func openQueue() *queue {
	q := newQueue()
	q.begin(nil, wire.Hello{}, func() wire.Hello { return wire.Hello{} })
	return &q
}

func dropped(q *queue) uint64 {
	n, _ := q.counted()
	return n
}

func TestQueueIsClosedWithoutAConnection(t *testing.T) {
	q := newQueue()
	if q.sendPayload(kindProposal, []byte("x")) || len(q.take()) != 0 || dropped(&q) != 1 {
		t.Fatal("a closed queue takes frames")
	}
	q.give(nil)
	q.begin(nil, wire.Hello{}, func() wire.Hello { return wire.Hello{} })
	q.sendMessages([]raftcore.Message{heartbeat(1, 2, 1)})
	q.end()
	q.begin(nil, wire.Hello{}, func() wire.Hello { return wire.Hello{} })
	if items := q.take(); len(items) != 0 || dropped(&q) != 2 {
		t.Fatalf("of the former connection: %d frames, %d dropped", len(items), dropped(&q))
	}
}

func TestQueueSaysTheNewHelloFirst(t *testing.T) {
	q := newQueue()
	q.begin(nil, wire.Hello{Name: "a"}, func() wire.Hello { return wire.Hello{Name: "b"} })
	q.sendMessages([]raftcore.Message{heartbeat(1, 2, 1)})
	items := q.take()
	if len(items) != 2 || items[0].kind != kindHello || items[1].kind != kindMessage {
		t.Fatalf("%+v", items)
	}
}

// The newest is dropped at each limit, and what is being written counts until it is given back.
func TestQueueLimits(t *testing.T) {
	q := openQueue()
	for range queueFramesMax {
		q.sendMessages([]raftcore.Message{heartbeat(1, 2, 1)})
	}
	taken := q.take()
	if q.sendPayload(kindProposal, nil) || len(taken) != queueFramesMax {
		t.Fatal("no limit in frames")
	}
	q.give(taken)
	if !q.sendPayload(kindProposal, nil) {
		t.Fatal("what was given back still counts")
	}
	q.give(q.take())

	huge := make([]byte, queueBytesMax+1)
	if !q.sendPayload(kindProposal, huge) {
		t.Fatal("one frame is admitted, however large")
	}
	if q.sendPayload(kindProposal, []byte("x")) {
		t.Fatal("no limit in bytes")
	}
	q.give(q.take())
	if q.count != 0 || q.bytes != 0 {
		t.Fatalf("an empty queue counts %d frames, %d bytes", q.count, q.bytes)
	}
}

func TestQueueAllocatesNothingInSteadyState(t *testing.T) {
	q := openQueue()
	messages := []raftcore.Message{appendFrom(1, 2, 1, "data"), heartbeat(1, 2, 1)}
	var buf []byte
	allocs := testing.AllocsPerRun(1000, func() {
		q.sendMessages(messages)
		items := q.take()
		buf = buf[:0]
		for i := range items {
			buf = appendItem(buf, &items[i])
		}
		q.give(items)
	})
	if allocs != 0 {
		t.Fatalf("%v allocations per send", allocs)
	}
}

// quiet is a Handler of node 2 that drops everything.
type quiet struct{ *recorder }

func (quiet) Messages(raftcore.NodeID, []raftcore.Message) {}

// What an inbound connection without entries costs: one piece of memory per 64 messages.
func TestReceiverAllocatesLittle(t *testing.T) {
	h := quiet{&recorder{hello: wire.Hello{NodeID: 2, ClusterID: testCluster}}}
	c := &conn{t: &Transport{handler: h, self: 2}}
	c.hello.Store(&wire.Hello{NodeID: 1, ClusterID: testCluster})
	m := heartbeat(1, 2, 1)
	b := appendItem(nil, &item{kind: kindMessage, message: m})
	r := receiver{c: c, frames: newFrameReader(bytes.NewReader(bytes.Repeat(b, 70_000)), 1<<20)}
	allocs := testing.AllocsPerRun(100, func() {
		for range 640 {
			k, payload, owned, err := r.frames.next()
			if err == nil {
				err = r.frame(k, payload, owned)
			}
			if err != nil {
				t.Fatal(err)
			}
			r.deliver()
		}
	})
	if allocs > 11 {
		t.Fatalf("%v allocations per 640 heartbeats", allocs)
	}
}
