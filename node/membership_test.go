package node

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

const promoteAfter = 300 * time.Millisecond

// newTownship is a cluster whose nodes meet: each has the hellos of all others that run, and a node
// without a cluster starts when it is invited.
func newTownship(t *testing.T, size int, options func(*Options)) *cluster {
	t.Helper()
	c := newCluster(t, size, func(o *Options) {
		o.PromoteAfter = promoteAfter
		if options != nil {
			options(o)
		}
	})
	c.network.hellos = c.hellosOf
	c.network.invite = c.inviteTo
	return c
}

// hellosOf is who is connected with a node.
func (c *cluster) hellosOf(self raftcore.NodeID) (hellos []wire.Hello) {
	for _, m := range c.members {
		running := m.node != nil || m.asks != wire.JoinNot && m.boot == 0
		cut := c.network.drop != nil && c.network.drop(&delivery{from: m.id, to: self})
		if m.id != self && running && !cut {
			hellos = append(hellos, m.hello())
		}
	}
	return hellos
}

func (m *member) hello() wire.Hello {
	self := m.self()
	h := wire.Hello{NodeID: m.id, Boot: max(m.boot, 1), Name: self.Name, PeerAddr: self.PeerAddr,
		Addr: self.Addr}
	if m.node != nil {
		h.ClusterID = [16]byte{1}
	}
	if m.node == nil || !m.node.member() {
		h.Join = m.asks
	}
	return h
}

// asksToJoin adds a node without a log that asks every node to be let in.
func (c *cluster) asksToJoin(id raftcore.NodeID, name string, as wire.JoinKind) *member {
	m := &member{c: c, id: id, name: name, storage: newFakeStorage(), asks: as}
	c.members = append(c.members, m)
	c.met(m)
	return m
}

// met tells the others that m is connected.
func (c *cluster) met(m *member) {
	for _, other := range c.members {
		if other.node != nil && other != m {
			other.node.Connected(m.hello())
		}
	}
}

// inviteTo starts a node that was invited.
func (c *cluster) inviteTo(to raftcore.NodeID, inv wire.Invite) bool {
	m := c.member(to)
	if m == nil || m.asks == wire.JoinNot {
		return false
	}
	listed := slices.ContainsFunc(inv.Members, func(f wire.Founder) bool { return f.ID == to })
	if !inv.Joining || inv.ClusterID != [16]byte{1} || !listed {
		c.t.Errorf("node %d is invited by %+v", to, inv)
	}
	if m.node == nil && m.boot == 0 {
		for _, f := range inv.Members {
			m.members = append(m.members, op.Member{ID: uint64(f.ID), Name: f.Name})
		}
		m.start()
		c.met(m)
	}
	return true
}

// restart boots a crashed node and lets the others meet it.
func (m *member) restart() {
	m.start()
	m.c.met(m)
}

// config is what the leader has committed.
func (c *cluster) config() (config raftcore.Config) {
	var s raftcore.Status
	c.leader().node.core.Status(&s)
	return s.Config
}

// wantConfig waits until the members are these, and nothing is open.
func (c *cluster) wantConfig(voters, learners []raftcore.NodeID) {
	c.t.Helper()
	want := raftcore.Config{Voters: voters, Learners: learners}
	c.until(fmt.Sprintf("%+v", want), func() bool {
		for _, m := range c.members {
			if m.node == nil || !m.node.leading() {
				continue
			}
			var s raftcore.Status
			m.node.core.Status(&s)
			if s.Config.Equal(&want) && s.Commit >= s.ConfigIndex {
				return true
			}
		}
		return false
	})
}

// configs lists every configuration that a node's log holds.
func (m *member) configs() (list []raftcore.Config) {
	for _, e := range m.storage.log.entries {
		if e.Kind == raftcore.EntryConfig {
			config, err := raftcore.DecodeConfig(e.Data)
			if err != nil {
				m.c.t.Fatal(err)
			}
			list = append(list, config)
		}
	}
	return list
}

func ids(list ...raftcore.NodeID) []raftcore.NodeID { return list }

func TestANodeThatJoinsBecomesAVoter(t *testing.T) {
	c := newTownship(t, 3, nil)
	first := c.leader().incr("k", 5)
	c.pass(time.Second)
	m := c.asksToJoin(4, "", wire.JoinVoter)
	c.wantConfig(ids(1, 2, 3), ids(4))
	before := c.now
	c.wantConfig(ids(1, 2, 3, 4), nil)
	if waited := c.now - before; waited < raftcore.Instant(promoteAfter) {
		t.Errorf("promoted after %d ms", waited/raftcore.Millisecond)
	}
	c.until("the new voter knows", func() bool { return m.node.config.IsVoter(4) })
	x := m.incr("k", 1)
	c.until("its command", func() bool { return x.resolved > 0 })
	if x.err != nil || first.err != nil || m.storage.value("k") != 6 {
		t.Errorf("%v, %v, k is %d", first.err, x.err, m.storage.value("k"))
	}
	c.pass(time.Second)
	c.same()
	if got := m.storage.state.members[4]; got != m.self() {
		t.Errorf("recorded as %+v", got)
	}
	for _, other := range c.members {
		if changes := len(other.configs()); changes != 4 { // founders, learner, joint, voter
			t.Errorf("node %d has seen %d configurations", other.id, changes)
		}
	}
}

// A machine loses its disk and is started again: nobody has to do anything.
func TestAWipedNodeTakesItsOwnPlace(t *testing.T) {
	c := newTownship(t, 3, nil)
	wiped := c.follower()
	name := wiped.self().Name
	c.leader().incr("k", 5)
	c.pass(time.Second)
	wiped.crash(0)
	c.members = slices.DeleteFunc(c.members, func(m *member) bool { return m == wiped })
	m := c.asksToJoin(33, name, wire.JoinVoter)
	rest := []raftcore.NodeID{33}
	for _, other := range c.members {
		if other != m {
			rest = append(rest, other.id)
		}
	}
	slices.Sort(rest)
	c.wantConfig(rest, nil)
	c.pass(2 * time.Second)
	c.same()
	for _, config := range m.configs() {
		if len(config.Voters) > 3 || config.Joint() && !slices.Contains(config.OldVoters, wiped.id) {
			t.Errorf("on the way: %+v", config)
		}
	}
	retired := m.storage.state.retired
	if len(retired) != 1 || retired[0].ID != uint64(wiped.id) || retired[0].Name != name {
		t.Errorf("retired: %+v", retired)
	}
	if m.node.Removal() != nil {
		t.Errorf("the new node believes to be the old one: %v", m.node.Removal())
	}
	x := m.incr("k", 1)
	c.until("its command", func() bool { return x.resolved > 0 })
	if x.err != nil || m.storage.value("k") != 6 {
		t.Errorf("%v, k is %d", x.err, m.storage.value("k"))
	}
}

// A node that is wiped again before it became a voter leaves a dead learner behind.
func TestADeadLearnerMakesRoomForItsNamesake(t *testing.T) {
	c := newTownship(t, 3, nil)
	c.leader()
	first := c.asksToJoin(4, "n4", wire.JoinVoter)
	c.wantConfig(ids(1, 2, 3), ids(4))
	first.crash(0)
	c.members = slices.DeleteFunc(c.members, func(m *member) bool { return m == first })
	c.asksToJoin(44, "n4", wire.JoinVoter)
	c.wantConfig(ids(1, 2, 3), ids(44))
	c.wantConfig(ids(1, 2, 3, 44), nil)
}

func TestALivingNamesakeIsNotReplaced(t *testing.T) {
	var log bytes.Buffer
	c := newTownship(t, 3, func(o *Options) { o.Logger = zerolog.New(&log) })
	c.leader()
	c.asksToJoin(33, "n3", wire.JoinVoter)
	c.pass(5 * time.Second)
	if config := c.config(); !slices.Equal(config.Members(), ids(1, 2, 3)) {
		t.Fatalf("%+v", config)
	}
	if text := log.String(); !strings.Contains(text, "n3:7380") || !strings.Contains(text, "n33:7380") {
		t.Errorf("no warning names both addresses: %s", text)
	}
	c.member(3).crash(0) // it stops: now the other one may come
	c.wantConfig(ids(1, 2, 33), nil)
}

func TestAStandingLearnerIsNeverPromoted(t *testing.T) {
	c := newTownship(t, 3, nil)
	c.leader().incr("k", 5)
	m := c.asksToJoin(4, "", wire.JoinLearner)
	c.wantConfig(ids(1, 2, 3), ids(4))
	c.pass(5 * time.Second)
	c.wantConfig(ids(1, 2, 3), ids(4))
	if m.storage.value("k") != 5 || !m.storage.state.members[4].Standing {
		t.Errorf("k is %d, %+v", m.storage.value("k"), m.storage.state.members[4])
	}
}

// A learner that does not catch up does not hold up the others by its vote.
func TestALearnerThatLagsIsNotPromoted(t *testing.T) {
	c := newTownship(t, 3, nil)
	leader := c.leader()
	m := c.asksToJoin(4, "", wire.JoinVoter)
	c.wantConfig(ids(1, 2, 3), ids(4))
	m.diskStalls = true
	for range 100 {
		leader.incr("k", 1)
		c.pass(50 * time.Millisecond)
	}
	c.wantConfig(ids(1, 2, 3), ids(4))
	m.diskStalls = false
	c.wantConfig(ids(1, 2, 3, 4), nil)
}

// The lesson alone, in numbers.
func TestALessonGoesInRounds(t *testing.T) {
	const timeout, while = 500, 2000
	for name, test := range map[string]struct {
		match, last func(now raftcore.Instant) raftcore.Index
		alive       bool
		fitAt       raftcore.Instant // 0: never
	}{
		"idle": {func(raftcore.Instant) raftcore.Index { return 10 },
			func(raftcore.Instant) raftcore.Index { return 10 }, true, 2050},
		"close behind": {func(n raftcore.Instant) raftcore.Index { return raftcore.Index(n + 900) },
			func(n raftcore.Instant) raftcore.Index { return raftcore.Index(n + 1000) }, true, 2100},
		"too far behind": {func(n raftcore.Instant) raftcore.Index { return raftcore.Index(n + 700) },
			func(n raftcore.Instant) raftcore.Index { return raftcore.Index(n + 1000) }, true, 0},
		"rounds too long": {func(n raftcore.Instant) raftcore.Index { return raftcore.Index(n / 600) },
			func(n raftcore.Instant) raftcore.Index { return raftcore.Index(n/600 + 1) }, true, 0},
		"down": {func(raftcore.Instant) raftcore.Index { return 10 },
			func(raftcore.Instant) raftcore.Index { return 10 }, false, 0},
	} {
		l, fitAt := lesson{}, raftcore.Instant(0)
		for now := raftcore.Instant(50); now < 20_000 && fitAt == 0; now += 50 {
			s := seat{match: test.match(now), alive: test.alive}
			l.observe(now, timeout, &s, test.last(now))
			if l.fitFor(now, while) {
				fitAt = now
			}
		}
		if (fitAt == 0) != (test.fitAt == 0) || fitAt != 0 && (fitAt < test.fitAt || fitAt > test.fitAt+200) {
			t.Errorf("%s: fit at %d, want %d", name, fitAt, test.fitAt)
		}
	}
}

// Whenever the leader dies on the way, the next one goes on from what the log says.
func TestJoiningSurvivesEveryLeader(t *testing.T) {
	for step := range 12 {
		c := newTownship(t, 3, nil)
		c.leader().incr("k", 3)
		c.asksToJoin(4, "", wire.JoinVoter)
		c.pass(time.Duration(step) * promoteAfter / 8)
		dead := c.leader()
		if dead.id == 4 {
			t.Fatal("a learner leads")
		}
		dead.crash(step % 3)
		c.leader()
		c.pass(promoteAfter)
		dead.restart()
		c.wantConfig(ids(1, 2, 3, 4), nil)
		c.pass(2 * time.Second)
		c.same()
		if t.Failed() {
			t.Fatalf("the leader died at step %d", step)
		}
	}
}

// Random crashes, wiped disks and cuts, while every node but two may be wiped: in the end all names
// vote again, and no write that was answered is lost.
func TestWipedAgainAndAgain(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	c := newTownship(t, 3, nil)
	c.leader()
	next := raftcore.NodeID(100)
	acked := 0
	for range 12 {
		leader := c.leader()
		x := leader.incr("k", 1)
		c.until("a write", func() bool { return x.resolved > 0 })
		if x.err == nil {
			acked++
		}
		victim := c.members[random.IntN(len(c.members))]
		name := victim.self().Name
		victim.crash(random.IntN(3))
		if random.IntN(3) == 0 {
			c.pass(time.Duration(random.IntN(500)) * time.Millisecond)
			victim.restart()
		} else {
			c.members = slices.DeleteFunc(c.members, func(m *member) bool { return m == victim })
			c.pass(time.Duration(random.IntN(500)) * time.Millisecond)
			next++
			c.asksToJoin(next, name, wire.JoinVoter)
		}
		c.until("three voters", func() bool {
			config := c.config()
			if len(config.Voters) != 3 || config.Joint() || len(config.Learners) > 0 {
				return false
			}
			for _, m := range c.members {
				if m.node == nil || !m.node.config.IsVoter(m.id) {
					return false
				}
			}
			return true
		})
	}
	c.pass(2 * time.Second)
	c.same()
	if got := c.leader().storage.value("k"); got < int64(acked) || t.Failed() {
		t.Errorf("seed %d: %d of %d acknowledged writes", seed, got, acked)
	}
}

// The node that created the cluster lost its disk before anybody had its first entry.
func TestANodeThatWaitsForADeadCreatorSaysSo(t *testing.T) {
	var log bytes.Buffer
	c := newTownship(t, 1, func(o *Options) { o.Logger = zerolog.New(&log) })
	c.leader()
	c.pass(30 * time.Second)
	if log.Len() == 0 || strings.Contains(log.String(), "nothing was stored") {
		t.Fatalf("a node with a leader: %s", log.String())
	}
	invited := &member{c: c, id: 2, storage: newFakeStorage(), members: []op.Member{{ID: 9, Name: "n9"}}}
	c.members = append(c.members, invited)
	invited.start()
	c.pass(9 * time.Second)
	if strings.Contains(log.String(), "nothing was stored") {
		t.Error("it has no patience")
	}
	c.pass(13 * time.Second)
	if got := strings.Count(log.String(), "empty their data directories"); got != 2 {
		t.Errorf("%d warnings in 22 s: %s", got, log.String())
	}
}

// The leader's status says of each member what it is and how it does.
func TestStatusOfMembers(t *testing.T) {
	c := newTownship(t, 3, func(o *Options) { o.PromoteAfter = time.Hour })
	leader := c.leader()
	c.pass(time.Second)
	c.asksToJoin(4, "", wire.JoinLearner)
	c.wantConfig(ids(1, 2, 3), ids(4))
	joining := c.asksToJoin(5, "", wire.JoinVoter)
	c.wantConfig(ids(1, 2, 3), ids(4, 5))
	c.pass(100 * time.Millisecond)
	joining.diskStalls = true
	down := c.follower()
	down.frozen = true
	leader.incr("k", 1)
	c.pass(2 * time.Second)
	s := leader.node.Status()
	if total, alive := s.Voters(); total != 3 || alive != 2 || s.FailuresTolerated() != 0 {
		t.Errorf("%d of %d voters, tolerates %d", alive, total, s.FailuresTolerated())
	}
	for _, m := range s.Members {
		id := raftcore.NodeID(m.ID)
		want := op.MemberStatus{Role: op.RoleVoter, Voter: true, State: "ok", Match: uint64(lastIndex(leader))}
		switch id {
		case 4:
			want.Role, want.Voter = op.RoleLearner, false
		case 5:
			want.Role, want.Voter, want.State = op.RoleLearner, false, "catching-up"
			want.Match, want.Lag = m.Match, uint64(lastIndex(leader))-m.Match
		case down.id:
			want.State, want.Match, want.Lag = "down", m.Match, uint64(lastIndex(leader))-m.Match
		}
		if m.Role != want.Role || m.Voter != want.Voter || m.State != want.State || m.Match != want.Match ||
			m.Lag != want.Lag || m.Leader != (id == leader.id) || m.Self != (id == leader.id) ||
			m.Standing != (id == 4) || (id == 5 || id == down.id) != (m.Lag > 0) {
			t.Errorf("%+v, want %+v", m, want)
		}
	}
}

// An id that has left for good is not let in again, whatever says so, and whoever stands behind it
// is not held up.
func TestARetiredIdHoldsUpNobody(t *testing.T) {
	c := newTownship(t, 3, nil)
	c.pass(time.Second)
	m := c.asksToJoin(4, "", wire.JoinVoter)
	c.wantConfig(ids(1, 2, 3, 4), nil)
	c.done(c.leader().wants(op.AdminRequest{Action: op.MemberRemove, Name: m.self().Name}))
	c.wantConfig(ids(1, 2, 3), nil)
	m.crash(0)
	c.members = slices.DeleteFunc(c.members, func(x *member) bool { return x == m })
	c.asksToJoin(4, "", wire.JoinVoter)
	c.asksToJoin(5, "", wire.JoinVoter)
	c.wantConfig(ids(1, 2, 3, 5), nil)
	c.pass(5 * time.Second)
	c.wantConfig(ids(1, 2, 3, 5), nil)
}

// Whom a node talks to is more than the configuration that it knows: who is about to leave has to
// get its last acknowledgement, and who has come meanwhile an answer.
func TestWhoIsReachable(t *testing.T) {
	c := newTownship(t, 3, nil)
	n := c.follower().node
	j := &n.joining
	j.members = []op.Member{{ID: 1}, {ID: 2}, {ID: 3}}
	j.recorded = []op.Member{{ID: 2}, {ID: 4, Name: "leaving"}, {ID: 5, Name: "gone"}}
	j.retired = []op.Retired{{ID: 5}, {ID: 7}}
	got := n.reachable([]wire.Hello{
		{NodeID: 3, ClusterID: n.clusterID},
		{NodeID: 6, ClusterID: n.clusterID, Name: "newer"},
		{NodeID: 7, ClusterID: n.clusterID, Name: "gone as well"},
		{NodeID: 8, ClusterID: [16]byte{15: 1}, Name: "of another cluster"},
		{NodeID: 9, Name: "blank"},
	})
	var list []raftcore.NodeID
	for _, m := range got {
		list = append(list, raftcore.NodeID(m.ID))
	}
	want := slices.DeleteFunc(ids(1, 2, 3, 4, 6), func(id raftcore.NodeID) bool {
		return uint64(id) == n.options.Self.ID
	})
	if !slices.Equal(list, want) {
		t.Errorf("reachable: %v, want %v", list, want)
	}
}
