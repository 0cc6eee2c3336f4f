package mesh

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func ownPID() int { return os.Getpid() }

// endedPID is the number of a process that has ended. It is not given to another one before all
// other numbers were used.
func endedPID(t *testing.T) int {
	t.Helper()
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	return ended.Process.Pid
}

// newPackets is a network of the nodes a, b, ... in the long form of the tests, where it is possible.
func newPackets(t *testing.T, names ...string) *Namespaces {
	t.Helper()
	needNamespaces(t)
	n, err := NewNamespaces()
	if err == nil {
		t.Cleanup(func() { closePackets(t, n) })
		for i, name := range names {
			if _, err = n.Add(name, fmt.Sprintf("127.0.0.1:%d", 6401+i)); err != nil {
				break
			}
		}
	}
	if errors.Is(err, ErrRefused) {
		t.Skipf("root is not enough here, nothing of this was tested: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// needNamespaces skips for the short form and without root. Missing tools are a failure.
func needNamespaces(t *testing.T) {
	t.Helper()
	if os.Getenv("KELEK_TEST_FULL") == "" {
		t.Skip("KELEK_TEST_FULL=1: makes network namespaces")
	}
	if os.Geteuid() != 0 {
		t.Skipf("user %d makes no network namespaces", os.Geteuid())
	}
	if err := NamespacesSupported(); err != nil {
		t.Fatal(err)
	}
}

func closePackets(t *testing.T, n *Namespaces) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	for _, name := range namespacesNow(t) {
		if strings.HasPrefix(name, n.run+"-") {
			t.Errorf("%s was left behind", name)
		}
	}
}

func namespacesNow(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(namespaceDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// at is done in the namespace of a node.
func (n *Namespaces) at(t *testing.T, name string, act func() error) {
	t.Helper()
	if err := inside(namespaceOf(n.run, name), act); err != nil {
		t.Fatal(err)
	}
}

// mailbox receives and sends datagrams at a node.
type mailbox struct {
	*net.UDPConn
	t *testing.T
}

func (n *Namespaces) mailbox(t *testing.T, name string) *mailbox {
	t.Helper()
	m := &mailbox{t: t}
	n.at(t, name, func() (err error) {
		address := netip.AddrPortFrom(n.homes[name].address, 0)
		m.UDPConn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(address))
		return err
	})
	t.Cleanup(func() { m.Close() })
	return m
}

func (m *mailbox) send(to *mailbox, text string) {
	m.t.Helper()
	if _, err := m.WriteTo([]byte(text), to.LocalAddr()); err != nil {
		m.t.Fatal(err)
	}
}

// expect fails unless this is what comes next: datagrams of one link do not overtake each other.
func (m *mailbox) expect(want string) {
	m.t.Helper()
	m.SetReadDeadline(time.Now().Add(patience))
	text := make([]byte, 100)
	count, err := m.Read(text)
	if err != nil || string(text[:count]) != want {
		m.t.Fatalf("received %q, %v, want %q", text[:count], err, want)
	}
}

// What was lost in a cut never arrives, and the other direction and other nodes notice nothing.
func TestNamespacesOneWayCutIsOneWay(t *testing.T) {
	n := newPackets(t, "a", "b", "c")
	a, b, c := n.mailbox(t, "a"), n.mailbox(t, "b"), n.mailbox(t, "c")
	both := func(text string) {
		a.send(b, text)
		b.expect(text)
		b.send(a, text)
		a.expect(text)
	}
	both("whole")
	if err := n.Cut([]Link{{"a", "b"}}); err != nil {
		t.Fatal(err)
	}
	a.send(b, "lost")
	b.send(a, "the other direction")
	a.expect("the other direction")
	a.send(c, "another node")
	c.expect("another node")
	c.send(b, "from another node")
	b.expect("from another node")
	if err := n.Heal(); err != nil {
		t.Fatal(err)
	}
	both("healed")
	if err := n.Cut([]Link{{"b", "a"}}); err != nil {
		t.Fatal(err)
	}
	b.send(a, "lost")
	if err := n.Cut([]Link{{"a", "b"}}); err != nil { // instead of the first one
		t.Fatal(err)
	}
	a.send(b, "lost")
	b.send(a, "whole again")
	a.expect("whole again")
}

// pair is a connection from one node to another.
func (n *Namespaces) pair(t *testing.T, from, to string) (near, far net.Conn) {
	t.Helper()
	var listener net.Listener
	n.at(t, to, func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(n.homes[to].address, 0).String())
		return err
	})
	defer listener.Close()
	n.at(t, from, func() (err error) {
		near, err = net.DialTimeout("tcp", listener.Addr().String(), patience)
		return err
	})
	far, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range []net.Conn{near, far} {
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(patience))
	}
	return near, far
}

// TCP sends again what was dropped: a connection lives through a cut.
func TestNamespacesConnectionsOutliveACut(t *testing.T) {
	n := newPackets(t, "a", "b")
	near, far := n.pair(t, "a", "b")
	if err := n.Cut([]Link{{"a", "b"}, {"b", "a"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(near, "kept"); err != nil {
		t.Fatal(err)
	}
	far.SetReadDeadline(time.Now().Add(silence))
	text := make([]byte, len("kept"))
	if count, err := far.Read(text); err == nil {
		t.Fatalf("%q crossed the cut", text[:count])
	}
	far.SetReadDeadline(time.Now().Add(patience))
	if err := n.Heal(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(far, text); err != nil || string(text) != "kept" {
		t.Fatalf("%q, %v", text, err)
	}
}

// Both ends learn of a reset, even across a cut; other connections live on.
func TestNamespacesReset(t *testing.T) {
	n := newPackets(t, "a", "b", "c")
	if err := n.NoResets(); err != nil {
		t.Skip(err)
	}
	near, far := n.pair(t, "a", "b")
	other, end := n.pair(t, "a", "c")
	// What b's system says to a does not arrive: a has to learn of it from its own.
	if err := errors.Join(n.Cut([]Link{{"b", "a"}}), n.Reset([]Link{{"a", "b"}})); err != nil {
		t.Fatal(err)
	}
	for _, conn := range []net.Conn{near, far} {
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s is still connected: %v", conn.LocalAddr(), err)
		}
	}
	if _, err := io.WriteString(other, "x"); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(end, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// Clients reach a node that no other node reaches.
func TestNamespacesClientsCrossCuts(t *testing.T) {
	n := newPackets(t, "a", "b")
	var listener net.Listener
	n.at(t, "a", func() (err error) {
		listener, err = net.Listen("tcp", "127.0.0.1:6401")
		return err
	})
	defer listener.Close()
	if err := n.Cut([]Link{{"b", "a"}, {"a", "b"}}); err != nil {
		t.Fatal(err)
	}
	conn, err := n.Connect("127.0.0.1:6401", patience)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := n.Remove("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Connect("127.0.0.1:6401", patience); err == nil {
		t.Error("a node that has gone was reached")
	}
}

// A run that was killed leaves namespaces and nodes behind. The next one removes both, and neither
// those of a run that goes on nor what somebody else has put into a namespace.
func TestNamespacesOfAKilledRunAreRemoved(t *testing.T) {
	alive := newPackets(t, "a")
	dead := namespaceOf(runName(endedPID(t), "1", 1), "n1")
	if _, err := tool("", "ip", "netns", "add", dead); err != nil {
		t.Fatal(err)
	}
	wait := func(words ...string) (*exec.Cmd, io.Closer) {
		line := append([]string{"netns", "exec", dead, "sh", "-c", "echo here; read x"}, words...)
		cmd := exec.Command("ip", line...)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(stdout, make([]byte, len("here\n"))); err != nil {
			t.Fatal(err)
		}
		return cmd, stdin
	}
	node, input := wait("serve", "--id", "n1")
	visitor, stdin := wait("look", "around")
	newPackets(t)
	var exit *exec.ExitError
	input.Close()
	if err := node.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Errorf("the node was not killed: %v", err)
	}
	stdin.Close()
	if err := visitor.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("the visitor did not see the end of its input: %v", err)
	}
	left := strings.Join(namespacesNow(t), " ")
	if strings.Contains(left, dead) || !strings.Contains(left, namespaceOf(alive.run, "a")) {
		t.Errorf("there are %s", left)
	}
}
