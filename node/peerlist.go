package node

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Limits of a --peers list.
const (
	peersMax     = 9  // a cluster is formed by one to nine nodes
	nameBytesMax = 64 // length of a node's name
)

// Peer is one element of --peers: a name and where that node is dialled. The address is a hint;
// the node found there says itself who it is.
type Peer struct {
	Name string
	Addr string
}

// ParsePeers reads a --peers list, "n1=10.0.0.1:7380,n2=10.0.0.2:7380", and returns it sorted by
// name. self is the own name, which has to be in the list. An empty list gives nil.
func ParsePeers(list, self string) ([]Peer, error) {
	if strings.TrimSpace(list) == "" {
		return nil, nil
	}
	parts := strings.Split(list, ",")
	if len(parts) > peersMax {
		return nil, peersError("it names %d nodes; a cluster is formed by at most %d",
			len(parts), peersMax)
	}
	var peers []Peer
	for _, part := range parts {
		p, err := parsePeer(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		peers = append(peers, p)
	}
	slices.SortFunc(peers, func(a, b Peer) int { return strings.Compare(a.Name, b.Name) })
	if err := checkDistinct(peers); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(peers, func(p Peer) bool { return p.Name == self }) {
		return nil, peersError("this node, %q, is not in %q: add it, or set --id to its name there",
			self, list)
	}
	return peers, nil
}

func parsePeer(part string) (Peer, error) {
	name, addr, found := strings.Cut(part, "=")
	if !found {
		return Peer{}, peersError("%q is not name=host:port", part)
	}
	if err := CheckName(name); err != nil {
		return Peer{}, peersError("%w", err)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return Peer{}, peersError("the address of %s, %q, is not host:port", name, addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return Peer{}, peersError("the port of %s, %q, is not a number from 1 to 65535", name, port)
	}
	return Peer{Name: name, Addr: addr}, nil
}

// checkDistinct wants peers sorted by name.
func checkDistinct(peers []Peer) error {
	for i, p := range peers {
		for _, q := range peers[i+1:] {
			if p.Name == q.Name {
				return peersError("the name %s is there twice", p.Name)
			}
			if p.Addr == q.Addr {
				return peersError("%s and %s have the same address, %s", p.Name, q.Name, p.Addr)
			}
		}
	}
	return nil
}

// ParseJoin reads a --join list, "10.0.0.1:7380,10.0.0.2:7380". An empty list gives nil.
func ParseJoin(list string) (addrs []string, err error) {
	if strings.TrimSpace(list) == "" {
		return nil, nil
	}
	for _, part := range strings.Split(list, ",") {
		p, err := parsePeer("member=" + strings.TrimSpace(part))
		if err != nil || strings.Contains(part, "=") {
			return nil, &ExitError{ExitConfig, fmt.Errorf("--join: %q is not host:port, with a port from "+
				"1 to 65535", strings.TrimSpace(part))}
		}
		if !slices.Contains(addrs, p.Addr) {
			addrs = append(addrs, p.Addr)
		}
	}
	return addrs, nil
}

func peersError(format string, args ...any) error {
	return &ExitError{ExitConfig, fmt.Errorf("--peers: "+format, args...)}
}

// CheckName refuses what is not a node's name: 1 to 64 characters of [a-zA-Z0-9._-].
func CheckName(name string) error {
	if name == "" {
		return errors.New("a node's name is empty; it has 1 to 64 characters")
	}
	if len(name) > nameBytesMax {
		return fmt.Errorf("the name %.20q... has %d characters; at most %d are allowed",
			name, len(name), nameBytesMax)
	}
	for _, c := range []byte(name) {
		if !nameByte(c) {
			return fmt.Errorf("the name %q contains %q; allowed are a-z A-Z 0-9 . _ -", name, c)
		}
	}
	return nil
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '.' || c == '_' || c == '-'
}

// FormatPeers is the canonical text of a list that ParsePeers returned: nodes compare it to learn
// whether they were started with the same list.
func FormatPeers(peers []Peer) string {
	var b strings.Builder
	for i, p := range peers {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(p.Name + "=" + p.Addr)
	}
	return b.String()
}
