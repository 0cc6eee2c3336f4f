//go:build !linux

package resp

import "net"

// reactor exists on Linux only: elsewhere each connection has a goroutine.
type reactor struct{}

func newReactor(*Server, net.Listener) *reactor { return nil }

func (*reactor) serve(*listener) error { return nil }

func (*reactor) adopt(net.Conn) (net.Conn, error) { return nil, nil }

// reactive is what a connection is to its reactor.
type reactive struct{ reactor *reactor }

func (*conn) wakeReactor() bool { return false }

func (*conn) setStranger(bool) {}

func (*guard) cut() bool { return false }
