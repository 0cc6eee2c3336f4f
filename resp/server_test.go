package resp

import (
	"bufio"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"kelek/resp/resptest"
)

// face is a Server on a loopback port with a fake node behind it.
type face struct {
	*Server
	node *resptest.Backend
	addr string
}

func newFace(t testing.TB, o Options) *face {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &face{node: resptest.New(), addr: ln.Addr().String()}
	f.Server = New(o, f.node)
	served := make(chan error, 1)
	go func() { served <- f.Serve(ln) }()
	t.Cleanup(func() {
		f.node.Release()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		f.node.Close()
		if n := f.node.OpenViews.Load(); n != 0 {
			t.Errorf("%d views were left open", n)
		}
	})
	return f
}

// client is one connection of a test.
type client struct {
	net.Conn
	t  testing.TB
	in *bufio.Reader
}

func (f *face) dial(t testing.TB) *client {
	t.Helper()
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{c, t, bufio.NewReader(c)}
}

func (c *client) send(text string) *client {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatalf("send %.60q: %v", text, err)
	}
	return c
}

// expect reads exactly as many bytes as it wants.
func (c *client) expect(want string) *client {
	c.t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(c.in, got)
	if string(got[:n]) != want {
		c.t.Fatalf("got %q (%v)\nwant %q", got[:n], err, want)
	}
	return c
}

// end expects that the server closes without another byte.
func (c *client) end() {
	c.t.Helper()
	rest, err := io.ReadAll(c.in)
	if len(rest) > 0 {
		c.t.Fatalf("got %q before the end, want nothing", rest)
	}
	if err != nil {
		c.t.Logf("ended by %v", err)
	}
}

func TestSetAndGetThroughASocket(t *testing.T) {
	f := newFace(t, Options{})
	f.dial(t).send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n").expect("+OK\r\n").
		send("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n").expect("$1\r\nv\r\n").
		send("GET none\r\n").expect("$-1\r\n")
}
