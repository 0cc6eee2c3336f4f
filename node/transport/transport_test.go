package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

var testCluster = [16]byte{0xc1}

// recorder is a Handler that writes down what it hears.
type recorder struct {
	lock      sync.Mutex
	hello     wire.Hello
	refuse    error
	messages  []raftcore.Message
	batches   int
	proposals []string
	invites   []wire.Invite
	heard     []string // "+name" and "-id"
	failures  []string // "name: text"
	foreign   int      // those that are wire.ErrOtherCluster
}

func (r *recorder) Hello() wire.Hello {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.hello
}

func (r *recorder) Accept(h wire.Hello) error {
	r.lock.Lock()
	defer r.lock.Unlock()
	if h.NodeID == r.hello.NodeID {
		return errors.New("this is myself")
	}
	return r.refuse
}

func (r *recorder) Messages(from raftcore.NodeID, messages []raftcore.Message) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.batches++
	r.messages = append(r.messages, messages...)
}

func (r *recorder) Forwarded(from raftcore.NodeID, proposal []byte) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.proposals = append(r.proposals, fmt.Sprintf("%d:%s", from, proposal))
}

func (r *recorder) Invited(from raftcore.NodeID, inv wire.Invite) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.invites = append(r.invites, inv)
}

func (r *recorder) Connected(h wire.Hello)          { r.event("+" + h.Name) }
func (r *recorder) Disconnected(id raftcore.NodeID) { r.event(fmt.Sprintf("-%d", id)) }

func (r *recorder) PeerError(name, _ string, e error) {
	r.failed(name + ": " + e.Error())
	if errors.Is(e, wire.ErrOtherCluster) {
		r.lock.Lock()
		defer r.lock.Unlock()
		r.foreign++
	}
}

func (r *recorder) event(text string) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.heard = append(r.heard, text)
}

func (r *recorder) failed(text string) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.failures = append(r.failures, text)
}

// count is how many of the lines contain text.
func count(lines []string, text string) (n int) {
	for _, line := range lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// testNode is a Transport on a loopback port and its recorder.
type testNode struct {
	*recorder
	*Transport
	addr string
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// newNode starts node number id, named n<id>, in testCluster.
func newNode(t *testing.T, id int, l net.Listener, hints ...Hint) *testNode {
	t.Helper()
	r := &recorder{hello: wire.Hello{Protocol: 1, ClusterID: testCluster, Boot: 1,
		NodeID: raftcore.NodeID(id), Name: fmt.Sprintf("n%d", id), PeerAddr: l.Addr().String()}}
	return startNode(t, r, l, hints...)
}

func startNode(t *testing.T, r *recorder, l net.Listener, hints ...Hint) *testNode {
	t.Helper()
	tr, err := New(Options{Listener: l, Hints: hints}, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return &testNode{r, tr, l.Addr().String()}
}

func (n *testNode) hint() Hint        { return Hint{n.hello.Name, n.addr} }
func (n *testNode) member() op.Member { return memberAt(int(n.self), n.addr) }

func memberAt(id int, addr string) op.Member {
	return op.Member{ID: uint64(id), Name: fmt.Sprintf("n%d", id), PeerAddr: addr}
}

// connected reports whether n can send to the node.
func (n *testNode) connected(id int) bool {
	for _, p := range n.Peers() {
		if p.ID == raftcore.NodeID(id) && p.Connected {
			return true
		}
	}
	return false
}

// pair is two nodes that can send to each other.
func pair(t *testing.T) (a, b *testNode) {
	t.Helper()
	return pairOf(t, listen(t), listen(t))
}

func pairOf(t *testing.T, la, lb net.Listener) (a, b *testNode) {
	t.Helper()
	a = newNode(t, 1, la, Hint{"n1", la.Addr().String()}, Hint{"n2", lb.Addr().String()})
	b = newNode(t, 2, lb, Hint{"n1", la.Addr().String()}, Hint{"n2", lb.Addr().String()})
	eventually(t, "both directions", func() bool { return a.connected(2) && b.connected(1) })
	return a, b
}

// listenApart listens at an address of its own, if the system has one. A port that is closed there for
// a moment is taken by nobody: outgoing connections begin at another address.
func listenApart(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.77.0.1:0")
	if err != nil {
		return listen(t)
	}
	return l
}

// eventually waits until done holds; it never takes long unless the test fails.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

// seen waits until a count that the recorder keeps has reached n.
func (r *recorder) seen(t *testing.T, what string, n int, get func() int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s reaching %d", what, n), func() bool {
		r.lock.Lock()
		defer r.lock.Unlock()
		return get() >= n
	})
}

func entry(i raftcore.Index, data string) raftcore.Entry {
	return raftcore.Entry{Pos: raftcore.Pos{Term: 1, Index: i}, Kind: raftcore.EntryNormal,
		Data: []byte(data)}
}

// appendFrom is an AppendEntries with one entry, of index i.
func appendFrom(from, to int, i raftcore.Index, data string) raftcore.Message {
	return raftcore.Message{Kind: raftcore.AppendEntries, From: raftcore.NodeID(from),
		To: raftcore.NodeID(to), Term: 1, Prev: raftcore.Pos{Term: 1, Index: i - 1},
		Entries: []raftcore.Entry{entry(i, data)}}
}

func heartbeat(from, to int, round uint64) raftcore.Message {
	return raftcore.Message{Kind: raftcore.AppendEntries, From: raftcore.NodeID(from),
		To: raftcore.NodeID(to), Term: 1, Round: round}
}

// Everything arrives, in order, and what was handed over does not change under later traffic.
func TestMessagesArriveInOrderAndStay(t *testing.T) {
	a, b := pair(t)
	const rounds = 1000
	big := strings.Repeat("B", 300<<10)
	for i := raftcore.Index(1); i <= rounds; i++ {
		data := fmt.Sprint("entry ", i)
		if i%400 == 0 {
			data = big
		}
		m := []raftcore.Message{appendFrom(1, 2, i, data), heartbeat(1, 2, uint64(i))}
		a.Send(2, m)
		clear(m[0].Entries) // the slices stay the caller's
		clear(m)
		if i%100 == 0 {
			b.seen(t, "messages", 2*int(i), func() int { return len(b.messages) })
		}
	}
	b.Send(1, []raftcore.Message{heartbeat(2, 1, 7)})
	a.seen(t, "answers", 1, func() int { return len(a.messages) })
	for i := raftcore.Index(1); i <= rounds; i++ {
		m, h := b.messages[2*i-2], b.messages[2*i-1]
		want := fmt.Sprint("entry ", i)
		if i%400 == 0 {
			want = big
		}
		if len(m.Entries) != 1 || string(m.Entries[0].Data) != want || m.Entries[0].Index != i {
			t.Fatalf("message %d: %.200v", i, m)
		}
		if h.Round != uint64(i) || h.Entries != nil || h.From != 1 {
			t.Fatalf("heartbeat %d: %+v", i, h)
		}
	}
	status := a.Peers()[0]
	if status.Sent < 2*rounds || status.Dropped != 0 || status.ID != 2 || status.LastReceived == 0 {
		t.Errorf("status %+v", status)
	}
}

func TestProposalsAndInvitations(t *testing.T) {
	a, b := pair(t)
	if !a.Forward(2, []byte("proposal")) || a.Forward(9, []byte("nobody")) {
		t.Fatal("Forward does not tell what it dropped")
	}
	inv := wire.Invite{ClusterID: testCluster, Members: []wire.Founder{{ID: 1, Name: "n1"}}}
	if !a.Invite(2, inv) || a.Invite(9, inv) {
		t.Fatal("Invite does not tell what it dropped")
	}
	b.seen(t, "invitations", 1, func() int { return len(b.invites) })
	if len(b.proposals) != 1 || b.proposals[0] != "1:proposal" {
		t.Errorf("proposals %q", b.proposals)
	}
	if got := b.invites[0]; got.ClusterID != testCluster || got.Members[0] != inv.Members[0] {
		t.Errorf("invitation %+v", got)
	}
	a.Send(9, []raftcore.Message{heartbeat(1, 9, 1)}) // to nobody: no panic
}

// A node forms: it is blank at first and its core does not speak; it is heard once it has announced
// its cluster.
func TestAnnounceMakesAMember(t *testing.T) {
	a, b := pair(t)
	for _, n := range []*testNode{a, b} {
		n.Close()
		n.hello.ClusterID = [16]byte{}
		n.hello.Boot++
	}
	la, lb := listen(t), listen(t)
	a = startNode(t, a.recorder, la, Hint{"n2", lb.Addr().String()})
	b = startNode(t, b.recorder, lb, Hint{"n1", la.Addr().String()})
	eventually(t, "both directions", func() bool { return a.connected(2) && b.connected(1) })
	setCluster := func(n *testNode) {
		n.lock.Lock()
		n.hello.ClusterID = testCluster
		n.lock.Unlock()
		n.Announce()
	}
	knows := func(n *testNode) bool {
		hellos := n.Hellos()
		return len(hellos) == 1 && hellos[0].ClusterID == testCluster
	}
	setCluster(a)
	a.Send(2, []raftcore.Message{heartbeat(1, 2, 1)}) // b is not a member yet: not for its core
	eventually(t, "b learns of the cluster", func() bool { return knows(b) })
	a.Invite(2, wire.Invite{})
	b.seen(t, "invitations", 1, func() int { return len(b.invites) })
	setCluster(b)
	eventually(t, "a learns of b's cluster", func() bool { return knows(a) })
	a.Send(2, []raftcore.Message{heartbeat(1, 2, 2)})
	b.Send(1, []raftcore.Message{heartbeat(2, 1, 3)})
	a.seen(t, "messages", 1, func() int { return len(a.messages) })
	b.seen(t, "messages", 1, func() int { return len(b.messages) })
	if len(b.messages) != 1 || b.messages[0].Round != 2 {
		t.Errorf("b's core heard %+v", b.messages)
	}
}

func TestAnnounceClosesWhatIsRefusedNow(t *testing.T) {
	a, b := pair(t)
	a.lock.Lock()
	a.refuse = errors.New("another cluster")
	a.lock.Unlock()
	a.Announce()
	eventually(t, "the end of the connections", func() bool { return len(a.Hellos()) == 0 })
	b.seen(t, "reports of the refusal", 1, func() int {
		return count(b.failures, "n1: refused by the peer: another cluster")
	})
	if count(a.heard, "-2") != 0 {
		t.Errorf("a heard of what it closed itself: %q", a.heard)
	}
	eventually(t, "the reason in the status", func() bool {
		return strings.Contains(b.Peers()[0].LastError, "another cluster")
	})
}

// A process that is killed is noticed by its sockets, in both directions, and found again.
func TestKilledPeerIsNoticedAndFoundAgain(t *testing.T) {
	a, b := pairOf(t, listen(t), listenApart(t))
	b.Close()
	a.seen(t, "disconnections", 2, func() int { return count(a.heard, "-2") })
	eventually(t, "no way to send", func() bool { return !a.connected(2) })
	if a.Forward(2, []byte("x")) {
		t.Error("a proposal waits for a peer that is down")
	}
	a.seen(t, "dial errors", 1, func() int { return count(a.failures, "n2: connection refused") })
	l, err := net.Listen("tcp", b.addr)
	if err != nil {
		t.Fatal("the port was taken meanwhile:", err)
	}
	b.hello.Boot++
	b = startNode(t, b.recorder, l, a.hint())
	eventually(t, "both directions", func() bool { return a.connected(2) && b.connected(1) })
}

// The member list's address is wrong; the hint, and what the peer says of itself, are not.
func TestAddressesAreHints(t *testing.T) {
	la, lb := listen(t), listen(t)
	dead := listen(t)
	dead.Close()
	a := newNode(t, 1, la, Hint{"n2", lb.Addr().String()})
	b := newNode(t, 2, lb)
	a.SetPeers([]op.Member{memberAt(1, a.addr), memberAt(2, dead.Addr().String())})
	eventually(t, "a connection by the hint", func() bool { return a.connected(2) })
	// b knows a wrong address of a and has no hint: a has told it, in its hello.
	b.SetPeers([]op.Member{memberAt(1, dead.Addr().String())})
	eventually(t, "a connection by the hello", func() bool { return b.connected(1) })
	if peers := a.Peers(); len(peers) != 1 || peers[0].Name != "n2" {
		t.Errorf("peers %+v", peers)
	}
}

// After a restart the configuration has ids only: names and addresses are found by the hints.
func TestMembersWithoutAddressAreFoundByHints(t *testing.T) {
	la, lb := listen(t), listen(t)
	b := newNode(t, 2, lb)
	a := newNode(t, 1, la, b.hint())
	a.SetPeers([]op.Member{{ID: 2}})
	eventually(t, "a connection", func() bool { return a.connected(2) })
	a.Send(2, []raftcore.Message{heartbeat(1, 2, 1)})
	b.seen(t, "messages", 1, func() int { return len(b.messages) })
	a.SetPeers([]op.Member{b.member()})
	if peers := a.Peers(); len(peers) != 1 || peers[0].Name != "n2" || !peers[0].Connected {
		t.Errorf("the hint is still there: %+v", peers)
	}
}

// A node that has met nobody of its own goes on to dial its hints: strangers may be there.
func TestHintsAreDialledUntilSomebodyOfOursIsMet(t *testing.T) {
	stranger := newNode(t, 3, listen(t))
	stranger.lock.Lock()
	stranger.refuse = fmt.Errorf("%w: a and b", wire.ErrOtherCluster)
	stranger.lock.Unlock()
	lb := listen(t)
	a := newNode(t, 1, listen(t), stranger.hint())
	a.SetPeers([]op.Member{memberAt(2, lb.Addr().String())})
	foreign := func() int {
		return count(a.failures, "n3: refused by the peer: the nodes belong to different clusters") *
			a.foreign
	}
	a.seen(t, "refusals that say so", 2, foreign)
	if len(a.Peers()) != 2 {
		t.Errorf("peers %+v", a.Peers())
	}
	newNode(t, 2, lb)
	eventually(t, "the hint's end", func() bool { return len(a.Peers()) == 1 && a.connected(2) })
}

func TestSetPeersClosesOthers(t *testing.T) {
	a, b := pair(t)
	a.SetPeers([]op.Member{b.member()})
	b.SetPeers([]op.Member{a.member()})
	eventually(t, "both directions", func() bool { return a.connected(2) && b.connected(1) })
	a.SetPeers([]op.Member{a.member()})
	b.seen(t, "disconnections", 1, func() int { return count(b.heard, "-1") })
	if len(a.Peers()) != 0 || a.Forward(2, []byte("x")) {
		t.Errorf("peers %+v", a.Peers())
	}
}

// Whoever answers has to be who was meant.
func TestWrongNodeAtAnAddress(t *testing.T) {
	la, lb := listen(t), listen(t)
	b := newNode(t, 2, lb)
	a := newNode(t, 1, la, Hint{"n3", b.addr}, Hint{"n4", la.Addr().String()})
	a.seen(t, "reports", 1, func() int {
		return count(a.failures, "n3: another node answers there: n2 instead of n3")
	})
	a.seen(t, "reports", 1, func() int {
		return count(a.failures, "n4: refused by the peer: this is myself")
	})
	b.seen(t, "refusals", 1, func() int {
		return count(b.failures, "n1: refused by the peer: another")
	})
	a.SetPeers([]op.Member{memberAt(7, b.addr)})
	a.seen(t, "reports", 1, func() int {
		return count(a.failures, "n2 with id 2 instead of n7 with id 7")
	})
	if a.connected(2) || a.connected(7) || a.connected(1) {
		t.Errorf("peers %+v", a.Peers())
	}
}

// Two processes on copies of one directory: the one that comes second is refused; a restart is not.
func TestTwoProcessesWithOneNodeID(t *testing.T) {
	a, b := pair(t)
	copied := &recorder{hello: b.hello}
	lc := listen(t)
	copied.hello.PeerAddr = lc.Addr().String()
	startNode(t, copied, lc, a.hint())
	copied.seen(t, "refusals", 1, func() int { return count(copied.failures, "two processes run") })
	a.seen(t, "reports", 1, func() int { return count(a.failures, "n2: two processes run") })
	if !a.connected(2) || !b.connected(1) {
		t.Error("the copy has pushed out the original")
	}
	restarted := &recorder{hello: b.hello}
	ld := listen(t)
	restarted.hello.Boot, restarted.hello.PeerAddr = 2, ld.Addr().String()
	d := startNode(t, restarted, ld, a.hint())
	eventually(t, "the new process", func() bool {
		hellos := a.Hellos()
		return len(hellos) == 1 && hellos[0].Boot == 2 && d.connected(1)
	})
	a.lock.Lock()
	defer a.lock.Unlock()
	if count(a.heard, "-2") == 0 {
		t.Errorf("nobody told that the former process is gone: %q", a.heard)
	}
}

// Nothing runs any more after Close, whatever was going on, and Close can be called again.
func TestCloseLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	hang := func(ctx context.Context, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for range 3 {
		a, b := pair(t)
		c, err := New(Options{Listener: listen(t), Dial: hang, Hints: []Hint{{"n9", "x:1"}}}, a.recorder)
		if err != nil {
			t.Fatal(err)
		}
		silent, err := net.Dial("tcp", a.addr)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			a.Send(2, []raftcore.Message{heartbeat(1, 2, 1)})
		}
		for _, tr := range []*Transport{a.Transport, b.Transport, c} {
			if err := tr.Close(); err != nil {
				t.Error(err)
			}
			if err := tr.Close(); err != nil {
				t.Error(err)
			}
			tr.SetPeers([]op.Member{memberAt(5, "127.0.0.1:1")})
		}
		silent.Close()
	}
	eventually(t, "the end of all goroutines", func() bool { return runtime.NumGoroutine() <= before })
}

func TestNewRefusesMissingOptions(t *testing.T) {
	if _, err := New(Options{}, &recorder{}); err == nil {
		t.Fatal("no listener is needed?")
	}
}
