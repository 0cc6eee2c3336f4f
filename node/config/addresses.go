package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Off switches a listener off.
const Off = "off"

// What is added to the RESP port for the listeners that were not given.
const (
	peerPortOffset    = 1000
	httpPortOffset    = 2000
	clusterPortOffset = 3000
)

// Addresses are complete host:port pairs. Empty: the listener is off.
type Addresses struct {
	Listen, PeerListen, HTTP, ClusterListen    string
	Advertise, PeerAdvertise, ClusterAdvertise string
}

func (s *Serve) resolveAddresses() error {
	host, port, err := splitAddress("--listen", s.Listen)
	if err != nil {
		return err
	}
	a := Addresses{Listen: s.Listen}
	for _, derived := range []struct {
		flag, value string
		offset      int
		to          *string
	}{
		{"--peer-listen", s.PeerListen, peerPortOffset, &a.PeerListen},
		{"--http", s.HTTP, httpPortOffset, &a.HTTP},
		{"--cluster-listen", s.ClusterListen, clusterPortOffset, &a.ClusterListen},
	} {
		*derived.to, err = derive(derived.flag, derived.value, host, port, derived.offset)
		if err != nil {
			return err
		}
	}
	if a.PeerListen == "" {
		return invalid("--peer-listen cannot be off: give it host:port")
	}
	if err := a.checkDistinct(); err != nil {
		return err
	}
	if err := s.advertise(&a); err != nil {
		return err
	}
	s.Addresses = a
	return nil
}

// derive returns the value, or the host of --listen with its port + offset. Port 0, chosen by the
// system, stays 0.
func derive(flag, value, host string, port, offset int) (string, error) {
	switch {
	case value == Off:
		return "", nil
	case value != "":
		_, _, err := splitAddress(flag, value)
		return value, err
	case port == 0:
		return net.JoinHostPort(host, "0"), nil
	case port+offset > 65535:
		return "", invalid("%s would be port %d (that of --listen + %d), above 65535: give it, "+
			"or choose a lower --listen", flag, port+offset, offset)
	}
	return net.JoinHostPort(host, strconv.Itoa(port+offset)), nil
}

func splitAddress(flag, value string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(value)
	if err != nil {
		return "", 0, invalid("%s %q is not host:port (as in 127.0.0.1:6380 or [::1]:6380)", flag, value)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, invalid("%s %q: port %q is not a number from 0 to 65535", flag, value, text)
	}
	return host, int(n), nil
}

func (a *Addresses) checkDistinct() error {
	flags := []string{"--listen", "--peer-listen", "--http", "--cluster-listen"}
	values := []string{a.Listen, a.PeerListen, a.HTTP, a.ClusterListen}
	for i, value := range values {
		for j := range i {
			if value == values[j] && value != "" && !strings.HasSuffix(value, ":0") {
				return invalid("%s and %s are both %s: give each its own port", flags[j], flags[i], value)
			}
		}
	}
	return nil
}

// advertise decides by which addresses others reach this node, and refuses to guess.
func (s *Serve) advertise(a *Addresses) error {
	var err error
	if a.Advertise, err = reachable("--advertise", s.Advertise, "--listen", a.Listen); err != nil {
		return err
	}
	peer := s.PeerAdvertise
	if peer == "" {
		peer = s.ownPeerAddress()
	}
	if peer == "" && s.Advertise != "" && everyInterface(a.PeerListen) {
		peer = sameHost(a.Advertise, a.PeerListen)
	}
	a.PeerAdvertise, err = reachable("--peer-advertise", peer, "--peer-listen", a.PeerListen)
	if err != nil {
		return err
	}
	if a.ClusterAdvertise = a.ClusterListen; s.Advertise != "" && a.ClusterListen != "" {
		a.ClusterAdvertise = sameHost(a.Advertise, a.ClusterListen)
	} else if a.ClusterListen != "" && everyInterface(a.ClusterListen) {
		return invalid("--cluster-listen %s is every interface: tell by --advertise HOST:PORT how "+
			"clients reach this machine", a.ClusterListen)
	}
	return s.checkLoopback(a)
}

// reachable is the advertised address: the given one, or that of the listener.
func reachable(flag, given, listenFlag, listen string) (string, error) {
	if given == "" {
		if everyInterface(listen) {
			return "", invalid("%s is missing: %s %s is every interface, and how others reach this "+
				"machine cannot be guessed; add %s HOST:PORT", flag, listenFlag, listen, flag)
		}
		return listen, nil
	}
	if _, port, err := splitAddress(flag, given); err != nil {
		return "", err
	} else if port == 0 {
		return "", invalid("%s %s: port 0 cannot be dialled", flag, given)
	}
	if everyInterface(given) {
		return "", invalid("%s %s is every interface, no address that others can dial", flag, given)
	}
	return given, nil
}

// checkLoopback refuses to tell remote nodes an address that means themselves.
func (s *Serve) checkLoopback(a *Addresses) error {
	if !isLoopback(a.PeerAdvertise) {
		return nil
	}
	for _, part := range strings.Split(s.Peers+","+s.Join, ",") {
		name, addr, found := strings.Cut(strings.TrimSpace(part), "=")
		if !found {
			addr = name // of --join
		}
		if addr != "" && !isLoopback(addr) {
			return invalid("--peer-advertise %s is loopback, which means itself to the remote peer %s: "+
				"listen on, or advertise, an address that it can reach", a.PeerAdvertise, addr)
		}
	}
	return nil
}

// ownPeerAddress is what --peers says about this node.
func (s *Serve) ownPeerAddress() string {
	for _, part := range strings.Split(s.Peers, ",") {
		name, addr, found := strings.Cut(strings.TrimSpace(part), "=")
		if found && name == s.ID && s.ID != "" {
			return addr
		}
	}
	return ""
}

func sameHost(hostOf, portOf string) string {
	host, _, _ := net.SplitHostPort(hostOf) // both were checked
	_, port, _ := net.SplitHostPort(portOf)
	return net.JoinHostPort(host, port)
}

func everyInterface(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// OnLoopback reports whether clients of other machines cannot connect.
func (a *Addresses) OnLoopback() bool {
	return isLoopback(a.Listen) && (a.ClusterListen == "" || isLoopback(a.ClusterListen))
}
