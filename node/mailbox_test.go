package node

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestFifoKeepsOrderAndReusesMemory(t *testing.T) {
	var q fifo[int]
	next, expect := 0, 0
	for range 1000 {
		for range 7 {
			q.push(next)
			next++
		}
		for range 7 {
			if *q.at(0) != expect {
				t.Fatalf("head %d, want %d", *q.at(0), expect)
			}
			if got := q.pop(); got != expect {
				t.Fatalf("popped %d, want %d", got, expect)
			}
			expect++
		}
	}
	if q.len() != 0 || cap(q.items) > 64 {
		t.Fatalf("%d left, %d places", q.len(), cap(q.items))
	}
	for i := range 500 {
		q.push(i)
	}
	for i := range 499 {
		q.pop()
		if last := *q.at(q.len() - 1); last != 499 || q.len() != 499-i {
			t.Fatalf("after %d pops: last %d, length %d", i+1, last, q.len())
		}
	}
}

// all receives what waits.
func (m *mailbox[T]) all() (items []T) {
	m.each(func(x T) { items = append(items, x) })
	return items
}

func TestMailboxWakesOncePerBatchAndCountsUntilReleased(t *testing.T) {
	m := newMailbox[int](3, 10)
	for i, want := range []refusal{putAccepted, putAccepted, putAccepted, putFull} {
		if got := m.put(i, 1, 1); got != want {
			t.Fatalf("put %d: %d, want %d", i, got, want)
		}
	}
	wakes := 0
	for got := []int(nil); len(got) < 3; wakes++ {
		got = append(got, <-m.items) // what ends the loop's wait
		got = append(got, m.all()...)
	}
	if wakes != 1 {
		t.Fatalf("three items took %d wake-ups", wakes)
	}
	if m.put(9, 1, 1) != putFull {
		t.Fatal("what was taken no longer counts")
	}
	m.release(2, 2)
	if m.put(9, 1, 10) != putFull {
		t.Fatal("the bytes are not counted")
	}
	m.release(1, 1)
	if m.put(9, 5, 1000) != putAccepted {
		t.Fatal("an empty mailbox refuses an item because of its size")
	}
	if len(m.all()) != 1 {
		t.Fatal("the large item did not arrive")
	}
	m.release(5, 1000)
	if m.put(1, 1, 1) != putAccepted {
		t.Fatal("what was released still counts")
	}
	m.close()
	if m.put(1, 1, 1) != putClosed || len(m.all()) != 1 {
		t.Fatal("closed, and takes more or has lost what it had")
	}
}

func TestMailboxMakesWritersWaitForSpaceOrForTheEnd(t *testing.T) {
	m := newMailbox[int](1, 10)
	var writers sync.WaitGroup
	results := make(chan refusal, 3)
	for i := range 3 {
		writers.Add(1)
		go func() { defer writers.Done(); results <- m.putWait(i, 1, 1) }()
	}
	for range 2 {
		<-m.items
		if got := m.all(); len(got) != 0 {
			t.Fatalf("took %v beside the one that has place", got)
		}
		m.release(1, 1)
	}
	writers.Wait()
	go func() { results <- m.putWait(4, 1, 1) }()
	for m.blocked() == 0 {
		time.Sleep(time.Millisecond)
	}
	m.close()
	for i := range 4 {
		if got := <-results; (got == putClosed) != (i == 3) {
			t.Fatalf("result %d: %d", i, got)
		}
	}
}

func (m *mailbox[T]) blocked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.waiters
}

// Whatever was accepted is received, though the end comes in the middle of it.
func TestClosingLosesNothingThatWasAccepted(t *testing.T) {
	for range 50 {
		m := newMailbox[int](1000, unlimited)
		var writers sync.WaitGroup
		var accepted atomic.Int64
		for range 4 {
			writers.Add(1)
			go func() {
				defer writers.Done()
				for i := 0; m.put(i, 1, 0) == putAccepted; i++ {
					accepted.Add(1)
				}
			}()
		}
		received := int64(0)
		for range 100 {
			<-m.items
			received++
		}
		m.close()
		received += int64(len(m.all()))
		writers.Wait()
		if received != accepted.Load() || len(m.items) != 0 {
			t.Fatalf("accepted %d, received %d", accepted.Load(), received)
		}
	}
}

func TestLatestTellsTheNewestNumberOnce(t *testing.T) {
	l := newLatest()
	for i := range uint64(10) {
		l.post(i + 1)
	}
	<-l.news
	if got := l.take(); got != 10 {
		t.Fatalf("the newest is %d, want 10", got)
	}
	l.post(11)
	if l.take() != 11 || len(l.news) != 0 {
		t.Fatal("news is told though it was taken")
	}
}
