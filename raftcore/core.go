package raftcore

import "fmt"

// maxReplayEntries bounds an Apply range whose sizes are not known (replay after a start).
const maxReplayEntries = 4096

// Core is one member of one Raft group: a deterministic state machine. It is not safe for
// concurrent use; one goroutine owns it. See doc.go.
type Core struct {
	options Options
	random  random

	// Durable state, and how far it is on disk.
	hard        HardState
	hardChanged bool // since the last Write
	hardSeq     Seq  // Write that carries hard
	log         log
	configs     configs
	lastSeq     Seq // last Write drained
	durableSeq  Seq // last Write reported durable

	// Volatile state of all roles.
	role     Role
	leader   NodeID
	reason   string // of the last role change
	commit   Index
	floor    Index // every member holds this much: told by leaders, so that any may lead next
	applying Index // handed to the applier
	applied  Index // reported back
	// What is handed out and not reported back: its bytes, and the last entry of it that was not in
	// memory (replay after a start), of which one range is out at a time.
	applyingBytes int
	replaying     Index
	now           Instant
	lastTick      Instant
	clock         LogTime

	// Elections.
	electionDeadline Instant
	contact          Instant // last message of the current leader
	heard            bool    // contact counts: voters stick to the leader
	roundEchoed      uint64  // newest round of this leader that was answered
	hurry            int     // fast attempts left, after the connection to the leader broke
	campaignRound    uint64  // number of this node's latest campaign; echoed by responses
	ballots          [2 * VotersMax]vote
	ballotCount      int
	elections        uint64 // campaigns started

	promisedUntil Instant // no vote but a forced one before this (lease.go)
	promiseFresh  bool    // the promise of now counts from the next Tick

	// Snapshots.
	taken        SnapshotMeta // the newest that the caller can stream; ID 0: none
	taking       bool         // one was asked for
	fetch        fetching     // follower: what the caller is fetching; Meta.ID 0: nothing
	fetchChanged bool         // since the last Drain
	installSeq   Seq          // the latest Write that installs a snapshot

	// Leader only; dropped as a whole on every role change (mistake 65).
	lead leadership

	reads  followerReads
	outbox []Message // waiting for Drain
	after  []durability

	readsReady []ReadReady
	lostReads  []ReadID
	events     []Event
	announced  StateChange
	changed    bool // configuration or role changed since announced
	dropped    uint64
}

// durability is what a message in the outbox promises, index by index.
type durability uint8

const (
	nothing    durability = iota // may leave at once
	hardState                    // the current term and vote are durable
	everything                   // all writes so far are durable
)

// New builds a core from what storage found. It starts as a follower that has heard of no leader.
func New(o Options, r Restored) (*Core, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if err := r.validate(); err != nil {
		return nil, err
	}
	c := &Core{options: o, random: newRandom(o.Seed), hard: r.HardState}
	c.log.restore(&r)
	c.configs.reset(&r.Snapshot)
	for _, at := range r.Configs {
		c.configs.push(at)
	}
	c.applied, c.applying = r.Applied, r.Applied
	c.commit = max(r.Applied, min(r.Commit, r.Last.Index))
	c.announced.Config = *c.config()
	c.announced.Term = r.HardState.Term
	return c, nil
}

// validate refuses what would break the log's invariants from the start.
func (r *Restored) validate() error {
	if r.Last.Index < r.Snapshot.Pos.Index || r.Applied < r.Snapshot.Pos.Index || r.Applied > r.Last.Index {
		return fmt.Errorf("raft: restored log %d..%d does not hold the applied index %d",
			r.Snapshot.Pos.Index, r.Last.Index, r.Applied)
	}
	if r.HardState.Term < r.Last.Term {
		return fmt.Errorf("raft: restored term %d is behind the last entry %s", r.HardState.Term, r.Last)
	}
	next := r.Last.Index - Index(len(r.Tail)) + 1
	for i := range r.Tail {
		if r.Tail[i].Index != next {
			return fmt.Errorf("raft: restored tail has %s at %d", r.Tail[i].Pos, next)
		}
		next++
	}
	if r.Last.Index > r.Snapshot.Pos.Index &&
		(len(r.Runs) == 0 || r.Runs[0].First != r.Snapshot.Pos.Index+1) {
		return fmt.Errorf("raft: restored terms do not cover the log after %s", r.Snapshot.Pos)
	}
	return nil
}

func (c *Core) config() *Config { return &c.configs.current().Config }

// promotable reports whether this node may campaign, for whatever cause (mistake 13): it is a
// voter, or was one until a configuration that may not be committed. Say A removes itself from A,
// B, and loses its leadership when the entry is in its log alone. B cannot win: it needs A's vote,
// whose log is longer. So A must be able to, with B's vote, to commit its own removal
// (dissertation, 4.2.2).
func (c *Core) promotable() bool {
	if c.config().IsVoter(c.options.ID) {
		return true
	}
	before := len(c.configs.stack) - 2
	return before >= 0 && c.configs.current().Pos.Index > c.commit &&
		c.configs.stack[before].Config.IsVoter(c.options.ID)
}

// setTerm is the only place where the term changes and a vote is cleared (mistakes 3, 27).
func (c *Core) setTerm(t Term) {
	assert(t > c.hard.Term, "term %d after %d", t, c.hard.Term)
	c.hard = HardState{Term: t}
	c.hardChanged = true
}

func (c *Core) setVote(id NodeID) {
	assert(c.hard.VotedFor == 0 || c.hard.VotedFor == id || planted(3),
		"vote for %x after %x in term %d", id, c.hard.VotedFor, c.hard.Term)
	if c.hard.VotedFor != id {
		c.hard.VotedFor = id
		c.hardChanged = true
	}
}

// hardDurable reports whether the current term and vote are on disk.
func (c *Core) hardDurable() bool { return !c.hardChanged && c.hardSeq <= c.durableSeq }

// send queues a message; promise says what must be durable before it may leave. While an installed
// snapshot is not, nothing of the log is: what leaves meanwhile is a sign of life and claims
// nothing.
func (c *Core) send(m Message, promise durability) {
	m.From = c.options.ID
	if promise == hardState && c.installing() {
		m.Match = 0
	}
	c.outbox = append(c.outbox, m)
	c.after = append(c.after, promise)
}

// Tick tells the time and does what has become due. It is idempotent, and cheap when nothing is
// due. now must not go back; clock may (log time is protected where it is stamped).
func (c *Core) Tick(now Instant, clock LogTime) {
	if now < c.now {
		broken("the clock went back from %d to %d", c.now, now)
	}
	first := c.lastTick == 0
	due := max(c.lastTick, min(now, c.Deadline()))
	c.now, c.lastTick, c.clock = now, now, clock
	c.datePromise()
	switch {
	case first:
		c.started()
	case now-due > 2*c.options.Heartbeat:
		c.woke()
	}
	if c.role == Leader {
		c.leaderTick()
		return
	}
	if now >= c.electionDeadline {
		c.electionTimedOut()
	}
	c.retryForwardedReads()
}

// started sets the first time-out. A node that has just started disturbs nobody: voters that hear a
// leader refuse its pre-vote. So it need not wait as long as one that lost its leader, and one
// that is alone need not wait at all.
func (c *Core) started() {
	c.electionDeadline = c.now
	if config := c.config(); len(config.Voters) != 1 || config.Joint() {
		c.electionDeadline += c.random.between(3*c.options.Heartbeat, c.options.ElectionTimeout)
		c.keepOldPromise()
	}
}

// woke gives the messages that piled up while this node did not run a chance to be stepped before
// time-outs are judged. Safety never rests on a time-out. A Tick that comes when it is due is no
// sign of that, however long nothing was due: a node that hears nothing must campaign.
func (c *Core) woke() {
	grace := c.now + c.random.between(2*c.options.Heartbeat, 4*c.options.Heartbeat)
	c.electionDeadline = max(c.electionDeadline, grace)
	c.lead.quorumCheckAt = max(c.lead.quorumCheckAt, grace)
}

// Deadline is when the next Tick will have something to do.
func (c *Core) Deadline() Instant {
	if c.role == Leader {
		return c.leaderDeadline()
	}
	if c.reads.inFlight() {
		return min(c.electionDeadline, c.reads.retryAt)
	}
	return c.electionDeadline
}

// Durable reports that all Writes up to s are on disk.
func (c *Core) Durable(s Seq) {
	if s > c.lastSeq {
		broken("durable %d of %d writes", s, c.lastSeq)
	}
	if s <= c.durableSeq {
		return
	}
	c.durableSeq = s
	c.log.landed(s)
	switch c.role {
	case Candidate:
		c.maybeCountOwnVote()
	case Leader:
		c.maybeCommit()
	}
}

// Applied reports that the state machine has applied everything up to i.
func (c *Core) Applied(i Index) {
	if i > c.applying {
		broken("applied %d, handed out %d", i, c.applying)
	}
	for c.applied < i {
		c.applied++
		if entry := c.log.entry(c.applied); entry != nil {
			c.applyingBytes -= entry.Bytes()
		}
	}
	c.log.evict(c.options.LogTailBytes, c.evictable())
}

// evictable is the last entry that may leave memory: committed, durable and applied.
func (c *Core) evictable() Index { return min(c.applied, c.log.stable) }

// Compact forgets the log up to upTo, which the caller has found durable in the state machine.
func (c *Core) Compact(upTo Index) {
	upTo = min(upTo, c.applied)
	if upTo <= c.log.base.Index {
		return
	}
	c.log.compact(upTo)
	c.configs.compact(upTo)
}

// Slice appends the entries of r to into when all of them are in memory.
func (c *Core) Slice(r Range, into []Entry) ([]Entry, bool) {
	if r.Empty() || r.First < c.log.tailFirst() || r.Last > c.log.last.Index {
		return into, r.Empty()
	}
	return append(into, c.log.slice(r.First, r.Last)...), true
}

// Drain moves everything that is to be done into e. It reports whether another call would find
// more. Slices in e alias the core's memory: they are valid until the next call of any method.
func (c *Core) Drain(e *Effects) (more bool) {
	e.TakeSnapshot = false
	if c.role == Leader {
		more = c.replicate(e)
	} else {
		e.Load = e.Load[:0]
		c.forwardReads()
	}
	c.drainFetch(e)
	c.drainWrite(e)
	c.drainMessages(e)
	more = c.drainApply(e) || more
	e.Reads = append(e.Reads[:0], c.readsReady...)
	c.readsReady = c.readsReady[:0]
	e.LostReads = append(e.LostReads[:0], c.lostReads...)
	c.lostReads = c.lostReads[:0]
	c.drainState(e)
	e.Trace = append(e.Trace[:0], c.events...)
	c.events = c.events[:0]
	return more
}

func (c *Core) drainWrite(e *Effects) {
	l := &c.log
	e.Write = nil
	if c.fetch.staged && c.applied == c.applying {
		c.install(e)
		return
	}
	if !c.hardChanged && l.truncate == 0 && l.written == l.last.Index {
		return
	}
	e.write = Write{TruncateFrom: l.truncate, CommitHint: c.commit}
	if l.written < l.last.Index {
		e.write.Append = l.slice(l.written+1, l.last.Index)
	}
	l.truncate, l.written = 0, l.last.Index
	c.launch(e)
}

// launch numbers the Write in e, adds the hard state when that has changed, and gives it out.
func (c *Core) launch(e *Effects) {
	c.lastSeq++
	e.write.Seq, e.write.Sync = c.lastSeq, true
	if c.hardChanged {
		e.hard = c.hard
		e.write.HardState = &e.hard
		c.hardChanged, c.hardSeq = false, c.lastSeq
	}
	c.log.launched(c.lastSeq)
	e.Write = &e.write
}

func (c *Core) drainMessages(e *Effects) {
	for i := range c.outbox {
		after := Seq(0)
		switch c.after[i] {
		case hardState:
			after = c.hardSeq
		case everything:
			after = c.lastSeq
		}
		if after <= c.durableSeq {
			after = 0
		}
		c.outbox[i].After = after
	}
	e.Messages, c.outbox = c.outbox, e.Messages[:0]
	c.after = c.after[:0]
}

// drainApply hands out what is committed and durable here, while what is handed out and not yet
// applied stays within the limit, and no snapshot waits to replace it all. It reports whether it
// left something for the next Drain.
func (c *Core) drainApply(e *Effects) (more bool) {
	e.Apply = Range{}
	upTo := min(c.commit, c.log.stable)
	full := c.applyingBytes >= c.options.MaxApplyBytes || c.replaying > c.applied
	if upTo == c.applying || full || c.fetch.staged {
		return false
	}
	e.Apply.First = c.applying + 1
	for n := 0; c.applying < upTo && c.applyingBytes < c.options.MaxApplyBytes; n++ {
		entry := c.log.entry(c.applying + 1)
		if entry == nil && n == maxReplayEntries {
			break
		}
		c.applying++
		if entry == nil {
			c.replaying = c.applying
		} else {
			c.applyingBytes += entry.Bytes()
		}
	}
	e.Apply.Last = c.applying
	return c.applying < upTo
}

func (c *Core) drainState(e *Effects) {
	e.State = nil
	s := &c.announced
	if !c.changed && s.Role == c.role && s.Term == c.hard.Term && s.Leader == c.leader {
		return
	}
	c.changed = false
	*s = StateChange{c.role, c.hard.Term, c.leader, *c.config(), c.reason}
	e.state = *s
	e.State = &e.state
	c.trace(Event{Kind: EventRole, Role: c.role, Term: c.hard.Term, Peer: c.leader, Reason: c.reason})
}
