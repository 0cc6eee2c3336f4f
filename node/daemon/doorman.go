package daemon

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"kelek/node"
	"kelek/raftcore/wire"
)

// doorman stands between the transport and the node and watches for one thing: that this data
// directory was started among the nodes of another cluster. Everything else it passes on.
//
// Rule: at more than half of the addresses that --peers and --join give for other nodes answer nodes
// of another cluster, and homePatience later no node of our own cluster was ever met since the
// start, and nobody leads, or the node itself as the only member. Then the list or the directory is
// wrong, which only a person can mend, and this node ends with exit code 64.
//
// What counts is who answers where we look, not who knocks: a stranger that dials us stops nobody.
// And whoever has met its own cluster goes on, so that one stranger among the nodes of a cluster
// does not stop the others: in A = {n1 n2} with n3 of B, n3 ends, n1 and n2 meet each other. Half is
// not enough: when n1 of three starts alone, and the address of n2 belongs to somebody else by now,
// the others may come back at new addresses, and will need n1.
type doorman struct {
	*node.Node
	dir   string
	fail  func(error)
	after func(time.Duration, func()) // calls the function once, later: time.AfterFunc

	mu        sync.Mutex
	others    []string         // addresses of other nodes in --peers and --join
	home      bool             // a node of our cluster was met
	strangers map[string]error // by address, of those that answered at others
	judged    bool             // judge is called, or will be
}

// homePatience is how long a node that has met strangers looks for its own cluster.
const homePatience = 2 * time.Second

var _ node.Receiver = (*doorman)(nil)

func newDoorman(n *node.Node, others []string, dir string, fail func(error)) *doorman {
	return &doorman{Node: n, dir: dir, fail: fail, others: others, strangers: map[string]error{},
		after: func(d time.Duration, f func()) { time.AfterFunc(d, f) }}
}

// Connected passes on that a peer is there. Nodes of other clusters never get that far.
func (d *doorman) Connected(peer wire.Hello) {
	if peer.ClusterID != [16]byte{} {
		d.mu.Lock()
		d.home = true
		d.mu.Unlock()
	}
	d.Node.Connected(peer)
}

// PeerError looks for strangers. The node logs them, too: the wait shall not be a silent one.
func (d *doorman) PeerError(name, addr string, err error) {
	if errors.Is(err, node.ErrOtherCluster) && d.met(name, addr, err) {
		d.after(homePatience, d.judge)
	}
	d.Node.PeerError(name, addr, err)
}

// met notes a stranger that answers where another node should be, and reports whether a verdict is
// due.
func (d *doorman) met(name, addr string, err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Contains(d.others, addr) || d.home || d.judged {
		return false
	}
	d.strangers[addr] = fmt.Errorf("data directory %s belongs to another cluster than %s at %s, which "+
		"--peers or --join lists: %w; start with the right list, with the right --dir, or with an empty "+
		"one", filepath.Clean(d.dir), name, addr, err)
	d.judged = 2*len(d.strangers) > len(d.others)
	return d.judged
}

// judge ends this node unless its own cluster was met meanwhile, or works.
func (d *doorman) judge() {
	d.mu.Lock()
	status := d.Node.Status()
	lost := !d.home && (status.Leader == 0 || len(status.Members) == 1)
	addrs := slices.Sorted(maps.Keys(d.strangers))
	err := d.strangers[addrs[0]]
	d.mu.Unlock()
	if lost {
		d.fail(&node.ExitError{Code: node.ExitIdentity, Err: err})
	}
}
