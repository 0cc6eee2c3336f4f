package command

import (
	"bytes"
	"fmt"

	"kelek/store/op"
)

// Bounds of what one connection may gather before EXEC. Beyond them a command is refused, and with
// it the transaction: it travels as one entry of the log.
const (
	queuedCommandsMax = 1 << 16
	queuedBytesMax    = 64 << 20
	watchedKeysMax    = 4096
)

// Tx is what a connection has gathered since MULTI, and what it watches. A Session has one while
// either is the case.
type Tx struct {
	Open    bool // between MULTI and EXEC
	doomed  bool // a command was refused: EXEC will refuse the rest
	queue   []queued
	bytes   int // of the arguments in queue
	watched []op.Watched
}

type queued struct {
	spec *Spec
	args [][]byte
}

// InMulti reports that commands are queued, those with the flag Control excepted.
func (s *Session) InMulti() bool { return s.Tx != nil && s.Tx.Open }

// Doom makes the EXEC to come refuse: a command between MULTI and it was refused.
func (s *Session) Doom() {
	if s.InMulti() {
		s.Tx.doomed = true
	}
}

// Queued is the number of commands since MULTI, -1 outside of a transaction.
func (s *Session) Queued() int {
	if !s.InMulti() {
		return -1
	}
	return len(s.Tx.queue)
}

// Watching is the number of keys whose change will stop the next EXEC.
func (s *Session) Watching() int {
	if s.Tx == nil {
		return 0
	}
	return len(s.Tx.watched)
}

func multi(c *Call) Outcome {
	switch {
	case c.Session.InMulti():
		return c.fail(errNestedMulti)
	case c.Session.Tx == nil:
		c.Session.Tx = &Tx{}
	}
	c.Session.Tx.Open = true
	return c.ok()
}

// Queue is the Handler of every other command between MULTI and EXEC. It copies the arguments: they
// have to outlive the batch they came with.
func Queue(c *Call) Outcome {
	tx := c.Session.Tx
	size := 0
	for _, arg := range c.Args {
		size += len(arg)
	}
	switch {
	case c.Spec.Flags&(Barrier|NoMulti) != 0:
		return c.refuse(errNotInMulti)
	case len(tx.queue) >= queuedCommandsMax:
		return c.refuse(fmt.Sprintf("ERR MULTI: more than %d commands are queued; "+
			"send several transactions", queuedCommandsMax))
	case tx.bytes+size > queuedBytesMax:
		return c.refuse(fmt.Sprintf("ERR MULTI: more than %d bytes are queued; "+
			"send several transactions", queuedBytesMax))
	}
	tx.bytes += size
	tx.queue = append(tx.queue, queued{c.Spec, cloneArgs(c.Args, size)})
	c.Reply.Status("QUEUED")
	return c.answered()
}

func (c *Call) refuse(line string) Outcome {
	c.Session.Doom()
	return c.fail(line)
}

// cloneArgs copies arguments into one piece of memory.
func cloneArgs(args [][]byte, size int) [][]byte {
	memory := make([]byte, 0, size)
	list := make([][]byte, len(args))
	for i, arg := range args {
		memory = append(memory, arg...)
		list[i] = memory[len(memory)-len(arg) : len(memory) : len(memory)]
	}
	return list
}

func discard(c *Call) Outcome {
	if !c.Session.InMulti() {
		return c.fail(errDiscardWithoutMulti)
	}
	c.Session.Tx = nil
	return c.ok()
}

// watch looks at the versions of keys; the transaction that follows has them as conditions. It is a
// read as any other, so linearizable: a write that was answered before WATCH is in the version, and
// does not stop EXEC. The batch ends with it, since EXEC needs what it finds.
func watch(c *Call) Outcome {
	switch {
	case c.Session.InMulti():
		return c.fail(errWatchInMulti)
	case c.Session.Watching()+len(c.Args)-1 > watchedKeysMax:
		return c.fail(fmt.Sprintf("ERR WATCH: more than %d keys are watched; UNWATCH some, "+
			"or watch one key that stands for all", watchedKeysMax))
	}
	return query(queryWatch)
}

func queryWatch(q *Query) error {
	var watched []op.Watched
	if q.Session.Tx != nil {
		watched = q.Session.Tx.watched
	}
	for _, key := range q.Args[1:] {
		if watches(watched, q.DB, key) {
			continue // what it was when it was looked at first counts
		}
		v, _, err := q.View.Head(q.DB, key)
		if err != nil {
			return err
		}
		w := op.Watched{DB: q.DB, Key: bytes.Clone(key), Version: v.Version}
		watched = append(watched, w)
	}
	q.Session.Tx = &Tx{watched: watched}
	q.Reply.OK()
	return nil
}

func watches(list []op.Watched, db uint8, key []byte) bool {
	for i := range list {
		if list[i].DB == db && bytes.Equal(list[i].Key, key) {
			return true
		}
	}
	return false
}

// unwatch inside a transaction changes nothing: EXEC has forgotten the keys before it runs.
func unwatch(c *Call) Outcome {
	if !c.Session.InMulti() {
		c.Session.Tx = nil
	}
	return c.ok()
}

// Exec is a transaction that is carried out: every command of it, decided.
//
// All its writes are one op, with what is watched as conditions. Its reads are no part of the op:
// they are run here, on the node that the client is on, on the view between the writes before and
// after them, while the op is applied. The state that all replicas share stays a function of the
// log alone, and the log has no format for reads. Without a write there is no op: the reads see one
// stable view, and the conditions are judged there. Commands about the connection are carried out
// when EXEC is decided, and taken back when it comes to nothing.
type Exec struct {
	items   []item
	next    int // the first one without a reply
	watched []op.Watched
	before  Session // as EXEC found it
	changed bool    // and left it otherwise
	done    bool    // the conditions held, and every reply has been written
}

// item is one command of a transaction.
type item struct {
	spec    *Spec
	args    [][]byte
	outcome Outcome
	db      uint8
	reply   []byte // Answered
}

// exec ends the transaction and decides its commands.
func exec(c *Call) Outcome {
	tx := c.Session.Tx
	switch {
	case !c.Session.InMulti():
		return c.fail(errExecWithoutMulti)
	case tx.doomed:
		c.Session.Tx = nil
		return c.fail(errExecAbort)
	}
	x := &Exec{before: *c.Session, watched: tx.watched}
	c.Session.Tx = nil
	ops, writes := x.decide(c, tx.queue)
	if writes > 0 {
		x.refuseWhole()
		*c.Op = op.Op{Code: op.CodeMulti, Watched: x.watched, Count: uint32(writes), Inner: ops}
		return Outcome{Kind: Proposed, Exec: x}
	}
	if len(x.watched) > 0 || x.reads() {
		return Outcome{Kind: Queried, Exec: x}
	}
	c.Reply.Array(len(x.items))
	for i := range x.items {
		c.Reply.Buf = append(c.Reply.Buf, x.items[i].reply...)
	}
	return c.answered()
}

// decide calls the handlers in order and returns the encoded ops.
func (x *Exec) decide(c *Call, queue []queued) (ops []byte, writes int) {
	inner := *c
	inner.Op, inner.inExec = &op.Op{}, true
	x.items = make([]item, len(queue))
	for i := range x.items {
		it, q := &x.items[i], &queue[i]
		inner.Args, inner.Spec = q.args, q.spec
		inner.Reply = &Reply{Proto: c.Session.Proto}
		*it = item{spec: q.spec, args: q.args, db: c.Session.DB}
		it.outcome = q.spec.Handler(&inner)
		switch it.outcome.Kind {
		case Answered:
			it.reply = inner.Reply.Buf
		case Proposed:
			if it.outcome.Name == "" {
				it.outcome.Name = q.spec.Name
			}
			ops = inner.Op.Append(ops)
			writes++
		}
	}
	after := *c.Session
	after.Tx = x.before.Tx
	x.changed = after != x.before
	return ops, writes
}

// refuseWhole keeps what reads whole databases out of a transaction that writes: its queries run
// while the op is applied, and would keep everybody else waiting.
func (x *Exec) refuseWhole() {
	for i := range x.items {
		it := &x.items[i]
		if it.outcome.Kind == Queried && it.spec.Flags&Whole != 0 {
			var r Reply
			r.Error("ERR '" + it.spec.Full + "' reads a whole database, so it cannot be part of a " +
				"transaction that writes")
			it.outcome, it.reply = Outcome{}, r.Buf
		}
	}
}

func (x *Exec) reads() bool {
	for i := range x.items {
		if x.items[i].outcome.Kind == Queried {
			return true
		}
	}
	return false
}

// Advance writes replies: with no result the head of the array, then the reply to the write that
// has this result, then those to everything up to the next write, on q.View. After each element it
// calls written, with where it begins, and the error of a storage that could not be read.
func (x *Exec) Advance(q *Query, result *op.Result, written func(from int, err error)) {
	r := q.Reply
	if result == nil {
		r.Array(len(x.items))
	}
	for ; x.next < len(x.items); x.next++ {
		it, from := &x.items[x.next], len(r.Buf)
		var err error
		switch it.outcome.Kind {
		case Proposed:
			if result == nil {
				return
			}
			WriteResult(r, &it.outcome, result)
			result = nil
		case Queried:
			q.DB, q.Args = it.db, it.args
			err = q.Run(it.outcome.Query)
		default:
			r.Buf = append(r.Buf, it.reply...)
			r.Failed = ErrorWord(it.reply) != nil
		}
		written(from, err)
	}
}

// End takes the result of the op as a whole, after its last Advance: nothing was executed if it is
// ResultNil.
func (x *Exec) End(r *Reply, result *op.Result) {
	if result.Kind == op.ResultNil {
		r.NullArray()
		return
	}
	x.done = true
}

// Read carries out a transaction that writes nothing.
func (x *Exec) Read(q *Query, written func(from int, err error)) error {
	unchanged, err := x.unchanged(q.View)
	switch {
	case err != nil:
		return err
	case !unchanged:
		q.Reply.NullArray()
		return nil
	}
	x.Advance(q, nil, written)
	x.done = true
	return nil
}

// unchanged judges the conditions on a view.
func (x *Exec) unchanged(v op.View) (bool, error) {
	for i := range x.watched {
		w := &x.watched[i]
		head, _, err := v.Head(w.DB, w.Key)
		if err != nil || head.Version != w.Version {
			return false, err
		}
	}
	return true, nil
}

// Restore makes the session what it was before EXEC was decided, so that it can be decided again.
func (x *Exec) Restore(s *Session) { *s = x.before }

// Settle takes back what a transaction that came to nothing has changed.
func (x *Exec) Settle(s *Session) {
	if x.changed && !x.done {
		*s = x.before
		s.Tx = nil
	}
}

// Changed reports whether later commands depend on whether the transaction comes to something.
func (x *Exec) Changed() bool { return x.changed }

// HeavyExec says that the EXEC of this session is too much for the node's goroutine when it turns
// out to be no op: it has more than so many commands, or one that reads a whole database.
func (s *Session) HeavyExec(commandsMax int) bool {
	if !s.InMulti() {
		return false
	}
	if len(s.Tx.queue) > commandsMax {
		return true
	}
	for i := range s.Tx.queue {
		if s.Tx.queue[i].spec.Flags&Whole != 0 {
			return true
		}
	}
	return false
}
