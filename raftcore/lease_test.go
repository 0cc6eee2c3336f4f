package raftcore

import "testing"

// leased is a cluster whose nodes all have leases, with clocks that agree within five percent.
func leased(t *testing.T, n int) *cluster {
	c := newCluster(t, n)
	for _, id := range c.ids {
		c.restartLeased(id)
	}
	c.pass(1100 * Millisecond) // what they may have promised before the restart
	return c
}

func (c *cluster) restartLeased(id NodeID) {
	m := c.nodes[id]
	o := testOptions(id, m.boot+1)
	o.LeaseDrift = 50
	c.start(m, o)
}

// leaderOf returns the leader with a fresh lease.
func leaderOf(c *cluster) *member {
	c.t.Helper()
	if c.leader() == 0 {
		c.lead(1)
	}
	c.pass(200 * Millisecond)
	leader := c.nodes[c.leader()]
	if leader.core.leaseUntil() <= c.now {
		c.t.Fatalf("no lease after two heartbeats\n%s", c.describe())
	}
	return leader
}

// readNow asks for a read and lets the clock tick, at the same time, before the Drain. It reports
// whether the read is answered without a message.
func (c *cluster) readNow(m *member, id ReadID) bool {
	c.t.Helper()
	if err := m.core.ReadIndex(id); err != nil {
		c.t.Fatal(err)
	}
	m.core.Tick(c.now, c.clock)
	c.drain(m)
	_, ok := m.reads[id]
	return ok
}

func TestALeaderAnswersReadsUnderItsLeaseWithoutAMessage(t *testing.T) {
	c := leased(t, 3)
	leader := leaderOf(c)
	c.propose(leader.id, "x")
	c.deliver()
	if !c.readNow(leader, 1) || len(c.wire) != 0 || leader.reads[1] != leader.core.commit {
		t.Fatalf("reads %v, commit %d, sent %v", leader.reads, leader.core.commit, c.wire)
	}
	follower := c.nodes[2]
	if follower == leader {
		follower = c.nodes[3]
	}
	if err := follower.core.ReadIndex(2); err != nil {
		t.Fatal(err)
	}
	c.drain(follower)
	for _, m := range c.take(follower.id, leader.id) {
		leader.core.Step(&m)
	}
	leader.core.Tick(c.now, c.clock)
	c.drain(leader)
	if answers := c.take(leader.id, follower.id); len(answers) != 1 || len(c.wire) != 0 ||
		answers[0].Kind != ReadIndexResponse || answers[0].Match != leader.core.commit {
		t.Fatalf("a forwarded read is answered by %v, and %v", answers, c.wire)
	}
}

// Some reads are to be right whatever the clocks do, on the leader and through a follower.
func TestAReadByRoundIsNotAnsweredUnderTheLease(t *testing.T) {
	c := leased(t, 3)
	leader := leaderOf(c)
	follower := c.nodes[1+leader.id%3]
	for i, m := range []*member{leader, follower} {
		lease, round := ReadID(10*i+1), ReadID(10*i+2)
		for _, err := range []error{m.core.ReadIndex(lease), m.core.ReadByRound(round)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		c.drain(m)
		for _, asked := range c.take(follower.id, leader.id) {
			if !asked.Force {
				t.Fatalf("%s does not insist", asked.String())
			}
			leader.core.Step(&asked)
		}
		leader.core.Tick(c.now, c.clock)
		c.drain(leader)
		if _, ok := m.reads[round]; ok || len(c.wire) == 0 || c.sent(ReadIndexResponse, m.id) > 0 {
			t.Fatalf("answered without a round: %v, sent %v", m.reads, c.wire)
		}
		c.deliver()
		if m.reads[round] == 0 || m.reads[lease] == 0 {
			t.Fatalf("not answered: %v", m.reads)
		}
	}
	if err := follower.core.ReadIndex(30); err != nil {
		t.Fatal(err)
	}
	c.drain(follower)
	if asked := c.take(follower.id, leader.id); len(asked) != 1 || asked[0].Force {
		t.Fatalf("asked %v", asked)
	}
}

// M22: the promise may have been given any time between sending and hearing of it.
func TestALeaseCountsFromWhenTheRoundWasSent(t *testing.T) {
	c := leased(t, 3)
	leader := leaderOf(c)
	before := leader.core.leaseUntil()
	c.now = leader.core.Deadline()
	sent := c.now
	leader.core.Tick(c.now, c.clock)
	c.drain(leader) // a heartbeat leaves
	c.deliver()
	var answers []Message
	c.now += 300 * Millisecond
	leader.core.Tick(c.now, c.clock)
	c.drain(leader) // the next one leaves, and its answers take 700 ms
	sent = c.now
	for _, id := range c.ids {
		for _, m := range c.take(leader.id, id) {
			c.step(m)
			answers = append(answers, c.take(id, leader.id)...)
		}
	}
	c.now += 700 * Millisecond
	leader.core.Tick(c.now, c.clock)
	for _, m := range answers {
		leader.core.Step(&m)
	}
	o := leader.core.options
	want := sent + o.ElectionTimeout*1000/1050 - o.Heartbeat/10
	if got := leader.core.leaseUntil(); got != want || got <= before {
		t.Fatalf("lease until %d, want %d", got, want)
	}
	c.now = want - 1
	if !c.readNow(leader, 1) {
		t.Fatal("not answered within the lease")
	}
	c.now = want
	if c.readNow(leader, 2) {
		t.Fatal("answered after the lease")
	}
}

// A round that is repeated with later entries is as old as its first sending, and an answer to an
// older round says nothing of a newer one.
func TestARepeatedRoundAndARepeatedAnswerRenewNothing(t *testing.T) {
	c := leased(t, 2)
	leader := leaderOf(c)
	other := 3 - leader.id
	heard := func() (answer Message) {
		for _, m := range c.take(leader.id, other) {
			c.step(m)
		}
		for _, answer = range c.take(other, leader.id) {
			leader.core.Step(&answer)
		}
		return answer
	}
	beat := func() {
		c.now = leader.core.Deadline()
		leader.core.Tick(c.now, c.clock)
		c.drain(leader)
	}
	beat()
	answer := heard()
	until := leader.core.leaseUntil()
	c.now += 50 * Millisecond
	leader.core.Tick(c.now, c.clock)
	c.propose(leader.id, "x") // carries the same round
	leader.core.Step(&answer)
	if got := leader.core.leaseUntil(); got != until {
		t.Fatalf("an old round that is sent again moves the lease by %d ms", (got-until)/Millisecond)
	}
	c.deliver()
	beat()
	leader.core.Step(&answer)
	if got := leader.core.leaseUntil(); got != until {
		t.Fatalf("an old answer moves the lease by %d ms", (got-until)/Millisecond)
	}
	heard()
	if got := leader.core.leaseUntil(); got <= until {
		t.Fatal("the right answer does not move the lease")
	}
}

func TestALeaseIsRenewedOverALinkThatIsSlowerThanTheHeartbeat(t *testing.T) {
	c := leased(t, 2)
	leader := leaderOf(c)
	var flying [][]Message // answers arrive four heartbeats late
	for range 30 {
		c.now += 100 * Millisecond
		leader.core.Tick(c.now, c.clock)
		c.drain(leader)
		for _, m := range c.take(leader.id, 3-leader.id) {
			c.step(m)
		}
		flying = append(flying, c.take(3-leader.id, leader.id))
		if len(flying) > 4 {
			for _, m := range flying[0] {
				leader.core.Step(&m)
			}
			flying = flying[1:]
		}
	}
	if leader.core.leaseUntil() <= c.now {
		t.Fatalf("the lease ended %d ms ago", (c.now-leader.core.leaseUntil())/Millisecond)
	}
}

// The clock that a core knows may be old: the process slept since it was read.
func TestAReadIsAnsweredByATickThatComesAfterIt(t *testing.T) {
	c := leased(t, 3)
	leader := leaderOf(c)
	if err := leader.core.ReadIndex(1); err != nil {
		t.Fatal(err)
	}
	c.drain(leader)
	if len(leader.reads) != 0 || len(c.wire) != 2 {
		t.Fatalf("reads %v without a look at the clock, and %d messages", leader.reads, len(c.wire))
	}
	c.wire = nil
	c.now += 2 * Second
	if c.readNow(leader, 2) || len(leader.reads) != 0 {
		t.Fatal("answered after a pause that was longer than the lease")
	}
}

// newLeader elects n1, whose heartbeats nobody has answered yet, and sends one.
func newLeader(t *testing.T, n int) (c *cluster, leader *member) {
	c = leased(t, n)
	if c.leader() != 0 {
		c.lead2(1 + c.leader()%NodeID(n))
	} else {
		c.lead(1)
	}
	leader = c.nodes[c.leader()]
	c.now = leader.core.Deadline()
	leader.core.Tick(c.now, c.clock)
	c.drain(leader)
	return c, leader
}

func TestALeaseNeedsThePromisesOfAQuorum(t *testing.T) {
	for promise, want := range map[Instant]bool{
		0: false, Second - 1: false, Second: true, 2 * Second: true,
	} {
		c, leader := newLeader(t, 5)
		promises := []Instant{Second, promise, 0, 0}
		for _, id := range c.ids {
			for _, m := range c.take(leader.id, id) {
				leader.core.Step(&Message{Kind: AppendEntriesResponse, From: id, To: leader.id, Term: m.Term,
					Match: m.Prev.Index, Epoch: m.Epoch, Round: m.Round, Lease: promises[0]})
				promises = promises[1:]
			}
		}
		if got := leader.core.leaseUntil() > c.now; got != want {
			t.Errorf("promises of %d and %d ms: lease %t", Second/Millisecond, promise/Millisecond, got)
		}
	}
}

func TestALeaseNeedsBothHalvesOfAJointConfiguration(t *testing.T) {
	c := leased(t, 5)
	leader := leaderOf(c)
	other := func(n int) NodeID { return 1 + (leader.id+NodeID(n)-1)%5 }
	voters := ids(leader.id, other(1))
	if voters[0] > voters[1] {
		voters[0], voters[1] = voters[1], voters[0]
	}
	c.partition(other(1))
	c.pass(400 * Millisecond)
	before := leader.core.leaseUntil()
	if err := c.change(voters, nil); err != nil {
		t.Fatal(err)
	}
	if after := leader.core.leaseUntil(); after >= before {
		t.Fatalf("the new half has not promised lately, and the lease goes from %d to %d", before, after)
	}
}

// Mistake 18, M122: TimeoutNow makes voters break their promise, and may arrive late.
func TestATransferEndsTheLeaseForTheRestOfTheTerm(t *testing.T) {
	c := leased(t, 3)
	leader := leaderOf(c)
	target := 1 + leader.id%3
	c.cut[[2]NodeID{target, leader.id}] = true // its answers are lost
	c.propose(leader.id, "x")
	if err := leader.core.TransferLeadership(target); err != nil {
		t.Fatal(err)
	}
	if c.readNow(leader, 1) {
		t.Fatal("answered under a lease while leadership is being transferred")
	}
	c.pass(1200 * Millisecond)
	if leader.core.lead.transferee != 0 || !c.readNow(leader, 2) {
		t.Fatal("no lease after a transfer that never began")
	}
	c.heal()
	c.pass(200 * Millisecond)
	c.cut[[2]NodeID{leader.id, target}] = true // TimeoutNow is lost, for now
	if err := leader.core.TransferLeadership(target); err != nil {
		t.Fatal(err)
	}
	c.drain(leader)
	late := c.take(leader.id, target)
	c.heal()
	c.pass(3 * Second)
	if c.leader() != leader.id || leader.core.lead.transferee != 0 {
		t.Fatal(c.describe())
	}
	if c.readNow(leader, 3) {
		t.Fatal("a lease, while TimeoutNow is on its way")
	}
	for _, m := range late {
		c.step(m)
	}
	c.deliver()
	if c.leader() != target {
		t.Fatalf("a late TimeoutNow elects nobody: the case is void\n%s", c.describe())
	}
}

func TestANewTermBeginsWithoutALease(t *testing.T) {
	c, leader := newLeader(t, 3)
	if leader.core.leaseUntil() != 0 {
		t.Fatal("a lease before the first answer")
	}
	leader = leaderOf(c)
	c.step(Message{Kind: AppendEntries, From: 1 + leader.id%3, To: leader.id,
		Term: leader.core.hard.Term + 1, Epoch: 1})
	if leader.core.role != Follower || leader.core.leaseUntil() != 0 {
		t.Fatal("a lease without leadership")
	}
}

func TestALeaseDoesNotOpenTheGateForReads(t *testing.T) {
	c := leased(t, 1)
	leader := c.nodes[1]
	leader.slow = true
	c.restartLeased(1)
	c.sync(leader, 1)
	c.drain(leader) // leads; its first entry is not durable
	if leader.core.role != Leader || leader.core.leaseUntil() <= c.now {
		t.Fatal(c.describe())
	}
	if c.readNow(leader, 1) {
		t.Fatal("answered before an entry of the own term is committed")
	}
	c.sync(leader, 1)
	c.drain(leader)
	if _, ok := leader.reads[1]; !ok {
		t.Fatal("not answered at all")
	}
}

// promising is a cluster where n3 has just promised something to the leader n1 or n2, and a
// candidate of a newer term.
func promising(t *testing.T) (c *cluster, n3 *member, campaign func(MessageKind, bool) Message) {
	c = leased(t, 3)
	leaderOf(c)
	if c.leader() == 3 {
		c.lead2(1)
		c.pass(200 * Millisecond)
	}
	n3 = c.nodes[3]
	return c, n3, func(kind MessageKind, force bool) Message {
		return Message{Kind: kind, From: 3 - c.leader(), To: 3, Term: n3.core.hard.Term + 1,
			Prev: Pos{n3.core.hard.Term, 100}, Round: 1, Force: force}
	}
}

// granted reports whether a campaign's message is answered with a vote.
func (c *cluster) granted(m Message) bool {
	c.wire = nil
	c.step(m)
	answers := c.take(m.To, m.From)
	return len(answers) == 1 && !answers[0].Reject
}

func TestAPromiseOutlivesTheConnection(t *testing.T) {
	c, n3, campaign := promising(t)
	heard := c.now
	n3.core.Disconnected(n3.core.leader)
	if n3.core.Deadline() < heard+Second {
		t.Fatal("campaigns because a connection broke")
	}
	n3.core.heard = false
	for ; c.now < heard+Second; c.now += 100 * Millisecond {
		n3.core.Tick(c.now, c.clock)
		if c.granted(campaign(PreVote, false)) || c.granted(campaign(RequestVote, false)) {
			t.Fatalf("voted %d ms after the promise", (c.now-heard)/Millisecond)
		}
	}
	forced := campaign(RequestVote, true)
	n3.core.Tick(c.now+100*Millisecond, c.clock)
	if !c.granted(campaign(PreVote, false)) || !c.granted(forced) {
		t.Fatal("the promise never ends")
	}
}

func TestAForcedVoteOverridesAPromise(t *testing.T) {
	c, _, campaign := promising(t)
	if !c.granted(campaign(RequestVote, true)) {
		t.Fatal("a transfer is refused")
	}
}

// The newer term of a refused pre-vote, or of a response, frees nobody from what was promised.
func TestAPromiseOutlivesTheTerm(t *testing.T) {
	c, n3, campaign := promising(t)
	m := campaign(RequestVote, false)
	c.step(Message{Kind: AppendEntriesResponse, From: m.From, To: 3, Term: m.Term, Reject: true})
	if n3.core.hard.Term != m.Term {
		t.Fatal(c.describe())
	}
	if c.granted(m) {
		t.Fatal("voted in a newer term within the promise")
	}
	n3.core.electionDeadline = c.now
	n3.core.Tick(c.now, c.clock)
	if n3.core.role != Follower || n3.core.Deadline() <= c.now {
		t.Fatal("campaigns within its promise")
	}
}

func TestAPromiseOutlivesARestart(t *testing.T) {
	c, n3, campaign := promising(t)
	c.crash(3)
	c.restartLeased(3)
	c.now += 900 * Millisecond
	n3.core.Tick(c.now, c.clock)
	if c.granted(campaign(PreVote, false)) || c.granted(campaign(RequestVote, false)) ||
		n3.core.Deadline() < c.now+100*Millisecond {
		t.Fatal("votes or campaigns within an election time-out after its start")
	}
	c.now += 110 * Millisecond
	n3.core.Tick(c.now, c.clock)
	if !c.granted(campaign(RequestVote, false)) {
		t.Fatal("never votes again")
	}
}

// A message may be stepped long after the clock was read: the promise counts from the next look at
// it.
func TestAPromiseCountsFromTheNextLookAtTheClock(t *testing.T) {
	c, n3, campaign := promising(t)
	leader := c.nodes[c.leader()].core
	n3.core.Step(&Message{Kind: AppendEntries, From: leader.options.ID, To: 3, Term: leader.hard.Term,
		Prev: leader.log.last, Epoch: 1, Round: leader.lead.round + 1})
	c.now += 3 * Second // the process sleeps
	n3.core.Tick(c.now, c.clock)
	c.now += 900 * Millisecond
	n3.core.Tick(c.now, c.clock)
	if c.granted(campaign(RequestVote, false)) {
		t.Fatal("the promise was over before the node had looked at the clock")
	}
}

func TestAClusterWithLeasesReplacesALeaderThatIsGone(t *testing.T) {
	c := leased(t, 3)
	first := leaderOf(c).id
	c.crash(first)
	c.pass(5 * Second)
	if c.leader() == 0 {
		t.Fatal(c.describe())
	}
	c.restartLeased(first)
	c.pass(Second)
	c.propose(c.leader(), "x")
	c.pass(300 * Millisecond)
	c.expectApplied(first, "x")
}

func TestNobodyPromisesWithoutTheOption(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	answer := c.ask(Message{Kind: AppendEntries, From: 1, To: 3, Term: 2, Prev: Pos{2, 2},
		Epoch: 1, Round: 99})
	if answer.Lease != 0 || c.nodes[3].core.promised() || c.nodes[1].core.leaseUntil() != 0 {
		t.Fatal(answer.String())
	}
	o := testOptions(1, 1)
	for drift, ok := range map[int]bool{-1: false, 0: true, 1000: true, 1001: false} {
		o.LeaseDrift = drift
		if err := o.validate(); (err == nil) != ok {
			t.Errorf("drift %d: %v", drift, err)
		}
	}
}
