package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// cluster is some nodes on one goroutine: the helpers are lists of work, the clock is a number and
// the network a queue. The loop's own turn does the rest, as it does in production.
type cluster struct {
	t       *testing.T
	now     raftcore.Instant
	clock   raftcore.LogTime
	network *fakeNetwork
	members []*member
	founder raftcore.Entry
	options func(*Options)
	streams int // of snapshots that were begun
}

// member is one node and the work that its helpers have not done yet.
type member struct {
	c       *cluster
	id      raftcore.NodeID
	name    string // empty: n and the id
	asks    wire.JoinKind
	members []op.Member // as its invitation said
	boot    uint64
	storage *fakeStorage
	node    *Node // nil: down
	applier *applier
	clients []*client

	writes   []*writeTask
	compacts []raftcore.Index
	applies  []*applyTask
	loads    []raftcore.LoadRequest
	chores   []choreRequest
	fetches  []*fetchTask

	snapshotTasks []snapshotTask
	streaming     *fakeStream // the fetch that is under way

	diskStalls   bool // writes stay where they are
	applyStalls  bool
	streamStalls bool // what it fetches comes to a halt
	frozen       bool // takes no turn: SIGSTOP
	skew         raftcore.LogTime
}

// newCluster starts size nodes of a cluster that has just been formed.
func newCluster(t *testing.T, size int, options func(*Options)) *cluster {
	t.Helper()
	c := &cluster{t: t, now: raftcore.Second, clock: 1_700_000_000_000, network: &fakeNetwork{},
		options: options}
	var config raftcore.Config
	for i := range size {
		config.Voters = append(config.Voters, raftcore.NodeID(i+1))
	}
	c.founder = raftcore.Entry{Pos: raftcore.Pos{Term: 1, Index: 1}, Kind: raftcore.EntryConfig,
		Stamp: c.clock, Data: raftcore.EncodeConfig(config)}
	for _, id := range config.Voters {
		m := &member{c: c, id: id, storage: newFakeStorage()}
		if err := AppendFirst(m.storage, c.founder); err != nil {
			t.Fatal(err)
		}
		c.members = append(c.members, m)
		m.start()
	}
	return c
}

func (m *member) self() op.Member {
	name, host := m.name, fmt.Sprintf("n%d", m.id)
	if name == "" {
		name = host
	}
	return op.Member{ID: uint64(m.id), Name: name, PeerAddr: host + ":7380", Addr: host + ":6380",
		Standing: m.asks == wire.JoinLearner}
}

// start boots the node on what its storage holds.
func (m *member) start() {
	m.boot++
	o := Options{Self: m.self(), Boot: m.boot, Seed: uint64(m.id)<<8 + m.boot, Logger: zerolog.Nop(),
		RequestTimeout: 10 * time.Second,
		Clock: func() (raftcore.Instant, raftcore.LogTime) {
			return m.c.now, m.c.clock + m.skew
		}}
	if m.c.options != nil {
		m.c.options(&o)
	}
	n, err := New(o, m.storage)
	if err != nil {
		m.c.t.Fatal(err)
	}
	n.helpers = helpers{
		write:   func(t *writeTask) { m.writes = append(m.writes, t) },
		apply:   func(t *applyTask) { m.applies = append(m.applies, t) },
		load:    func(r raftcore.LoadRequest) { m.loads = append(m.loads, r) },
		chores:  func(r choreRequest) { m.chores = append(m.chores, r) },
		compact: func(i raftcore.Index) { m.compacts = append(m.compacts, i) },

		snapshot: func(t snapshotTask) { m.snapshotTasks = append(m.snapshotTasks, t) },
		fetch:    func(t *fetchTask) { m.fetches = append(m.fetches, t) },
	}
	formed := FormResult{ClusterID: [16]byte{1}, Members: m.members}
	transport := &fakeTransport{network: m.c.network, self: m.id}
	if err := n.prepare(transport, formed); err != nil {
		m.c.t.Fatal(err)
	}
	n.lifecycle.phase.Store(serving)
	m.node, m.applier = n, &applier{node: n}
}

// crash takes the process away; keep of the unsynced writes survive.
func (m *member) crash(keep int) {
	m.finishWrites() // started, not synced
	m.endStream(errCut)
	m.fetches, m.snapshotTasks, m.streaming = nil, nil, nil
	m.storage = m.storage.crash(keep)
	m.node, m.writes, m.applies, m.loads, m.chores, m.compacts = nil, nil, nil, nil, nil, nil
	m.diskStalls, m.applyStalls, m.frozen = false, false, false
	for _, o := range m.c.members {
		if o.node != nil {
			o.node.Disconnected(m.id)
		}
	}
}

// finishWrites starts the writes that wait, and syncs none.
func (m *member) finishWrites() {
	for _, t := range m.writes {
		if t.write.Snapshot != nil {
			return // what comes after an install waits for it
		}
		if _, err := m.storage.Write(&t.write); err != nil {
			return
		}
	}
}

// work does what the helpers would do, and takes a turn. It reports whether there was anything.
func (m *member) work() (busy bool) {
	n := m.node
	if n == nil || m.frozen || n.lifecycle.failed() {
		return false
	}
	busy = len(m.loads)+len(m.chores)+len(m.snapshotTasks) > 0
	if !m.diskStalls {
		busy = busy || len(m.writes)+len(m.compacts) > 0
		m.doWrites()
	}
	if !m.applyStalls {
		tasks := m.applies
		m.applies = nil
		busy = busy || len(tasks) > 0
		m.applier.apply(tasks)
	}
	loads, chores, snapshots := m.loads, m.chores, m.snapshotTasks
	m.loads, m.chores, m.snapshotTasks = nil, nil, nil
	n.doSnapshots(snapshots)
	n.doLoads(loads)
	n.doChores(chores)
	if !n.lifecycle.failed() {
		n.turn()
	}
	return busy || n.hasInput() || m.hasWork()
}

// hasWork is true while a helper that does not stall has something to do.
func (m *member) hasWork() bool {
	return len(m.chores)+len(m.loads)+len(m.snapshotTasks) > 0 ||
		!m.diskStalls && len(m.writes)+len(m.compacts) > 0 || !m.applyStalls && len(m.applies) > 0
}

// hasInput is what ends the wait of run at once.
func (n *Node) hasInput() bool {
	return len(n.wake)+len(n.postedDurable.news)+len(n.postedApplied.news) > 0 ||
		len(n.inbox.items)+len(n.events.items)+len(n.loads.items)+len(n.reports.items) > 0 ||
		len(n.forwarded.items)+len(n.submissions.items)+len(n.reads.items)+len(n.tasks.items) > 0 ||
		len(n.snapshots.items) > 0
}

func (m *member) doWrites() {
	n := m.node
	for _, t := range m.writes {
		if err := m.doWrite(t); err != nil {
			n.fail(err)
			return
		}
		n.landed(t.write.Seq, t.bytes)
		n.recycle(t)
	}
	for _, upTo := range m.compacts {
		if err := m.storage.Compact(upTo); err != nil {
			n.fail(err)
			return
		}
	}
	m.writes, m.compacts = nil, nil
}

func (m *member) doWrite(t *writeTask) error {
	if t.write.Snapshot != nil {
		return m.node.install(t)
	}
	wait, err := m.storage.Write(&t.write)
	if err != nil {
		return err
	}
	return wait()
}

// settle lets everything happen that needs no time.
func (c *cluster) settle() {
	for round := 0; ; round++ {
		if round == 10_000 {
			c.t.Fatal("the cluster does not come to rest")
		}
		busy := c.deliver()
		for _, m := range c.members {
			busy = m.work() || busy
		}
		if !busy && len(c.network.queue) == 0 {
			return
		}
	}
}

func (c *cluster) deliver() bool {
	queue := c.network.queue
	c.network.queue = nil
	for i := range queue {
		d := &queue[i]
		to := c.member(d.to)
		if to == nil || to.node == nil || c.network.drop != nil && c.network.drop(d) {
			continue
		}
		if d.proposal != nil {
			to.node.Forwarded(d.from, d.proposal)
		} else {
			to.node.Messages(d.from, d.messages)
		}
	}
	return len(queue) > 0
}

func (c *cluster) member(id raftcore.NodeID) *member {
	for _, m := range c.members {
		if m.id == id {
			return m
		}
	}
	return nil
}

// pass lets time pass in steps of 5 ms.
func (c *cluster) pass(d time.Duration) {
	for end := c.now + raftcore.Instant(d); c.now < end; {
		c.now += 5 * raftcore.Millisecond
		c.clock += 5
		for _, m := range c.members {
			m.stream()
		}
		c.settle()
	}
}

// until passes time until done holds.
func (c *cluster) until(what string, done func() bool) {
	c.t.Helper()
	for range 4000 {
		c.settle()
		if done() {
			return
		}
		c.pass(5 * time.Millisecond)
	}
	c.t.Fatalf("waited 20 s in vain: %s", what)
}

// leader waits for one that everybody in reach follows.
func (c *cluster) leader() *member {
	c.t.Helper()
	var leader *member
	c.until("a leader", func() bool {
		leader = nil
		for _, m := range c.members {
			if m.node != nil && !m.frozen && m.node.leading() && m.node.core.Deadline() != 0 {
				leader = m
			}
		}
		if leader == nil {
			return false
		}
		for _, m := range c.members {
			if m.node != nil && !m.frozen && m.node.leader != leader.id {
				return false
			}
		}
		return true
	})
	return leader
}

// follower is some node that runs and does not lead.
func (c *cluster) follower() *member {
	leader := c.leader()
	for _, m := range c.members {
		if m != leader && m.node != nil {
			return m
		}
	}
	c.t.Fatal("there is no follower")
	return nil
}

// isolate cuts a node off from all others.
func (c *cluster) isolate(ids ...raftcore.NodeID) {
	cut := func(id raftcore.NodeID) bool {
		for _, x := range ids {
			if x == id {
				return true
			}
		}
		return false
	}
	c.network.drop = func(d *delivery) bool { return cut(d.from) != cut(d.to) }
}

func (c *cluster) heal() { c.network.drop = nil }

// client is the sink of one submission.
type client struct {
	t        *testing.T
	results  []op.Result
	seen     []int64 // value of the key in the view, after each op
	err      error
	resolved int
	gone     bool
}

func (x *client) Applied(i int, r *op.Result, v op.View) {
	if i != len(x.results) || x.resolved > 0 {
		x.t.Errorf("op %d is told after %d others, resolved %d", i, len(x.results), x.resolved)
	}
	x.results = append(x.results, *r)
}

func (x *client) Resolve(err error) {
	if x.resolved++; x.resolved > 1 {
		x.t.Error("resolved twice")
	}
	if err != nil && len(x.results) > 0 {
		x.t.Errorf("%v after %d results", err, len(x.results))
	}
	x.err = err
}

func (x *client) Gone() bool { return x.gone }

// incr submits count increments of key.
func (m *member) incr(key string, count int) *client {
	x := &client{t: m.c.t}
	var ops []byte
	for range count {
		ops = (&op.Op{Code: op.CodeAdd, Key: []byte(key), Delta: 1}).Append(ops)
	}
	m.node.Propose(&op.Submission{Ops: ops, Count: count, Sink: x})
	m.clients = append(m.clients, x)
	return x
}

// put submits SET key value PX ms; no deadline when ms is 0.
func (m *member) put(key string, value int64, ms int64) *client {
	x := &client{t: m.c.t}
	o := op.Op{Code: op.CodePut, Key: []byte(key), Value: fmt.Append(nil, value)}
	if ms > 0 {
		o.TTL, o.Time = op.TTLAfter, ms
	}
	m.node.Propose(&op.Submission{Ops: o.Append(nil), Count: 1, Sink: x})
	return x
}

// reader is one linearizable read.
type reader struct {
	m        *member
	key      string
	err      error
	value    int64
	resolved int
}

func (m *member) read(key string) *reader {
	r := &reader{m: m, key: key}
	m.node.Read(&op.ReadRequest{Resolve: func(err error) {
		r.resolved++
		if r.err = err; err == nil {
			r.value = m.storage.value(key)
		}
	}})
	return r
}

// same asserts that all nodes hold the same state.
func (c *cluster) same() {
	c.t.Helper()
	c.pass(2 * time.Duration(hintDelay)) // until everybody has heard of every commit
	first := c.members[0].storage.state
	for _, m := range c.members {
		st := m.storage.state
		if st.applied != first.applied || fmt.Sprint(st.values) != fmt.Sprint(first.values) ||
			fmt.Sprint(st.origins) != fmt.Sprint(first.origins) {
			c.t.Fatalf("states differ:\nn1 %+v\nn%d %+v", *first, m.id, *st)
		}
		for id, times := range st.executed {
			if times != 1 {
				c.t.Fatalf("n%d executed proposal %s %d times", m.id, id, times)
			}
		}
	}
}
