package client

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// Connect makes the connection that a Conn speaks over.
type Connect func(addr string, timeout time.Duration) (net.Conn, error)

// Dialer connects to the first node that answers.
type Dialer struct {
	Addrs    []string      // host:port of plain RESP listeners, in order of preference
	Password string        // sent by AUTH when not empty
	DB       int           // sent by SELECT when not zero
	Resp3    bool          // ask for RESP3
	Timeout  time.Duration // of the connect and of each call
	Connect  Connect       // how a node is reached; nil: by TCP

	next int // index of the address that is tried first
}

// Dial tries every address once, beginning with the one that worked last.
func (d *Dialer) Dial() (*Conn, error) {
	if len(d.Addrs) == 0 {
		return nil, errors.New("no node address was given; use --nodes host:port")
	}
	var failures []error
	for range d.Addrs {
		conn, err := d.DialTo(d.Addrs[d.next])
		if err == nil {
			return conn, nil
		}
		failures = append(failures, err)
		d.next = (d.next + 1) % len(d.Addrs)
	}
	return nil, fmt.Errorf("no node answers: %w", errors.Join(failures...))
}

// DialTo connects to one node.
func (d *Dialer) DialTo(addr string) (*Conn, error) {
	connect := d.Connect
	if connect == nil {
		connect = tcp
	}
	socket, err := connect(addr, d.Timeout)
	if err != nil {
		return nil, err
	}
	conn := newConn(addr, socket, d.Timeout)
	if err := d.greet(conn); err != nil {
		conn.Close() // the reason is err
		return nil, fmt.Errorf("%s: %w", addr, err)
	}
	return conn, nil
}

func (d *Dialer) greet(conn *Conn) error {
	for _, command := range d.greeting() {
		reply, err := conn.Do(command...)
		if err != nil {
			return err
		}
		if err := reply.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dialer) greeting() [][]string {
	var commands [][]string
	if d.Password != "" {
		commands = append(commands, []string{"AUTH", d.Password})
	}
	if d.Resp3 {
		commands = append(commands, []string{"HELLO", "3"})
	}
	if d.DB != 0 {
		commands = append(commands, []string{"SELECT", fmt.Sprint(d.DB)})
	}
	return commands
}
