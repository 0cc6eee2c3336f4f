package resp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"kelek/store/op"
)

// discard is a net.Conn that counts what is written, and keeps it when asked to.
type discard struct {
	net.Conn
	bytes int
	keep  bool
	kept  []byte
}

func (d *discard) Write(p []byte) (int, error) {
	d.bytes += len(p)
	if d.keep {
		d.kept = append(d.kept, p...)
	}
	return len(p), nil
}

func (d *discard) SetWriteDeadline(time.Time) error { return nil }
func (d *discard) SetReadDeadline(time.Time) error  { return nil }
func (d *discard) Close() error                     { return nil }
func (d *discard) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (d *discard) LocalAddr() net.Addr              { return &net.TCPAddr{} }

// discardConn is a connection without a client.
func discardConn(b Backend) (*conn, *discard) {
	s := New(Options{}, b)
	d := &discard{}
	return newConn(s, newGuard(d, s)), d
}

// TestBrokenStreamsEndWithTheirError: behind the replies of the good commands before them.
func TestBrokenStreamsEndWithTheirError(t *testing.T) {
	f := newFace(t, Options{})
	for _, row := range guardTable {
		if row.fault == "" {
			continue
		}
		want := ""
		if row.commands != "" {
			want = "+PONG\r\n"
		}
		c := f.dial(t)
		c.send(row.in)
		c.expect(want + "-ERR Protocol error: " + row.fault + "\r\n")
		c.end()
	}
	f.dial(t).send("PING\r\n").expect("+PONG\r\n")
}

func TestHTTPGetsNothing(t *testing.T) {
	f := newFace(t, Options{})
	for _, in := range []string{"POST / HTTP/1.1\r\n", "post /\r\n", "hOST: x\r\n",
		"*1\r\n$4\r\nPOST\r\n", "PING\r\nHost: x\r\n", "SET k v\r\nHost: x\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"} {
		f.dial(t).send(in).end()
	}
	f.dial(t).send("EXISTS k\r\n").expect(":0\r\n")
}

func TestMaxClients(t *testing.T) {
	f := newFace(t, Options{Limits: Limits{MaxClients: 2}})
	a, b := f.dial(t), f.dial(t)
	a.send("PING\r\n").expect("+PONG\r\n")
	b.send("PING\r\n").expect("+PONG\r\n")
	f.dial(t).expect("-ERR max number of clients reached\r\n").end()
	a.send("CONFIG SET maxclients 3\r\n").expect("+OK\r\n")
	f.dial(t).send("PING\r\n").expect("+PONG\r\n")
	b.send("QUIT\r\n").expect("+OK\r\n").end()
	waitFor(t, func() bool { return f.shared.Clients() == 2 })
	if n := f.Stats().Rejected.Load(); n != 1 {
		t.Errorf("%d rejected", n)
	}
}

func TestTimeoutsOfSilentClients(t *testing.T) {
	f := newFace(t, Options{Password: "secret", Limits: Limits{AuthTimeout: 50 * time.Millisecond}})
	f.dial(t).end()
	c := f.authenticated(t, "secret")
	time.Sleep(100 * time.Millisecond) // twice the time-out that no longer counts
	c.send("PING\r\n").expect("+PONG\r\n")
	c.send("CONFIG SET timeout 1\r\nPING\r\n").expect("+OK\r\n+PONG\r\n").end()
}

// authenticated is a client that gave the password in time. On a busy machine the first one may be
// too late for that.
func (f *face) authenticated(t *testing.T, password string) *client {
	t.Helper()
	for range 100 {
		c := f.dial(t)
		reply := make([]byte, len("+OK\r\n"))
		if _, err := io.WriteString(c, "AUTH "+password+"\r\n"); err != nil {
			continue // it is closed already
		}
		if n, _ := io.ReadFull(c.in, reply); string(reply[:n]) == "+OK\r\n" {
			return c
		}
	}
	t.Fatal("nobody gets in")
	return nil
}

func TestKillAndPause(t *testing.T) {
	f := newFace(t, Options{})
	a, b := f.dial(t), f.dial(t)
	a.send("CLIENT ID\r\n").expect(":1\r\n")
	b.send("CLIENT SETNAME b\r\nCLIENT ID\r\n").expect("+OK\r\n:2\r\n")
	a.send("CLIENT KILL ID 2\r\n").expect(":1\r\n")
	b.end()
	a.send("CLIENT PAUSE 60000 WRITE\r\nGET k\r\n").expect("+OK\r\n$-1\r\n")
	c := f.dial(t)
	c.send("SET k v\r\nGET k\r\n")
	a.send("PING\r\nGET k\r\nCLIENT UNPAUSE\r\n").expect("+PONG\r\n$-1\r\n+OK\r\n")
	c.expect("+OK\r\n$1\r\nv\r\n")
}

// TestShutdownAnswersWhatIsInFlight: idle connections end at once, a busy one after its replies.
func TestShutdownAnswersWhatIsInFlight(t *testing.T) {
	f := newFace(t, Options{})
	idle, busy := f.dial(t), f.dial(t)
	idle.send("PING\r\n").expect("+PONG\r\n")
	f.node.Hold()
	busy.send("SET k v\r\nGET k\r\n")
	waitFor(t, func() bool { return f.node.Held() == 1 })
	stopped := make(chan error, 1)
	go func() { stopped <- f.Shutdown(context.Background()) }()
	idle.end()
	select {
	case err := <-stopped:
		t.Fatalf("stopped (%v) while a command is in flight", err)
	default:
	}
	f.node.Release()
	busy.expect("+OK\r\n$1\r\nv\r\n").end()
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}

func TestShutdownCutsOffAtItsDeadline(t *testing.T) {
	f := newFace(t, Options{})
	c := f.dial(t)
	f.node.Hold()
	c.send("SET k v\r\n")
	waitFor(t, func() bool { return f.node.Held() == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := f.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("shutdown: %v", err)
	}
	c.end()
}

// goneProbe is a node that keeps a submission and looks whether its client is there.
type goneProbe struct {
	allocBackend
	kept chan *op.Submission
}

func (g *goneProbe) Propose(s *op.Submission) { g.kept <- s }

func TestAClientThatHungUpIsNoticed(t *testing.T) {
	node := &goneProbe{kept: make(chan *op.Submission, 1)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{}, node)
	go s.Serve(ln)
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "SET k v\r\n")
	kept := <-node.kept
	if kept.Sink.Gone() {
		t.Error("gone while it waits")
	}
	c.Close()
	if runtime.GOOS == "linux" {
		waitFor(t, kept.Sink.Gone)
	}
	kept.Sink.Resolve(op.ErrNoLeader)
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestHostileBytes: whatever comes, others are served, and memory does not follow announcements.
func TestHostileBytes(t *testing.T) {
	f := newFace(t, Options{})
	random := rand.New(rand.NewSource(1))
	seeds := []string{"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", "*1\r\n$67108864\r\n",
		"*1048576\r\n", "PING\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "*-1\r\n",
		"HELLO 3\r\n", "set a \"\\x4"}
	before := heapBytes()
	for i := range 300 {
		c, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		var text []byte
		for range 1 + random.Intn(6) {
			text = append(text, seeds[random.Intn(len(seeds))]...)
		}
		for range random.Intn(4) {
			text[random.Intn(len(text))] = byte(random.Intn(256))
		}
		c.Write(text)
		if i%2 == 0 {
			c.Close()
		} else {
			defer c.Close()
		}
	}
	f.dial(t).send("PING\r\n").expect("+PONG\r\n")
	if after := heapBytes(); after > before+64<<20 {
		t.Errorf("heap grew from %d to %d bytes", before, after)
	}
}

func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestABigValueGoesThrough in both directions, and its buffers are given back.
func TestABigValueGoesThrough(t *testing.T) {
	f := newFace(t, Options{})
	c := f.dial(t)
	value := strings.Repeat("0123456789abcdef", 4<<20/16)
	for range 3 {
		bulk := fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
		c.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n" + bulk).expect("+OK\r\n")
		c.send("GET k\r\n").expect(bulk)
	}
}

func TestBuffersAreGivenBack(t *testing.T) {
	c, _ := discardConn(&allocBackend{result: op.Result{Kind: op.ResultOK},
		view: allocView{value: make([]byte, 1<<20)}})
	text := fmt.Sprintf("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s\r\nGET k\r\n",
		1<<20, make([]byte, 1<<20))
	text += strings.Repeat("PING\r\n", 3000)
	for len(text) > 0 {
		n := copy(c.guard.space(), text)
		c.guard.received(n)
		text = text[n:]
		if err := c.serve(); err != nil {
			t.Fatal(err)
		}
	}
	c.batch.reset()
	c.guard.space()
	b := &c.batch
	n := cap(c.guard.buf) + cap(b.ops) + cap(b.out.Buf) + cap(b.local.Buf) + cap(b.asked.Buf)
	if n > 4*replyBytesKept || cap(b.slots) > slotsKept {
		t.Errorf("an idle connection keeps %d bytes and %d slots", n, cap(b.slots))
	}
}
