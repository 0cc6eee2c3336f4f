package bench

import (
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"kelek/bench/mesh"
	"kelek/resp/client"
)

// network is what connects the nodes of a cluster, as far as a test can break it. Clients reach every
// node whatever is cut.
type network interface {
	// add prepares the place of a node that does not run yet, and tells it its addresses.
	add(n *Node) error
	remove(n *Node) error
	// command is the command line that starts a node, and started tells of its process.
	command(n *Node, line []string) []string
	started(n *Node)
	connect(addr string, timeout time.Duration) (net.Conn, error)
	// cut breaks these links and repairs all others. reset breaks what is connected over some.
	cut(links []mesh.Link) error
	reset(links []mesh.Link) error
	noResets() error // why reset is not possible, or nil
	close() error    // no node runs any more
}

// Networks are the kinds of network, as --network names them.
const (
	NetworkForwarders = "forwarders"
	NetworkNamespaces = "namespaces"
)

// UseForwarders puts a door before every node, so that links can be cut. No node runs yet.
func (c *Cluster) UseForwarders() error {
	if err := mesh.Supported(); err != nil {
		return err
	}
	f := &forwarders{}
	f.mesh = mesh.New(f.owners)
	return c.use(f)
}

// UseNamespaces gives every node a network namespace, so that links can be cut. No node runs yet.
func (c *Cluster) UseNamespaces() error {
	n, err := mesh.NewNamespaces()
	if err != nil {
		return err
	}
	return c.use(&namespaces{n})
}

func (c *Cluster) use(network network) error {
	for _, n := range c.Nodes {
		if err := network.add(n); err != nil {
			return errors.Join(err, network.close())
		}
	}
	c.network = network
	return nil
}

// dialer is a client's way to the nodes.
func (c *Cluster) dialer(timeout time.Duration) *client.Dialer {
	return &client.Dialer{Timeout: timeout, Connect: c.connect()}
}

// connect is nil when nodes are reached by TCP as usual.
func (c *Cluster) connect() client.Connect {
	if c.network == nil {
		return nil
	}
	return c.network.connect
}

// forwarders are a network in this process. The mesh asks for the owners from goroutines of its own.
type forwarders struct {
	mesh  *mesh.Mesh
	guard sync.Mutex
	names map[int]string // of the node of each process
}

func (f *forwarders) add(n *Node) error {
	n.Door = loopback(n.Port + doorPortOffset)
	return f.mesh.Open(n.Name, n.Door, n.PeerAddr())
}

func (f *forwarders) remove(n *Node) error { return f.mesh.Remove(n.Name) }

func (*forwarders) command(_ *Node, line []string) []string { return line }

func (f *forwarders) started(n *Node) {
	f.guard.Lock()
	defer f.guard.Unlock()
	if f.names == nil {
		f.names = map[int]string{}
	}
	f.names[n.Process.PID] = n.Name
}

// owners tells which process is which node.
func (f *forwarders) owners() map[int]string {
	f.guard.Lock()
	defer f.guard.Unlock()
	return maps.Clone(f.names)
}

func (*forwarders) connect(addr string, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", addr, timeout)
}

func (f *forwarders) cut(links []mesh.Link) error {
	f.mesh.Cut(links)
	return nil
}

func (f *forwarders) reset(links []mesh.Link) error {
	f.mesh.Reset(links)
	return nil
}

func (*forwarders) noResets() error { return nil }

func (f *forwarders) close() error { return f.mesh.Close() }

// namespaces are a network of the system's.
type namespaces struct{ mesh *mesh.Namespaces }

func (s *namespaces) add(n *Node) (err error) {
	n.Host, err = s.mesh.Add(n.Name, n.Addr())
	return err
}

func (s *namespaces) remove(n *Node) error { return s.mesh.Remove(n.Name) }

func (s *namespaces) command(n *Node, line []string) []string {
	return slices.Concat(s.mesh.Prefix(n.Name), line)
}

func (*namespaces) started(*Node) {}

func (s *namespaces) connect(addr string, timeout time.Duration) (net.Conn, error) {
	return s.mesh.Connect(addr, timeout)
}

func (s *namespaces) cut(links []mesh.Link) error   { return s.mesh.Cut(links) }
func (s *namespaces) reset(links []mesh.Link) error { return s.mesh.Reset(links) }
func (s *namespaces) noResets() error               { return s.mesh.NoResets() }
func (s *namespaces) close() error                  { return s.mesh.Close() }
