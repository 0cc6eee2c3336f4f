package resp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"kelek/resp/resptest"
	"kelek/store/op"
)

// plainListener hides that a listener is one of TCP: each client of it gets a goroutine.
type plainListener struct{ net.Listener }

// TestClientsShareASubmission: what came while the node was busy with nobody's knowledge travels
// together, and each client gets its own replies.
func TestClientsShareASubmission(t *testing.T) {
	f := newFace(t, Options{})
	f.node.Hold()
	clients := make([]*client, 20)
	for i := range clients {
		clients[i] = f.dial(t)
		clients[i].send(fmt.Sprintf("SET k%d %d\r\nGET k%d\r\nMULTI\r\nINCR n\r\nGET k%d\r\nEXEC\r\n",
			i, i, i, i))
	}
	waitFor(t, func() bool { return f.node.HeldClients() == len(clients) })
	if n := f.node.Held(); n > len(clients) {
		t.Errorf("%d submissions of %d clients", n, len(clients))
	}
	f.node.Release()
	sum := 0
	for i, c := range clients {
		value := fmt.Sprint(i)
		bulk := fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
		c.expect("+OK\r\n" + bulk + "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:")
		line, err := c.in.ReadString('\n')
		var n int
		if _, scanErr := fmt.Sscan(line, &n); err != nil || scanErr != nil {
			t.Fatalf("INCR answered %q: %v, %v", line, err, scanErr)
		}
		sum += n
		c.expect(bulk)
	}
	if want := len(clients) * (len(clients) + 1) / 2; sum != want {
		t.Errorf("the counters add up to %d, want %d", sum, want)
	}
}

// TestAnErrorIsTheErrorOfAll clients of a group.
func TestAnErrorIsTheErrorOfAll(t *testing.T) {
	f := newFace(t, Options{})
	f.node.Fail(op.ErrUncertain)
	clients := []*client{f.dial(t), f.dial(t), f.dial(t)}
	for _, c := range clients {
		c.send("SET k v\r\nPING\r\nGET k\r\n")
	}
	for _, c := range clients {
		c.expect("-UNCERTAIN ")
		c.in.ReadString('\n')
		c.expect("+PONG\r\n-UNCERTAIN ")
	}
}

// TestWhoHangsUpTakesItsOpsAlong, while there is no leader, and nobody else's.
func TestWhoHangsUpTakesItsOpsAlong(t *testing.T) {
	r := &reactor{}
	g := newGroup(r)
	var pairs []net.Conn
	for i := range 3 {
		c, peer := socketConn(t, &allocBackend{})
		pairs = append(pairs, peer)
		c.batch.ops, c.batch.opCount = []byte{byte('a' + i)}, 1
		g.addWrites(c)
	}
	if g.Gone() {
		t.Fatal("everybody is there")
	}
	pairs[1].Close()
	waitFor(t, func() bool { g.Gone(); return g.submission.Count == 2 })
	if string(g.submission.Ops) != "ac" || fmt.Sprint(g.ends) != "[1 1 2]" {
		t.Errorf("ops %q, ends %v", g.submission.Ops, g.ends)
	}
	pairs[0].Close()
	pairs[2].Close()
	waitFor(t, g.Gone)
}

// socketConn is a connection on a socket that no reactor serves, and its client.
func socketConn(t *testing.T, b Backend) (*conn, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSocket(accepted.(*net.TCPConn), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close(); s.Close() })
	server := New(Options{}, b)
	return newConn(server, newGuard(s, server)), peer
}

// TestAClientThatDoesNotRead holds up nobody, gets everything once it reads, and is sent away when
// it does not for too long.
func TestAClientThatDoesNotRead(t *testing.T) {
	const size, gets = 1 << 20, 40 // more than the socket buffers of both sides hold
	bulk := fmt.Sprintf("$%d\r\n%s\r\n", size, strings.Repeat("v", size))
	for name, first := range map[string]string{"reads": "", "behind a write": "SET x y\r\n"} {
		t.Run(name, func(t *testing.T) {
			f := newFace(t, Options{})
			lazy, other := f.dial(t), f.dial(t)
			other.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n" + bulk).expect("+OK\r\n")
			lazy.send(first + strings.Repeat("GET k\r\n", gets))
			for range 50 {
				other.send("PING\r\nSTRLEN k\r\nINCR n\r\n").expect("+PONG\r\n:1048576\r\n:")
				other.in.ReadString('\n')
			}
			if first != "" {
				lazy.expect("+OK\r\n")
			}
			for range gets {
				lazy.expect(bulk)
			}
			lazy.send("PING\r\n").expect("+PONG\r\n")
		})
	}
	t.Run("for too long", func(t *testing.T) {
		f := newFace(t, Options{Limits: Limits{WriteTimeout: 50 * time.Millisecond}})
		lazy, other := f.dial(t), f.dial(t)
		other.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n" + bulk).expect("+OK\r\n")
		lazy.send(strings.Repeat("GET k\r\n", gets))
		waitFor(t, func() bool { return f.Stats().SlowReaders.Load() == 1 && f.shared.Clients() == 1 })
		other.send("PING\r\n").expect("+PONG\r\n")
	})
}

// TestAClientThatEndsItsStream after a command, without closing, gets the reply, and the connection
// ends.
func TestAClientThatEndsItsStream(t *testing.T) {
	f := newFace(t, Options{})
	c := f.dial(t)
	c.send("SET k v\r\nGET k\r\n")
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.expect("+OK\r\n$1\r\nv\r\n").end()
	waitFor(t, func() bool { return f.shared.Clients() == 0 })
}

// TestSlowCommandsHoldUpNobody: while one client's count waits for the node, others are answered.
func TestSlowCommandsHoldUpNobody(t *testing.T) {
	f := newFace(t, Options{})
	f.node.Hold()
	slow, other := f.dial(t), f.dial(t)
	slow.send("PING\r\nDBSIZE\r\nPING\r\n").expect("+PONG\r\n")
	waitFor(t, func() bool { return f.node.Held() == 1 })
	for range 20 {
		other.send("PING\r\nINFO server\r\n").expect("+PONG\r\n$")
		if _, err := io.CopyN(io.Discard, other.in, 1); err != nil {
			t.Fatal(err)
		}
		other.in.Discard(other.in.Buffered())
		other = f.dial(t)
	}
	f.node.Release()
	slow.expect(":0\r\n+PONG\r\n")
}

// TestAReactorThatCannotGoOn: a server that serves nobody any more says so, and ends.
func TestAReactorThatCannotGoOn(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &face{node: resptest.New(), addr: ln.Addr().String()}
	defer f.node.Close()
	f.Server = New(Options{}, f.node)
	served := make(chan error, 1)
	go func() { served <- f.Serve(ln) }()
	f.dial(t).send("PING\r\n").expect("+PONG\r\n")
	poll := f.shared.of(f.Server)[0].conn.Load().reactor.poll
	if err := poll.file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("serve ends with %v, want what has failed", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown: %v", err)
	}
}

// TestWithoutAReactor: a listener that is not one of TCP is served by a goroutine per client, by
// the same rules.
func TestWithoutAReactor(t *testing.T) {
	f := newFace(t, Options{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.Serve(plainListener{ln}) }()
	f.addr = ln.Addr().String()
	a, b := f.dial(t), f.dial(t)
	a.send("SET k v\r\nGET k\r\nDBSIZE\r\n").expect("+OK\r\n$1\r\nv\r\n:1\r\n")
	b.send("GET k\r\nCLIENT KILL ID 1\r\n").expect("$1\r\nv\r\n:1\r\n")
	a.end()
	if err := f.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	b.end()
}
