//go:build !unix

package resp

import "net"

// peeker cannot look at a socket here: a client that hung up is noticed when it is written to.
type peeker struct{}

func (*peeker) watch(net.Conn) {}

func (*peeker) gone() bool { return false }
