package resp

import (
	"cmp"
	"time"

	"kelek/resp/command"
	"kelek/store/op"
)

// group is the batches of several connections that travel together: as one submission, or behind
// one read request. It belongs to the node between propose or ask and Resolve.
type group struct {
	reactor *reactor
	conns   []*conn

	ops    []byte // of all connections, one after the other
	ends   []int  // ops up to and with those of conns[i]; empty: a group of reads
	cursor int    // whose op is applied next

	submission op.Submission
	request    op.ReadRequest
	promise    command.ReadPromise // of all reads
	err        error               // the outcome
}

func newGroup(r *reactor) *group {
	g := &group{reactor: r}
	g.request.Resolve = g.Resolve
	return g
}

// group returns an empty one.
func (r *reactor) group() *group { return r.groups.Get().(*group) }

// recycle forgets the connections.
func (g *group) recycle() {
	clear(g.conns)
	g.conns, g.ends, g.ops = g.conns[:0], g.ends[:0], kept(g.ops)
	g.cursor, g.err = 0, nil
	g.reactor.groups.Put(g)
}

// full reports that c has to go into the next group.
func (g *group) full(c *conn) bool {
	return len(g.conns) == groupConnsMax ||
		len(g.conns) > 0 && len(g.ops)+len(c.batch.ops) > groupBytesMax
}

func (g *group) addWrites(c *conn) {
	count := c.batch.opCount
	if n := len(g.ends); n > 0 {
		count += g.ends[n-1]
	}
	g.conns = append(g.conns, c)
	g.ends = append(g.ends, count)
	g.ops = append(g.ops, c.batch.ops...)
}

func (g *group) propose() {
	g.submission = op.Submission{Ops: g.ops, Count: g.ends[len(g.ends)-1], Sink: g,
		Clients: len(g.conns)}
	g.reactor.server.backend.Propose(&g.submission)
}

func (g *group) ask() {
	if g.promise.AnyState() {
		g.Resolve(nil)
		return
	}
	g.request.Level, g.request.MaxAgeMs = g.promise.Level, g.promise.MaxAgeMs
	g.request.Clients = len(g.conns)
	g.reactor.server.backend.Read(&g.request)
}

// Applied is op.Sink: the op of a connection took effect, and this is its turn.
func (g *group) Applied(i int, result *op.Result, view op.View) {
	g.turnOf(i).Applied(i, result, view)
}

// Step is op.StepObserver.
func (g *group) Step(i, done int, result *op.Result, view op.View) {
	g.turnOf(i).Step(i, done, result, view)
}

// turnOf is the batch that op i belongs to. Ops come in order.
func (g *group) turnOf(i int) *batch {
	for i >= g.ends[g.cursor] {
		g.cursor++
	}
	return &g.conns[g.cursor].batch
}

// Resolve is op.Sink and the answer to the read request: the replier goes on.
func (g *group) Resolve(err error) {
	g.err = err
	q := &g.reactor.resolved
	q.Lock()
	q.groups = append(q.groups, g)
	q.Unlock()
	select {
	case q.news <- struct{}{}:
	default:
	}
}

// Gone is op.Sink. The ops of clients that have hung up are taken out.
func (g *group) Gone() bool {
	ops, count := g.ops[:0], 0
	for i, c := range g.conns {
		if b := &c.batch; !b.Gone() {
			ops, count = append(ops, b.ops...), count+b.opCount
		}
		g.ends[i] = count
	}
	g.ops = ops
	g.submission.Ops, g.submission.Count = ops, count
	return count == 0
}

// reply is the replier.
func (r *reactor) reply() {
	var groups []*group
	for {
		select {
		case <-r.resolved.news:
		case <-r.done:
			return
		}
		q := &r.resolved
		q.Lock()
		groups, q.groups = q.groups, groups[:0]
		q.Unlock()
		for _, g := range groups {
			if len(g.ends) > 0 {
				g.answerWrites(time.Now())
			} else {
				g.answerReads(time.Now())
			}
			g.recycle()
		}
		clear(groups)
	}
}

func (g *group) answerWrites(now time.Time) {
	for _, c := range g.conns {
		if b := &c.batch; b.next < len(b.slots) {
			b.failFrom(b.next, len(b.slots), cmp.Or(g.err, op.ErrNoLeader)) // it has hung up
		}
		if g.reactor.complete(c, now) {
			g.reactor.proceed(c)
		}
	}
}

// answerReads answers from at most two views: one of all that is applied, and one that stands still
// for those who want several keys of one state. Who has writes behind the reads joins a group.
func (g *group) answerReads(now time.Time) {
	r := g.reactor
	r.reading.begun(r)
	writes := r.group()
	var views [2]op.View
	for _, c := range g.conns {
		kind := 0
		if c.batch.stable {
			kind = 1
		}
		if g.err == nil && views[kind] == nil {
			views[kind] = r.server.backend.View(kind == 1)
			defer views[kind].Close()
		}
		switch g.answerLead(c, views[kind]) {
		case leadStalled:
			go r.serveSlowly(c, true)
		case leadDone:
			if r.complete(c, now) {
				r.proceed(c)
			}
		case leadBeforeWrites:
			if writes.full(c) {
				writes.propose()
				writes = r.group()
			}
			writes.addWrites(c)
		}
	}
	if len(writes.conns) > 0 {
		writes.propose()
	} else {
		writes.recycle()
	}
}

// What is to be done after the queries before the first write of a batch.
type afterLead uint8

const (
	leadDone         afterLead = iota // nothing: there is no write
	leadBeforeWrites                  // the writes
	leadStalled                       // the rest of them, once the client has taken some replies
)

func (g *group) answerLead(c *conn, view op.View) afterLead {
	b := &c.batch
	end := b.leadEnd()
	if g.err != nil {
		b.failFrom(b.next, end, g.err)
	} else {
		b.answer(end, view)
	}
	switch {
	case b.next < end:
		return leadStalled
	case b.opCount > 0:
		return leadBeforeWrites
	}
	return leadDone
}
