package mesh

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// patience is how long something may take that has to happen; silence is how long the tests look
// for something that must not happen.
const (
	patience = 20 * time.Second
	silence  = 50 * time.Millisecond
)

// net2 is a mesh in which this process is the node "a", with a door to the node "b".
type net2 struct {
	t     *testing.T
	mesh  *Mesh
	door  string
	heard chan *net.TCPConn // connections that reached b
}

func newNet2(t *testing.T) *net2 { return newNet2Of(t, os.Getpid()) }

// newNet2Of takes another process for a.
func newNet2Of(t *testing.T, pid int) *net2 {
	t.Helper()
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	b, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	n := &net2{t: t, heard: make(chan *net.TCPConn, 100)}
	n.mesh = New(func() map[int]string { return map[int]string{pid: "a"} })
	t.Cleanup(func() {
		if err := n.mesh.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := n.mesh.Open("b", "127.0.0.1:0", b.Addr().String()); err != nil {
		t.Fatal(err)
	}
	n.door = n.mesh.doors["b"].listener.Addr().String()
	go func() {
		for {
			conn, err := b.Accept()
			if err != nil {
				return
			}
			n.heard <- conn.(*net.TCPConn)
		}
	}()
	return n
}

// dial is a connection from a.
func (n *net2) dial() net.Conn {
	n.t.Helper()
	conn, err := net.Dial("tcp", n.door)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { conn.Close() })
	return conn
}

// pair is a connection and what b has of it.
func (n *net2) pair() (a, b net.Conn) {
	n.t.Helper()
	a = n.dial()
	select {
	case b = <-n.heard:
	case <-time.After(patience):
		n.t.Fatal("b has no connection")
	}
	n.t.Cleanup(func() { b.Close() })
	return a, b
}

func say(t *testing.T, to net.Conn, words string) {
	t.Helper()
	if _, err := to.Write([]byte(words)); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, on net.Conn, words string) {
	t.Helper()
	on.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, len(words))
	if _, err := io.ReadFull(on, got); err != nil || string(got) != words {
		t.Fatalf("heard %q, %v; want %q", got, err, words)
	}
}

func expectSilence(t *testing.T, on net.Conn) {
	t.Helper()
	on.SetReadDeadline(time.Now().Add(silence))
	got := make([]byte, 100)
	if n, err := on.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("heard %q, %v across a cut", got[:n], err)
	}
}

// expectEnd wants the connection to be over.
func expectEnd(t *testing.T, on net.Conn) {
	t.Helper()
	on.SetReadDeadline(time.Now().Add(patience))
	if _, err := on.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the connection goes on: %v", err)
	}
}

func TestBytesPassInBothDirections(t *testing.T) {
	a, b := newNet2(t).pair()
	say(t, a, "there")
	expect(t, b, "there")
	say(t, b, "back")
	expect(t, a, "back")
	a.Close()
	expectEnd(t, b)
}

func TestALargeStreamArrivesUnchanged(t *testing.T) {
	a, b := newNet2(t).pair()
	words := strings.Repeat("all that is sent arrives in order. ", 20*chunkBytes/35)
	go func() {
		a.Write([]byte(words)) // the other side counts
		a.Close()
	}()
	got, err := io.ReadAll(b)
	if err != nil || string(got) != words {
		t.Fatalf("%d bytes of %d, %v", len(got), len(words), err)
	}
}

func TestACutHoldsOneDirectionOnly(t *testing.T) {
	n := newNet2(t)
	a, b := n.pair()
	n.mesh.Cut([]Link{{"a", "b"}})
	say(t, a, "late")
	say(t, b, "back")
	expect(t, a, "back")
	expectSilence(t, b)
	n.mesh.Heal()
	expect(t, b, "late")
	n.mesh.Cut([]Link{{"b", "a"}})
	say(t, a, "there")
	expect(t, b, "there")
	say(t, b, "held")
	expectSilence(t, a)
	n.mesh.Cut([]Link{{"a", "b"}})
	expect(t, a, "held")
}

func TestTheEndOfANodeDoesNotCrossACut(t *testing.T) {
	n := newNet2(t)
	a, b := n.pair()
	n.mesh.Cut([]Link{{"a", "b"}, {"b", "a"}})
	a.Close()
	expectSilence(t, b)
	n.mesh.Heal()
	expectEnd(t, b)
}

func TestADialAcrossACutHangsUntilItIsHealed(t *testing.T) {
	n := newNet2(t)
	for _, cut := range []Link{{"a", "b"}, {"b", "a"}} {
		n.mesh.Cut([]Link{cut})
		a := n.dial()
		say(t, a, "hello")
		expectSilence(t, a)
		if len(n.heard) != 0 {
			t.Fatalf("b was dialled across %v", cut)
		}
		n.mesh.Heal()
		b := <-n.heard
		expect(t, b, "hello")
		say(t, b, "welcome")
		expect(t, a, "welcome")
		b.Close()
	}
}

func TestADialThatWasGivenUpLeavesNoTrace(t *testing.T) {
	n := newNet2(t)
	n.mesh.Cut([]Link{{"a", "b"}})
	given := n.dial()
	say(t, given, "given up")
	n.waitWires(1)
	given.Close()
	time.Sleep(silence) // the end has to be there when the cut is healed
	n.mesh.Heal()
	n.waitWires(0)
	a, b := n.pair()
	say(t, a, "fresh")
	expect(t, b, "fresh")
}

// waitWires waits until so many connections are being forwarded.
func (n *net2) waitWires(want int) {
	n.t.Helper()
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		n.mesh.guard.Lock()
		got := len(n.mesh.wires)
		n.mesh.guard.Unlock()
		if got == want {
			return
		}
		if time.Since(begin) > patience {
			n.t.Fatalf("%d connections are being forwarded, want %d", got, want)
		}
	}
}

func TestResetBreaksWhatIsThere(t *testing.T) {
	n := newNet2(t)
	a, b := n.pair()
	n.mesh.Reset([]Link{{"b", "c"}})
	say(t, a, "still")
	expect(t, b, "still")
	n.mesh.Cut([]Link{{"a", "b"}})
	say(t, a, "lost")
	n.mesh.Reset([]Link{{"b", "a"}})
	expectEnd(t, a)
	expectEnd(t, b)
}

func TestAStrangerIsNotLetIn(t *testing.T) {
	n := newNet2Of(t, os.Getppid())
	a := n.dial()
	expectEnd(t, a)
	if len(n.heard) != 0 {
		t.Error("b heard of it")
	}
}

func TestADoorMayBeTakenAway(t *testing.T) {
	n := newNet2(t)
	a, b := n.pair()
	if err := n.mesh.Open("b", "127.0.0.1:0", "127.0.0.1:1"); err == nil {
		t.Error("two doors for one node")
	}
	if err := n.mesh.Remove("b"); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, a)
	expectEnd(t, b)
	if _, err := net.Dial("tcp", n.door); err == nil {
		t.Error("the door still opens")
	}
	if err := n.mesh.Remove("b"); err == nil {
		t.Error("removed twice")
	}
}

func TestCloseEndsEverything(t *testing.T) {
	n := newNet2(t)
	a, b := n.pair()
	n.mesh.Cut([]Link{{"a", "b"}})
	n.dial() // hangs at the cut
	n.waitWires(2)
	if err := n.mesh.Close(); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, a)
	expectEnd(t, b)
	n.waitWires(0)
	if err := n.mesh.Open("c", "127.0.0.1:0", "127.0.0.1:1"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed mesh: %v", err)
	}
}

func TestTheTableOfTheSystem(t *testing.T) {
	got := tableAddress(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 6401})
	if got != "0100007F:1901" {
		t.Errorf("%s", got)
	}
	if got := tableAddress(&net.TCPAddr{IP: net.IPv6loopback, Port: 1}); got != "" {
		t.Errorf("IPv6 is in another table: %s", got)
	}
}
