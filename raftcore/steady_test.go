package raftcore

import "testing"

// pair is a leader and one of its followers, wired without a network or a disk between them: what a
// loop costs that does nothing but raft. Everything is reused, so what allocates is the core.
type pair struct {
	leader, follower *Core
	le, fe           Effects
	leaderSeq        Seq
	followerSeq      Seq
	now              Instant
}

// newPair elects n1 of three. With leases on, promises are never older than a heartbeat.
func newPair(t testing.TB, leases bool) *pair {
	c := newCluster(t, 3)
	if leases {
		for _, id := range c.ids {
			c.restartLeased(id)
		}
		c.pass(1100 * Millisecond)
	}
	if c.leader() == 0 {
		c.lead(1)
	}
	if c.leader() != 1 {
		c.lead2(1)
	}
	c.pass(Second)
	return &pair{leader: c.nodes[1].core, follower: c.nodes[2].core, now: c.now}
}

// exchange carries out what both want, once: the leader's messages, the follower's answers, both
// disks and both appliers.
func (p *pair) exchange() {
	p.leader.Drain(&p.le)
	for i := range p.le.Messages {
		if p.le.Messages[i].To == p.follower.options.ID {
			p.follower.Step(&p.le.Messages[i])
		}
	}
	if p.le.Write != nil {
		p.leaderSeq = p.le.Write.Seq
	}
	p.follower.Drain(&p.fe)
	if p.fe.Write != nil {
		p.followerSeq = p.fe.Write.Seq
	}
	for i := range p.fe.Messages {
		p.leader.Step(&p.fe.Messages[i])
	}
	p.leader.Durable(p.leaderSeq)
	p.follower.Durable(p.followerSeq)
	p.leader.Applied(max(p.leader.applied, p.le.Apply.Last))
	p.follower.Applied(max(p.follower.applied, p.fe.Apply.Last))
}

func (p *pair) heartbeat() {
	p.now += 100 * Millisecond
	p.leader.Tick(p.now, 1)
	p.follower.Tick(p.now, 1)
	p.exchange()
	p.exchange()
}

var steadyData = []byte("value")

// write appends, replicates, acknowledges, commits, applies and compacts one entry.
func (p *pair) write() {
	if _, err := p.leader.Propose(1, steadyData); err != nil {
		panic(err)
	}
	p.exchange()
	p.exchange()
	p.leader.Compact(p.leader.applied)
	p.follower.Compact(p.follower.applied)
}

func (p *pair) read() {
	if err := p.leader.ReadIndex(1); err != nil {
		panic(err)
	}
	p.exchange()
	p.exchange()
}

// forwardedRead asks on the follower; the request leaves with its Drain.
func (p *pair) forwardedRead() {
	if err := p.follower.ReadIndex(1); err != nil {
		panic(err)
	}
	for range 3 {
		p.exchange()
	}
}

// leaseRead is answered before anything is sent.
func (p *pair) leaseRead() {
	p.heartbeat()
	if err := p.leader.ReadIndex(1); err != nil {
		panic(err)
	}
	p.leader.Tick(p.now, 1)
	if p.leader.Drain(&p.le); len(p.le.Reads) != 1 || len(p.le.Messages) != 0 {
		panic("not answered under the lease")
	}
}

func TestSteadyStatePathsDoNotAllocate(t *testing.T) {
	for _, path := range []struct {
		name   string
		leases bool
		step   func(*pair)
	}{
		{"heartbeat", false, (*pair).heartbeat},
		{"heartbeat with promises", true, (*pair).heartbeat},
		{"append, acknowledgement, commit", false, (*pair).write},
		{"read", false, (*pair).read},
		{"forwarded read", false, (*pair).forwardedRead},
		{"read under a lease", true, (*pair).leaseRead},
	} {
		p := newPair(t, path.leases)
		before := p.leader.lead.round + uint64(p.leader.commit)
		for range 2000 {
			path.step(p)
		}
		if n := testing.AllocsPerRun(1000, func() { path.step(p) }); n != 0 {
			t.Errorf("%s: %.0f allocations", path.name, n)
		}
		if moved := p.leader.lead.round + uint64(p.leader.commit) - before; moved < 3000 {
			t.Errorf("%s: nothing moved but %d rounds and entries", path.name, moved)
		}
	}
}

// A follower takes a heartbeat and answers it.
func BenchmarkStepHeartbeat(b *testing.B) {
	p := newPair(b, false)
	m := Message{Kind: AppendEntries, From: 1, To: 2, Term: p.leader.hard.Term, Epoch: 1,
		Prev: p.leader.log.last, Commit: p.leader.commit, Round: p.leader.lead.round}
	b.ReportAllocs()
	for b.Loop() {
		m.Round++
		p.follower.Step(&m)
		p.follower.Drain(&p.fe)
	}
}

// A follower takes one entry, writes, acknowledges, commits and applies it.
func BenchmarkStepAppend(b *testing.B) {
	p := newPair(b, false)
	last := p.leader.log.last
	m := Message{Kind: AppendEntries, From: 1, To: 2, Term: last.Term, Epoch: 1,
		Entries: []Entry{{Kind: EntryNormal, Stamp: p.leader.log.lastStamp, Data: steadyData}}}
	b.ReportAllocs()
	for b.Loop() {
		m.Prev, m.Commit = last, last.Index
		last.Index++
		m.Entries[0].Pos = last
		p.follower.Step(&m)
		p.follower.Drain(&p.fe)
		if p.fe.Write != nil {
			p.follower.Durable(p.fe.Write.Seq)
		}
		p.follower.Applied(max(p.follower.applied, p.fe.Apply.Last))
	}
}

// A leader proposes one entry, and commits it by the acknowledgement of one of two followers.
func BenchmarkProposeAndCommit(b *testing.B) {
	p := newPair(b, false)
	leader := p.leader
	m := Message{Kind: AppendEntriesResponse, From: 2, To: 1, Term: leader.hard.Term, Epoch: 1}
	b.ReportAllocs()
	for b.Loop() {
		pos, err := leader.Propose(1, steadyData)
		if err != nil {
			b.Fatal(err)
		}
		leader.Drain(&p.le)
		leader.Durable(p.le.Write.Seq)
		m.Match = pos.Index
		leader.Step(&m)
		leader.Drain(&p.le)
		leader.Applied(p.le.Apply.Last)
		leader.Drain(&p.le)
	}
}
