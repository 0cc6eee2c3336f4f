package raftcore

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// cluster is a handful of cores on one goroutine: a network that delivers when told, disks that
// sync when told, and one clock. Scripts and the paper's tests drive it; the simulator in
// raftcore/sim is another, far nastier, world of its own.
type cluster struct {
	t       testing.TB
	nodes   map[NodeID]*member
	ids     []NodeID
	now     Instant
	clock   LogTime
	wire    []Message // sent, not delivered, in order
	cut     map[[2]NodeID]bool
	late    map[[2]NodeID]bool // what these links carry is held
	held    []Message
	applied map[Index]string // index -> entry, over all nodes: they must agree
	files   snapshotFiles
}

// member is one node: its core, and what its disk would keep.
type member struct {
	core    *Core
	id      NodeID
	boot    uint64
	effects Effects
	slow    bool // the disk does not sync by itself
	writes  []Write
	held    []Message // wait for a sync
	synced  Seq

	// What is durable.
	hard    HardState
	entries []Entry
	base    SnapshotMeta

	snapshots snapshotWork

	log     []string // applied entries, as text
	applied Index
	reads   map[ReadID]Index
	lost    []ReadID
	down    bool
	reasons []string
}

func testOptions(id NodeID, boot uint64) Options {
	return Options{
		ID: id, Boot: boot, Seed: uint64(id)*7919 + boot,
		ElectionTimeout: 1000 * Millisecond, Heartbeat: 100 * Millisecond, FastElection: 20 * Millisecond,
		MaxAppendBytes: 1 << 16, MaxInflightMessages: 8, MaxInflightBytes: 1 << 20,
		MaxUncommittedEntries: 1000, MaxUncommittedBytes: 1 << 20, MaxEntryBytes: 1 << 16,
		MaxApplyBytes: 1 << 20, MaxPendingReads: 100, LogTailBytes: 1 << 20,
	}
}

// newCluster makes voters 1..n that share a first configuration, entry 1 of term 1.
func newCluster(t testing.TB, n int) *cluster {
	c := &cluster{t: t, nodes: map[NodeID]*member{}, cut: map[[2]NodeID]bool{},
		late: map[[2]NodeID]bool{}, now: Second, clock: 1000, applied: map[Index]string{},
		files: newSnapshotFiles()}
	config := Config{}
	for id := NodeID(1); id <= NodeID(n); id++ {
		config.Voters = append(config.Voters, id)
	}
	first := Entry{Pos: Pos{1, 1}, Kind: EntryConfig, Stamp: 1000, Data: EncodeConfig(config)}
	for _, id := range config.Voters {
		m := &member{id: id, hard: HardState{Term: 1}, entries: []Entry{first}, reads: map[ReadID]Index{}}
		c.nodes[id] = m
		c.ids = append(c.ids, id)
		c.start(m, testOptions(id, 1))
	}
	return c
}

// start builds a core from what the disk holds.
func (c *cluster) start(m *member, o Options) {
	r := Restored{HardState: m.hard, Snapshot: m.base, Last: m.base.Pos, LastStamp: m.base.Stamp,
		Applied: m.base.Pos.Index}
	for _, e := range m.entries {
		r.Last, r.LastStamp = e.Pos, e.Stamp
		if len(r.Runs) == 0 || r.Runs[len(r.Runs)-1].Term != e.Term {
			r.Runs = append(r.Runs, TermRun{e.Index, e.Term})
		}
		if e.Kind == EntryConfig {
			config, err := DecodeConfig(e.Data)
			if err != nil {
				c.t.Fatal(err)
			}
			r.Configs = append(r.Configs, ConfigAt{e.Pos, config})
		}
		r.Tail = append(r.Tail, e)
	}
	core, err := New(o, r)
	if err != nil {
		c.t.Fatal(err)
	}
	m.core, m.boot, m.down = core, o.Boot, false
	m.writes, m.held, m.synced = nil, nil, 0
	m.snapshots = snapshotWork{}
	c.installState(m, m.base.Pos.Index)
	core.Tick(c.now, c.clock)
	c.drain(m)
}

// crash loses everything that is not synced.
func (c *cluster) crash(id NodeID) {
	m := c.nodes[id]
	m.down, m.core = true, nil
}

func (c *cluster) restart(id NodeID) {
	m := c.nodes[id]
	c.start(m, testOptions(id, m.boot+1))
}

// drain performs the effects of one core until it has none.
func (c *cluster) drain(m *member) {
	for rounds := 0; m.core != nil; rounds++ {
		if rounds > 10_000 {
			c.t.Fatalf("node %x never gets quiet", m.id)
		}
		more := m.core.Drain(&m.effects)
		m.core.check()
		busy := c.perform(m, &m.effects)
		if !more && !busy {
			return
		}
	}
}

// perform carries out one Effects; it reports whether the core was told something new.
func (c *cluster) perform(m *member, e *Effects) (busy bool) {
	if e.Write != nil {
		w := *e.Write
		w.Append = slices.Clone(w.Append)
		if w.HardState != nil {
			hard := *w.HardState
			w.HardState = &hard
		}
		if w.Snapshot != nil {
			snapshot := *w.Snapshot
			w.Snapshot = &snapshot
		}
		m.writes = append(m.writes, w)
	}
	for _, message := range e.Messages {
		message.Entries = slices.Clone(message.Entries)
		if message.After > m.synced {
			m.held = append(m.held, message)
		} else {
			c.wire = append(c.wire, message)
		}
	}
	for _, r := range e.Reads {
		m.reads[r.ID] = r.Index
	}
	m.lost = append(m.lost, e.LostReads...)
	if e.State != nil {
		m.reasons = append(m.reasons, e.State.Reason)
	}
	if e.Write != nil && e.Write.Snapshot != nil {
		c.installState(m, e.Write.Snapshot.Pos.Index)
	}
	loads := slices.Clone(e.Load)
	apply, wanted, fetch := e.Apply, e.TakeSnapshot, m.snapshots.noted(e)
	if !apply.Empty() {
		c.apply(m, apply)
		busy = true
	}
	if !c.files.manual && (wanted || fetch) {
		c.workOnSnapshots(m, wanted, fetch)
		busy = true
	}
	for _, load := range loads {
		m.core.Loaded(load, m.fromDisk(load.Range))
		busy = true
	}
	if !m.slow && len(m.writes) > 0 {
		c.sync(m, len(m.writes))
		busy = true
	}
	return busy
}

func (m *member) fromDisk(r Range) (es []Entry) {
	for _, e := range m.entries {
		if e.Index >= r.First && e.Index <= r.Last {
			es = append(es, e)
		}
	}
	return es
}

func (c *cluster) apply(m *member, r Range) {
	es, ok := m.core.Slice(r, nil)
	if !ok {
		es = m.fromDisk(r)
	}
	for _, e := range es {
		text := fmt.Sprintf("%s %s", e.Pos, e.Data)
		if was, ok := c.applied[e.Index]; ok && was != text {
			c.t.Fatalf("node %x applies %q at %d, another node applied %q", m.id, text, e.Index, was)
		}
		c.applied[e.Index] = text
		if m.applied+1 != e.Index {
			c.t.Fatalf("node %x applies %d after %d", m.id, e.Index, m.applied)
		}
		m.applied = e.Index
		if e.Kind == EntryNormal {
			m.log = append(m.log, string(e.Data))
			c.files.data[e.Index] = string(e.Data)
		}
	}
	m.core.Applied(r.Last)
}

// sync makes the first n waiting writes durable.
func (c *cluster) sync(m *member, n int) {
	for _, w := range m.writes[:n] {
		if w.Snapshot != nil {
			m.base, m.entries = *w.Snapshot, nil
		}
		if w.TruncateFrom != 0 {
			m.entries = slices.DeleteFunc(m.entries, func(e Entry) bool { return e.Index >= w.TruncateFrom })
		}
		m.entries = append(m.entries, w.Append...)
		if w.HardState != nil {
			m.hard = *w.HardState
		}
		m.synced = w.Seq
	}
	m.writes = m.writes[n:]
	var still []Message
	for _, message := range m.held {
		if message.After > m.synced {
			still = append(still, message)
		} else {
			c.wire = append(c.wire, message)
		}
	}
	m.held = still
	m.core.Durable(m.synced)
}

// step delivers one message, unless its link is cut or its receiver is down.
func (c *cluster) step(message Message) {
	m := c.nodes[message.To]
	if m == nil || m.down || c.cut[[2]NodeID{message.From, message.To}] {
		return
	}
	if c.late[[2]NodeID{message.From, message.To}] {
		c.held = append(c.held, message)
		return
	}
	m.core.Step(&message)
	c.drain(m)
}

// deliver delivers what is on the wire, and what that causes, until nothing is left.
func (c *cluster) deliver() {
	for rounds := 0; len(c.wire) > 0; rounds++ {
		if rounds > 100_000 {
			c.t.Fatal("the cluster never gets quiet")
		}
		message := c.wire[0]
		c.wire = c.wire[1:]
		c.step(message)
	}
}

// pass lets time go by in steps of 10 ms, delivering everything at each.
func (c *cluster) pass(span Instant) {
	for end := c.now + span; c.now < end; {
		c.now += 10 * Millisecond
		c.clock += 10
		for _, id := range c.ids {
			if m := c.nodes[id]; !m.down {
				m.core.Tick(c.now, c.clock)
				c.drain(m)
			}
		}
		c.deliver()
	}
}

// campaign makes a node's election time-out pass.
func (c *cluster) campaign(id NodeID) {
	m := c.nodes[id]
	m.core.electionDeadline = c.now
	m.core.Tick(c.now, c.clock)
	c.drain(m)
}

// lead makes id the leader of a healthy cluster.
func (c *cluster) lead(id NodeID) {
	c.campaign(id)
	c.deliver()
	if c.nodes[id].core.role != Leader {
		c.t.Fatalf("node %x did not win: %s", id, c.describe())
	}
}

func (c *cluster) propose(id NodeID, data string) error {
	m := c.nodes[id]
	_, err := m.core.Propose(c.clock, []byte(data))
	c.drain(m)
	return err
}

func (c *cluster) partition(side ...NodeID) {
	for _, a := range c.ids {
		for _, b := range c.ids {
			c.cut[[2]NodeID{a, b}] = slices.Contains(side, a) != slices.Contains(side, b)
		}
	}
}

func (c *cluster) heal() { clear(c.cut) }

func (c *cluster) leader() NodeID {
	var found NodeID
	for _, id := range c.ids {
		if m := c.nodes[id]; !m.down && m.core.role == Leader {
			if found == 0 || m.core.hard.Term > c.nodes[found].core.hard.Term {
				found = id
			}
		}
	}
	return found
}

// describe is one line per node.
func (c *cluster) describe() string {
	var b strings.Builder
	for _, id := range c.ids {
		m := c.nodes[id]
		if m.down {
			fmt.Fprintf(&b, "n%d down\n", id)
			continue
		}
		core := m.core
		fmt.Fprintf(&b, "n%d %s@%d leader n%d vote n%d commit %d log", id, core.role, core.hard.Term,
			core.leader, core.hard.VotedFor, core.commit)
		if base := core.log.base; base.Index > 0 {
			fmt.Fprintf(&b, " after %s", base)
		}
		for _, run := range core.log.runs {
			fmt.Fprintf(&b, " %d@%d", run.First, run.Term)
		}
		fmt.Fprintf(&b, " last %s\n", core.log.last)
	}
	return b.String()
}

// expectApplied fails unless the node applied exactly these commands.
func (c *cluster) expectApplied(id NodeID, want ...string) {
	c.t.Helper()
	if got := c.nodes[id].log; !slices.Equal(got, want) {
		c.t.Fatalf("n%d applied %q, want %q\n%s", id, got, want, c.describe())
	}
}
