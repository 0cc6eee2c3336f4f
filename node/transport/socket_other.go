//go:build !linux

package transport

import (
	"net"
	"time"
)

// setAckTimeout has no portable form: keep-alive and the write deadline have to do.
func setAckTimeout(*net.TCPConn, time.Duration) {}
