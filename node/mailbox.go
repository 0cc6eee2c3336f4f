package node

import (
	"sync"
	"sync/atomic"
)

// mailbox is a channel into the loop, bounded in count and bytes. Any number of goroutines put; the
// loop receives from items, alone, as an arm of its select and in gather. A full mailbox refuses
// (put) or makes the writer wait (putWait), as the writer chooses.
//
// What counts against the limits is released separately from receiving, so that a loop that keeps
// items for later (submissions without a leader) still bounds the whole. A channel cannot count
// like that, nor bytes, which is why there are numbers beside it.
//
// Invariant: len(items) <= count <= cap(items) or there is one item, since every item counts at
// least one. So a send never blocks, and may happen under the lock; and because it does, nothing is
// sent after close, and what close leaves in the channel is all there is.
type mailbox[T any] struct {
	items    chan T
	countMax int
	bytesMax int

	mu      sync.Mutex
	space   sync.Cond // of mu: something was released, or the mailbox was closed
	waiters int       // in putWait
	count   int       // put and not yet released
	bytes   int
	closed  bool
}

// unlimited is the byte limit of a mailbox whose items are small.
const unlimited = int(^uint(0) >> 1)

func newMailbox[T any](countMax, bytesMax int) *mailbox[T] {
	m := &mailbox[T]{items: make(chan T, countMax), countMax: countMax, bytesMax: bytesMax}
	m.space.L = &m.mu
	return m
}

// refusal is why put did not accept an item.
type refusal uint8

const (
	putAccepted refusal = iota
	putFull
	putClosed
)

// put adds an item that counts as n, at least 1, and as so many bytes. An item larger than a limit
// is accepted by an empty mailbox: limits bound sums, the size of one item is bounded elsewhere.
func (m *mailbox[T]) put(x T, n, bytes int) refusal {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.add(x, n, bytes)
}

// putWait is put that waits for space. It must not be called by the loop, nor by anybody whom the
// loop waits for.
func (m *mailbox[T]) putWait(x T, n, bytes int) refusal {
	m.mu.Lock()
	defer m.mu.Unlock()
	for !m.closed && !m.fits(n, bytes) {
		m.waiters++
		m.space.Wait()
		m.waiters--
	}
	return m.add(x, n, bytes)
}

func (m *mailbox[T]) fits(n, bytes int) bool {
	return m.count == 0 || m.count+n <= m.countMax && m.bytes+bytes <= m.bytesMax
}

// add is called with the lock.
func (m *mailbox[T]) add(x T, n, bytes int) refusal {
	switch {
	case m.closed:
		return putClosed
	case !m.fits(n, bytes):
		return putFull
	}
	m.count += n
	m.bytes += bytes
	m.items <- x // there is room: see Invariant
	return putAccepted
}

// release gives back what n items of together so many bytes counted.
func (m *mailbox[T]) release(n, bytes int) {
	m.mu.Lock()
	m.count -= n
	m.bytes -= bytes
	if m.waiters > 0 {
		m.space.Broadcast()
	}
	m.mu.Unlock()
}

// each receives what waits at this moment, without waiting for more: what arrives meanwhile is left
// to the next time, so that no flood keeps the caller here.
func (m *mailbox[T]) each(take func(T)) {
	for range len(m.items) {
		select {
		case x := <-m.items:
			take(x)
		default: // somebody else was faster: see heldUntilStart
			return
		}
	}
}

// close refuses everything from now on, and ends the wait of writers. What waits is still there for
// each, and it is all there will ever be.
func (m *mailbox[T]) close() {
	m.mu.Lock()
	m.closed = true
	m.space.Broadcast()
	m.mu.Unlock()
}

// latest carries a number that only grows from one helper to the loop. The loop is told that there
// is news, and sees the newest number, however many were posted: posting never blocks.
type latest struct {
	number atomic.Uint64
	news   chan struct{} // one token
}

func newLatest() latest { return latest{news: make(chan struct{}, 1)} }

func (l *latest) post(x uint64) {
	l.number.Store(x)
	signal(l.news)
}

// take returns the newest number. The token goes first: a post after it leaves another one.
func (l *latest) take() uint64 {
	discard(l.news)
	return l.number.Load()
}

// signal puts the token into a channel for one, unless it is there. It never blocks.
func signal(token chan<- struct{}) {
	select {
	case token <- struct{}{}:
	default:
	}
}

// discard takes the token away, if there is one.
func discard(token <-chan struct{}) {
	select {
	case <-token:
	default:
	}
}
