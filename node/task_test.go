package node

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// wants hands a node what a person wants, as Admin does.
func (m *member) wants(r op.AdminRequest) *task {
	t := &task{request: r, answer: make(chan taskAnswer, 1)}
	if m.node.tasks.put(t, 1, 0) != putAccepted {
		m.c.t.Fatal("too many tasks")
	}
	return t
}

// answered waits for the answer of a task.
func (c *cluster) answered(t *task) (a taskAnswer) {
	c.t.Helper()
	c.until("an answer", func() bool {
		select {
		case a = <-t.answer:
			return true
		default:
			return false
		}
	})
	return a
}

// done waits for a task and wants it to have succeeded.
func (c *cluster) done(t *task) op.AdminReply {
	c.t.Helper()
	a := c.answered(t)
	if a.err != nil {
		c.t.Fatalf("%s: %v", t.request.Action, a.err)
	}
	return a.reply
}

// refused waits for a task and wants it to be refused with these words.
func (c *cluster) refused(t *task, words ...string) {
	c.t.Helper()
	a := c.answered(t)
	for _, word := range words {
		if a.err == nil || !strings.Contains(a.err.Error(), word) {
			c.t.Errorf("%s: %+v, %v does not say %q", t.request.Action, a.reply, a.err, word)
		}
	}
}

func (m *member) nameOf() string { return m.self().Name }

func TestRemoveAFollower(t *testing.T) {
	c := newTownship(t, 3, nil)
	gone := c.follower()
	c.pass(time.Second)
	leader := c.leader()
	reply := c.done(leader.wants(op.AdminRequest{Action: op.MemberRemove, Name: gone.nameOf()}))
	if !strings.Contains(reply.Text, "2 voters") || reply.Index == 0 {
		t.Errorf("%+v", reply)
	}
	config := leader.node.config
	if len(config.Voters) != 2 || config.Joint() || config.IsMember(gone.id) {
		t.Errorf("%+v", config)
	}
	c.pass(2 * time.Second)
	if retired := leader.storage.state.retired; len(retired) != 1 ||
		retired[0].ID != uint64(gone.id) || retired[0].Index != reply.Index {
		t.Errorf("retired %+v, removed at %d", retired, reply.Index)
	}
	if gone.node.leading() {
		t.Error("a node that was removed leads")
	}
}

// A leader that removes itself may append what it had numbered behind the configuration without it.
// That is not executed anywhere; so it is no reason to stop, and its client hears that nobody knows.
func TestProposalBehindTheOwnRemoval(t *testing.T) {
	c := newCluster(t, 3, nil)
	old := c.leader()
	c.pass(time.Second)
	const busy = 1 << 40
	old.node.writerBytes.Add(busy)
	late := old.incr("k", 1)
	c.pass(10 * time.Millisecond)
	if old.node.origin.window.len() != 1 || old.node.origin.sent != 0 {
		t.Fatalf("%d are numbered, %d sent", old.node.origin.window.len(), old.node.origin.sent)
	}
	without := func() bool { s := old.status(); return !s.Config.IsMember(old.id) }
	old.wants(op.AdminRequest{Action: op.MemberRemove, Name: old.nameOf()})
	c.network.drop = func(d *delivery) bool { return d.to == old.id && without() }
	c.until("a configuration without the leader", without)
	before := old.status().Last.Index
	old.node.writerBytes.Add(-busy)
	c.until("the proposal behind it", func() bool { return old.status().Last.Index > before })
	c.heal()
	c.until("the end", func() bool { return late.resolved > 0 || old.node.Err() != nil })
	if err := old.node.Err(); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(late.err, op.ErrUncertain) || len(late.results) != 0 {
		t.Errorf("%v, %v", late.results, late.err)
	}
	if old.storage.state.applied <= before || old.storage.value("k") != 0 {
		t.Errorf("applied %d of %d, k = %d", old.storage.state.applied, before, old.storage.value("k"))
	}
	c.until("the news", func() bool { return old.node.Removal() != nil })
}

// A node that finds its removal in its log when it starts numbers nothing: its clients hear that nothing
// was done, and find another node.
func TestStartWithTheOwnRemovalInTheLog(t *testing.T) {
	c := newCluster(t, 3, nil)
	old := c.leader()
	c.pass(time.Second)
	without := func() bool { s := old.status(); return !s.Config.IsMember(old.id) }
	c.network.drop = func(d *delivery) bool { return d.to == old.id && without() }
	old.wants(op.AdminRequest{Action: op.MemberRemove, Name: old.nameOf()})
	c.until("a configuration without the leader", without)
	old.crash(100)
	c.isolate(old.id)
	old.start()
	if !without() || old.node.Removal() != nil {
		t.Fatal("the removal is not in the log, or is committed")
	}
	x := old.incr("k", 1)
	c.pass(time.Second)
	if !errors.Is(x.err, op.ErrStopping) {
		t.Errorf("resolved %d times, %v", x.resolved, x.err)
	}
}

// The leader goes like everybody else: the change is committed without it, another one leads, and
// what its clients had proposed before is not lost.
func TestRemoveTheLeader(t *testing.T) {
	c := newTownship(t, 3, nil)
	old := c.leader()
	c.pass(time.Second)
	before := old.incr("k", 1)
	task := old.wants(op.AdminRequest{Action: op.MemberRemove, Name: old.nameOf()})
	c.done(task)
	late := old.incr("k", 1)
	c.until("another leader", func() bool {
		return slices.ContainsFunc(c.members, func(m *member) bool { return m != old && m.node.leading() })
	})
	c.until("the end of the clients", func() bool { return before.resolved+late.resolved == 2 })
	if before.err != nil || !errors.Is(late.err, op.ErrStopping) {
		t.Errorf("%v, %v", before.err, late.err)
	}
	c.until("the old one knows", func() bool { return old.node.Removal() != nil })
	if err := old.node.Removal(); !errors.Is(err, ErrRemoved) || !strings.Contains(err.Error(), "index") {
		t.Errorf("%v", err)
	}
	select {
	case <-old.node.Removed():
	default:
		t.Error("Removed is open")
	}
	c.members = slices.DeleteFunc(c.members, func(m *member) bool { return m == old })
	c.pass(time.Second)
	c.same()
	if got := c.leader().storage.value("k"); got != 1 {
		t.Errorf("k is %d", got)
	}
}

func TestReplaceADeadVoter(t *testing.T) {
	c := newTownship(t, 3, nil)
	dead := c.follower()
	c.asksToJoin(6, "", wire.JoinLearner)
	c.pass(2 * time.Second)
	dead.crash(0)
	c.pass(2 * time.Second)
	c.done(c.leader().wants(op.AdminRequest{Action: op.MemberReplace, Name: dead.nameOf(), With: "n6"}))
	config := c.config()
	if len(config.Voters) != 3 || !config.IsVoter(6) || config.IsMember(dead.id) || config.Joint() {
		t.Errorf("%+v", config)
	}
	if changes := c.leader().configs(); len(changes) != 4 { // founders, learner, joint, final
		t.Errorf("%d configurations: %+v", len(changes), changes)
	}
}

// A voter that was demoted stays a learner, over a restart and with a new address, too, until
// somebody promotes it.
func TestDemoteAndPromote(t *testing.T) {
	c := newTownship(t, 3, nil)
	m := c.follower()
	c.pass(time.Second)
	c.done(c.leader().wants(op.AdminRequest{Action: op.MemberDemote, Name: m.nameOf()}))
	c.pass(5 * promoteAfter)
	m.crash(0)
	c.pass(time.Second)
	m.restart()
	c.pass(5 * promoteAfter)
	config := c.config()
	if !slices.Equal(config.Learners, ids(m.id)) || len(config.Voters) != 2 {
		t.Fatalf("%+v", config)
	}
	if !c.leader().storage.state.members[uint64(m.id)].Standing {
		t.Error("nothing says that it stays a learner")
	}
	c.done(c.leader().wants(op.AdminRequest{Action: op.MemberPromote, Name: m.nameOf()}))
	c.wantConfig(ids(1, 2, 3), nil)
}

func TestDemoteTheLeader(t *testing.T) {
	c := newTownship(t, 3, nil)
	old := c.leader()
	c.pass(time.Second)
	c.done(old.wants(op.AdminRequest{Action: op.MemberDemote, Name: old.nameOf()}))
	next := c.leader()
	if next == old || next.node.config.IsVoter(old.id) || !next.node.config.IsMember(old.id) {
		t.Errorf("%d leads, %+v", next.id, next.node.config)
	}
	x := old.incr("k", 1)
	c.until("a write on the learner", func() bool { return x.resolved > 0 })
	if x.err != nil {
		t.Error(x.err)
	}
}

func TestTransferLeadership(t *testing.T) {
	c := newTownship(t, 3, nil)
	old, to := c.leader(), c.follower()
	c.pass(time.Second)
	reply := c.done(old.wants(op.AdminRequest{Action: op.LeaderTransfer, Name: to.nameOf()}))
	if c.leader() != to || !strings.Contains(reply.Text, to.nameOf()+" leads now") {
		t.Errorf("%d leads, want %d; %q", c.leader().id, to.id, reply.Text)
	}
	c.done(to.wants(op.AdminRequest{Action: op.LeaderTransfer}))
	if c.leader() == to {
		t.Error("the same node leads")
	}
}

// The target is frozen after it was asked: the old leader says so and leads on.
func TestTransferThatFails(t *testing.T) {
	c := newTownship(t, 3, nil)
	old, to := c.leader(), c.follower()
	c.pass(time.Second)
	to.frozen = true
	c.refused(old.wants(op.AdminRequest{Action: op.LeaderTransfer, Name: to.nameOf()}),
		to.nameOf()+" has not taken over", "leads on")
	if !old.node.leading() {
		t.Error("nobody leads")
	}
	c.pass(2 * time.Second)
	c.refused(old.wants(op.AdminRequest{Action: op.LeaderTransfer, Name: to.nameOf()}),
		to.nameOf()+" is down")
}

func TestTasksThatAreRefused(t *testing.T) {
	c := newTownship(t, 3, nil)
	leader, follower := c.leader(), c.follower()
	c.pass(time.Second)
	c.refused(follower.wants(op.AdminRequest{Action: op.MemberRemove, Name: "n1"}),
		"does not lead", leader.self().Addr)
	c.refused(leader.wants(op.AdminRequest{Action: 99}), "does not know action 99")
	c.refused(leader.wants(op.AdminRequest{Action: op.MemberAdd}), "--peer-listen")

	first := leader.wants(op.AdminRequest{Action: op.MemberRemove, Name: follower.nameOf()})
	second := leader.wants(op.AdminRequest{Action: op.MemberRemove, Name: leader.nameOf()})
	c.refused(second, "another change is under way (remove "+follower.nameOf()+")", "nothing was done")
	c.done(first)
}

// A leader that has not committed an entry of its own term yet changes nothing.
func TestANewLeaderChangesNothing(t *testing.T) {
	c := newTownship(t, 3, nil)
	old := c.leader()
	c.pass(time.Second)
	c.network.drop = func(d *delivery) bool { // nobody acknowledges an entry
		return slices.ContainsFunc(d.messages, func(m raftcore.Message) bool {
			return m.Kind == raftcore.AppendEntriesResponse
		})
	}
	old.crash(0)
	var leader *member
	c.until("a new leader", func() bool {
		for _, m := range c.members {
			if m.node != nil && m.node.leading() {
				leader = m
			}
		}
		return leader != nil
	})
	c.refused(leader.wants(op.AdminRequest{Action: op.MemberRemove, Name: old.nameOf()}),
		"in progress", "nothing was done", "try again")
}

// The outcome of a change whose leader is cut off is told as unknown, and so is one that takes
// longer than its context; a request that nobody has begun is a certain no.
func TestUnknownOutcomes(t *testing.T) {
	c := newTownship(t, 5, nil)
	leader, gone := c.leader(), c.follower()
	c.pass(time.Second)
	c.isolate(leader.id)
	cut := leader.wants(op.AdminRequest{Action: op.MemberRemove, Name: gone.nameOf()})
	c.pass(2 * time.Second)
	if len(cut.answer) > 0 {
		t.Error("an answer, though the next leader may have heard of the change")
	}
	c.heal()
	c.refused(cut, "outcome is not known", "list of members", "leads now")

	for _, test := range []struct {
		phase int32
		word  string
	}{{taskWaiting, "nothing was done"}, {taskBegun, "not known"}} {
		x := &testTask{phase: test.phase}
		if err := x.giveUp(); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), test.word) {
			t.Errorf("phase %d: %v", test.phase, err)
		}
	}
	x := &task{answer: make(chan taskAnswer, 1)}
	x.phase.Store(taskBegun)
	x.answer <- taskAnswer{reply: op.AdminReply{Index: 7}}
	if reply, err := x.giveUp(context.Canceled); err != nil || reply.Index != 7 {
		t.Errorf("an answer at the last moment: %+v, %v", reply, err)
	}
}

type testTask struct{ phase int32 }

func (x *testTask) giveUp() error {
	t := &task{answer: make(chan taskAnswer, 1)}
	t.phase.Store(x.phase)
	_, err := t.giveUp(context.Canceled)
	return err
}

// Who does not wait any longer does not keep others from asking.
func TestATaskThatNobodyWaitsForIsForgotten(t *testing.T) {
	c := newTownship(t, 3, nil)
	leader := c.leader()
	c.pass(time.Second)
	first := leader.wants(op.AdminRequest{Action: op.MemberAdd, Addr: "nowhere:1"})
	c.settle()
	c.refused(leader.wants(op.AdminRequest{Action: op.LeaderTransfer}), "another change")
	if sought := leader.node.transport.(*fakeTransport).sought; !slices.Equal(sought, []string{"nowhere:1"}) {
		t.Errorf("looks at %q", sought)
	}
	first.phase.Store(taskGone)
	c.pass(100 * time.Millisecond)
	c.done(leader.wants(op.AdminRequest{Action: op.LeaderTransfer}))
	if sought := leader.node.transport.(*fakeTransport).sought; sought != nil {
		t.Errorf("looks at %q", sought)
	}
}

// MEMBER ADD fetches a node that waits and does not find the cluster by itself.
func TestAddANodeByItsAddress(t *testing.T) {
	c := newTownship(t, 3, nil)
	leader := c.leader()
	c.pass(time.Second)
	m := &member{c: c, id: 7, storage: newFakeStorage(), asks: wire.JoinVoter}
	hidden := true
	c.network.hellos = func(self raftcore.NodeID) []wire.Hello {
		return slices.DeleteFunc(c.hellosOf(self), func(h wire.Hello) bool { return hidden && h.NodeID == 7 })
	}
	c.members = append(c.members, m)
	c.refused(leader.wants(op.AdminRequest{Action: op.MemberAdd, Addr: "n7:7380"}), "no node answers")

	task := leader.wants(op.AdminRequest{Action: op.MemberAdd, Addr: "n7:7380", Name: "n8"})
	c.settle()
	hidden = false
	c.refused(task, "is named n7, not n8")
	m.asks = wire.JoinNot
	c.network.hellos = func(self raftcore.NodeID) []wire.Hello {
		h := m.hello()
		return append(c.hellosOf(self), h)
	}
	c.refused(leader.wants(op.AdminRequest{Action: op.MemberAdd, Addr: "n7:7380"}), "--join")
	c.network.hellos, m.asks = c.hellosOf, wire.JoinVoter
	reply := c.done(leader.wants(op.AdminRequest{Action: op.MemberAdd, Addr: "n7:7380", Learner: true}))
	if !strings.Contains(reply.Text, "n7 is added as a learner") {
		t.Error(reply.Text)
	}
	c.wantConfig(ids(1, 2, 3), ids(7))
	reply = c.done(leader.wants(op.AdminRequest{Action: op.MemberAdd, Addr: "n7:7380"}))
	if !strings.Contains(reply.Text, "member already") {
		t.Error(reply.Text)
	}
	c.pass(5 * promoteAfter)
	c.wantConfig(ids(1, 2, 3), ids(7))
}

// Admin as connections call it, on a node whose loop runs.
func TestAdminWaitsForItsAnswer(t *testing.T) {
	n := startReal(t, newFakeStorage(), func(n *Node) {
		n.electionTimeout = raftcore.Instant(time.Hour) // it looks for who is added for longer than that
	})
	err := error(op.NotLeaderError{})
	for errors.As(err, new(op.NotLeaderError)) { // until it is elected
		_, err = n.Admin(context.Background(), op.AdminRequest{Action: op.MemberRemove, Name: "n1"})
	}
	if err == nil || !strings.Contains(err.Error(), "no voter") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err = n.Admin(ctx, op.AdminRequest{Action: op.MemberAdd, Addr: "nowhere:1"})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := n.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err = n.Admin(context.Background(), op.AdminRequest{Action: op.LeaderTransfer}); !errors.Is(err,
		op.ErrStopping) {
		t.Errorf("%v", err)
	}
}
