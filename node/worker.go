package node

import "sync"

// worker is a goroutine without decisions: it takes all that waits and does it. Whoever hands work
// over never waits for it, which is why the loop may use one: a channel would make it wait when it
// is full. How much can be waiting is bounded by what the loop hands out.
type worker[T any] struct {
	do   func(items []T) // the slice is reused afterwards
	wake chan struct{}   // one token: something waits

	mu    sync.Mutex
	items []T
	spare []T
}

func newWorker[T any](do func([]T)) *worker[T] {
	return &worker[T]{do: do, wake: make(chan struct{}, 1)}
}

// hand adds to what waits. Only the first item wakes the worker; the others travel along.
func (w *worker[T]) hand(x T) {
	w.mu.Lock()
	w.items = append(w.items, x)
	first := len(w.items) == 1
	w.mu.Unlock()
	if first {
		signal(w.wake)
	}
}

// take returns what waits. The slice is the worker's until the next take.
func (w *worker[T]) take() []T {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.items) == 0 {
		return nil
	}
	items := w.items
	w.items, w.spare = w.spare[:0], items
	return items
}

// step does what waits now. It reports whether there was anything.
func (w *worker[T]) step() bool {
	items := w.take()
	if len(items) == 0 {
		return false
	}
	w.do(items)
	clear(items)
	return true
}

// run works until finish is closed and nothing waits any more, or until broken is closed.
func (w *worker[T]) run(finish, broken <-chan struct{}, running *sync.WaitGroup) {
	defer running.Done()
	for finishing := false; ; {
		if w.step() {
			continue
		}
		if finishing {
			return
		}
		select {
		case <-w.wake:
		case <-finish:
			finishing = true
		case <-broken:
			return
		}
	}
}
