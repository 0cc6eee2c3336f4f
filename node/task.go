package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// task is what a person asked for: one AdminRequest, from Admin to its answer. The loop has one at
// a time; a second is refused, since the core takes one change at a time.
type task struct {
	request op.AdminRequest
	answer  chan taskAnswer // of one
	phase   atomic.Int32

	// The loop's.
	step   taskStep
	change change          // stepCommit: waits until this is committed
	pos    raftcore.Pos    // stepCommit: of the first entry of the change
	to     raftcore.NodeID // stepTransfer: who shall lead; 0: anybody else
	member op.Member       // stepRecord: the record that has to come first
	until  raftcore.Instant
}

type taskAnswer struct {
	reply op.AdminReply
	err   error
}

// Phases of a task. Only the step from waiting is contested: either the loop begins the task, or
// who asked gives up before.
const (
	taskWaiting int32 = iota
	taskBegun
	taskGone // nobody waits for the answer any more
)

// taskStep is what a task that was begun waits for.
type taskStep uint8

const (
	stepFind     taskStep = iota // add: the node answers at the address
	stepRecord                   // demote: the mark that it stays a learner
	stepCommit                   // the configuration is committed
	stepTransfer                 // somebody leads
)

// seekTimeouts is for how many election time-outs MEMBER ADD looks for the node.
const seekTimeouts = 10

// Admin implements resp.Backend.
func (n *Node) Admin(ctx context.Context, r op.AdminRequest) (op.AdminReply, error) {
	if err := n.refusing(); err != nil {
		return op.AdminReply{}, err
	}
	if !n.started() {
		return op.AdminReply{}, op.NotLeaderError{}
	}
	t := &task{request: r, answer: make(chan taskAnswer, 1)}
	switch n.tasks.put(t, 1, 0) {
	case putFull:
		return op.AdminReply{}, op.ErrBusy
	case putClosed:
		return op.AdminReply{}, op.ErrStopping
	}
	cause := op.ErrStopping
	select {
	case a := <-t.answer:
		return a.reply, a.err
	case <-ctx.Done():
		cause = ctx.Err()
	case <-n.lifecycle.loopDone:
	}
	return t.giveUp(cause)
}

// giveUp is the answer for who does not wait any longer.
func (t *task) giveUp(cause error) (op.AdminReply, error) {
	begun := t.phase.Swap(taskGone) == taskBegun
	select { // it came at the last moment
	case a := <-t.answer:
		return a.reply, a.err
	default:
	}
	if !begun {
		return op.AdminReply{}, fmt.Errorf("%s: nothing was done: %w", t.request.Action, cause)
	}
	return op.AdminReply{}, t.unknown(cause)
}

// unknown is an outcome that this node cannot tell.
func (t *task) unknown(cause error) error {
	return fmt.Errorf("%s: begun, and its outcome is not known: %w; the list of members shows it",
		t.request.Action, cause)
}

// takeTask begins a task, unless another one is open.
func (n *Node) takeTask(t *task) {
	n.tasks.release(1, 0)
	m := &n.managing
	if !t.phase.CompareAndSwap(taskWaiting, taskBegun) {
		return
	}
	switch {
	case !n.leading():
		t.refuse(n.notLeader())
		return
	case m.task != nil:
		t.refuse(fmt.Errorf("another change is under way (%s %s): nothing was done; try again in a "+
			"second", m.task.request.Action, m.task.request.Name))
		return
	}
	n.core.Status(&m.core)
	r := n.roster(&m.core)
	if err := n.beginTask(t, &r); err != nil {
		t.refuse(err)
		return
	}
	m.task, m.news = t, true
	n.seek(n.transport.Hellos())
}

func (t *task) refuse(err error) { t.answer <- taskAnswer{err: err} }

// notLeader names who leads.
func (n *Node) notLeader() op.NotLeaderError {
	leader, _ := findMember(n.joining.members, uint64(n.leader))
	return op.NotLeaderError{Addr: leader.Addr}
}

// beginTask decides, and gives the core the change unless something else has to come first.
func (n *Node) beginTask(t *task, r *roster) (err error) {
	q := &t.request
	switch q.Action {
	case op.MemberRemove:
		t.change, err = r.remove(q.Name)
	case op.MemberReplace:
		t.change, err = r.replace(q.Name, q.With)
	case op.MemberPromote:
		t.change, err = r.promote(q.Name)
	case op.MemberDemote:
		t.change, err = r.demote(q.Name)
		if err == nil {
			return n.beginDemotion(t, r)
		}
	case op.MemberAdd:
		return n.beginAdd(t)
	case op.LeaderTransfer:
		return n.beginTransfer(t, r)
	default:
		err = fmt.Errorf("this version does not know %s", q.Action)
	}
	if err != nil {
		return err
	}
	return n.proposeTask(t)
}

func (n *Node) proposeTask(t *task) error {
	pos, err := n.core.ProposeConfig(t.change.to)
	if err != nil {
		return refusedChange(err)
	}
	t.pos, t.step = pos, stepCommit
	n.logger.Info().Str("action", t.request.Action.String()).Str("member", t.request.Name).
		Msg("membership change")
	return nil
}

// beginDemotion: without the mark, the rule of promotion would take the learner for a new one.
func (n *Node) beginDemotion(t *task, r *roster) error {
	if pending(&n.managing.core) {
		return refusedChange(raftcore.ErrPending)
	}
	s, err := r.find(t.request.Name)
	if err != nil {
		return err
	}
	t.member, _ = findMember(n.joining.members, uint64(s.id))
	t.member.ID, t.member.Standing = uint64(s.id), true
	t.step = stepRecord
	return nil
}

func (n *Node) beginAdd(t *task) error {
	if t.request.Addr == "" {
		return errors.New("say where the new node can be reached: the host:port of its --peer-listen")
	}
	t.step, t.until = stepFind, n.now+seekTimeouts*n.electionTimeout
	return nil
}

func (n *Node) beginTransfer(t *task, r *roster) (err error) {
	if t.to, err = r.transferTo(t.request.Name); err != nil {
		return err
	}
	err = n.core.TransferLeadership(t.to)
	switch {
	case errors.Is(err, raftcore.ErrTransferring):
		return refusedChange(err)
	case err != nil:
		return fmt.Errorf("leadership stays: %w", err)
	}
	t.step = stepTransfer
	return nil
}

// watchTask answers the task when its end has come, or forgets it when nobody waits for it.
func (n *Node) watchTask(c *raftcore.Status) {
	t := n.managing.task
	if t == nil {
		return
	}
	over := t.phase.Load() == taskGone
	if !over {
		a, done := n.taskOutcome(t, c)
		if over = done; done {
			t.answer <- a
		}
	}
	if over {
		n.managing.task = nil
		n.seek(n.transport.Hellos())
	}
}

// taskOutcome is how a task has ended; done is false while it has not. The core is asked: what the
// loop knows of it is as old as the last Effects.
func (n *Node) taskOutcome(t *task, c *raftcore.Status) (a taskAnswer, done bool) {
	switch {
	case t.step == stepTransfer:
		return n.transferOutcome(t, c)
	case t.step == stepCommit && reached(c, &t.change.to):
		a.reply = op.AdminReply{Text: t.change.done, Index: uint64(c.ConfigIndex)}
		return a, true
	case c.Role == raftcore.Leader:
		return a, false
	case t.step == stepCommit && (c.Leader == 0 || c.Config.Joint() || c.Commit < c.ConfigIndex ||
		c.Commit < t.pos.Index):
		// The next leader goes on with the change if it has heard of it, and then this node sees it.
		return a, false
	case t.step == stepCommit:
		a.err = t.unknown(fmt.Errorf("%s leads now, and the membership is another one",
			n.nameOf(c.Leader)))
		return a, true
	}
	a.err = fmt.Errorf("%s: nothing was done: this node no longer leads; ask again", t.request.Action)
	return a, true
}

// reached: the membership is committed, and no change is open.
func reached(c *raftcore.Status, to *raftcore.ConfigChange) bool {
	return !c.Config.Joint() && c.Commit >= c.ConfigIndex &&
		slices.Equal(c.Config.Voters, to.Voters) && slices.Equal(c.Config.Learners, to.Learners)
}

func (n *Node) transferOutcome(t *task, c *raftcore.Status) (a taskAnswer, done bool) {
	leads := c.Role == raftcore.Leader
	switch {
	case leads && c.Transferee != 0 || c.Leader == 0:
		return a, false
	case leads:
		a.err = fmt.Errorf("%s has not taken over within %s: this node, %s, leads on",
			orElse(t.request.Name, "nobody"), n.options.ElectionTimeout, n.options.Self.Name)
	case t.to != 0 && c.Leader != t.to:
		a.err = fmt.Errorf("%s leads now, and not %s", n.nameOf(c.Leader), t.request.Name)
	default:
		a.reply.Text = fmt.Sprintf("%s leads now, in term %d", n.nameOf(c.Leader), c.Term)
	}
	return a, true
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// continueTask takes the step that a task was waiting for. No change is open.
func (n *Node) continueTask(r *roster) (fed bool) {
	t := n.managing.task
	var err error
	switch t.step {
	case stepRecord:
		if !n.recordMember(&t.member) {
			return false
		}
		// Time has passed since it was allowed.
		if t.change, err = r.demote(t.request.Name); err == nil {
			err = n.proposeTask(t)
		}
	case stepFind:
		err = n.findAdded(t, r)
		if errors.Is(err, errRecording) {
			return false
		}
	default:
		return false
	}
	if err != nil {
		t.refuse(err)
		n.managing.task = nil
		n.seek(n.transport.Hellos())
	}
	return err == nil
}

// findAdded looks for the node that MEMBER ADD speaks of, and makes it a learner.
func (n *Node) findAdded(t *task, r *roster) error {
	q := &t.request
	h, why := n.answersAt(q.Addr)
	switch {
	case h.NodeID == 0 && n.now < t.until:
		return errRecording
	case h.NodeID == 0:
		return fmt.Errorf("no node answers at %s: %s; nothing was done: give the address of its "+
			"--peer-listen", q.Addr, why)
	case q.Name != "" && h.Name != q.Name:
		return fmt.Errorf("the node at %s is named %s, not %s: nothing was done", q.Addr, h.Name, q.Name)
	case n.config.IsMember(h.NodeID):
		n.core.Status(&n.managing.core)
		t.change.to = raftcore.ConfigChange{Voters: n.config.Voters, Learners: n.config.Learners}
		t.change.done, t.step = h.Name+" is a member already", stepCommit
		return nil
	case h.Join == wire.JoinNot:
		return fmt.Errorf("%s at %s does not ask to join: it waits for its own --peers to form a "+
			"cluster; start it with --join instead", h.Name, q.Addr)
	}
	m := memberOf(h)
	m.Standing = m.Standing || q.Learner
	c, err := r.admit(&m)
	if err != nil {
		return err
	}
	if err := n.admit(&m, c); err != nil {
		if errors.Is(err, errRecording) {
			return err
		}
		return refusedChange(err)
	}
	t.change, t.pos, t.step = c, n.managing.proposed, stepCommit
	return nil
}

// answersAt is the hello of the node at a peer address, or why there is none.
func (n *Node) answersAt(addr string) (h wire.Hello, why string) {
	why = "no connection"
	var id raftcore.NodeID
	for _, p := range n.transport.Peers() {
		if p.Addr != addr {
			continue
		}
		if p.Connected {
			id = p.ID
		} else if p.LastError != "" {
			why = p.LastError
		}
	}
	for _, h := range n.transport.Hellos() {
		if h.PeerAddr == addr || id != 0 && h.NodeID == id {
			return h, ""
		}
	}
	return h, why
}
