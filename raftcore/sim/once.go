package sim

import (
	"math/rand/v2"

	"kelek/raftcore"
)

// Requests that are executed once, however often and through whatever node they come: the first
// reply is kept and given again. Replies are dropped by log time and by count, and what may have
// been dropped is an error, never a second execution.

const (
	onceClients = 4
	onceKept    = 4                        // replies per client
	onceTTL     = raftcore.LogTime(1_000)  // milliseconds of log time
	onceExpired = uint64(0xdead_0000_0000) // the reply to a request that may have been dropped
)

// onceReply is the first reply to a request; a request is never 0.
type onceReply struct {
	request, reply uint64
	stamp          raftcore.LogTime
}

// onceClient is what is known of one client's requests: the replies in order of age, and the floor,
// at or below which requests may have been dropped.
type onceClient struct {
	replies [onceKept]onceReply
	floor   uint64
	sum     uint64 // what the requests add to
}

// executeOnce performs a request, unless its reply is known or may have been dropped.
func (m *machine) executeOnce(client uint8, request uint64) uint64 {
	c := &m.once[client%onceClients]
	for c.replies[0].request != 0 && m.stamp >= c.replies[0].stamp+onceTTL {
		c.drop()
	}
	for i := range c.replies {
		if c.replies[i].request == request {
			return c.replies[i].reply
		}
	}
	if request <= c.floor && !planted(123) {
		return onceExpired
	}
	if c.replies[onceKept-1].request != 0 {
		c.drop()
	}
	c.sum += request%7 + 1
	for i := range c.replies {
		if c.replies[i].request == 0 {
			c.replies[i] = onceReply{request, c.sum, m.stamp}
			break
		}
	}
	return c.sum
}

// drop forgets the oldest reply.
func (c *onceClient) drop() {
	c.floor = max(c.floor, c.replies[0].request)
	copy(c.replies[:], c.replies[1:])
	c.replies[onceKept-1] = onceReply{}
}

// onceOracle knows what every request ever got: the other half of invariant 11.
type onceOracle struct {
	next    [onceClients]uint64            // newest request
	replies [onceClients]map[uint64]uint64 // by request: the reply of its execution
	sums    [onceClients]uint64
}

// draw is a new request of a random client, or an older one again.
func (o *onceOracle) draw(g *rand.Rand) (client uint8, request uint64) {
	client = uint8(g.IntN(onceClients))
	if o.next[client] > 0 && g.IntN(2) == 0 {
		return client, o.next[client] - min(o.next[client]-1, g.Uint64N(2*onceKept))
	}
	o.next[client]++
	return client, o.next[client]
}

// executed sees each op in the reference machine. A reply is that of the only execution, or an
// error; the sum proves that nothing was executed without one.
func (o *onceOracle) executed(w *World, op *operation, reply uint64) {
	if o.replies[op.key] == nil {
		o.replies[op.key] = make(map[uint64]uint64)
	}
	first, known := o.replies[op.key][op.value]
	if !known && reply != onceExpired {
		o.replies[op.key][op.value] = reply
		o.sums[op.key] += op.value%7 + 1
		first = reply
	}
	sum := w.checker.reference.once[op.key].sum
	if reply != onceExpired && reply != first || sum != o.sums[op.key] {
		w.fail(11, "request %d of client %d: reply %d, first %d; its counter is %d, %d is due",
			op.value, op.key, reply, first, sum, o.sums[op.key])
	}
	if known {
		w.stats.Repeated++
	}
	if reply == onceExpired {
		w.stats.Expired++
	}
}

// answered: a client is told the reply of the execution, or that it is not known any more.
func (o *onceOracle) answered(w *World, op *operation, reply uint64) {
	if first, ok := o.replies[op.key][op.value]; reply != onceExpired && (!ok || first != reply) {
		w.fail(11, "request %d of client %d is answered with %d, first was %d", op.value, op.key, reply,
			first)
	}
}
