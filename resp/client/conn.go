package client

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
	"time"
)

// Conn is one connection to one node. One goroutine uses it at a time.
type Conn struct {
	// Timeout bounds each Do and Pipeline, the wait for the last reply included. Zero: no bound.
	Timeout time.Duration

	addr   string
	socket net.Conn
	reader *bufio.Reader
	out    []byte // commands that were not flushed yet; reused
	broken error  // first failure; the position in the reply stream is lost from there on
}

// Dial connects to a node. timeout bounds the connect and, until the caller changes
// Conn.Timeout, each later call.
func Dial(addr string, timeout time.Duration) (*Conn, error) {
	return (&Dialer{Timeout: timeout}).DialTo(addr)
}

func tcp(addr string, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", addr, timeout)
}

func newConn(addr string, socket net.Conn, timeout time.Duration) *Conn {
	return &Conn{
		Timeout: timeout,
		addr:    addr,
		socket:  socket,
		reader:  bufio.NewReaderSize(socket, lineBytesMax),
	}
}

// Addr is the address that was dialled.
func (c *Conn) Addr() string { return c.addr }

// Err is the failure that made the connection useless, or nil.
func (c *Conn) Err() error { return c.broken }

// Close closes the connection. Replies that were not read are lost.
func (c *Conn) Close() error {
	if c.broken == nil {
		c.broken = net.ErrClosed
	}
	return c.socket.Close()
}

// Interrupt makes the call that is under way fail, and all later ones. Any goroutine may call it.
func (c *Conn) Interrupt() { c.socket.Close() } // the failed call reports it

// Do sends one command and returns its reply. An error reply is a Reply, not an error; an error
// means that the connection failed, and that the outcome of the command is not known.
func (c *Conn) Do(args ...string) (Reply, error) {
	c.Send(args...)
	if err := c.flushWithDeadline(); err != nil {
		return Reply{}, err
	}
	return c.Receive()
}

// Pipeline sends all commands in one write and returns as many replies, in order. On an error it
// returns the replies that came before it.
func (c *Conn) Pipeline(commands [][]string) ([]Reply, error) {
	for _, args := range commands {
		c.Send(args...)
	}
	if err := c.flushWithDeadline(); err != nil {
		return nil, err
	}
	replies := make([]Reply, 0, len(commands))
	for range commands {
		reply, err := c.Receive()
		if err != nil {
			return replies, err
		}
		replies = append(replies, reply)
	}
	return replies, nil
}

// Send queues one command. Nothing is written before Flush.
func (c *Conn) Send(args ...string) { c.out = AppendCommand(c.out, args...) }

// Flush writes what was queued.
func (c *Conn) Flush() error {
	if c.broken != nil {
		return c.broken
	}
	_, err := c.socket.Write(c.out)
	c.out = c.out[:0]
	return c.fail(err)
}

// Receive reads the next reply. Push frames of RESP3 are not replies and are skipped.
func (c *Conn) Receive() (Reply, error) {
	if c.broken != nil {
		return Reply{}, c.broken
	}
	for {
		reply, err := readReply(c.reader, 0)
		if err != nil {
			return Reply{}, c.fail(err)
		}
		if reply.Kind != Push {
			return reply, nil
		}
	}
}

func (c *Conn) flushWithDeadline() error {
	var deadline time.Time
	if c.Timeout > 0 {
		deadline = time.Now().Add(c.Timeout)
	}
	if err := c.socket.SetDeadline(deadline); err != nil && c.broken == nil {
		return c.fail(err)
	}
	return c.Flush()
}

func (c *Conn) fail(err error) error {
	if err != nil && c.broken == nil {
		c.broken = fmt.Errorf("%s: %w", c.addr, err)
		c.socket.Close() // what it would report is already told by err
	}
	return c.broken
}

// AppendCommand appends a command as an array of bulk strings.
func AppendCommand(b []byte, args ...string) []byte {
	b = append(b, '*')
	b = strconv.AppendInt(b, int64(len(args)), 10)
	for _, arg := range args {
		b = append(b, "\r\n$"...)
		b = strconv.AppendInt(b, int64(len(arg)), 10)
		b = append(b, "\r\n"...)
		b = append(b, arg...)
	}
	return append(b, "\r\n"...)
}
