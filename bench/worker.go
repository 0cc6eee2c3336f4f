package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"kelek/resp/client"
)

// worker is one client: one connection, one command at a time. Its fields are its goroutine's until
// Stop has returned.
type worker struct {
	load   *Workload
	id     int
	place  *place
	slots  []*slot
	random *rand.Rand

	conn   *client.Conn
	faults int64 // of the place, when conn was made

	records   []record
	latencies []int64
	audits    []audit // of the own keys
	refused   int     // commands that were certainly not executed, which patient clients do not mind
	failures  int     // errors that nobody had to expect
	texts     []string
	number    int // makes every written value unique
}

// audit is one key that nobody else writes, written once.
type audit struct {
	acknowledged bool // it is there for ever
	refused      bool // it never will be; neither: nobody knows
	call, ret    int64
}

// auditShare is one in so many commands.
const auditShare = 6

// waiting is what a node answers that certainly did not, and may later, execute a command. The last
// one answers a transaction of which a command was answered with one of the others.
var waiting = []string{"CLUSTERDOWN", "TRYAGAIN", "LOADING", "MASTERDOWN", "EXECABORT"}

func (c *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		if !c.connect(ctx) {
			continue
		}
		c.once()
		if think := c.load.Think; think > 0 {
			sleep(ctx, time.Duration(c.random.Int64N(int64(2*think)))) // an ended load ends the loop
		}
	}
	if c.conn != nil {
		c.conn.Close() // nothing is under way
	}
}

// once does one command, or one transaction.
func (c *worker) once() {
	if c.random.IntN(auditShare) == 0 {
		c.audit()
		return
	}
	s := c.slots[c.random.IntN(len(c.slots))]
	if act := s.acts[c.random.IntN(len(s.acts))]; act == actSwap {
		c.swap(s)
	} else {
		c.work(s, record{act: act, key: s.take()})
	}
}

// visit reads one object on a connection of its own.
func (c *worker) visit(s *slot) {
	if c.connect(context.Background()) {
		c.work(s, record{act: s.readAct(), key: s.take()})
		c.conn.Close() // nothing is under way
	}
}

// connect makes sure that there is a connection to the own place, which may be down for long.
func (c *worker) connect(ctx context.Context) bool {
	addr := *c.place.addr.Load()
	if c.conn != nil && c.conn.Err() == nil && c.conn.Addr() == addr {
		return true
	}
	if c.conn != nil {
		c.conn.Close() // nothing is under way
	}
	faults := c.place.faults.Load()
	conn, err := c.load.dial(addr, commandTimeout)
	if err != nil {
		if faults == 0 {
			c.fail(err)
		}
		sleep(ctx, reconnectPause) // an ended load ends the caller's loop
		return false
	}
	c.conn, c.faults = conn, faults
	return true
}

// audit writes a key that nobody else writes, once.
func (c *worker) audit() {
	n := len(c.audits)
	begin := c.load.now()
	reply, known := c.do([][]string{{"SET", c.auditKey(n), auditValue(c.id, n)}})
	a := audit{known && reply.Err() == nil, known && reply.Err() != nil, begin, c.load.now()}
	c.audits = append(c.audits, a)
	if a.acknowledged {
		c.answered(begin, actSet)
	}
}

func (c *worker) auditKey(n int) string {
	return fmt.Sprintf("%s:audit:%d:%d", c.load.Prefix, c.id, n)
}

func auditValue(id, n int) string { return fmt.Sprintf("%d.%d", id, n) }

// work does one command on a shared object and records it; ok: it was answered.
func (c *worker) work(s *slot, r record) (out outcome, ok bool) {
	c.number++
	r.client, r.arg = c.id, fmt.Sprintf("%d.%d,", c.id, c.number)
	if r.act == actSetPX {
		r.ttl = ttlMin + time.Duration(c.random.Int64N(int64(ttlMax-ttlMin))).Truncate(time.Millisecond)
	}
	r.call = c.load.now()
	reply, known := c.do(r.commands())
	r.ret = c.load.now()
	switch {
	case known && reply.Err() != nil:
		return outcome{}, false // refused before it was proposed: it never happened
	case known:
		r.out = r.outcome(&reply)
		c.answered(r.call, r.act)
	default:
		r.unknown = true
		s.doubt(r.key)
	}
	c.records = append(c.records, r)
	return r.out, known
}

// swap is a transaction that is carried out if nobody else is in between.
func (c *worker) swap(s *slot) {
	key := s.take()
	reply, known := c.do([][]string{{"WATCH", key}})
	if !known || reply.Err() != nil {
		return
	}
	seen, ok := c.work(s, record{act: actGet, key: key})
	if ok {
		_, ok = c.work(s, record{act: actSwap, key: key, seen: seen.text})
	}
	if !ok {
		c.conn.Close() // so that no later transaction is watched
	}
}

// outcome reads the answer. One that no state could give becomes a text that nobody writes.
func (r *record) outcome(reply *client.Reply) outcome {
	if !r.act.onPair() || reply.IsNil() {
		return outcomeOf(reply)
	}
	if len(reply.Elems) != 2 {
		return outcome{text: fmt.Sprintf("%d results", len(reply.Elems)), n: -1}
	}
	a, b := outcomeOf(&reply.Elems[0]), outcomeOf(&reply.Elems[1])
	if a != b {
		return outcome{text: fmt.Sprintf("torn: %q %d and %q %d", a.text, a.n, b.text, b.n), n: -1}
	}
	return a
}

func outcomeOf(reply *client.Reply) outcome {
	return outcome{text: reply.Text, n: reply.Int, null: reply.IsNil()}
}

func (c *worker) answered(call int64, act action) {
	now := c.load.now()
	c.latencies = append(c.latencies, now-call)
	if act.writes() {
		c.load.stalls.note(now)
	}
}

// do sends a command, or a transaction, and returns the last reply. known is false when nobody can
// tell whether it took effect.
func (c *worker) do(commands [][]string) (last client.Reply, known bool) {
	replies, err := c.conn.Pipeline(commands)
	if err != nil {
		if !c.excused() {
			c.fail(err)
		}
		return last, false
	}
	last = replies[len(replies)-1]
	refused, is := last.Err().(client.ServerError)
	if !is {
		return last, true
	}
	uncertain := refused.Word() == "UNCERTAIN"
	patient := c.load.Patient || c.excused()
	if patient && (uncertain || slices.Contains(waiting, refused.Word())) {
		c.refused++
	} else {
		c.fail(refused)
	}
	time.Sleep(refusedPause)
	return last, !uncertain
}

// excused says that a connection was lost, or a command was refused, by a fault of ours: one has begun since it was made, or
// it was made during one (an odd number).
func (c *worker) excused() bool {
	return c.faults%2 == 1 || c.place.faults.Load() != c.faults
}

// fail counts an error that a client of a living node must not see.
func (c *worker) fail(err error) {
	c.failures++
	if len(c.texts) < failureTextsKept {
		c.texts = append(c.texts, fmt.Sprintf("client %d on %s: %v", c.id, *c.place.name.Load(), err))
	}
}
