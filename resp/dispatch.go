package resp

import (
	"strings"
	"time"

	"kelek/resp/command"
	"kelek/store/op"
)

// gather takes commands from the guard and decides each, until none is left or the batch is full.
// True: there may be more, which are the next batch.
func (b *batch) gather() bool {
	b.reset()
	if len(b.held) > 0 {
		args := append(b.argSpace(), b.held...)
		b.held = b.held[:0]
		b.keepArgs(args)
		if !b.add(args) {
			return true
		}
	}
	for {
		if len(b.slots) >= b.limits.BatchOpsMax {
			return true
		}
		args, ok := b.conn.guard.next(b.argSpace())
		if !ok {
			return false
		}
		if len(args) == 0 {
			continue
		}
		b.keepArgs(args)
		if !b.add(args) {
			return true
		}
	}
}

// add decides one command. False: the batch ends with it, or, when it is held, before it.
func (b *batch) add(args [][]byte) bool {
	spec, bad := b.call.Table.Find(args)
	session := &b.conn.session
	queues := spec != nil && session.InMulti() && spec.Flags&command.Control == 0
	switch {
	case spec == nil && isHTTP(args[0]):
		b.hungUp = true
		return false
	case spec == nil:
		b.reject(nil, args, bad)
		return true
	case !queues && b.waits(spec, args):
		b.hold(args)
		return false
	case !queues && b.conn.reactor != nil && !b.slowly && b.slow(spec, args):
		b.lone = len(b.slots) == 0
		b.hold(args)
		return false
	case !session.Authenticated && spec.Flags&command.NoAuth == 0:
		b.reject(spec, args, command.ErrNoAuth)
		return true
	}
	b.call.Args, b.call.Spec = args, spec
	if line := b.redirect(); line != "" {
		b.reject(spec, args, line)
		return true
	}
	if queues {
		return b.decide(spec, args, command.Queue)
	}
	return b.decide(spec, args, spec.Handler)
}

// waits says that a command has to be in the next batch.
func (b *batch) waits(spec *command.Spec, args [][]byte) bool {
	return spec.Flags&command.Barrier != 0 && b.pending || b.opCount > 0 && b.heavy(spec, args)
}

// heavy says that a query is too much for the node's goroutine.
func (b *batch) heavy(spec *command.Spec, args [][]byte) bool {
	if spec.Flags&command.Control != 0 && b.conn.session.HeavyExec(inlineKeysMax) {
		return true
	}
	return spec.Class == command.Read && (spec.Flags&command.Whole != 0 ||
		len(args) > inlineKeysMax && b.call.Table.KeyCount(spec, args) > inlineKeysMax)
}

// slow says that a command may take longer than other clients should wait for: it needs a goroutine
// of its own.
func (b *batch) slow(spec *command.Spec, args [][]byte) bool {
	return spec.Flags&command.Barrier != 0 || b.heavy(spec, args)
}

// isHTTP knows a browser that was led here: never answer it.
func isHTTP(name []byte) bool {
	return strings.EqualFold(string(name), "post") || strings.EqualFold(string(name), "host:")
}

func (b *batch) redirect() string {
	if !b.face.Cluster && !b.conn.session.Redirect {
		return ""
	}
	return b.call.Redirect()
}

// decide calls the handler and records what it decided. False: as add says.
func (b *batch) decide(spec *command.Spec, args [][]byte, handler command.Handler) bool {
	session := &b.conn.session
	session.SkipThis, session.SkipNext = session.SkipNext, false
	from := len(b.local.Buf)
	b.local.Proto = session.Proto
	b.lastSpec = spec
	if spec.Flags&command.Barrier != 0 {
		b.conn.publish(time.Now()) // CLIENT LIST is about to look at this connection, too
	}
	s := slot{spec: spec, args: args, db: session.DB, from: from}
	s.outcome = handler(&b.call)
	s.proto = session.Proto
	s.muted = session.Muted || session.SkipThis
	s.to = len(b.local.Buf)
	s.failed = b.takeFailed(&b.local, from)
	switch s.outcome.Kind {
	case command.Proposed:
		if !b.propose(&s) {
			b.undecide(&s)
			return false
		}
	case command.Queried:
		b.pending = true
		if spec.Flags&command.Whole != 0 || s.outcome.Exec != nil ||
			b.call.Table.KeyCount(spec, args) > 1 {
			b.stable = true
		}
	}
	b.slots = append(b.slots, s)
	b.conn.guard.authChanged(session.Authenticated)
	return !session.Closing && spec.Flags&command.Last == 0 &&
		(s.outcome.Exec == nil || !s.outcome.Exec.Changed())
}

// undecide puts a command off that was decided, and makes its session what it was.
func (b *batch) undecide(s *slot) {
	session := &b.conn.session
	if s.outcome.Exec != nil {
		s.outcome.Exec.Restore(session)
	}
	session.SkipNext = session.SkipThis
	b.hold(s.args)
}

// propose encodes the op of a command. False: it does not fit into this batch.
func (b *batch) propose(s *slot) bool {
	if s.outcome.Name == "" {
		s.outcome.Name = s.spec.Name
	}
	before := len(b.ops)
	b.ops = b.op.Append(b.ops)
	if before > 0 && len(b.ops) > b.limits.BatchBytesMax {
		b.ops = b.ops[:before]
		return false
	}
	if b.opCount == 0 {
		b.firstOp = len(b.slots)
	}
	b.opCount++
	b.pending = true
	return true
}

// reject answers a command that no handler has seen.
func (b *batch) reject(spec *command.Spec, args [][]byte, line string) {
	session := &b.conn.session
	session.Doom()
	muted := session.Muted || session.SkipNext
	session.SkipNext = false
	from := len(b.local.Buf)
	b.local.Proto = session.Proto
	b.local.Error(line)
	b.takeFailed(&b.local, from)
	b.slots = append(b.slots, slot{spec: spec, args: args, from: from, to: len(b.local.Buf),
		muted: muted, rejected: true})
}

// takeFailed counts an error reply that begins at from.
func (b *batch) takeFailed(r *command.Reply, from int) bool {
	if !r.Failed {
		return false
	}
	r.Failed = false
	b.stats.countError(command.ErrorWord(r.Buf[from:]))
	return true
}

// execute carries the batch out, in order: what comes before the first write is answered from one
// View; the writes travel as one Submission, and what follows a write is answered at its place in
// the log. See batch.
func (b *batch) execute() {
	if b.pending {
		b.conn.server.shared.waitPause(b.opCount > 0, b.conn.server.stopping)
	}
	b.lead(b.leadEnd())
	if b.opCount == 0 {
		return
	}
	b.submission.Ops, b.submission.Count, b.submission.Sink = b.ops, b.opCount, b
	b.backend.Propose(&b.submission)
	if err := <-b.done; err != nil {
		b.failFrom(b.next, len(b.slots), err)
	}
}

// lead answers the slots before end on this goroutine. Without a query it waits for nothing.
func (b *batch) lead(end int) {
	if !b.queries(end) {
		b.answer(end, nil)
		return
	}
	if err := b.readPoint(); err != nil {
		b.failFrom(b.next, end, err)
		return
	}
	view := b.backend.View(b.stable)
	defer view.Close()
	b.answer(end, view)
}

// readPoint waits until a view keeps what this connection's reads promise.
func (b *batch) readPoint() error {
	promise := b.conn.session.Read
	if promise.AnyState() {
		return nil
	}
	b.read.Level, b.read.MaxAgeMs = promise.Level, promise.MaxAgeMs
	b.backend.Read(&b.read)
	return <-b.done
}

// queries reports whether one of the slots before end is a query without an answer.
func (b *batch) queries(end int) bool {
	for i := b.next; i < end; i++ {
		if b.slots[i].outcome.Kind == command.Queried {
			return true
		}
	}
	return false
}

// leadEnd is the first slot that the lead does not include.
func (b *batch) leadEnd() int {
	if b.opCount > 0 {
		return b.firstOp
	}
	return len(b.slots)
}

// answer writes the replies of the slots up to end, which hold no op. It stops earlier when the
// client does not take replies, of which there are many.
func (b *batch) answer(end int, view op.View) {
	for b.next < end {
		s := &b.slots[b.next]
		if s.outcome.Kind == command.Queried {
			b.run(s, view)
		} else if !s.muted {
			b.out.Buf = append(b.out.Buf, b.local.Buf[s.from:s.to]...)
		}
		b.next++
		if len(b.out.Buf) >= flushBytes && b.opCount == 0 {
			b.flush() // a failure stays with the guard, and ends the connection after the batch
			if b.unsent() {
				return
			}
		}
	}
}

// run carries out the query of a slot on a view.
func (b *batch) run(s *slot, view op.View) {
	from := len(b.out.Buf)
	q := b.ask(s, view)
	var err error
	if s.outcome.Exec != nil {
		err = s.outcome.Exec.Read(q, b.elementWritten)
	} else {
		err = q.Run(s.outcome.Query)
	}
	b.reportUnread(err)
	q.View = nil
	b.written(s, from)
}

// ask prepares the one Query for a slot.
func (b *batch) ask(s *slot, view op.View) *command.Query {
	q := &b.asked
	b.out.Proto = s.proto
	q.View, q.DB, q.Args, q.Reply = view, s.db, s.args, &b.out
	q.NowMs = uint64(b.conn.server.NowMicros() / 1000)
	return q
}

func (b *batch) reportUnread(err error) {
	if err != nil {
		b.log.Error().Err(err).Str("command", b.slots[b.next].spec.Full).Msg("cannot read storage")
	}
}

// written counts an error and takes back the reply to a client that wants none.
func (b *batch) written(s *slot, from int) {
	s.failed = b.takeFailed(&b.out, from)
	if s.muted {
		b.out.Buf = b.out.Buf[:from]
	}
}

// failFrom answers every op and query of slots[from:to] with one error; what was answered in place
// keeps its answer.
func (b *batch) failFrom(from, to int, err error) {
	line := errorLine(err, b.backend.Status())
	for b.next = from; b.next < to; {
		s := &b.slots[b.next]
		if s.outcome.Kind == command.Answered {
			b.answer(b.next+1, nil)
			continue
		}
		at := len(b.out.Buf)
		b.out.Proto = s.proto
		b.out.Error(line)
		b.written(s, at)
		b.next++
	}
}
