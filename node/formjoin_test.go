package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// A node that joins: what it meets, and what it does then.
func TestFormJoinsWhomItMeets(t *testing.T) {
	x, y := [16]byte{0xaa}, [16]byte{0xbb}
	blank := func(id raftcore.NodeID) wire.Hello {
		return wire.Hello{NodeID: id, Name: fmt.Sprint("n", id), PeerAddr: fmt.Sprintf("h%d:1", id)}
	}
	in := func(cluster [16]byte, id raftcore.NodeID, members string) wire.Hello {
		h := blank(id)
		h.ClusterID, h.Members = cluster, members
		return h
	}
	founding := wire.Invite{ClusterID: x, Members: []wire.Founder{{ID: 1, Name: "n1"}, {ID: 4, Name: "n4"}}}
	joining, elsewhere, others := founding, founding, founding
	joining.Joining, elsewhere.Joining, others.Joining = true, true, true
	elsewhere.ClusterID = y
	others.Members = founding.Members[:1]
	list := []Peer{{"n1", "h1:1"}, {"n4", "h4:1"}}
	for name, test := range map[string]struct {
		join    bool
		hellos  []wire.Hello
		invite  *wire.Invite
		action  formAction
		asks    bool
		seek    []string
		waiting string
	}{
		"nobody answers": {join: true, asks: true, waiting: "h1:1 (refused), h2:1 (refused)"},
		"only blank ones": {join: true, hellos: []wire.Hello{blank(1), blank(2)}, asks: true,
			waiting: "a member of a cluster"},
		"a member": {join: true, hellos: []wire.Hello{in(x, 1, "n1=h1:1,n2=h2:9,bad")}, asks: true,
			seek:    []string{"h1:1", "h2:9"},
			waiting: "the leader of cluster aa00-0000 to let this node in as n4, id 4"},
		"two clusters": {join: true, hellos: []wire.Hello{in(x, 1, ""), in(y, 2, "")},
			waiting: "a list of one cluster (n1 at h1:1 belongs to aa00-0000, n2 at h2:1 to bb00-0000)"},
		"is let in": {join: true, hellos: []wire.Hello{in(x, 1, "")}, invite: &joining,
			action: formAdopt},
		"is fetched": {join: true, invite: &joining, action: formAdopt},
		"is let in elsewhere": {join: true, hellos: []wire.Hello{in(x, 1, "")}, invite: &elsewhere,
			asks: true, waiting: "n1 at h1:1 belongs to cluster aa00-0000"},
		"is not meant": {join: true, hellos: []wire.Hello{in(x, 1, "")}, invite: &others,
			asks: true, waiting: "it does not list n4 with id 4"},
		"shall found": {join: true, invite: &founding, asks: true, waiting: "--join says to join one"},

		"a list, and a member answers": {hellos: []wire.Hello{in(x, 1, "")}, asks: true,
			waiting: "the leader of cluster aa00-0000"},
		"a list, and is let in":  {hellos: []wire.Hello{in(x, 1, "")}, invite: &joining, action: formAdopt},
		"a list, and is fetched": {hellos: []wire.Hello{blank(1)}, invite: &joining, waiting: "nobody whom"},
	} {
		s := formState{self: blank(4), join: test.join, hellos: test.hellos}
		if !test.join {
			s.peers = list
			for i := range s.hellos {
				s.hellos[i].Peers = s.self.Peers
			}
		}
		for id := raftcore.NodeID(1); id <= 2; id++ {
			st := wire.PeerStatus{Addr: fmt.Sprintf("h%d:1", id), LastError: "refused"}
			if !test.join {
				st.Name = fmt.Sprint("n", id)
			}
			for _, h := range test.hellos {
				if h.NodeID == id {
					st.ID, st.Connected, st.LastError = id, true, ""
				}
			}
			if test.join || id == 1 {
				s.status = append(s.status, st)
			}
		}
		if test.invite != nil {
			s.invites = []invitation{{1, *test.invite}}
		}
		d := s.decide()
		var seek []string
		for _, p := range d.seek {
			seek = append(seek, p.Addr)
		}
		if d.action != test.action || d.asks != test.asks || !slices.Equal(seek, test.seek) ||
			!strings.Contains(strings.Join(d.waiting, ", "), test.waiting) {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// The machine of n3 loses its disk: it asks in its hello, dials whom it hears of, adopts the
// cluster when it is let in, and remembers after a restart that it still has to ask.
func TestFormAsksToComeBack(t *testing.T) {
	w := newTown(t, 3)
	defer w.stopAll()
	for _, n := range w.all {
		n.start()
	}
	w.settle()
	w.wantOne()
	cluster := w.all[0].former.result.ClusterID
	w.all[1].former.Greeter.Know(&Census{Joined: true,
		Members: []op.Member{{ID: 77, Name: "n7", PeerAddr: "host7:7380"}}})
	n := w.all[2]
	n.stop()
	n.dir, n.log = t.TempDir(), nil
	n.start()
	w.settle()
	g := n.former.Greeter
	if n.done || g.Hello().Join != wire.JoinVoter || !slices.Equal(n.sought, []string{"host7:7380"}) {
		t.Fatalf("done %t, %+v, looks at %q", n.done, g.Hello(), n.sought)
	}
	inv := wire.Invite{ClusterID: cluster, Joining: true, Members: []wire.Founder{{ID: 77, Name: "n7"},
		{ID: g.identity.NodeID, Name: "n3"}}}
	g.Invited(77, inv)
	w.settle()
	members := n.former.result.Members
	if !n.done || n.former.result.First != nil || n.former.result.ClusterID != cluster ||
		len(members) != 2 || members[0].PeerAddr != "host7:7380" || n.sought != nil {
		t.Fatalf("%+v, looks at %q", n.former.result, n.sought)
	}
	n.stop()
	n.start()
	w.settle()
	g = n.former.Greeter
	if !n.done || g.Hello().Join != wire.JoinVoter || g.Hello().ClusterID != cluster {
		t.Fatalf("after a restart: %+v", g.Hello())
	}
	g.Know(&Census{Joined: true})
	if g.Hello().Join != wire.JoinNot {
		t.Error("a member asks to join")
	}
}

// What the greeter knows of the members decides whom it talks to.
func TestGreeterKnowsTheMembers(t *testing.T) {
	g := testGreeter(t)
	cluster := [16]byte{1}
	g.enter(wire.Invite{ClusterID: cluster})
	g.Know(&Census{
		Members: []op.Member{{ID: 1, Name: "n1", PeerAddr: "a:1"}, {ID: 2, Name: "n2", PeerAddr: "b:1"},
			{ID: 3, Name: "n3", PeerAddr: "c:1"}},
		Up:      []uint64{1, 2},
		Retired: []op.Retired{{ID: 9, Name: "n3", Index: 120}},
	})
	if got := g.Hello().Members; got != "n1=a:1,n2=b:1,n3=c:1" {
		t.Errorf("the hello lists %q", got)
	}
	for _, c := range []struct {
		id   raftcore.NodeID
		name string
		want []string // nil: accepted
	}{
		{2, "n2", nil},
		{2, "renamed", nil},
		{9, "n3", []string{"removed from cluster 0100-0000 at index 120", "id 9"}},
		{9, "n1", []string{"removed"}},
		{5, "n3", nil}, // its namesake is down
		{5, "n2", []string{"a member named n2 is up at b:1", "the node at z:1"}},
		{5, "n4", nil},
	} {
		err := g.Accept(wire.Hello{Protocol: PeerProtocol, NodeID: c.id, Name: c.name, PeerAddr: "z:1"})
		if (err == nil) != (c.want == nil) {
			t.Errorf("%x %s: %v", uint64(c.id), c.name, err)
		}
		for _, word := range c.want {
			wantExit(t, err, ExitUnexpected, word)
		}
	}
	if len(parseMembers(g.Hello().Members)) != 3 || len(parseMembers("")) != 0 {
		t.Errorf("%+v", parseMembers(g.Hello().Members))
	}
}

// A node that was removed says so at each start, at once.
func TestIdentityRemembersTheRemoval(t *testing.T) {
	id := mustOpen(t, t.TempDir(), "n3")
	if err := id.SetRemoved("n3 was removed\nat index 120"); err != nil {
		t.Fatal(err)
	}
	id.Close()
	for range 2 {
		_, err := OpenIdentity(id.dir, "n3")
		wantExit(t, err, ExitRemoved, "n3 was removed at index 120", "empty directory", id.dir)
	}
	failing := mustOpen(t, t.TempDir(), "n3")
	defer failing.Close()
	failing.disk = &tracedDisk{failAt: 1, err: errCrash}
	if err := failing.SetRemoved("x"); err == nil || failing.Removed != "" {
		t.Errorf("%v, %q", err, failing.Removed)
	}
}
