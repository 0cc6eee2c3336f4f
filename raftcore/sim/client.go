package sim

import (
	"slices"

	"kelek/raftcore"
)

// Clients: each does one thing after the other through one node, gives up after a while, and
// remembers what it was told. origin.go is the node's side.

// opID numbers the operations of a run from 1.
type opID uint64

// opState is what the client knows of its operation.
type opState uint8

const (
	waiting  opState = iota // not numbered yet: certainly not in any log
	numbered                // part of a proposal that may be anywhere
	acked                   // answered
	refused                 // given up before it was numbered: must never take effect
	unknown                 // given up, or its node died, after it was numbered
)

// operation is one command of one session.
type operation struct {
	code     opCode
	of       opCode // of a read: the kind of key it reads
	key      uint8
	state    opState
	executed uint8 // effects in the reference machine
	session  int32
	value    uint64
	result   uint64         // what the client was told
	floor    raftcore.Index // everything answered before the invocation lies at or below
	begun    raftcore.Instant
	ended    raftcore.Instant // 0: no answer
}

// session is a client that does one thing after the other through one node.
type session struct {
	node    *process
	current opID // 0: idle
	todo    int  // probes left to do in a healed cluster
}

// clients are the sessions of all nodes.
type clients struct {
	w        *World
	ops      []operation // ops[0] is nobody's
	sessions []session
	floor    raftcore.Index // newest index that any answer has shown
	once     onceOracle
	fresh    int // writes begun and answered since World.graphSince
}

func (c *clients) init(w *World) {
	c.w = w
	c.ops = make([]operation, 1, 1024)
	for _, p := range w.nodes {
		for range w.knobs.sessions {
			c.sessions = append(c.sessions, session{node: p})
		}
	}
}

// join gives a new node its sessions.
func (c *clients) join(p *process) {
	for range c.w.knobs.sessions {
		c.sessions = append(c.sessions, session{node: p})
		c.again(len(c.sessions) - 1)
	}
}

func (c *clients) start() {
	for i := range c.sessions {
		c.again(i)
	}
}

// again schedules the next operation of an idle session.
func (c *clients) again(i int) {
	think := around(c.w.rng.clients, c.w.knobs.think)
	c.w.scheduleWorld(nil, think, evSession, uint64(i)<<32)
}

// session begins the next operation of a session, or looks whether one has taken too long.
func (c *clients) session(arg uint64) {
	i, op := int(arg>>32), opID(uint32(arg))
	s := &c.sessions[i]
	switch {
	case op != 0:
		if s.current == op && c.w.phase == faulty {
			c.giveUp(i)
		}
	case s.current != 0 || s.node.core == nil || s.node.paused:
		if c.w.phase == faulty && s.current == 0 {
			c.again(i)
		}
	case c.w.phase == faulty:
		c.begin(i, c.draw())
	case s.todo > 0:
		c.begin(i, operation{code: [...]opCode{opAdd, opRead}[s.todo%2], value: 1})
	}
}

// draw decides what a session does next.
func (c *clients) draw() operation {
	g := c.w.rng.clients
	op := operation{value: g.Uint64N(1000) + 1, key: uint8(g.IntN(registerCount))}
	op.code = [...]opCode{opSet, opAdd, opAppend, opOnce}[g.IntN(4)]
	if chance(g, c.w.knobs.readPermille) {
		op.of = [...]opCode{opSet, opAdd, opAppend}[g.IntN(3)]
		op.code = opRead
	} else if op.code == opOnce {
		op.key, op.value = c.once.draw(g)
	}
	return op
}

// begin invokes an operation.
func (c *clients) begin(i int, op operation) {
	s := &c.sessions[i]
	op.session, op.floor, op.begun = int32(i), c.floor, c.w.now
	c.ops = append(c.ops, op)
	s.current = opID(len(c.ops) - 1)
	if c.w.phase == faulty {
		deadline := around(c.w.rng.clients, c.w.knobs.opTimeout)
		c.w.scheduleWorld(nil, deadline, evSession, uint64(i)<<32|uint64(s.current))
	}
	p := s.node
	if op.code == opRead {
		p.reads = append(p.reads, read{op: s.current})
		p.askReads()
		p.tick() // a read may be answered at once, under a lease, by a look at the clock
	} else {
		p.origin.waiting = append(p.origin.waiting, s.current)
		p.pump()
	}
	p.watchOrigin()
	p.inputTaken()
}

// giveUp ends the wait of a session's operation at its deadline.
func (c *clients) giveUp(i int) {
	s := &c.sessions[i]
	p, op := s.node, &c.ops[s.current]
	switch {
	case op.code == opRead:
		p.reads = slices.DeleteFunc(p.reads, func(r read) bool { return r.op == s.current })
		op.state = refused
	case op.state == waiting:
		p.origin.waiting = slices.DeleteFunc(p.origin.waiting,
			func(id opID) bool { return id == s.current })
		c.refuse(op)
	default:
		op.state = unknown
		c.w.stats.Unknown++
	}
	s.current = 0
	c.again(i)
}

// uncertain ends an operation that took effect, without a result: its node was brought forward by a
// snapshot.
func (c *clients) uncertain(id opID) {
	op := &c.ops[id]
	s := &c.sessions[op.session]
	c.w.stats.Jumped++
	if s.current != id {
		return // given up before
	}
	op.state = unknown
	c.w.stats.Unknown++
	s.current = 0
	if c.w.phase != faulty && s.todo > 0 {
		s.todo--
	}
	c.again(int(op.session))
}

func (c *clients) refuse(op *operation) {
	op.state = refused
	c.w.stats.Refused++
}

// finish answers an operation with a result that index has shown.
func (c *clients) finish(id opID, index raftcore.Index, result uint64) {
	op := &c.ops[id]
	c.w.fold(uint64(id)<<32 ^ uint64(index))
	c.w.checker.answered(id, op, index, result)
	c.floor = max(c.floor, index)
	s := &c.sessions[op.session]
	if s.current != id {
		return // given up before
	}
	op.state, op.result, op.ended = acked, result, c.w.now
	if op.code == opRead {
		c.w.stats.Reads++
	} else {
		c.w.stats.Acked++
		if op.begun >= c.w.graphSince {
			c.fresh++
		}
	}
	s.current = 0
	if c.w.phase != faulty && s.todo > 0 {
		s.todo--
	}
	c.again(int(op.session))
}

// nodeDown ends what the sessions of a node were doing: the connection broke.
func (c *clients) nodeDown(p *process) {
	for i := range c.sessions {
		s := &c.sessions[i]
		if s.node != p || s.current == 0 {
			continue
		}
		op := &c.ops[s.current]
		switch {
		case op.code == opRead:
			op.state = refused
		case op.state == waiting:
			c.refuse(op)
		default:
			op.state = unknown
			c.w.stats.Unknown++
		}
		s.current = 0
		if c.w.phase == faulty {
			c.again(i)
		}
	}
	p.origin = origin{}
	p.reads = p.reads[:0]
}

// nodeUp lets the sessions of a healed node go on.
func (c *clients) nodeUp(p *process) {
	for i := range c.sessions {
		if c.sessions[i].node == p && c.w.phase != faulty {
			c.again(i)
		}
	}
}

// probe asks every session of a node for a write and a read, now that the cluster is healed.
func (c *clients) probe(p *process) {
	for i := range c.sessions {
		if s := &c.sessions[i]; s.node == p {
			s.todo = 2
			c.again(i)
		}
	}
}

// idle reports whether every session of a node has done what it had to.
func (c *clients) idle(p *process) bool {
	for i := range c.sessions {
		if s := &c.sessions[i]; s.node == p && (s.todo > 0 || s.current != 0) {
			return false
		}
	}
	return true
}
