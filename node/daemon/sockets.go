package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"kelek/node"
)

// sockets are the four listeners.
type sockets struct {
	plain, peer, http, cluster socket
}

// socket is one listener until somebody serves it, who then closes it.
type socket struct {
	listener   net.Listener // nil: switched off, or taken
	addr       string       // where it listens; empty: switched off
	advertised string       // how others reach it
}

// take hands the listener over.
func (s *socket) take() net.Listener {
	ln := s.listener
	s.listener = nil
	return ln
}

// listen binds every port before anything is served.
func (d *Daemon) listen(ctx context.Context) error {
	a := &d.settings.Addresses
	d.onStop("listeners", func(context.Context) error { return d.sockets.close() })
	for _, want := range []struct {
		flag, addr, advertised string
		to                     *socket
	}{
		{"--listen", a.Listen, a.Advertise, &d.sockets.plain},
		{"--peer-listen", a.PeerListen, a.PeerAdvertise, &d.sockets.peer},
		{"--http", a.HTTP, "", &d.sockets.http},
		{"--cluster-listen", a.ClusterListen, a.ClusterAdvertise, &d.sockets.cluster},
	} {
		if want.addr == "" {
			continue
		}
		if err := want.to.bind(ctx, want.flag, want.addr, want.advertised); err != nil {
			return err
		}
	}
	d.logger.Info().Str("node", d.identity.Name).Str("peer", d.sockets.peer.advertised).
		Str("resp", d.sockets.plain.advertised).Msg("listening")
	return nil
}

func (s *socket) bind(ctx context.Context, flag, addr, advertised string) error {
	var config net.ListenConfig
	ln, err := config.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return &node.ExitError{Code: node.ExitAddressInUse, Err: fmt.Errorf("%s %s is in use by "+
			"another process: stop it, or choose another address by %s", flag, addr, flag)}
	}
	if err != nil {
		return &node.ExitError{Code: node.ExitConfig, Err: fmt.Errorf("%s %s: %w", flag, addr, err)}
	}
	s.listener, s.addr, s.advertised = ln, address(ln), advertised
	if advertised == addr { // with port 0 only the listener knows
		s.advertised = s.addr
	}
	return nil
}

// close closes what nobody took.
func (s *sockets) close() error {
	var failures []error
	for _, each := range []*socket{&s.plain, &s.peer, &s.http, &s.cluster} {
		if ln := each.take(); ln != nil {
			failures = append(failures, ln.Close())
		}
	}
	return errors.Join(failures...)
}
