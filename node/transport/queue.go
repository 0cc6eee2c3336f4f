package transport

import (
	"slices"
	"sync"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// item is one frame that waits to be encoded: a message, or else a payload of the given kind.
type item struct {
	kind    kind
	message raftcore.Message
	payload []byte
}

// queue is what waits for one peer. Two sets of slices take turns: producers fill one while the
// sender encodes the other, so nothing is allocated once both have grown.
//
// Invariant: closed means empty. While there is no connection everything is dropped at once: a
// message that waited for a dial would be stale, and the core sends a newer one anyway.
//
// Messages that are small, and find that nothing waits and nothing is being written, do not wait for
// the sender: they are written under mu, which keeps the sender away meanwhile.
type queue struct {
	wake chan struct{} // has a token when there is something to take

	mu      sync.Mutex
	open    bool
	express *express // nil: everything goes through the sender
	passed  uint64   // frames that went without the sender
	items   []item
	entries []raftcore.Entry // behind the items' messages
	bytes   int              // of items and of those that were taken and not given back
	count   int              // likewise
	dropped uint64

	// The other set. Owned by the sender between take and give, by mu otherwise.
	spareItems   []item
	spareEntries []raftcore.Entry
}

func newQueue() queue { return queue{wake: make(chan struct{}, 1)} }

// sendMessages queues messages in order, copying everything but the entries' data.
func (q *queue) sendMessages(messages []raftcore.Message) {
	q.mu.Lock()
	if q.writeNow(messages) {
		q.mu.Unlock()
		return
	}
	for i := range messages {
		m := &messages[i]
		if !q.admit(messageCost(m)) {
			continue
		}
		it := item{kind: kindOf(m), message: *m}
		if n := len(m.Entries); n > 0 {
			q.entries = append(q.entries, m.Entries...)
			it.message.Entries = q.entries[len(q.entries)-n : len(q.entries) : len(q.entries)]
		}
		q.items = append(q.items, it)
	}
	q.unlockAndWake()
}

// writeNow writes messages without the sender, if it can. What the socket does not take becomes the
// first item. Locked.
func (q *queue) writeNow(messages []raftcore.Message) bool {
	if q.express == nil || !q.open || q.count > 0 {
		return false
	}
	cost := 0
	for i := range messages {
		cost += messageCost(&messages[i])
	}
	if cost > expressBytesMax {
		return false
	}
	x := q.express
	x.buf = x.buf[:0]
	for i := range messages {
		x.buf = appendItem(x.buf, &item{kind: kindOf(&messages[i]), message: messages[i]})
	}
	q.passed += uint64(len(messages))
	if rest := x.write(); len(rest) > 0 {
		q.count, q.bytes = 1, frameOverhead+len(rest)
		q.items = append(q.items, item{kind: restOfFrames, payload: slices.Clone(rest)})
		q.rouse()
	}
	return true
}

func kindOf(m *raftcore.Message) kind {
	if len(m.Entries) > 0 {
		return kindAppend
	}
	return kindMessage
}

// sendPayload queues one frame; false: it was dropped. payload is not copied.
func (q *queue) sendPayload(k kind, payload []byte) bool {
	q.mu.Lock()
	ok := q.admit(frameOverhead + len(payload))
	if ok {
		q.items = append(q.items, item{kind: k, payload: payload})
	}
	q.unlockAndWake()
	return ok
}

// admit decides whether a frame may wait, and counts it. Locked.
func (q *queue) admit(cost int) bool {
	full := q.count >= queueFramesMax || q.count > 0 && q.bytes+cost > queueBytesMax
	if !q.open || full {
		q.dropped++
		return false
	}
	q.count++
	q.bytes += cost
	return true
}

func (q *queue) unlockAndWake() {
	waiting := len(q.items) > 0
	q.mu.Unlock()
	if waiting {
		q.rouse()
	}
}

func (q *queue) rouse() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns everything that waits, for the sender to encode and then give back.
func (q *queue) take() []item {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items, q.spareItems = q.spareItems, q.items
	q.entries, q.spareEntries = q.spareEntries, q.entries
	return q.spareItems
}

// give ends the use of what take returned: its cost is free, and its references are dropped.
func (q *queue) give(items []item) {
	cost := 0
	for i := range items {
		cost += items[i].cost()
	}
	clear(items)
	clear(q.spareEntries)
	if cap(q.spareEntries) > queueFramesMax { // a burst of entries must not stay in memory
		q.spareEntries = nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.spareItems, q.spareEntries = items[:0], q.spareEntries[:0]
	q.count -= len(items)
	q.bytes -= cost
}

// begin opens the queue for a new connection; x may be nil. When our hello is not the one that the
// handshake said, the new one goes before everything else: current is asked inside the lock, so a
// change of the hello is either seen here or announced through the open queue.
func (q *queue) begin(x *express, said wire.Hello, current func() wire.Hello) {
	q.mu.Lock()
	q.open, q.express = true, x
	if now := current(); now != said {
		payload := wire.AppendHello(nil, &now)
		q.admit(frameOverhead + len(payload))
		q.items = append(q.items, item{kind: kindHello, payload: payload})
	}
	q.unlockAndWake()
}

// end closes the queue and drops what waits. The sender has given back what it took.
func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped += uint64(len(q.items))
	clear(q.items)
	clear(q.entries)
	q.items, q.entries = q.items[:0], q.entries[:0]
	q.open, q.express, q.count, q.bytes = false, nil, 0, 0
}

// counted returns how many frames were dropped, and how many went without the sender.
func (q *queue) counted() (dropped, passed uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped, q.passed
}

func (it *item) cost() int {
	if it.payload != nil {
		return frameOverhead + len(it.payload)
	}
	return messageCost(&it.message)
}

func messageCost(m *raftcore.Message) int {
	n := frameOverhead
	for i := range m.Entries {
		n += m.Entries[i].Bytes()
	}
	return n
}
