package daemon

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"kelek/node"
	"kelek/raftcore/wire"
)

// doorman stands between the transport and the node and watches for one thing: that this data
// directory was started among the nodes of another cluster. Everything else it passes on.
//
// Rule: where --peers says that a node is, one of another cluster answers, and homePatience later
// no node of our own cluster was ever met since the start. Then --peers or the directory is wrong,
// which only a person can mend, and this node ends with exit code 64.
//
// What counts is who answers where we look, not who knocks: a stranger that dials us stops nobody.
// And whoever has met its own cluster goes on, so that one stranger among the nodes of a cluster
// does not stop the others: in A = {n1 n2} with n3 of B, n3 ends, n1 and n2 meet each other.
type doorman struct {
	*node.Node
	dir   string
	fail  func(error)
	after func(time.Duration, func()) // calls the function once, later: time.AfterFunc

	mu       sync.Mutex
	others   map[string]bool // addresses in --peers but our own
	home     bool            // a node of our cluster was met
	stranger error           // the first that answered at one of others
}

// homePatience is how long a node that has met a stranger looks for its own cluster.
const homePatience = 2 * time.Second

var _ node.Receiver = (*doorman)(nil)

func newDoorman(n *node.Node, self string, peers []node.Peer, dir string,
	fail func(error)) *doorman {
	others := map[string]bool{}
	for _, p := range peers {
		if p.Name != self {
			others[p.Addr] = true
		}
	}
	return &doorman{Node: n, dir: dir, fail: fail, others: others,
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

// met notes a stranger that answered at an address of --peers, and reports whether it is the first.
func (d *doorman) met(name, addr string, err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.others[addr] || d.home || d.stranger != nil {
		return false
	}
	d.stranger = fmt.Errorf("data directory %s belongs to another cluster than %s at %s, which "+
		"--peers lists: %w; start with the right --peers, with the right --dir, or with an empty one",
		filepath.Clean(d.dir), name, addr, err)
	return true
}

// judge ends this node unless its own cluster was met meanwhile.
func (d *doorman) judge() {
	d.mu.Lock()
	lost := !d.home
	d.mu.Unlock()
	if lost {
		d.fail(&node.ExitError{Code: node.ExitIdentity, Err: d.stranger})
	}
}
