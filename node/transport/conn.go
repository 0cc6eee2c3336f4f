package transport

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// conn is one TCP connection. It carries frames one way only, from who dialled to who accepted,
// but for the hello or the refusal that answers the dial.
type conn struct {
	net.Conn
	t        *Transport
	outbound bool
	snapshot bool // it carries one, and takes no part in presence: see stream.go

	hello atomic.Pointer[wire.Hello] // the peer's last; set before the conn is used
	done  chan struct{}              // closed when the connection is

	once sync.Once
	why  error // valid once done is closed: why it ended
}

var errClosed = errors.New("closed by this node")

func (t *Transport) newConn(c net.Conn, outbound bool) *conn {
	tuneSocket(c)
	return &conn{Conn: c, t: t, outbound: outbound, done: make(chan struct{})}
}

// end closes the connection. The first reason counts.
func (c *conn) end(why error) {
	c.once.Do(func() {
		c.why = why
		close(c.done)
		c.Conn.Close()
	})
}

func (c *conn) id() raftcore.NodeID { return c.hello.Load().NodeID }

// touch records that something arrived.
func (c *conn) touch() {
	if p := c.t.peerOf(c.id()); p != nil {
		p.lastReceived.Store(uint64(c.t.options.Now()))
	}
}

// tcpSocket is the socket behind c, or nil.
func tcpSocket(c net.Conn) *net.TCPConn {
	if wrapped, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = wrapped.NetConn()
	}
	socket, _ := c.(*net.TCPConn)
	return socket
}

// tuneSocket sets what a connection between nodes needs, where it is a TCP socket.
func tuneSocket(c net.Conn) {
	socket := tcpSocket(c)
	if socket == nil {
		return
	}
	// A socket that cannot be tuned is broken or works a little worse: its use will tell.
	socket.SetNoDelay(true)
	socket.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepAliveIdle,
		Interval: keepAliveInterval, Count: keepAliveCount})
	setAckTimeout(socket, ackTimeout)
}

// writeChunks writes b in pieces that each have to make progress in time: a large frame on a slow
// line is not taken for a peer that has stopped.
func (c *conn) writeChunks(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), writeBytesMax)
		if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		if _, err := c.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
