package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"kelek/resp/client"
)

// Shape of the load. Few clients per key keep the check cheap; many keys keep the load wide.
const (
	groupsDefault    = 8   // sets of shared keys
	perNode          = 2   // clients of a group on each node
	keyBudget        = 100 // commands on a shared key before it is retired
	keyAfterUnknown  = 20  // and after a command without a known outcome
	commandTimeout   = 15 * time.Second
	reconnectPause   = 20 * time.Millisecond
	refusedPause     = 50 * time.Millisecond // after an error reply: a sick node is not flooded
	failureTextsKept = 3
)

// Workload is clients on every node, and what they saw.
type Workload struct {
	Prefix string // of all keys
	Groups int
	Seed   uint64

	addrs   []string
	faults  []atomic.Int64 // per node: raised at the begin and at the end of each of our kills
	clients []*worker
	begin   time.Time
	stalls  stall
	stop    context.CancelFunc
	done    sync.WaitGroup
	elapsed time.Duration
}

// stall measures the longest time in which no write was acknowledged by any node.
type stall struct {
	guard         sync.Mutex
	last, longest int64
	count         int64
}

func (s *stall) note(now int64) {
	s.guard.Lock()
	defer s.guard.Unlock()
	s.count++
	if s.last != 0 {
		s.longest = max(s.longest, now-s.last)
	}
	s.last = max(s.last, now)
}

// restart returns the longest stall since the last call, and how many writes were acknowledged in
// all.
func (s *stall) restart() (time.Duration, int64) {
	s.guard.Lock()
	defer s.guard.Unlock()
	longest := s.longest
	s.longest = 0
	return time.Duration(longest), s.count
}

// slot is a place for a shared key; the key in it is replaced again and again.
type slot struct {
	name string
	acts []action

	guard      sync.Mutex
	generation int
	left       int
}

// take returns the key of the moment.
func (s *slot) take() string {
	s.guard.Lock()
	defer s.guard.Unlock()
	if s.left == 0 {
		s.generation, s.left = s.generation+1, keyBudget
	}
	s.left--
	return s.key()
}

func (s *slot) key() string { return fmt.Sprintf("%s:%d", s.name, s.generation) }

// doubt says that a command on a key has no known outcome.
func (s *slot) doubt(key string) {
	s.guard.Lock()
	defer s.guard.Unlock()
	if s.key() == key {
		s.left = min(s.left, keyAfterUnknown)
	}
}

// Start begins the load on all addresses.
func (w *Workload) Start(ctx context.Context, addrs []string) {
	ctx, w.stop = context.WithCancel(ctx)
	w.addrs, w.faults, w.begin = addrs, make([]atomic.Int64, len(addrs)), time.Now()
	if w.Groups == 0 {
		w.Groups = groupsDefault
	}
	for group := range w.Groups {
		slots := newSlots(fmt.Sprintf("%s:%d", w.Prefix, group))
		for i := range len(addrs) * perNode {
			id := len(w.clients)
			c := &worker{load: w, id: id, node: i % len(addrs), slots: slots,
				random: rand.New(rand.NewPCG(w.Seed, uint64(id)))}
			w.clients = append(w.clients, c)
			w.done.Add(1)
			go func() {
				defer w.done.Done()
				c.run(ctx)
			}()
		}
	}
}

func newSlots(prefix string) []*slot {
	return []*slot{
		{name: prefix + ":register", acts: []action{actSet, actSet, actSet, actGet, actGet, actGet,
			actGet, actSetNX, actSetGet, actDel}},
		{name: prefix + ":counter", acts: []action{actIncr, actIncr, actGet}},
		{name: prefix + ":text", acts: []action{actAppend, actGet}},
	}
}

// Stop ends the load; every client finishes its command first.
func (w *Workload) Stop() {
	w.stop()
	w.done.Wait()
	w.elapsed = time.Since(w.begin)
}

// Clients is how many there are.
func (w *Workload) Clients() int { return len(w.clients) }

// Expect runs a fault of some nodes. What their clients lose meanwhile is no failure: a connection
// that was made before is lost, and one that is made while a process dies may be, too, since its
// port still listens.
func (w *Workload) Expect(fault func() error, nodes ...int) error {
	for _, node := range nodes {
		w.faults[node].Add(1)
		defer w.faults[node].Add(1)
	}
	return fault()
}

// Acknowledged is how many writes were acknowledged until now.
func (w *Workload) Acknowledged() int64 {
	w.stalls.guard.Lock()
	defer w.stalls.guard.Unlock()
	return w.stalls.count
}

func (w *Workload) now() int64 { return int64(time.Since(w.begin)) }

// worker is one client: one connection, one command at a time. Its fields are its goroutine's until
// Stop has returned.
type worker struct {
	load   *Workload
	id     int
	node   int
	slots  []*slot
	random *rand.Rand

	conn   *client.Conn
	faults int64 // of the node, when conn was made

	records   []record
	latencies []int64
	audits    []bool // of the own keys: acknowledged; the others are unknown
	failures  int    // errors that nobody had to expect
	texts     []string
	number    int // makes every written value unique
}

// auditShare is one in so many commands.
const auditShare = 6

func (c *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		if !c.connect(ctx) {
			continue
		}
		if c.random.IntN(auditShare) == 0 {
			c.audit()
			continue
		}
		s := c.slots[c.random.IntN(len(c.slots))]
		c.work(s, s.acts[c.random.IntN(len(s.acts))])
	}
	if c.conn != nil {
		c.conn.Close() // nothing is under way
	}
}

// connect makes sure that there is a connection to the own node, which may be down for long.
func (c *worker) connect(ctx context.Context) bool {
	if c.conn != nil && c.conn.Err() == nil {
		return true
	}
	faults := c.load.faults[c.node].Load()
	conn, err := client.Dial(c.load.addrs[c.node], commandTimeout)
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
	reply, known := c.do("SET", c.auditKey(n), auditValue(c.id, n))
	acknowledged := known && reply.Err() == nil
	c.audits = append(c.audits, acknowledged)
	if acknowledged {
		c.answered(begin, actSet)
	}
}

func (c *worker) auditKey(n int) string {
	return fmt.Sprintf("%s:audit:%d:%d", c.load.Prefix, c.id, n)
}

func auditValue(id, n int) string { return fmt.Sprintf("%d.%d", id, n) }

// work does one command on a shared key and records it.
func (c *worker) work(s *slot, act action) {
	c.number++
	r := record{client: c.id, act: act, key: s.take(), arg: fmt.Sprintf("%d.%d,", c.id, c.number)}
	r.call = c.load.now()
	reply, known := c.do(r.command()...)
	r.ret = c.load.now()
	switch {
	case known && reply.Err() != nil:
		return // refused before it was proposed: it never happened
	case known:
		r.out = outcomeOf(&reply)
		c.answered(r.call, act)
	default:
		r.unknown = true
		s.doubt(r.key)
	}
	c.records = append(c.records, r)
}

func (r *record) command() []string {
	switch r.act {
	case actGet:
		return []string{"GET", r.key}
	case actSet:
		return []string{"SET", r.key, r.arg}
	case actSetNX:
		return []string{"SET", r.key, r.arg, "NX"}
	case actSetGet:
		return []string{"SET", r.key, r.arg, "GET"}
	case actDel:
		return []string{"DEL", r.key}
	case actIncr:
		return []string{"INCR", r.key}
	}
	return []string{"APPEND", r.key, r.arg}
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

// do sends one command. known is false when nobody can tell whether it took effect.
func (c *worker) do(args ...string) (reply client.Reply, known bool) {
	reply, err := c.conn.Do(args...)
	if err != nil {
		if !c.excused() {
			c.fail(err)
		}
		return reply, false
	}
	if err, refused := reply.Err().(client.ServerError); refused {
		c.fail(err)
		time.Sleep(refusedPause)
		return reply, err.Word() != "UNCERTAIN"
	}
	return reply, true
}

// excused says that the connection was lost to a fault of ours: one has begun since it was made, or
// it was made during one (an odd number).
func (c *worker) excused() bool {
	return c.faults%2 == 1 || c.load.faults[c.node].Load() != c.faults
}

// fail counts an error that a client of a living node must not see.
func (c *worker) fail(err error) {
	c.failures++
	if len(c.texts) < failureTextsKept {
		c.texts = append(c.texts, fmt.Sprintf("client %d on %s: %v", c.id, c.load.addrs[c.node], err))
	}
}
