package mesh

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Namespaces is a network of real packets: every node has a network namespace of its own, with an
// address that exists only there, and a bridge in one more namespace joins them. Packets of a link
// that is cut are dropped where they arrive. Connect may be called from any goroutine, all else
// from one at a time.
type Namespaces struct {
	run    string // begins the names of its namespaces
	resets error  // why Reset is not possible here, or nil
	placed int    // addresses that were given away; none is used twice
	hub    bool   // its namespace exists

	guard sync.Mutex       // of changes of homes, and of Connect
	homes map[string]*home // by the name of the node
}

// home is the namespace of one node.
type home struct {
	name    string
	address netip.Addr // of its end of the link to the bridge
	clients string     // where the node listens for clients, on the loopback of its namespace
}

// ErrRefused is a system that does not let its root build such a network, as many containers do.
var ErrRefused = errors.New("this system refuses network namespaces")

// networks counts those of this process, so that each has names of its own.
var networks atomic.Int64

// NewNamespaces makes a network without nodes, and removes what runs that were killed left behind.
func NewNamespaces() (*Namespaces, error) {
	if err := NamespacesSupported(); err != nil {
		return nil, err
	}
	if err := removeLeftovers(); err != nil {
		return nil, err
	}
	n := &Namespaces{run: runName(os.Getpid(), startTicks(os.Getpid()), networks.Add(1)),
		homes: map[string]*home{}}
	if err := n.openHub(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrRefused, err), n.Close())
	}
	return n, nil
}

func (n *Namespaces) openHub() error {
	hub := namespaceOf(n.run, hubName)
	if _, err := tool("", "ip", "netns", "add", hub); err != nil {
		return err
	}
	n.hub = true
	if _, err := tool(hubBatch, "ip", "-n", hub, "-batch", "-"); err != nil {
		return err
	}
	var err error
	n.resets, err = tryReset(hub)
	return err
}

// Add makes the namespace of a node and returns the address that other nodes reach it by. Its
// clients connect to an address on the loopback of that namespace.
func (n *Namespaces) Add(name, clients string) (string, error) {
	if n.homes[name] != nil {
		return "", fmt.Errorf("%s has a namespace already", name)
	}
	address, err := addressOf(n.placed + 1)
	if err != nil {
		return "", err
	}
	n.placed++
	if err := n.open(&home{name, address, clients}); err != nil {
		return "", fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return address.String(), nil
}

// open builds a home. What fails half way is removed by Close.
func (n *Namespaces) open(h *home) error {
	hub, here := namespaceOf(n.run, hubName), namespaceOf(n.run, h.name)
	if _, err := tool("", "ip", "netns", "add", here); err != nil {
		return err
	}
	n.guard.Lock()
	n.homes[h.name] = h
	n.guard.Unlock()
	if _, err := tool(portBatch(h.name, here), "ip", "-n", hub, "-batch", "-"); err != nil {
		return err
	}
	if _, err := tool(nodeBatch(h.address), "ip", "-n", here, "-batch", "-"); err != nil {
		return err
	}
	return n.filter(h.name, firstRules)
}

// filter adds rules, or replaces those of a chain that they name.
func (n *Namespaces) filter(name, rules string) error {
	_, err := within(namespaceOf(n.run, name), rules, "iptables-restore", "-w", "--noflush")
	return err
}

// Remove takes away the namespace of a node that does not run.
func (n *Namespaces) Remove(name string) error {
	if n.homes[name] == nil {
		return fmt.Errorf("%s has no namespace", name)
	}
	n.guard.Lock()
	delete(n.homes, name)
	n.guard.Unlock()
	_, err := tool("", "ip", "netns", "del", namespaceOf(n.run, name))
	return err
}

// Prefix is put before a command line to run it in the namespace of a node: ip becomes the program,
// in the same process.
func (n *Namespaces) Prefix(name string) []string {
	return []string{"ip", "netns", "exec", namespaceOf(n.run, name)}
}

// Connect is a connection of a client to the node that listens for clients there. It begins in the
// namespace of the node, so no cut concerns it.
func (n *Namespaces) Connect(clients string, timeout time.Duration) (conn net.Conn, err error) {
	home := n.serving(clients)
	if home == nil {
		return nil, fmt.Errorf("no node serves clients at %s", clients)
	}
	err = inside(namespaceOf(n.run, home.name), func() (err error) {
		conn, err = net.DialTimeout("tcp", clients, timeout)
		return err
	})
	return conn, err
}

func (n *Namespaces) serving(clients string) *home {
	n.guard.Lock()
	defer n.guard.Unlock()
	for _, home := range n.homes {
		if home.clients == clients {
			return home
		}
	}
	return nil
}

// Cut drops all packets of exactly these links; all others are whole afterwards. Nodes that have
// gone have no links.
func (n *Namespaces) Cut(links []Link) error {
	for _, to := range n.names() {
		if err := n.filter(to, cutRules(n.sources(links, to))); err != nil {
			return err
		}
	}
	return nil
}

// Heal makes all links whole.
func (n *Namespaces) Heal() error { return n.Cut(nil) }

// NoResets says why Reset is not possible here, or nil.
func (n *Namespaces) NoResets() error { return n.resets }

// Reset breaks all connections over these links, in either direction. Both ends learn of it from
// their own system, whether the links are cut or not.
func (n *Namespaces) Reset(links []Link) error {
	if n.resets != nil {
		return n.resets
	}
	for _, one := range n.names() {
		others := n.sources(append(reversed(links), links...), one)
		if len(others) == 0 {
			continue
		}
		if _, err := within(namespaceOf(n.run, one), "", resetCommand(others)...); err != nil {
			return err
		}
	}
	return nil
}

func reversed(links []Link) []Link {
	var back []Link
	for _, l := range links {
		back = append(back, Link{l.To, l.From})
	}
	return back
}

// names are the nodes in order.
func (n *Namespaces) names() []string {
	var names []string
	for name := range n.homes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// sources are the addresses from which links lead to a node, in order.
func (n *Namespaces) sources(links []Link, to string) []netip.Addr {
	var from []netip.Addr
	for _, l := range links {
		if home := n.homes[l.From]; home != nil && l.To == to && l.From != to {
			from = append(from, home.address)
		}
	}
	slices.SortFunc(from, netip.Addr.Compare)
	return slices.Compact(from)
}

// Close removes all namespaces, and with them addresses, links and rules. No node runs any more.
func (n *Namespaces) Close() error {
	var failures []error
	for _, name := range n.names() {
		failures = append(failures, n.Remove(name))
	}
	if n.hub {
		_, err := tool("", "ip", "netns", "del", namespaceOf(n.run, hubName))
		failures, n.hub = append(failures, err), false
	}
	return errors.Join(failures...)
}
