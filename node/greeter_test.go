package node

import (
	"errors"
	"slices"
	"testing"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

func testGreeter(t *testing.T) *Greeter {
	id := mustOpen(t, t.TempDir(), "n1")
	return NewGreeter(GreeterOptions{Identity: id, PeerAddr: "a:1"})
}

func TestGreeterAccept(t *testing.T) {
	g := testGreeter(t)
	own := g.Hello()
	good := own
	good.NodeID, good.Name, good.PeerAddr = own.NodeID+1, "n2", "b:1"
	g.enter(wire.Invite{ClusterID: [16]byte{1}})
	for _, c := range []struct {
		change func(h *wire.Hello)
		want   string // empty: accepted
		is     error
	}{
		{func(h *wire.Hello) {}, "", nil},
		{func(h *wire.Hello) { h.ClusterID = [16]byte{1} }, "", nil},
		{func(h *wire.Hello) { h.ClusterID = [16]byte{2} },
			"n1 (a:1) has cluster id 0100-0000, n2 (b:1) has cluster id 0200-0000", ErrOtherCluster},
		{func(h *wire.Hello) { h.ClusterID, h.Name = [16]byte{2}, "n1" },
			"n1 (b:1) has cluster id 0200-0000", ErrOtherCluster},
		{func(h *wire.Hello) { h.Protocol = 2 },
			"n1 (a:1) has protocol version 1, n2 (b:1) has protocol version 2", nil},
		{func(h *wire.Hello) { h.Group = 3 }, "raft group 3", nil},
		{func(h *wire.Hello) { h.NodeID = 0 }, "no node id", nil},
		{func(h *wire.Hello) { h.Name = "a b" }, `"a b"`, nil},
		{func(h *wire.Hello) { h.Name = "n1" }, "two nodes are named n1, at a:1 and at b:1", nil},
		{func(h *wire.Hello) { *h = own }, "leads back", ErrOwnAddress},
		{func(h *wire.Hello) { h.NodeID = own.NodeID }, "copy", ErrDuplicateIdentity},
		{func(h *wire.Hello) { *h = own; h.Boot++ }, "at a:1 and at a:1", ErrDuplicateIdentity},
	} {
		h := good
		c.change(&h)
		err := g.Accept(h)
		if c.want == "" {
			if err != nil {
				t.Errorf("%+v: %v", h, err)
			}
			continue
		}
		wantExit(t, err, ExitUnexpected, c.want)
		if c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%v is not %v", err, c.is)
		}
	}
}

// meetingOf is a Meeting with given hellos that counts invitations.
type meetingOf struct {
	hellos  []wire.Hello
	invited []raftcore.NodeID
}

func (m *meetingOf) Hellos() []wire.Hello     { return m.hellos }
func (m *meetingOf) Peers() []wire.PeerStatus { return nil }
func (m *meetingOf) Announce()                {}
func (m *meetingOf) Seek([]string)            {}
func (m *meetingOf) Invite(to raftcore.NodeID, _ wire.Invite) bool {
	m.invited = append(m.invited, to)
	return true
}

func TestGreeterReinvitesBlankFoundersOnly(t *testing.T) {
	g := testGreeter(t)
	cluster := [16]byte{1}
	m := &meetingOf{hellos: []wire.Hello{{NodeID: 2}, {NodeID: 3, ClusterID: cluster}, {NodeID: 4},
		{NodeID: 5}}}
	g.Reinvite(m, raftcore.Config{})
	if len(m.invited) != 0 {
		t.Fatal("a blank node invites")
	}
	g.enter(wire.Invite{ClusterID: cluster, Members: []wire.Founder{{ID: 2}, {ID: 3}, {ID: 5}}})
	g.Reinvite(m, raftcore.Config{})
	g.Reinvite(m, raftcore.Config{Voters: []raftcore.NodeID{2, 3, 5}})
	g.Reinvite(m, raftcore.Config{Voters: []raftcore.NodeID{2, 3, 6}}) // 5 was replaced since
	g.Reinvite(m, raftcore.Config{Voters: []raftcore.NodeID{2, 3}, Learners: []raftcore.NodeID{5}})
	want := []raftcore.NodeID{2, 5, 2, 5}
	if !slices.Equal(m.invited, want) {
		t.Fatalf("invited %v, want %v", m.invited, want)
	}
}

// listener counts what it hears.
type listener struct{ messages, proposals, up, down, errors int }

func (l *listener) Messages(raftcore.NodeID, []raftcore.Message) { l.messages++ }
func (l *listener) Forwarded(raftcore.NodeID, []byte)            { l.proposals++ }
func (l *listener) Connected(wire.Hello)                         { l.up++ }
func (l *listener) Disconnected(raftcore.NodeID)                 { l.down++ }
func (l *listener) PeerError(string, string, error)              { l.errors++ }

func TestGreeterPassesOnOnceAttached(t *testing.T) {
	g := testGreeter(t)
	var l listener
	for range 2 {
		g.Messages(1, nil)
		g.Forwarded(1, nil)
		g.Connected(wire.Hello{})
		g.Disconnected(1)
		g.PeerError("", "", nil)
		if l != (listener{}) && l != (listener{1, 1, 1, 1, 1}) {
			t.Fatalf("%+v", l)
		}
		g.Attach(&l)
	}
	if l != (listener{1, 1, 1, 1, 1}) {
		t.Fatalf("%+v", l)
	}
}
