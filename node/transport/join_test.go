package transport

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// A node that knows addresses only is welcome wherever it knocks, and forgets an address that leads
// to a member it knows by id.
func TestHintsWithoutAName(t *testing.T) {
	b := newNode(t, 2, listen(t))
	la := listen(t)
	a := newNode(t, 1, la, Hint{Addr: b.addr}, Hint{Addr: la.Addr().String()})
	eventually(t, "a connection", func() bool { return a.connected(2) })
	if peers := a.Peers(); len(peers) != 1 || peers[0].Name != "n2" || peers[0].Connects != 1 {
		t.Errorf("peers %+v", peers)
	}

	dead := listen(t)
	dead.Close()
	c := newNode(t, 3, listen(t), Hint{Addr: b.addr})
	c.SetPeers([]op.Member{memberAt(2, dead.Addr().String())})
	eventually(t, "a connection by the hint", func() bool { return c.connected(2) })
	eventually(t, "the hint's end", func() bool { return len(c.Peers()) == 1 })
	if p := c.Peers()[0]; p.ID != 2 || p.Connects == 0 {
		t.Errorf("%+v", p)
	}
}

// An address is news of a member that was looked for in vain, and leads to a node that is none.
func TestSeek(t *testing.T) {
	dead := listen(t)
	dead.Close()
	b, c := newNode(t, 2, listen(t)), newNode(t, 3, listen(t))
	a := newNode(t, 1, listen(t))
	a.SetPeers([]op.Member{memberAt(2, dead.Addr().String())})
	a.Seek([]string{b.addr, c.addr, a.addr})
	eventually(t, "both", func() bool { return a.connected(2) && a.connected(3) && len(a.Peers()) == 2 })
	if !a.Invite(3, wire.Invite{}) {
		t.Error("an invitation was dropped")
	}
	c.seen(t, "invitations", 1, func() int { return len(c.invites) })

	a.Seek([]string{b.addr}) // which is known already
	c.seen(t, "disconnections", 1, func() int { return count(c.heard, "-1") })
	if peers := a.Peers(); len(peers) != 1 || peers[0].ID != 2 || !peers[0].Connected {
		t.Errorf("peers %+v", peers)
	}

	a.Seek([]string{c.addr})
	eventually(t, "the other one again", func() bool { return a.connected(3) })
	a.SetPeers([]op.Member{b.member(), c.member()})
	a.Seek(nil)
	if peers := a.Peers(); len(peers) != 2 || !a.connected(3) {
		t.Errorf("a member was dropped that had been looked for: %+v", peers)
	}
}

// Who is removed is told so in a way that no text can be mistaken for, whoever dialled.
func TestRemovalIsARefusalOfItsOwn(t *testing.T) {
	member := newNode(t, 1, listen(t))
	member.lock.Lock()
	member.refuse = fmt.Errorf("%w at index 120", wire.ErrRemoved)
	member.lock.Unlock()
	dials := newExpelled(t, 2, member.hint())
	dials.wait(t)
	member.seen(t, "reports", 1, func() int { return count(member.failures, "n2: the cluster has removed") })
	dialled := newExpelled(t, 3)
	member.SetPeers([]op.Member{memberAt(3, dialled.hello.PeerAddr)})
	dialled.wait(t)
}

type expelled struct {
	*recorder
	told chan error
}

func newExpelled(t *testing.T, id int, hints ...Hint) *expelled {
	t.Helper()
	l := listen(t)
	e := &expelled{told: make(chan error, 100), recorder: &recorder{hello: wire.Hello{Protocol: 1,
		ClusterID: testCluster, Boot: 1, NodeID: raftcore.NodeID(id), Name: fmt.Sprint("n", id),
		PeerAddr: l.Addr().String()}}}
	tr, err := New(Options{Listener: l, Hints: hints}, e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return e
}

// wait returns when it was told that it is removed.
func (e *expelled) wait(t *testing.T) {
	t.Helper()
	for limit := time.After(time.Minute); ; {
		select {
		case err := <-e.told:
			if !errors.Is(err, wire.ErrExpelled) {
				continue
			}
			if count([]string{err.Error()}, "at index 120") == 0 || errors.Is(err, wire.ErrRemoved) {
				t.Errorf("%v", err)
			}
			return
		case <-limit:
			t.Fatal("nobody has told it")
		}
	}
}

func (e *expelled) PeerError(name, addr string, err error) {
	e.recorder.PeerError(name, addr, err)
	select {
	case e.told <- err:
	default:
	}
}

// A node that waits outside hears who the members are whenever that changes, though nobody dials it.
func TestWhoWaitsHearsOfTheMembers(t *testing.T) {
	b := newNode(t, 2, listen(t))
	b.SetPeers(nil)
	a := newNode(t, 1, listen(t), b.hint())
	eventually(t, "a connection", func() bool { return a.connected(2) && len(b.Hellos()) == 1 })
	for i := range 3 {
		members := fmt.Sprintf("n%d=x:1", i)
		b.lock.Lock()
		b.hello.Members = members
		b.lock.Unlock()
		b.Announce()
		eventually(t, "the new list", func() bool {
			hellos := a.Hellos()
			return len(hellos) == 1 && hellos[0].Members == members
		})
	}
}
