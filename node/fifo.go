package node

// fifo is a queue that reuses its memory. The zero value is an empty queue. It has one owner.
type fifo[T any] struct {
	items []T
	head  int // items[:head] are gone
}

func (q *fifo[T]) len() int { return len(q.items) - q.head }

func (q *fifo[T]) push(x T) { q.items = append(q.items, x) }

// at returns the place of the i-th waiting item, counted from the oldest. It is valid until the
// next push or pop.
func (q *fifo[T]) at(i int) *T { return &q.items[q.head+i] }

func (q *fifo[T]) pop() T {
	var zero T
	x := q.items[q.head]
	q.items[q.head] = zero // drop the reference
	q.head++
	switch {
	case q.head == len(q.items):
		q.items, q.head = q.items[:0], 0
	case q.head >= 64 && q.head*2 >= len(q.items):
		// The move costs at most as many steps as there were pops since the last one.
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return x
}
