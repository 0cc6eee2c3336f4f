package resp

import (
	"math/rand/v2"
	"time"

	"github.com/rs/zerolog"

	"kelek/resp/command"
	"kelek/store/op"
)

// batch is the commands of one read of a connection, and everything needed to carry them out. It is
// reused, so that a plain SET or GET allocates nothing here.
//
// Its slots are answered in order by whoever has the turn; next is the first that was not answered:
//
//	PING GET | SET GET PING SET GET
//	---------+---------------------
//	   lead  | Applied(0)   Applied(1)
//
// The lead, before the first write, is answered by the connection's goroutine from one View after
// one read index. The rest is answered by the node's applier, in Applied: a query that follows a
// write sees the state right after that write, so a mixed pipeline never waits between commands.
// The connection's goroutine sleeps on done meanwhile, so there is never more than one user:
// done orders their accesses.
//
// Arguments point into the guard's buffer, which is not read into before the batch is over.
type batch struct {
	conn    *conn
	backend Backend
	stats   *Stats
	limits  *Limits
	face    *command.Face
	log     *zerolog.Logger

	call  command.Call
	op    op.Op
	asked command.Query

	args  [][]byte      // arena of the slots' arguments
	wants int           // arguments that did not fit into it
	held  [][]byte      // a command that was taken, and is the first of the next batch
	slots []slot        // in order
	next  int           // first slot without a reply
	local command.Reply // replies of commands that were answered in place
	out   command.Reply // replies in order

	ops     []byte // encoded ops
	opCount int
	firstOp int  // slot of the first op
	pending bool // there is an op or a query
	stable  bool // queries want one state
	hungUp  bool
	sent    int  // bytes of out that the client has; more than 0 while it does not take the rest
	slowly  bool // this goroutine is the connection's alone: it may take its time
	lone    bool // the next command needs a goroutine of its own

	lastSpec   *command.Spec
	submission op.Submission
	read       op.ReadRequest
	done       chan error
}

// slot is one command of a batch.
type slot struct {
	spec     *command.Spec // nil: unknown
	args     [][]byte
	outcome  command.Outcome
	from, to int // its reply in local
	db       uint8
	proto    uint8
	muted    bool
	failed   bool // the reply is an error
	rejected bool // no handler saw it
}

// Bounds of what a batch keeps for the next one.
const (
	argsKept    = 4096
	slotsKept   = 1024
	argsInitial = 16
)

func (b *batch) init(c *conn) {
	s := c.server
	b.conn, b.backend, b.stats, b.limits = c, s.backend, s.shared.Stats, &s.shared.limits
	b.face, b.log = &s.face, &s.log
	b.call = command.Call{Table: s.shared.table, Session: &c.session, Host: s,
		Reply: &b.local, Op: &b.op}
	b.out.BytesMax = b.limits.ReplyBytesMax
	b.done = make(chan error, 1)
	b.read.Resolve = b.Resolve
	b.asked.Session, b.asked.Random = &c.session, rand.Uint64
	b.args = make([][]byte, 0, argsInitial)
}

// reset forgets the last batch. Replies that were not sent yet stay.
func (b *batch) reset() {
	if size := len(b.args) + b.wants; b.wants > 0 && size <= argsKept {
		b.args = make([][]byte, 0, 2*size)
	}
	b.args, b.wants = b.args[:0], 0
	if cap(b.slots) > slotsKept {
		b.slots = nil
	}
	clear(b.slots)
	b.slots, b.next = b.slots[:0], 0
	b.local.Buf = kept(b.local.Buf)
	b.ops, b.opCount, b.firstOp = kept(b.ops), 0, 0
	b.pending, b.stable = false, false
}

// kept empties a buffer, and drops it when it has become large.
func kept(buf []byte) []byte {
	if cap(buf) > replyBytesKept {
		return nil
	}
	return buf[:0]
}

// argSpace is where the arguments of the next command go; more than fit are allocated apart.
func (b *batch) argSpace() [][]byte { return b.args[len(b.args):] }

func (b *batch) keepArgs(args [][]byte) {
	if len(args) <= cap(b.args)-len(b.args) {
		b.args = b.args[:len(b.args)+len(args)]
	} else {
		b.wants += len(args)
	}
}

// hold puts a command off to the next batch. Its arguments leave the arena.
func (b *batch) hold(args [][]byte) { b.held = append(b.held[:0], args...) }

// flush sends the replies. What a client under a reactor does not take at once stays, unsent.
func (b *batch) flush() error {
	if b.conn.guard.writeErr == nil && len(b.out.Buf) > 0 {
		n, err := b.conn.guard.Write(b.out.Buf[b.sent:])
		if err == errStalled {
			b.sent += n
			return nil
		}
	}
	b.out.Buf, b.sent = kept(b.out.Buf), 0
	return b.conn.guard.writeErr
}

// unsent reports that the client has not taken everything.
func (b *batch) unsent() bool { return b.sent > 0 || len(b.out.Buf) > 0 }

// Applied is op.Sink: op i took effect, and this is its turn. It runs on the node's applier.
func (b *batch) Applied(_ int, result *op.Result, view op.View) {
	s := &b.slots[b.next]
	from := len(b.out.Buf)
	b.out.Proto = s.proto
	if s.outcome.Exec != nil {
		from = b.endTransaction(s, result)
	} else {
		command.WriteResult(&b.out, &s.outcome, result)
	}
	b.written(s, from)
	b.next++
	end := b.next
	for end < len(b.slots) && b.slots[end].outcome.Kind != command.Proposed {
		end++
	}
	b.answer(end, view)
}

// Resolve is op.Sink, and also that of the read request: the one wake-up of the connection.
func (b *batch) Resolve(err error) { b.done <- err }

// Gone is op.Sink.
func (b *batch) Gone() bool { return b.conn.guard.gone() }

// count adds a batch to the counters; runs of one command are added at once.
func (b *batch) count(took time.Duration) {
	if len(b.slots) == 0 {
		return
	}
	b.stats.Batches.Add(1)
	b.stats.Commands.Add(uint64(len(b.slots)))
	if b.asked.Hits > 0 {
		b.stats.Hits.Add(b.asked.Hits)
	}
	if b.asked.Misses > 0 {
		b.stats.Misses.Add(b.asked.Misses)
	}
	b.asked.Hits, b.asked.Misses = 0, 0
	share := uint64(took.Microseconds()) / uint64(len(b.slots))
	for i := 0; i < len(b.slots); {
		i = b.countRun(i, share)
	}
}

// countRun counts the slots from i on that are the same command, and returns the next other one.
func (b *batch) countRun(i int, share uint64) int {
	spec := b.slots[i].spec
	var calls, failed, rejected uint64
	for ; i < len(b.slots) && b.slots[i].spec == spec; i++ {
		switch {
		case b.slots[i].rejected:
			rejected++
		default:
			calls++
		}
		if b.slots[i].failed {
			failed++
		}
	}
	if spec == nil {
		return i
	}
	c := &b.stats.commands[spec.Index]
	if calls > 0 {
		c.calls.Add(calls)
		c.micros.Add(calls * share)
	}
	if failed > 0 {
		c.failed.Add(failed)
	}
	if rejected > 0 {
		c.rejected.Add(rejected)
	}
	return i
}
