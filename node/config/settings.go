package config

import (
	"net"
	"strconv"
)

// Setting is one line of CONFIG GET.
type Setting struct{ Name, Value string }

// Settings is what CONFIG GET shows of them. The limits of clients and the password are not here:
// package resp owns them, shows them under Redis's names, and lets some be changed.
func (s *Serve) Settings() []Setting {
	a := &s.Addresses
	host, _, _ := net.SplitHostPort(a.Listen) // Resolve checked it
	return []Setting{
		{"bind", host},
		{"dir", s.Dir},
		{"id", s.ID},
		{"listen", a.Listen},
		{"peer-listen", a.PeerListen},
		{"http", orOff(a.HTTP)},
		{"cluster-listen", orOff(a.ClusterListen)},
		{"advertise", a.Advertise},
		{"peer-advertise", a.PeerAdvertise},
		{"redirect", s.Redirect},
		{"peers", s.Peers},
		{"join", s.Join},
		{"role", s.Role},
		{"promote-after", s.PromoteAfter.String()},
		{"read", s.Read},
		{"election-timeout", s.ElectionTimeout.String()},
		{"heartbeat", s.Heartbeat.String()},
		{"request-timeout", s.RequestTimeout.String()},
		{"shutdown-timeout", s.ShutdownTimeout.String()},
		{"log-keep-bytes", strconv.FormatInt(int64(s.LogKeepBytes), 10)},
		{"snapshot-rate", strconv.FormatInt(int64(s.SnapshotRate), 10)},
		{"log-level", s.LogLevel},
		{"log-format", s.LogFormat},
	}
}

func orOff(addr string) string {
	if addr == "" {
		return Off
	}
	return addr
}
