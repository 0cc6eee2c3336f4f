//go:build !linux

package load

import "net"

// runAll drives each connection by a goroutine.
func (r *trial) runAll(conns []net.Conn) error {
	r.startWorkers(conns)
	return nil
}
