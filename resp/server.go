package resp

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/tidwall/redcon"

	"kelek/resp/command"
	"kelek/store/op"
)

// Server is one RESP face of a node. It may serve several listeners of the same kind.
type Server struct {
	options  Options
	backend  Backend
	shared   *Shared
	log      zerolog.Logger
	face     command.Face
	password [sha256.Size]byte
	config   []command.ConfigOption

	stopping chan struct{}   // closed by Shutdown, first thing
	running  context.Context // ended by it as well
	halt     context.CancelFunc
	drained  chan struct{} // closed by Shutdown once its connections are gone
	left     chan struct{} // a connection has gone
	cutOff   atomic.Bool   // the rest of the connections did not end in time

	mu        sync.Mutex
	listeners []net.Listener
	stopped   bool
}

// New makes a Server over a node. The options must be valid.
func New(o Options, b Backend) *Server {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Fsync == "" {
		o.Fsync = "always"
	}
	shared := o.Shared
	if shared == nil {
		shared = NewShared(o.Limits)
	}
	s := &Server{options: o, backend: b, shared: shared, log: o.Logger,
		password: sha256.Sum256([]byte(o.Password)),
		stopping: make(chan struct{}), drained: make(chan struct{}), left: make(chan struct{}, 1)}
	s.running, s.halt = context.WithCancel(context.Background())
	s.face = command.Face{Cluster: o.Mode == Cluster || o.RedirectMoved,
		UseMain: o.Mode == Plain, Password: o.Password != "", Read: o.Read}
	s.setSelf(o.Advertise)
	s.config = s.configOptions()
	return s
}

// Stats returns the counters, which a Shared may share.
func (s *Server) Stats() *Stats { return s.shared.Stats }

// setSelf takes the address that clients are told while no member record is known.
func (s *Server) setSelf(addr string) {
	if host, port, ok := command.SplitAddr(addr); ok {
		s.face.SelfHost, s.face.SelfPort = host, port
	}
}

// Serve accepts clients until Shutdown, which makes it return nil, or until the listener fails.
func (s *Server) Serve(ln net.Listener) error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return errors.Join(ln.Close())
	}
	s.listeners = append(s.listeners, ln)
	if s.face.SelfHost == "" {
		s.setSelf(ln.Addr().String())
	}
	s.mu.Unlock()
	s.shared.sampleRates()
	l := &listener{Listener: ln, server: s, reactor: newReactor(s, ln)}
	if l.reactor != nil {
		return l.reactor.serve(l)
	}
	return redcon.Serve(l, serveCommands, s.accepted, nil)
}

// accepted gives a connection its state before redcon reads from it.
func (s *Server) accepted(rc redcon.Conn) bool {
	g := rc.NetConn().(*guard)
	c := newConn(s, g)
	rc.SetContext(c)
	s.shared.setConn(g, c)
	return true
}

// serveCommands is what the doorbell rings for.
func serveCommands(rc redcon.Conn, _ redcon.Command) {
	if err := rc.Context().(*conn).serve(); err != nil {
		rc.Close() // nothing is buffered there, and the socket may be closed already
	}
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// Shutdown stops accepting, lets every connection answer the batch it is carrying out, closes the
// idle ones at once, and waits for all of them. When ctx ends first the rest is cut off, and its
// error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return nil
	}
	s.stopped = true
	listeners := s.listeners
	s.mu.Unlock()

	close(s.stopping)
	s.halt()
	s.shared.stopOnce.Do(func() { close(s.shared.stop) })
	for _, ln := range listeners {
		if err := ln.Close(); err != nil {
			s.log.Warn().Err(err).Msg("cannot close the listener")
		}
	}
	for _, g := range s.shared.of(s) {
		g.interrupt()
	}
	err := s.drain(ctx)
	close(s.drained)
	return err
}

func (s *Server) drain(ctx context.Context) error {
	for {
		open := s.shared.of(s)
		if len(open) == 0 {
			return nil
		}
		select {
		case <-s.left:
		case <-ctx.Done():
			s.cutOff.Store(true)
			for _, g := range open {
				if !g.cut() {
					g.Close()
				}
			}
			return ctx.Err()
		}
	}
}

// The rest is command.Host.

func (s *Server) Face() *command.Face { return &s.face }

func (s *Server) NowMicros() int64 { return s.options.Clock().UnixMicro() }

func (s *Server) Status() *op.Status { return s.backend.Status() }

func (s *Server) View() op.View { return s.backend.View(true) }

// CheckPassword takes the same time for every password of every length.
func (s *Server) CheckPassword(password []byte) bool {
	sum := sha256.Sum256(password)
	return subtle.ConstantTimeCompare(sum[:], s.password[:]) == 1
}

func (s *Server) Config() []command.ConfigOption { return s.config }

func (s *Server) Clients() []command.ClientInfo { return s.shared.infos(time.Now()) }

func (s *Server) Kill(pick func(*command.ClientInfo) bool) int {
	return s.shared.kill(time.Now(), pick)
}

func (s *Server) Pause(ms int64, all bool) {
	const longest = int64(24 * time.Hour / time.Millisecond)
	s.shared.setPause(time.Now().Add(time.Duration(min(ms, longest))*time.Millisecond), all)
}

func (s *Server) ResetStats() { s.shared.Stats.reset() }
