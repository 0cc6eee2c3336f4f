package resp

import (
	"errors"
	"net"
	"time"

	"kelek/resp/command"
)

// The waits between attempts when accepting fails, as it does when file descriptors run out.
const (
	acceptRetryMin = 5 * time.Millisecond
	acceptRetryMax = time.Second
)

// rejectTimeout bounds the wait for a client that is told why it is turned away.
const rejectTimeout = 100 * time.Millisecond

// listener hands admitted, guarded connections to redcon.
type listener struct {
	net.Listener
	server  *Server
	reactor *reactor // nil: each connection has a goroutine
}

// Accept returns an error only to end redcon's loop, which then closes every connection. During a
// graceful stop it therefore blocks until the connections are gone.
func (l *listener) Accept() (net.Conn, error) {
	wait := acceptRetryMin
	for {
		c, err := l.Listener.Accept()
		switch {
		case err == nil:
			if g := l.admit(c); g != nil {
				return g, nil
			}
			wait = acceptRetryMin
		case l.server.isStopping():
			<-l.server.drained
			return nil, net.ErrClosed
		case errors.Is(err, net.ErrClosed):
			return nil, net.ErrClosed
		default:
			l.server.log.Warn().Err(err).Dur("retry", wait).Msg("cannot accept clients")
			select {
			case <-time.After(wait):
			case <-l.server.stopping:
			}
			wait = min(2*wait, acceptRetryMax)
		}
	}
}

// admit gives the connection to the reactor, if there is one, and guards it.
func (l *listener) admit(c net.Conn) *guard {
	if l.reactor == nil {
		return l.server.admit(c)
	}
	adopted, err := l.reactor.adopt(c)
	if err != nil {
		l.server.log.Warn().Err(err).Msg("cannot serve a client")
		c.Close()
		return nil
	}
	return l.server.admit(adopted)
}

// admit guards a connection, or turns it away.
func (s *Server) admit(c net.Conn) *guard {
	g := newGuard(c, s)
	if s.shared.admit(g) {
		if s.isStopping() {
			g.interrupt()
		}
		return g
	}
	r := command.Reply{}
	r.Error("ERR max number of clients reached")
	// The client may be gone already: nobody is left to tell.
	c.SetWriteDeadline(time.Now().Add(rejectTimeout))
	c.Write(r.Buf)
	c.Close()
	return nil
}
