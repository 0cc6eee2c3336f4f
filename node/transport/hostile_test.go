package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// visitor is a bare socket to a node.
type visitor struct {
	net.Conn
	t *testing.T
}

func visit(t *testing.T, n *testNode) *visitor {
	t.Helper()
	c, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return &visitor{c, t}
}

func (v *visitor) say(b []byte) {
	v.t.Helper()
	if _, err := v.Write(b); err != nil {
		v.t.Fatal(err)
	}
}

// rest is everything the node says until it hangs up. A reset counts as hanging up.
func (v *visitor) rest() []byte {
	v.t.Helper()
	b, err := io.ReadAll(v)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		v.t.Fatalf("the node has not hung up: %v", err)
	}
	return b
}

// refusal reads the one frame that a refused node gets.
func (v *visitor) refusal(preamble bool) string {
	v.t.Helper()
	b := v.rest()
	if preamble {
		if !bytes.HasPrefix(b, appendPreamble(nil)) {
			v.t.Fatalf("no preamble: %q", b)
		}
		b = b[preambleBytes:]
	}
	r := newFrameReader(bytes.NewReader(b), helloFrameBytesMax)
	k, payload, _, err := r.next()
	if err != nil || k != kindRefusal {
		v.t.Fatalf("kind %d, %v instead of a refusal: %q", k, err, b)
	}
	text := string(payload)
	if _, _, _, err := r.next(); err != io.EOF {
		v.t.Fatalf("more than one frame: %q", b)
	}
	return text
}

// enter does the handshake of node n9.
func (v *visitor) enter(cluster [16]byte) {
	v.t.Helper()
	h := wire.Hello{Protocol: 1, NodeID: 9, Name: "n9", Boot: 1, ClusterID: cluster, PeerAddr: "x:9"}
	v.say(appendHello(appendPreamble(nil), &h))
	if err := readPreamble(v); err != nil {
		v.t.Fatal(err)
	}
	if _, err := readHello(newFrameReader(v, helloFrameBytesMax)); err != nil {
		v.t.Fatal(err)
	}
}

// Other protocols are known by their first bytes, get no answer, and are not worth a line each.
func TestStrangersAreTurnedAwayQuietly(t *testing.T) {
	n := newNode(t, 1, listen(t))
	for range 5 {
		for _, b := range []string{"GET / HTTP/1.1\r\n\r\n", "*1\r\n$4\r\nPING\r\n",
			"\x16\x03\x01\x02\x00", "\x00", "\x8bKELEQ", "\x8bKELEK"} {
			v := visit(t, n)
			v.say([]byte(b))
			if b == "\x8bKELEK" {
				v.Conn.(*net.TCPConn).CloseWrite()
			}
			if answer := v.rest(); len(answer) != 0 {
				t.Errorf("%q is answered with %q", b, answer)
			}
		}
	}
	n.lock.Lock()
	defer n.lock.Unlock()
	if len(n.failures) > 3 || count(n.failures, ": not a kelek node: it speaks") == 0 {
		t.Errorf("reports %q", n.failures)
	}
}

func TestRefusals(t *testing.T) {
	n := newNode(t, 1, listen(t))
	v := visit(t, n)
	v.say([]byte("\x8bKELEK\x02\x00"))
	if text := v.refusal(true); !strings.Contains(text, "framing version 2 there, 1 here") {
		t.Errorf("refusal %q", text)
	}
	n.lock.Lock()
	n.refuse = errors.New(strings.Repeat("long ", 1000))
	n.lock.Unlock()
	v = visit(t, n)
	h := wire.Hello{NodeID: 9, Name: "n9\n\x1b[0m"}
	v.say(appendHello(appendPreamble(nil), &h))
	if text := v.refusal(true); len(text) != refusalBytesMax {
		t.Errorf("refusal of %d bytes", len(text))
	}
	n.seen(t, "reports with a plain name", 1, func() int { return count(n.failures, "n9??[0m: long") })
	if len(n.Hellos()) != 0 || count(n.heard, "n9") != 0 {
		t.Error("a refused node counts as connected")
	}
}

// Before it is accepted nobody may send a large frame, whatever its length says.
func TestHelloIsSmall(t *testing.T) {
	n := newNode(t, 1, listen(t))
	v := visit(t, n)
	header := binary.LittleEndian.AppendUint32(appendPreamble(nil), helloFrameBytesMax+1)
	v.say(append(header, make([]byte, 5)...))
	if answer := v.rest(); len(answer) != 0 {
		t.Errorf("answer %q", answer)
	}
	n.seen(t, "reports", 1, func() int { return count(n.failures, "frame length out of bounds") })
}

// What an accepted peer may not do ends its connection, with a reason, and is reported by name.
func TestMisbehaviourOfAPeer(t *testing.T) {
	message := func(m raftcore.Message) []byte {
		return appendItem(nil, &item{kind: kindMessage, message: m})
	}
	good := message(heartbeat(9, 1, 1))
	damaged := bytes.Clone(good)
	damaged[len(damaged)-1] ^= 1
	smuggled := appendItem(nil, &item{kind: kindMessage, message: appendFrom(9, 1, 1, "x")})
	for name, c := range map[string]struct {
		say     []byte
		cluster [16]byte
		want    string
	}{
		"checksum":   {damaged, testCluster, "frame checksum mismatch"},
		"length":     {[]byte("\xff\xff\xff\xff\x00\x00\x00\x00"), testCluster, "out of bounds"},
		"kind":       {frame(77, "x"), testCluster, "no place here: 77"},
		"rubbish":    {frame(kindMessage, "rubbish"), testCluster, "message: "},
		"trailing":   {frame(kindMessage, string(good[9:])+"x"), testCluster, "1 bytes after a message"},
		"from":       {message(heartbeat(8, 1, 1)), testCluster, "from node 8 to 1 on a connection"},
		"to":         {message(heartbeat(9, 2, 1)), testCluster, "from node 9 to 2 on a connection"},
		"smuggled":   {smuggled, testCluster, "with 1 entries"},
		"no entries": {frame(kindAppend, string(good[9:])), testCluster, "with 0 entries"},
		"blank raft": {good, [16]byte{}, "belongs to no cluster"},
		"blank prop": {frame(kindProposal, "x"), [16]byte{}, "belongs to no cluster"},
		"invite":     {frame(kindInvite, "x"), testCluster, "invite: "},
		"hello":      {frame(kindHello, "x"), testCluster, "hello: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, 1, listen(t))
			v := visit(t, n)
			v.enter(c.cluster)
			v.say(c.say)
			if text := v.refusal(false); !strings.Contains(text, c.want) {
				t.Errorf("refusal %q, want %q", text, c.want)
			}
			n.seen(t, "reports", 1, func() int { return count(n.failures, c.want) })
			n.seen(t, "disconnections", 1, func() int { return count(n.heard, "-9") })
			if len(n.messages)+len(n.proposals)+len(n.invites) != 0 {
				t.Errorf("the handler has heard of it: %+v", n.recorder)
			}
		})
	}
}

// A node cannot become another one on a connection.
func TestHelloOfAnotherNode(t *testing.T) {
	n := newNode(t, 1, listen(t))
	v := visit(t, n)
	v.enter(testCluster)
	h := wire.Hello{NodeID: 8, Boot: 1}
	v.say(appendHello(nil, &h))
	if text := v.refusal(false); !strings.Contains(text, "node 9 became 8") {
		t.Errorf("refusal %q", text)
	}
}

// A peer that accepts and then reads nothing fills its own queue, and nothing else.
func TestStoppedPeerBlocksNobody(t *testing.T) {
	l := listen(t)
	stopped := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		readPreamble(c)
		h := wire.Hello{Protocol: 1, NodeID: 9, Name: "n9", Boot: 1, ClusterID: testCluster}
		c.Write(appendHello(appendPreamble(nil), &h))
		stopped <- c
	}()
	lb := listen(t)
	b := newNode(t, 2, lb)
	a := newNode(t, 1, listen(t), Hint{"n9", l.Addr().String()}, b.hint())
	eventually(t, "connections", func() bool { return a.connected(9) && a.connected(2) })
	c := <-stopped
	defer c.Close()
	defer l.Close()
	data := strings.Repeat("x", 1<<20)
	for i := range raftcore.Index(100) {
		a.Send(9, []raftcore.Message{appendFrom(1, 9, i+1, data)})
	}
	a.Send(2, []raftcore.Message{heartbeat(1, 2, 1)})
	b.seen(t, "messages", 1, func() int { return len(b.messages) })
	for _, p := range a.Peers() {
		if p.ID == 9 && p.Dropped == 0 {
			t.Errorf("100 MiB wait for a stopped peer: %+v", p)
		}
	}
}

// Silent sockets push out each other; a node gets through.
func TestFloodOfSilentSockets(t *testing.T) {
	n := newNode(t, 1, listen(t))
	var flood []*visitor
	for range greetingsMax + 10 {
		flood = append(flood, visit(t, n))
	}
	if answer := flood[0].rest(); len(answer) != 0 {
		t.Errorf("answer %q", answer)
	}
	visit(t, n).enter(testCluster)
}

func TestConnectedNodesAreBounded(t *testing.T) {
	n := newNode(t, 1, listen(t))
	for i := range inboundPeersMax + 1 {
		v := visit(t, n)
		h := wire.Hello{NodeID: raftcore.NodeID(100 + i), Name: fmt.Sprint("x", i)}
		v.say(appendHello(appendPreamble(nil), &h))
		if i == inboundPeersMax {
			if text := v.refusal(true); !strings.Contains(text, "64 nodes are connected already") {
				t.Errorf("refusal %q", text)
			}
		} else if err := readPreamble(v); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzReceiver: frames with right checksums and any content neither panic nor reach the handler as
// a message of somebody else.
func FuzzReceiver(f *testing.F) {
	m := appendFrom(9, 2, 1, "data")
	f.Add(uint8(kindAppend), wire.AppendMessage(nil, &m))
	m = heartbeat(9, 2, 4)
	f.Add(uint8(kindMessage), wire.AppendMessage(nil, &m))
	f.Add(uint8(kindInvite), wire.AppendInvite(nil, &wire.Invite{ClusterID: testCluster}))
	f.Add(uint8(kindHello), wire.AppendHello(nil, &wire.Hello{NodeID: 9}))
	f.Add(uint8(kindProposal), []byte{})
	f.Fuzz(func(t *testing.T, k uint8, payload []byte) {
		h := &recorder{hello: wire.Hello{NodeID: 2, ClusterID: testCluster}}
		c := &conn{t: &Transport{handler: h, self: 2}}
		c.hello.Store(&wire.Hello{NodeID: 9, ClusterID: testCluster})
		stream := bytes.Repeat(frame(kind(k), string(payload)), 2)
		r := receiver{c: c, frames: newFrameReader(bytes.NewReader(stream), MaxFrameBytes)}
		for range 2 {
			k, payload, owned, err := r.frames.next()
			if err == nil {
				err = r.frame(k, payload, owned)
			}
			if err != nil {
				break
			}
		}
		r.deliver()
		for _, m := range h.messages {
			if m.From != 9 || m.To != 2 {
				t.Fatalf("%+v", m)
			}
		}
	})
}
