package node

import "kelek/raftcore"

// pace decides how long a group of commands may grow before it starts a round: a proposal, or a
// read index. What a round costs (three syncs, a message per peer, the wake-ups in between) is the
// same for one command and for fifty, and processor time is what limits a cluster. So, after a
// round, those who were just answered get the chance to come back before the next one starts:
//
//   - everybody has come back: as many wait as were in the last round or waited when it ended. Clients
//     that send one command after the other fall into step, and each round carries all of them;
//   - or enough wait for the cost of a round not to matter: paceEnough;
//   - or it has taken twice as long as the last round did, at most paceMax: replies, clients and requests
//     share the processors that the round used. A loaded machine has slow rounds and waits longer, an
//     idle one hardly at all.
//
// A lone client is its own crowd: when its next command arrives, it does not wait. Nor does anybody
// after a pause.
type pace struct {
	begunAt raftcore.Instant
	endedAt raftcore.Instant
	span    raftcore.Instant // of the last round
	size    int              // of the round that is under way
	crowd   int              // who may come back
}

const (
	// paceMax bounds the wait on links that are slow: there rounds are rare, and cost little.
	paceMax = 2 * raftcore.Millisecond
	// paceEnough is in commands. Beyond it, a round costs less for each than the command itself.
	paceEnough = 64
)

// begin notes that a round starts with so many submissions.
func (p *pace) begin(now raftcore.Instant, size int) { p.begunAt, p.size = now, size }

// end notes that the round is over, and how many wait for the next one already.
func (p *pace) end(now raftcore.Instant, waiting int) {
	p.endedAt, p.span = now, now-p.begunAt
	p.crowd = p.size + waiting
}

// until is when the next round starts at the latest.
func (p *pace) until() raftcore.Instant { return p.endedAt + min(2*p.span, paceMax) }

// ready reports whether a round may start now with what waits: submissions, and commands in them.
func (p *pace) ready(now raftcore.Instant, waiting, commands int) bool {
	return waiting >= p.crowd || commands >= paceEnough || now >= p.until()
}
