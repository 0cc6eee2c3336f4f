package node

import (
	"slices"

	"kelek/raftcore"
	"kelek/store/op"
)

// reading is everything about linearizable reads. It belongs to the loop.
//
//	gathered -> a round: one ReadIndex for all that were gathered -> confirmed, with an index
//	         -> applied up to that index -> Resolve(nil): a View opened from now on is linearizable
//
// What a read promises decides what is asked: a linearizable one asks for a round whatever it
// costs, one that a lease is enough for asks for whichever of the two comes first, and a stale one
// is judged at once by when this node has heard of a leader.
//
// A round costs a heartbeat to every peer and an answer, whatever the number of reads in it. While
// rounds are out, new reads gather; they cannot join a round that is under way, since its index may
// be older than a write that was acknowledged before they came.
type reading struct {
	gathered []*op.ReadRequest
	rounds   []round // out, or confirmed and not yet applied
	asking   int     // rounds without an answer
	pace     pace
	lastID   raftcore.ReadID
	retryAt  raftcore.Instant // the core refused: ask again; never if it did not
	deadline raftcore.Instant // no read is due before; never without reads
	spare    [][]*op.ReadRequest
}

// round is one ReadIndex and the reads that wait for it.
type round struct {
	id        raftcore.ReadID
	confirmed bool
	index     raftcore.Index // to be applied before the reads are served; when confirmed
	requests  []*op.ReadRequest
}

// Read implements resp.Backend. A full queue is told at once, by a call of Resolve before Read
// returns.
func (n *Node) Read(r *op.ReadRequest) {
	if err := n.refusing(); err != nil {
		r.Resolve(err)
		return
	}
	switch n.reads.put(r, 1, 0) {
	case putAccepted:
		n.heldUntilStart()
	case putFull:
		r.Resolve(op.ErrBusy)
	case putClosed:
		r.Resolve(op.ErrStopping)
	}
}

// takeRead adds a read to the next round. It counts against the mailbox's limit until its answer.
func (n *Node) takeRead(r *op.ReadRequest) {
	if r.Level == op.ReadStale {
		n.reads.release(1, 0)
		r.Resolve(n.tooStale(r))
		return
	}
	r.Deadline = uint64(n.now + n.requestTimeout)
	n.reading.gathered = append(n.reading.gathered, r)
	n.reading.deadline = min(n.reading.deadline, raftcore.Instant(r.Deadline))
}

// tooStale refuses a read of this node's own state when it has heard of no leader for longer than
// the read allows: then nobody knows how much it has missed.
func (n *Node) tooStale(r *op.ReadRequest) error {
	contact := n.core.Contact()
	age := n.now - min(n.now, contact)
	switch {
	case r.MaxAgeMs == 0:
		return nil
	case contact == 0:
		return op.TooStaleError{MaxAgeMs: r.MaxAgeMs}
	case uint64(age/raftcore.Millisecond) > r.MaxAgeMs:
		return op.TooStaleError{AgeMs: uint64(age / raftcore.Millisecond), MaxAgeMs: r.MaxAgeMs}
	}
	return nil
}

// read asks the core for one read index for all reads that were gathered. It reports whether the
// core was given anything.
func (n *Node) read() bool {
	r := &n.reading
	if len(r.gathered) == 0 || r.asking >= n.options.Limits.ReadRoundsMax || n.now < r.nextRound() {
		return false
	}
	if n.askCore(r.lastID+1) != nil {
		// Without a leader: its election wakes the loop. Busy: so does an answer. The rest is a
		// precaution.
		r.retryAt = n.retryTime()
		return false
	}
	r.lastID++
	r.asking++
	r.retryAt = never
	r.pace.begin(n.now, clients(r.gathered))
	r.rounds = append(r.rounds, round{id: r.lastID, requests: r.gathered})
	r.gathered = r.buffer()
	n.counters.readRounds++
	return true
}

// askCore asks for a read index. If all reads are content with a lease, the clock is read once
// more: the core answers at the next Tick after the question, when that is within the lease.
func (n *Node) askCore(id raftcore.ReadID) error {
	for _, request := range n.reading.gathered {
		if request.Level != op.ReadLease {
			return n.core.ReadByRound(id)
		}
	}
	err := n.core.ReadIndex(id)
	if err == nil {
		n.now, n.clock = n.options.Clock()
		n.core.Tick(n.now, n.clock)
	}
	return err
}

// nextRound is when the next round may start: after a round as pace says, and beside one that is
// under way once that has taken long.
func (r *reading) nextRound() raftcore.Instant {
	switch {
	case r.asking > 0:
		return r.pace.begunAt + paceMax
	case clients(r.gathered) >= min(r.pace.crowd, paceEnough):
		return 0
	}
	return r.pace.until()
}

// clients is how many wait for the requests.
func clients(requests []*op.ReadRequest) int {
	count := 0
	for _, r := range requests {
		count += max(r.Clients, 1)
	}
	return count
}

// buffer returns an empty list, used before if possible.
func (r *reading) buffer() []*op.ReadRequest {
	if n := len(r.spare); n > 0 {
		list := r.spare[n-1]
		r.spare = r.spare[:n-1]
		return list
	}
	return nil
}

// readReady takes the answer to a round: its reads may be served once index is applied.
func (n *Node) readReady(ready raftcore.ReadReady) {
	if round := n.reading.find(ready.ID); round != nil && !round.confirmed {
		round.confirmed, round.index = true, ready.Index
		n.reading.asking--
		n.reading.pace.end(n.now, clients(n.reading.gathered))
	}
}

// readLost takes back a round that will get no answer: its reads are asked again.
func (n *Node) readLost(id raftcore.ReadID) {
	r := &n.reading
	i := slices.IndexFunc(r.rounds, func(x round) bool { return x.id == id })
	if i < 0 || r.rounds[i].confirmed {
		return
	}
	r.gathered = append(r.gathered, r.rounds[i].requests...)
	r.asking--
	r.end(i)
}

func (r *reading) find(id raftcore.ReadID) *round {
	for i := range r.rounds {
		if r.rounds[i].id == id {
			return &r.rounds[i]
		}
	}
	return nil
}

// end removes round i, whose requests have gone elsewhere.
func (r *reading) end(i int) {
	list := r.rounds[i].requests
	clear(list)
	r.spare = append(r.spare, list[:0])
	r.rounds = slices.Delete(r.rounds, i, i+1)
}

// serveReads resolves the reads of confirmed rounds whose index is applied.
func (n *Node) serveReads() {
	r := &n.reading
	for i := 0; i < len(r.rounds); {
		if x := &r.rounds[i]; !x.confirmed || x.index > n.appliedIndex {
			i++
			continue
		}
		n.resolveReads(r.rounds[i].requests, nil)
		r.end(i)
	}
	if len(r.rounds) == 0 && len(r.gathered) == 0 {
		r.deadline = never
	}
}

func (n *Node) resolveReads(list []*op.ReadRequest, err error) {
	n.reads.release(len(list), 0)
	for _, request := range list {
		request.Resolve(err)
	}
}

// refuseReads ends every wait for a read. Rounds stay, since the core still has them.
func (n *Node) refuseReads(err error) {
	r := &n.reading
	r.gathered = n.refuseList(r.gathered, err)
	for i := range r.rounds {
		r.rounds[i].requests = n.refuseList(r.rounds[i].requests, err)
	}
	r.deadline = never
}

func (n *Node) refuseList(list []*op.ReadRequest, err error) []*op.ReadRequest {
	n.resolveReads(list, err)
	clear(list)
	return list[:0]
}

// awaited reports whether somebody waits for a read.
func (r *reading) awaited() bool {
	return len(r.gathered) > 0 ||
		slices.ContainsFunc(r.rounds, func(x round) bool { return len(x.requests) > 0 })
}

// expireReads answers the reads that have waited for too long, wherever they wait. A read has no
// unknown outcome. Rounds stay, since the core still has them.
func (n *Node) expireReads() {
	r := &n.reading
	if n.now < r.deadline {
		return
	}
	r.deadline = never
	r.gathered = n.expireList(r.gathered)
	for i := range r.rounds {
		r.rounds[i].requests = n.expireList(r.rounds[i].requests)
	}
}

// expireList answers what is due in list, and returns the rest.
func (n *Node) expireList(list []*op.ReadRequest) []*op.ReadRequest {
	rest := list[:0]
	for _, request := range list {
		if at := raftcore.Instant(request.Deadline); at > n.now {
			n.reading.deadline = min(n.reading.deadline, at)
			rest = append(rest, request)
			continue
		}
		n.reads.release(1, 0)
		request.Resolve(op.ErrNoLeader)
	}
	clear(list[len(rest):])
	return rest
}

// readDeadline is when read or an expiry has something to do though nothing happened.
func (n *Node) readDeadline() raftcore.Instant {
	r := &n.reading
	if len(r.gathered) == 0 {
		return r.deadline
	}
	if r.retryAt != never || r.asking >= n.options.Limits.ReadRoundsMax {
		return min(r.deadline, r.retryAt)
	}
	return min(r.deadline, r.nextRound())
}
