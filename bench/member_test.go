package bench

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"kelek/bench/mesh"
	"kelek/resp/client"
)

// awaitVoters waits until the nodes of the plan are the voters.
func awaitVoters(t *testing.T, c *Cluster) {
	t.Helper()
	if err := c.waitVoters(context.Background(), memberLimit); err != nil {
		t.Fatal(err)
	}
}

// A machine that lost its disk is started again as if nothing had happened, under load. Its clients
// may be told UNCERTAIN: a snapshot that it gets may jump over what they have just sent.
func TestANodeWithoutItsDiskIsAVoterAgain(t *testing.T) {
	c := startCluster(t, 3)
	load := &Workload{Prefix: "t", Groups: 2, Seed: 11, Think: time.Millisecond, Patient: true}
	load.Start(context.Background(), c.Addrs())
	waitWrites(t, load, 300)
	n3 := c.Nodes[2]
	before := c.Infos()[n3.Name]
	loseDisk := func() error { return errors.Join(c.Kill(n3), c.Wipe(n3)) }
	if err := load.Expect(loseDisk, 2); err != nil {
		t.Fatal(err)
	}
	waitWrites(t, load, 100)
	if err := c.Start(n3); err != nil {
		t.Fatal(err)
	}
	awaitVoters(t, c)
	after := c.Infos()[n3.Name]
	if before == nil || after == nil || before.ID == after.ID || before.ClusterID != after.ClusterID {
		t.Errorf("before %+v\nafter %+v: want another node id in the same cluster", before, after)
	}
	waitWrites(t, load, 300)
	judgeLoad(t, load)
}

// A node that lost its disk reads in the log of members that are long gone, and learns all the same
// from a leader that it has never heard of.
func TestANodeLearnsFromALeaderThatLostItsDisk(t *testing.T) {
	if !full() {
		t.Skip("KELEK_TEST_FULL=1: waits for three new voters")
	}
	c := startCluster(t, 3)
	load := &Workload{Prefix: "t", Groups: 2, Seed: 14, Think: time.Millisecond, Patient: true}
	load.Start(context.Background(), c.Addrs())
	renew := func(n *Node) {
		t.Helper()
		fill(t, c.Nodes[0].Addr(), 16<<20) // one message does not bring a node up to date
		renewed := func() error { return errors.Join(c.Kill(n), c.Wipe(n), c.Start(n)) }
		if err := load.Expect(renewed, slices.Index(c.Nodes, n)); err != nil {
			t.Fatal(err)
		}
		awaitVoters(t, c)
	}
	leads := func(info *client.NodeInfo) bool { return info.Name == "n2" }
	renew(c.Nodes[1])
	renew(c.Nodes[1])
	err := c.Administer(context.Background(), memberLimit, leads, "RAFT.LEADER", "TRANSFER", "n2")
	if err != nil {
		t.Fatal(err)
	}
	renew(c.Nodes[2])
	do(t, dial(t, c.Nodes[2].Addr()), "SET", "k", "v")
	judgeLoad(t, load)
}

// A cluster grows from three members to five and shrinks to three, without its leader; then all of
// them move to other addresses at once. Nobody who works with it loses anything.
func TestMembersComeAndGo(t *testing.T) {
	if !full() {
		t.Skip("KELEK_TEST_FULL=1: waits for two new voters")
	}
	c := startCluster(t, 3)
	load := &Workload{Prefix: "t", Groups: 2, Seed: 12, Think: time.Millisecond}
	load.Start(context.Background(), c.Addrs())
	s := &storm{cluster: c, load: load, ctx: context.Background(), size: 3,
		homes: map[string][]int{"n1": {0}, "n2": {1}, "n3": {2}}}
	waitWrites(t, load, 300)
	for range 2 {
		if _, err := s.join(); err != nil {
			t.Fatal(err)
		}
		awaitVoters(t, c)
	}
	waitWrites(t, load, 300)
	removeLeader(t, s)
	waitWrites(t, load, 300)
	removeLeader(t, s)
	waitWrites(t, load, 300)
	t.Logf("the members are %s", c.names())

	move := func() error {
		if err := errors.Join(c.KillAll(), c.Readdress()); err != nil {
			return err
		}
		for _, n := range c.Nodes {
			for _, place := range s.homes[n.Name] {
				load.Move(place, n.Name, n.Addr())
			}
		}
		return c.StartAll()
	}
	if err := load.Expect(move, s.places(c.Nodes)...); err != nil {
		t.Fatal(err)
	}
	leaderOf(t, c, 0)
	awaitVoters(t, c)
	waitWrites(t, load, 300)
	judgeLoad(t, load)
}

// Who is removed while nobody reaches it cannot know; it learns of it when the network is whole,
// also where no connection broke meanwhile, and ends.
func TestARemovedMemberLearnsOfItWhenItCanBeReached(t *testing.T) {
	if err := mesh.Supported(); err != nil {
		t.Skip(err)
	}
	c := planCluster(t, 3)
	if err := c.UseForwarders(); err != nil {
		t.Fatal(err)
	}
	startAll(t, c)
	victim := c.Nodes[2]
	load := &Workload{Prefix: "t", Groups: 1, Seed: 15, Think: time.Millisecond, Connect: c.connect()}
	load.Start(context.Background(), c.Addrs())
	defer load.Stop()
	s := &storm{cluster: c, load: load, ctx: context.Background(), size: 3,
		homes: map[string][]int{"n1": {0}, "n2": {1}, "n3": {2}}}
	waitWrites(t, load, 100)
	if err := c.network.cut(bothWays([]string{victim.Name}, []string{"n1", "n2"})); err != nil {
		t.Fatal(err)
	}
	leaderOf(t, c, 0)
	d := &departure{storm: s, victim: victim, command: []string{"RAFT.MEMBER", "REMOVE", victim.Name}}
	if err := d.begin(); err != nil {
		t.Fatal(err)
	}
	if !d.changed || !victim.Running() {
		t.Errorf("removed %t, and %s runs %t: want it removed and running", d.changed, victim.Name,
			victim.Running())
	}
	if err := errors.Join(c.network.cut(nil), d.finish()); err != nil {
		t.Fatal(err)
	}
	judgeLoad(t, load)
}

// removeLeader removes the leader, whose process then ends by itself, and ends the same way when it
// is started again (departure looks at that).
func removeLeader(t *testing.T, s *storm) {
	t.Helper()
	leader, _ := leaderOf(t, s.cluster, 0)
	d := &departure{storm: s, victim: leader, command: []string{"RAFT.MEMBER", "REMOVE", leader.Name}}
	if err := errors.Join(d.begin(), d.finish()); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(s.cluster.Nodes, leader) {
		t.Fatalf("%s is still in the plan", leader.Name)
	}
	leaderOf(t, s.cluster, 0)
	awaitVoters(t, s.cluster)
}
