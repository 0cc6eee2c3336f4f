package resp

import "kelek/store/op"

// This file writes the reply to EXEC, an array. The results of the writes, and the views for the
// reads between them, come one by one while the op is applied, in order. One slot stands for all of
// it; its from says where in out the reply begins.

// Step is op.StepObserver: the transaction whose turn it is has executed its done-th write. It runs
// on the node's applier.
func (b *batch) Step(_, done int, result *op.Result, view op.View) {
	s := &b.slots[b.next]
	if done == 0 {
		s.from = len(b.out.Buf)
	}
	q := b.ask(s, view)
	s.outcome.Exec.Advance(q, result, b.elementWritten)
	q.View = nil
}

// elementWritten counts an error among the elements, which is no error of EXEC.
func (b *batch) elementWritten(from int, err error) {
	b.takeFailed(&b.out, from)
	b.reportUnread(err)
}

// endTransaction takes the result of the whole, and returns where the reply begins.
func (b *batch) endTransaction(s *slot, result *op.Result) (from int) {
	from = s.from
	if result.Kind == op.ResultNil {
		from = len(b.out.Buf)
	}
	s.outcome.Exec.End(&b.out, result)
	return from
}

// settle takes back what a transaction that came to nothing did to its session. Such a one is the
// last of its batch.
func (b *batch) settle() {
	if len(b.slots) == 0 {
		return
	}
	if x := b.slots[len(b.slots)-1].outcome.Exec; x != nil {
		x.Settle(&b.conn.session)
	}
}
