package raftcore

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// lagging is a cluster of three whose n3 misses twenty entries, which the leader n1 and n2 then
// compact up to the given index.
func lagging(t *testing.T, upTo Index) (c *cluster, want []string) {
	c = newCluster(t, 3)
	c.lead(1)
	c.pass(200 * Millisecond)
	c.partition(3)
	for i := range 20 {
		want = append(want, fmt.Sprint("x", i))
		c.propose(1, want[i])
		c.deliver()
	}
	c.pass(200 * Millisecond)
	c.compact(1, upTo)
	c.compact(2, upTo)
	return c, want
}

// peer is the leader's progress of a node.
func (c *cluster) peer(id NodeID) *progress { return c.nodes[c.leader()].core.lead.peer(id) }

// sent counts what kind of message is on the wire to a node.
func (c *cluster) sent(kind MessageKind, to NodeID) (n int) {
	for i := range c.wire {
		if c.wire[i].Kind == kind && c.wire[i].To == to {
			n++
		}
	}
	return n
}

// offer is an offer of a snapshot at a position of term 2, as the leader n1 makes it.
func (c *cluster) offer(to NodeID, id uint64, at Pos) Message {
	config := Config{Voters: ids(1, 2, 3)}
	return Message{Kind: InstallSnapshot, From: 1, To: to, Term: c.nodes[1].core.hard.Term, Epoch: 1,
		Snapshot: SnapshotMeta{ID: id, Pos: at, Stamp: 1000, Config: config, ConfigIndex: 1}}
}

func TestAPeerWhoseEntriesAreCompactedGetsASnapshotAndGoesOn(t *testing.T) {
	for _, upTo := range []Index{5, 10, 22} { // 22 is the last entry: no entry brings the peer on
		c, want := lagging(t, upTo)
		c.heal()
		c.pass(500 * Millisecond)
		c.expectApplied(3, want...)
		n3, p := c.nodes[3].core, c.peer(3)
		if p.state != replicating || p.match != 22 || n3.log.base.Index < upTo {
			t.Fatalf("compacted to %d: progress %s, match %d, n3 has %s..%s", upTo, p.state, p.match,
				n3.log.base, n3.log.last)
		}
		if got := n3.configs.current(); got.Pos.Index != 1 || len(n3.configs.stack) != 1 {
			t.Fatalf("n3 has configuration %v", n3.configs.stack)
		}
		c.crash(3)
		c.restart(3)
		c.propose(1, "y")
		c.pass(300 * Millisecond)
		c.expectApplied(3, append(want, "y")...)
	}
}

// Mistake 27: only setTerm moves the term; the snapshot's is that of a position.
func TestASnapshotOfAnOlderTermDoesNotMoveTheTerm(t *testing.T) {
	c, _ := lagging(t, 10)
	c.takeSnapshot(c.nodes[2])
	c.lead2(2)
	c.heal()
	c.pass(500 * Millisecond)
	if n3 := c.nodes[3].core; n3.hard.Term != c.nodes[2].core.hard.Term || n3.log.base.Term != 2 {
		t.Fatalf("n3 is in term %d after a snapshot at %s", n3.hard.Term, n3.log.base)
	}
}

func TestASnapshotIsAskedForOnceAndOfferedOncePerHeartbeat(t *testing.T) {
	c, _ := lagging(t, 10)
	c.files.manual = true
	c.heal()
	c.pass(500 * Millisecond)
	leader := c.nodes[1]
	if leader.snapshots.wanted != 1 {
		t.Fatalf("asked for %d times", leader.snapshots.wanted)
	}
	meta := c.takeSnapshot(leader)
	for beat := range 3 {
		for range 5 { // Drains between two heartbeats
			leader.core.ReadIndex(1)
			c.drain(leader)
		}
		if n := c.sent(InstallSnapshot, 3); n != 1 {
			t.Fatalf("heartbeat %d: %d offers", beat, n)
		}
		for _, m := range c.take(1, 3) {
			if m.Kind == AppendEntries && m.Prev != (Pos{}) {
				t.Fatalf("%s asks for what is compacted", m.String())
			}
		}
		c.wire = nil
		c.now = leader.core.Deadline()
		leader.core.Tick(c.now, c.clock)
	}
	c.drain(leader)
	if m := c.take(1, 3); len(m) != 1 || m[0].Snapshot.ID != meta.ID || m[0].Snapshot.Pos != meta.Pos {
		t.Fatalf("offered %v, taken %v", m, meta)
	}
	if leader.snapshots.wanted != 1 {
		t.Fatalf("asked for %d times", leader.snapshots.wanted)
	}
}

func TestNoSnapshotIsTakenForAPeerThatIsGone(t *testing.T) {
	c, want := lagging(t, 2)
	leader := c.nodes[1]
	c.peer(3).becomeProbing(3)
	c.pass(2 * Second)
	c.compact(1, 10)
	c.pass(2 * Second)
	expect(t, "state", c.peer(3).state, snapshotting)
	expect(t, "asked for while nobody is there who could have it", leader.snapshots.wanted, 0)
	c.heal()
	c.pass(500 * Millisecond)
	expect(t, "asked for", leader.snapshots.wanted, 1)
	c.expectApplied(3, want...)
}

// Mistake 54, M27: one failure, wherever it is, does not end the attempts.
func TestWhatFailedIsTriedAgain(t *testing.T) {
	c, want := lagging(t, 10)
	c.files.manual = true
	c.heal()
	c.pass(300 * Millisecond)
	leader, follower := c.nodes[1], c.nodes[3]
	leader.core.SnapshotFailed(1)
	c.drain(leader)
	if leader.snapshots.wanted != 1 {
		t.Fatal("asked again at once: a failure that comes at once would keep the node busy")
	}
	c.pass(100 * Millisecond)
	if leader.snapshots.wanted != 2 {
		t.Fatalf("taking failed, and was asked for %d times", leader.snapshots.wanted)
	}
	c.takeSnapshot(leader)
	c.pass(200 * Millisecond)
	first := follower.snapshots
	if first.fetches != 1 || first.fetch.Meta.ID != 1 || first.fetch.From != 1 {
		t.Fatalf("n3 fetches %+v", first)
	}
	follower.core.SnapshotFailed(1)
	c.pass(200 * Millisecond)
	if follower.snapshots.fetches != 2 {
		t.Fatal("fetching failed, and is not tried again")
	}
	newer := c.takeSnapshot(leader)
	leader.core.SnapshotFailed(3)
	c.pass(200 * Millisecond)
	if got := follower.snapshots.fetch.Meta.ID; got != newer.ID {
		t.Fatalf("streaming failed, and snapshot %d is fetched, not %d", got, newer.ID)
	}
	follower.core.SnapshotFetched(newer)
	c.pass(200 * Millisecond)
	c.expectApplied(3, want...)
}

func TestTheNewestSnapshotCountsUntilTheCallerHoldsNone(t *testing.T) {
	c, _ := lagging(t, 10)
	c.files.manual = true
	leader := c.nodes[1]
	newest := c.takeSnapshot(leader)
	older := newest
	older.ID, older.Pos.Index = 77, 12
	leader.core.SnapshotTaken(older)
	var s Status
	if leader.core.Status(&s); s.Snapshot.ID != newest.ID {
		t.Fatalf("snapshot %d counts", s.Snapshot.ID)
	}
	leader.core.SnapshotTaken(SnapshotMeta{})
	c.heal()
	c.pass(200 * Millisecond)
	if leader.snapshots.wanted != 1 || c.nodes[3].snapshots.fetches != 0 {
		t.Fatalf("wanted %d, fetched %d", leader.snapshots.wanted, c.nodes[3].snapshots.fetches)
	}
}

// What comes late from before the snapshot does not change what is offered.
func TestALateRejectionDoesNotRestartASnapshot(t *testing.T) {
	c, _ := lagging(t, 10)
	c.files.manual = true
	c.heal()
	first := c.takeSnapshot(c.nodes[1])
	c.pass(200 * Millisecond)
	c.propose(1, "y")
	c.deliver()
	c.takeSnapshot(c.nodes[1])
	for _, reject := range []bool{true, false} {
		c.nodes[1].core.Step(&Message{Kind: AppendEntriesResponse, From: 3, To: 1, Term: 2,
			Prev: Pos{2, 12}, Reject: reject, Hint: Pos{2, 11}, Epoch: 1})
		c.drain(c.nodes[1])
		if p := c.peer(3); p.state != snapshotting || p.snapshot.ID != first.ID {
			t.Fatalf("%s, offered %d", p.state, p.snapshot.ID)
		}
	}
}

// A receiver that is slow must not be offered something newer each time: it would never finish.
func TestTheSameSnapshotIsOfferedWhileItIsUsable(t *testing.T) {
	c, _ := lagging(t, 10)
	c.files.manual = true
	c.heal()
	leader, follower := c.nodes[1], c.nodes[3]
	c.takeSnapshot(leader) // 1, at the last entry
	c.pass(200 * Millisecond)
	c.propose(1, "y")
	c.deliver()
	c.takeSnapshot(leader) // 2
	c.pass(300 * Millisecond)
	if got := follower.snapshots.fetch.Meta.ID; got != 1 {
		t.Fatalf("snapshot %d is fetched", got)
	}
	c.compact(1, 23) // past what is on its way
	c.pass(200 * Millisecond)
	if got := follower.snapshots.fetch.Meta.ID; got != 2 || leader.snapshots.wanted != 0 {
		t.Fatalf("snapshot %d is fetched, %d wanted", got, leader.snapshots.wanted)
	}
	c.propose(1, "z")
	c.deliver()
	c.compact(1, 24)
	c.pass(200 * Millisecond)
	if leader.snapshots.wanted != 1 {
		t.Fatal("nothing usable is left, and no new snapshot is asked for")
	}
}

func TestTheLogIsHeldForAPeerWithASnapshotUntilItHasCaughtUp(t *testing.T) {
	c, _ := lagging(t, 10)
	c.files.manual = true
	leader, follower := c.nodes[1], c.nodes[3]
	var s Status
	held := func(want Index) {
		t.Helper()
		if leader.core.Status(&s); s.Held != want {
			t.Fatalf("held %d, want %d", s.Held, want)
		}
	}
	held(0)
	c.heal()
	c.pass(200 * Millisecond)
	held(10) // being taken: what is compacted now could make it useless
	meta := c.takeSnapshot(leader)
	held(22)
	c.pass(100 * Millisecond)
	held(22)
	leader.core.SnapshotFailed(3)
	held(22) // the next attempt will be with the same
	c.pass(100 * Millisecond)
	for range 5 {
		c.propose(1, "y")
		c.deliver()
	}
	held(22)
	follower.slow = true
	follower.core.SnapshotFetched(meta)
	c.drain(follower)
	c.sync(follower, 1)
	c.deliver()
	held(22) // replicating, behind
	follower.slow = false
	c.sync(follower, len(follower.writes))
	c.pass(100 * Millisecond)
	held(0)
	if s.Peers[1].State != "replicating" || s.Peers[1].Match != 27 {
		t.Fatalf("%+v", s.Peers[1])
	}
}

// Mistakes 53 and 55: the answer is what the log says, and an offer of what it holds installs
// nothing.
func TestAnOfferOfWhatTheLogHoldsInstallsNothing(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.propose(1, "x")
	c.deliver()
	c.pass(100 * Millisecond)
	n3 := c.nodes[3]
	n3.core.Step(&Message{Kind: AppendEntries, From: 1, To: 3, Term: 2, Prev: Pos{2, 3}, Epoch: 1,
		Entries: []Entry{{Pos: Pos{2, 4}, Kind: EntryNormal, Stamp: 1000, Data: []byte("y")}}})
	c.drain(n3)
	c.wire = nil
	for _, at := range []Index{2, 3, 4} {
		offer := c.offer(3, 9, Pos{2, at})
		offer.Round = uint64(100 + at)
		answer := c.ask(offer)
		if answer.Kind != InstallSnapshotResponse || answer.Match != max(at, 3) || answer.Reject ||
			answer.Round != offer.Round || answer.Snapshot.ID != 9 || answer.Epoch != 1 {
			t.Fatalf("an offer at %d is answered %s", at, answer.String())
		}
	}
	if n3.snapshots.fetches != 0 || n3.core.commit != 4 || n3.core.log.base.Index != 0 {
		t.Fatalf("%d fetches, commit %d", n3.snapshots.fetches, n3.core.commit)
	}
}

func TestAnOfferIsAnsweredWithWhatIsDurable(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(100 * Millisecond)
	n3 := c.nodes[3]
	n3.slow = true
	c.step(Message{Kind: AppendEntries, From: 1, To: 3, Term: 2, Prev: Pos{2, 2}, Epoch: 1,
		Entries: entriesOf(3, 2)})
	answer := c.ask(c.offer(3, 9, Pos{2, 3}))
	expect(t, "commit", n3.core.commit, 3)
	expect(t, "match", answer.Match, 2)
}

func TestAnOfferThatSaysNothingUsefulIsNotFetched(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(100 * Millisecond)
	nameless, senseless := c.offer(3, 0, Pos{2, 9}), c.offer(3, 9, Pos{2, 9})
	senseless.Snapshot.Config = Config{}
	for _, offer := range []Message{nameless, senseless} {
		expect(t, "match", c.ask(offer).Match, 2)
		expect(t, "fetches", c.nodes[3].snapshots.fetches, 0)
	}
}

func TestAnOfferOfAnOlderTermIsToldTheTerm(t *testing.T) {
	c, n3, offer := offered(t)
	offer.Term = 2
	answer := c.ask(offer)
	expect(t, "rejected", answer.Reject, true)
	expect(t, "term", answer.Term, 3)
	expect(t, "fetches", n3.snapshots.fetches, 0)
}

func TestASnapshotAtACommittedIndexOfAnotherTermStopsTheNode(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(1)
	c.pass(100 * Millisecond)
	defer func() {
		r := fmt.Sprint(recover())
		if !strings.Contains(r, "snapshot at 2@1, committed entry has term 2") {
			t.Fatal(r)
		}
	}()
	offer := c.offer(3, 9, Pos{1, 2})
	c.nodes[3].core.Step(&offer)
}

// offered makes n3 a follower with a log of an old leader that nobody else has, to which n1, leader
// of term 4, has offered a snapshot at 22@2. The log ends in a configuration that was never
// committed.
func offered(t *testing.T) (c *cluster, n3 *member, offer Message) {
	c = newCluster(t, 3)
	c.files.manual = true
	n3 = c.nodes[3]
	c.give(3, HardState{Term: 3}, append([]Term{1, 2}, slices.Repeat([]Term{3}, 30)...)...)
	last := &n3.entries[len(n3.entries)-1]
	last.Kind, last.Data = EntryConfig, EncodeConfig(Config{Voters: ids(3, 4, 5)})
	c.restart(3)
	offer = c.offer(3, 9, Pos{2, 22})
	offer.Term = 4
	offer.Snapshot.Config.Learners, offer.Snapshot.ConfigIndex = ids(7), 17
	return c, n3, offer
}

// Mistakes 42, 49 and 56: nothing of a log that differs at the snapshot's position is left, least
// of all a configuration that was never committed.
func TestAnInstalledSnapshotReplacesTheLogAndItsConfigurations(t *testing.T) {
	c, n3, offer := offered(t)
	answer := c.ask(offer)
	expect(t, "match while fetching", answer.Match, 0)
	expect(t, "fetches", n3.snapshots.fetches, 1)
	f := n3.snapshots.fetch
	if f.From != 1 || f.Term != 4 || f.Meta.ID != 9 || f.Meta.ConfigIndex != 17 {
		t.Fatalf("fetches %+v", f)
	}
	offer.Epoch, offer.Round = 5, 8
	answer = c.ask(offer)
	expect(t, "fetches after the same offer again", n3.snapshots.fetches, 1)
	n3.core.SnapshotFetched(offer.Snapshot)
	n3.core.Drain(&n3.effects)
	if state := n3.effects.State; state == nil || !slices.Equal(state.Config.Learners, ids(7)) {
		t.Fatalf("announced %v", state)
	}
	c.perform(n3, &n3.effects)
	c.drain(n3)
	answers := c.take(3, 1)
	expect(t, "answers", len(answers), 1)
	expect(t, "match", answers[0].Match, 22)
	expect(t, "epoch", answers[0].Epoch, 5)
	expect(t, "round", answers[0].Round, 8)
	core := n3.core
	if core.log.base != (Pos{2, 22}) || core.log.last != core.log.base || core.commit != 22 ||
		core.applied != 22 || core.log.lastStamp != 1000 || len(core.log.tail) != 0 {
		t.Fatalf("log %s..%s, commit %d, applied %d", core.log.base, core.log.last, core.commit,
			core.applied)
	}
	stack := core.configs.stack
	voters := stack[0].Config.Voters
	if len(stack) != 1 || stack[0].Pos.Index != 17 || !slices.Equal(voters, ids(1, 2, 3)) {
		t.Fatalf("configurations %v", stack)
	}
	c.step(Message{Kind: AppendEntries, From: 1, To: 3, Term: 4, Prev: Pos{2, 22}, Epoch: 1, Round: 5,
		Entries: entriesOf(23, 4, 4), Commit: 24})
	expect(t, "applied", n3.applied, 24)
}

// Mistake 48: a crash before the Write is durable leaves the old log and state, one after it the
// new.
func TestNothingIsClaimedOrAppliedBeforeAnInstalledSnapshotIsDurable(t *testing.T) {
	c, n3, offer := offered(t)
	n3.slow = true
	c.step(offer)
	c.sync(n3, len(n3.writes))
	c.wire = nil
	n3.core.SnapshotFetched(offer.Snapshot)
	c.drain(n3)
	w := n3.writes[0]
	if s := w.Snapshot; s == nil || s.ID != 9 || len(w.Append) != 0 || w.TruncateFrom != 0 || !w.Sync {
		t.Fatalf("wrote %+v", w)
	}
	c.step(offer)
	c.step(Message{Kind: AppendEntries, From: 1, To: 3, Term: 4, Prev: Pos{2, 22}, Epoch: 1, Round: 5,
		Entries: entriesOf(23, 4), Commit: 23})
	c.step(Message{Kind: AppendEntries, From: 1, To: 3, Term: 4, Prev: Pos{3, 22}, Epoch: 1, Round: 6})
	for _, m := range c.wire {
		if m.Match > 0 {
			t.Fatalf("%s is claimed before it is durable", m.String())
		}
	}
	expect(t, "signs of life while an install takes its time", len(c.take(3, 1)), 3)
	expect(t, "applied", n3.core.applying, 22)
	crashed := *n3
	c.sync(n3, 1)
	c.drain(n3)
	expect(t, "claimed once it is durable", c.take(3, 1)[0].Match, 22)
	expect(t, "applied", n3.core.applying, 22)
	c.sync(n3, 1)
	c.drain(n3)
	expect(t, "applied", n3.core.applying, 23)

	*n3 = crashed
	c.crash(3)
	c.restart(3)
	expect(t, "last entry after a crash before", n3.core.log.last, Pos{3, 32})
	expect(t, "configuration after a crash before", n3.core.configs.current().Pos.Index, 32)
}

// The log may get there while the snapshot is on its way. Then it holds entries that were
// acknowledged.
func TestALogThatHoldsTheSnapshotsPositionIsNotReplaced(t *testing.T) {
	c, n3, offer := offered(t)
	c.step(offer)
	c.step(Message{Kind: AppendEntries, From: 1, To: 3, Term: 4, Prev: Pos{2, 2}, Epoch: 1, Round: 5,
		Entries: entriesOf(3, slices.Repeat([]Term{2}, 28)...)})
	n3.core.SnapshotFetched(offer.Snapshot)
	c.drain(n3)
	if n3.core.log.last != (Pos{2, 30}) || n3.core.log.base.Index != 0 || n3.snapshots.fetches != 2 {
		t.Fatalf("log %s..%s, %d fetches", n3.core.log.base, n3.core.log.last, n3.snapshots.fetches)
	}
}

// A write that was in flight makes nothing durable any more, whatever index it ended at.
func TestWritesInFlightBringNothingAfterAnInstall(t *testing.T) {
	c, n3, offer := offered(t)
	n3.slow = true
	c.step(Message{Kind: AppendEntries, From: 2, To: 3, Term: 3, Prev: Pos{3, 32}, Epoch: 1, Round: 1,
		Entries: entriesOf(33, 3, 3)})
	c.step(offer)
	n3.core.SnapshotFetched(offer.Snapshot)
	c.drain(n3)
	c.sync(n3, 1)
	c.drain(n3)
	expect(t, "stable", n3.core.log.stable, 22)
	c.sync(n3, len(n3.writes))
	c.drain(n3)
	expect(t, "last on disk", n3.base.Pos, Pos{2, 22})
}

// Mistake 50: an install never overtakes what is at the applier, and nothing more is handed to it.
func TestASnapshotIsInstalledOnceTheApplierIsIdle(t *testing.T) {
	c, n3, offer := offered(t)
	c.step(offer)
	core := n3.core
	core.commitTo(4) // say the leader's logs agree that far
	var e Effects
	core.Drain(&e)
	expect(t, "handed out", e.Apply, Range{1, 4})
	core.commitTo(6)
	core.SnapshotFetched(offer.Snapshot)
	for core.Drain(&e) {
	}
	if e.Write != nil || !e.Apply.Empty() {
		t.Fatalf("wrote %v, handed out %v, while 1..4 is being applied", e.Write, e.Apply)
	}
	core.Applied(3)
	if core.Drain(&e); e.Write != nil {
		t.Fatal("installed while 4 is being applied")
	}
	core.Applied(4)
	if core.Drain(&e); e.Write == nil || e.Write.Snapshot == nil {
		t.Fatal("not installed")
	}
}

// Mistake 40: the leader of the term knows better than the node who is a member.
func TestANodeInNoConfigurationTakesTheSnapshotOfItsTermsLeader(t *testing.T) {
	c, want := lagging(t, 15)
	c.heal()
	c.pass(300 * Millisecond)
	c.add(4)
	if err := c.change(ids(1, 2, 3), ids(4)); err != nil {
		t.Fatal(err)
	}
	c.pass(300 * Millisecond)
	c.expectApplied(4, want...)
	n4 := c.nodes[4].core
	if !slices.Equal(n4.config().Learners, ids(4)) || n4.log.base.Index == 0 {
		t.Fatalf("n4 has %v, log after %s", *n4.config(), n4.log.base)
	}
	if err := c.change(ids(1, 2, 3, 4), nil); err != nil {
		t.Fatal(err)
	}
}

// Mistake 52: what was fetched for a term or a leader that is gone is not installed.
func TestATermOrLeaderChangeAbortsAFetch(t *testing.T) {
	newer := Message{Kind: AppendEntries, From: 2, To: 3, Term: 5, Epoch: 1}
	for name, end := range map[string]func(*cluster, *Core){
		"a newer term":              func(c *cluster, core *Core) { c.step(newer) },
		"a campaign of its own":     func(c *cluster, core *Core) { c.campaign(3) },
		"the log got there anyhow":  func(c *cluster, core *Core) { core.commitTo(30) },
		"a vote for somebody else":  func(c *cluster, core *Core) { core.heard = false; c.step(vote5) },
		"another leader's snapshot": func(c *cluster, core *Core) { core.Step(&newer) },
	} {
		c, n3, offer := offered(t)
		c.step(offer)
		n3.core.SnapshotFetched(SnapshotMeta{ID: 8, Pos: offer.Snapshot.Pos}) // of another
		if n3.core.fetch.staged {
			t.Fatal("another snapshot's end counts")
		}
		end(c, n3.core)
		n3.core.SnapshotFetched(offer.Snapshot) // too late
		c.drain(n3)
		var s Status
		n3.core.Status(&s)
		if f := n3.snapshots; f.fetches != 2 || f.fetch.Meta.ID != 0 || s.Fetching != 0 ||
			n3.core.log.last != (Pos{3, 32}) {
			t.Errorf("%s: %d fetches, of %d at last, log ends at %s", name, f.fetches, f.fetch.Meta.ID,
				n3.core.log.last)
		}
	}
}

var vote5 = Message{Kind: RequestVote, From: 2, To: 3, Term: 5, Prev: Pos{3, 40}}

func TestALateOldOfferDoesNotReplaceANewerOne(t *testing.T) {
	c, n3, offer := offered(t)
	newer := offer
	newer.Snapshot.ID, newer.Snapshot.Pos.Index = 10, 24
	c.step(offer)
	c.step(newer)
	expect(t, "fetched", n3.snapshots.fetch.Meta.ID, 10)
	n3.core.SnapshotFetched(newer.Snapshot)
	c.step(offer)
	expect(t, "fetches", n3.snapshots.fetches, 2)
	expect(t, "installed", n3.core.log.base.Index, 24)
}

func TestAnOfferIsASignOfLifeAndItsAnswerConfirmsReads(t *testing.T) {
	c, _ := lagging(t, 15)
	c.files.manual = true
	c.crash(2)
	c.heal()
	leader := c.nodes[1]
	c.pass(100 * Millisecond)
	c.takeSnapshot(leader)
	term := leader.core.hard.Term
	c.pass(5 * Second) // only n3 is there, and its snapshot never arrives
	if c.leader() != 1 || leader.core.hard.Term != term || c.nodes[3].core.leader != 1 {
		t.Fatalf("n3 waits for a snapshot, and that costs the leadership\n%s", c.describe())
	}
	if p := leader.core.lead.peer(3); p.round != leader.core.lead.round {
		t.Fatalf("round %d of %d is echoed", p.round, leader.core.lead.round)
	}
	if err := leader.core.ReadIndex(5); err != nil {
		t.Fatal(err)
	}
	c.drain(leader)
	c.deliver()
	if _, ok := leader.reads[5]; !ok {
		t.Fatal("a voter that waits for a snapshot confirms no reads")
	}
}

// Mistake 26: a compacted position has no term, on no side.
func TestEntriesThatAreCompactedWhileTheyAreLoadedEndInASnapshot(t *testing.T) {
	c, want := lagging(t, 2)
	leader := c.nodes[1].core
	leader.log.evict(0, 22)
	p := leader.lead.peer(3)
	p.becomeProbing(10)
	var e Effects
	leader.Drain(&e)
	if len(e.Load) != 1 {
		t.Fatalf("load %v", e.Load)
	}
	request := e.Load[0]
	c.compact(1, 15)
	leader.Loaded(request, nil)
	c.heal()
	c.drain(c.nodes[1])
	expect(t, "state", p.state, snapshotting)
	c.pass(500 * Millisecond)
	c.expectApplied(3, want...)
}

// Mistake 25: entries before the commit index agree by Leader Completeness, held or not.
func TestAnAppendFromBeforeTheCompactedPrefixIsSkippedUpToTheCommitIndex(t *testing.T) {
	c, want := lagging(t, 15)
	n2 := c.nodes[2]
	answer := c.ask(Message{Kind: AppendEntries, From: 1, To: 2, Term: 2, Prev: Pos{1, 1}, Epoch: 1,
		Round: 1000, Entries: entriesOf(2, slices.Repeat([]Term{2}, 10)...)})
	expect(t, "match", answer.Match, 22)
	expect(t, "rejected", answer.Reject, false)
	answer = c.ask(Message{Kind: AppendEntries, From: 1, To: 2, Term: 2, Prev: Pos{0, 40}, Epoch: 1,
		Round: 1001})
	expect(t, "a position of term 0 beyond the log is rejected", answer.Reject, true)
	expect(t, "match in a rejection", answer.Match, 22)
	c.expectApplied(2, want...)
	expect(t, "last entry", n2.core.log.last.Index, 22)
}

// Mistake 54: whatever the leader has compacted, and whatever the follower's log is, it is
// repaired.
func TestEveryFollowerIsRepairedByEveryPurgedLeader(t *testing.T) {
	for base := Index(0); base <= 8; base++ {
		for held := 1; held <= 8; held++ {
			for junk := 0; junk <= 8 && (junk == 0 || held <= 5); junk += 2 { // terms never decrease
				repaired(t, base, held, junk)
			}
		}
	}
}

// repaired lets n2, with entries 1..8 compacted up to base, repair n3, which holds the first few of
// them and then entries of a term that nobody committed.
func repaired(t *testing.T, base Index, held, junk int) {
	terms := []Term{1, 2, 2, 3, 3, 5, 5, 5}
	c := newCluster(t, 3)
	c.crash(1)
	c.give(2, HardState{Term: 5}, terms...)
	mine := append(slices.Clone(terms[:held]), slices.Repeat([]Term{4}, junk)...)
	c.give(3, HardState{Term: 5}, mine...)
	n2 := c.nodes[2].core
	n2.commitTo(8)
	c.drain(c.nodes[2])
	if base > 0 {
		c.compact(2, base)
	}
	c.lead(2)
	c.pass(400 * Millisecond)
	if got, want := c.nodes[3].core.log.last, n2.log.last; got != want || n2.commit != want.Index {
		t.Fatalf("base %d, %d held, %d of nobody: n3 ends at %s, n2 at %s\n%s", base, held, junk,
			got, want, c.describe())
	}
}

// Every field that decides what a core does next is in its fingerprint and in its copy.
func TestCloneAndFingerprintKnowSnapshotsAndLeases(t *testing.T) {
	c, _ := lagging(t, 15)
	c.files.manual = true
	c.heal()
	c.pass(200 * Millisecond)
	leader := c.nodes[1].core
	before := leader.Fingerprint()
	for name, change := range map[string]func(*Core){
		"taken":       func(c *Core) { c.taken.ID++ },
		"taking":      func(c *Core) { c.taking = !c.taking },
		"fetch":       func(c *Core) { c.fetch.Meta.Pos.Index++ },
		"from":        func(c *Core) { c.fetch.From++ },
		"fetch term":  func(c *Core) { c.fetch.Term++ },
		"epoch":       func(c *Core) { c.fetch.offer.epoch++ },
		"round":       func(c *Core) { c.fetch.offer.round++ },
		"staged":      func(c *Core) { c.fetch.staged = true },
		"changed":     func(c *Core) { c.fetchChanged = true },
		"install":     func(c *Core) { c.installSeq++ },
		"promise":     func(c *Core) { c.promisedUntil++ },
		"fresh":       func(c *Core) { c.promiseFresh = true },
		"forced":      func(c *Core) { c.lead.forced = true },
		"offered":     func(c *Core) { c.lead.peers[1].offered = !c.lead.peers[1].offered },
		"snapshot":    func(c *Core) { c.lead.peers[1].snapshot.ID++ },
		"catch up":    func(c *Core) { c.lead.peers[1].catchUp++ },
		"lease round": func(c *Core) { c.lead.peers[1].leaseRound++ },
		"lease sent":  func(c *Core) { c.lead.peers[1].leaseSent++ },
		"leased":      func(c *Core) { c.lead.peers[1].leased++ },
	} {
		d := leader.Clone()
		if d.Fingerprint() != before {
			t.Fatal("a copy has another fingerprint")
		}
		change(d)
		if d.Fingerprint() == before {
			t.Errorf("%s is not in the fingerprint", name)
		}
		if leader.Fingerprint() != before {
			t.Fatalf("%s is shared with the copy", name)
		}
	}
}
