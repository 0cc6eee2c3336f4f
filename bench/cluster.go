package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"kelek/resp/client"
)

// Ports of the first node; the others follow. The listeners of one node are 1000 apart.
const (
	firstPort         = 6401
	peerPortOffset    = 1000
	httpPortOffset    = 2000
	clusterPortOffset = 3000
	doorPortOffset    = 4000 // what a node advertises when there are forwarders
	portStep          = 10   // between two clusters on one machine
	portTries         = 50
	nodesMax          = 9
)

const stateFile = "cluster.json"

// How long a node may take to say something, and to die.
const (
	askTimeout  = 2 * time.Second
	killTimeout = 10 * time.Second
	stopTimeout = 20 * time.Second // above the node's own --shutdown-timeout
	startLimit  = 20 * time.Second
)

// Cluster is some nodes on this machine, with all they have in one directory: cluster.json, and
// per node a data directory and a log. One command at a time uses it.
type Cluster struct {
	Dir    string   `json:"-"`
	Binary string   `json:"binary"`
	Args   []string `json:"args,omitempty"` // further flags of every node
	Env    []string `json:"env,omitempty"`  // further environment of every node
	Nodes  []*Node  `json:"nodes"`
	Named  int      `json:"named,omitempty"` // names n1 to nNamed were given away; 0: to as many nodes
	Gone   []*Node  `json:"gone,omitempty"`  // removed from the cluster, what they wrote is still here

	network network // nil: the nodes are connected directly
}

// Node is one process, running or not.
type Node struct {
	Name    string  `json:"name"`
	Port    int     `json:"port"` // RESP
	Process process `json:"process"`
	Paused  bool    `json:"paused,omitempty"`
	Host    string  `json:"host,omitempty"` // address for other nodes; empty: the loopback of all
	Door    string  `json:"door,omitempty"` // where other nodes dial instead of PeerAddr
}

// Addr is the plain RESP listener.
func (n *Node) Addr() string { return loopback(n.Port) }

// PeerAddr is the listener for other nodes.
func (n *Node) PeerAddr() string {
	return net.JoinHostPort(cmp.Or(n.Host, loopbackHost), strconv.Itoa(n.Port+peerPortOffset))
}

// DialAddr is where other nodes dial: the listener, or the door in front of it.
func (n *Node) DialAddr() string { return cmp.Or(n.Door, n.PeerAddr()) }

// HTTPAddr serves health and metrics.
func (n *Node) HTTPAddr() string { return loopback(n.Port + httpPortOffset) }

// ClusterAddr is the listener for Redis Cluster clients.
func (n *Node) ClusterAddr() string { return loopback(n.Port + clusterPortOffset) }

// Running reports whether the process exists, paused or not.
func (n *Node) Running() bool { return n.Process.alive() }

const loopbackHost = "127.0.0.1"

func loopback(port int) string { return net.JoinHostPort(loopbackHost, strconv.Itoa(port)) }

// NewCluster plans a cluster of n nodes in dir, on ports that are free now. Nothing runs yet.
func NewCluster(dir, binary string, n int) (*Cluster, error) {
	if n < 1 || n > nodesMax {
		return nil, fmt.Errorf("%d nodes: a cluster has 1 to %d", n, nodesMax)
	}
	port, err := freePorts(n)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c := &Cluster{Dir: dir, Binary: binary}
	for i := range n {
		c.Nodes = append(c.Nodes, &Node{Name: fmt.Sprintf("n%d", i+1), Port: port + i})
	}
	return c, c.save()
}

// LoadCluster reads the state that an earlier command left in dir.
func LoadCluster(dir string) (*Cluster, error) {
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no cluster in %s: kelek local up 3 starts one", dir)
	}
	if err != nil {
		return nil, err
	}
	c := &Cluster{Dir: dir}
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, stateFile), err)
	}
	return c, nil
}

// save replaces the state file; a reader sees the old one or the new one.
func (c *Cluster) save() error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(c.Dir, stateFile)
	if err := os.WriteFile(path+".tmp", append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// freePorts finds a first port so that all listeners of n nodes are free. Somebody else may take
// one before the node does; the node then says so, with its exit code.
func freePorts(n int) (int, error) {
	for try := range portTries {
		port, free := firstPort+try*portStep, true
		for i := range n {
			free = free && portsFree(port+i)
		}
		if free {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free ports for %d nodes between %d and %d; is kelek local running? "+
		"(kelek local down)", n, firstPort, firstPort+portTries*portStep)
}

// portsFree reports whether a node could listen there.
func portsFree(port int) bool {
	for _, offset := range []int{0, peerPortOffset, httpPortOffset, clusterPortOffset,
		doorPortOffset} {
		if !isFree(port + offset) {
			return false
		}
	}
	return true
}

func isFree(port int) bool {
	ln, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return false
	}
	return ln.Close() == nil
}

// Node finds a node by its name.
func (c *Cluster) Node(name string) (*Node, error) {
	for _, n := range c.Nodes {
		if n.Name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("there is no node %s in %s, only %s", name, c.Dir, c.names())
}

func (c *Cluster) names() string {
	var names []string
	for _, n := range c.Nodes {
		names = append(names, n.Name)
	}
	return strings.Join(names, " ")
}

// Addrs are the plain RESP addresses of all nodes.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, n := range c.Nodes {
		addrs = append(addrs, n.Addr())
	}
	return addrs
}

func (c *Cluster) logPath(n *Node) string  { return filepath.Join(c.Dir, n.Name+".log") }
func (c *Cluster) dataPath(n *Node) string { return filepath.Join(c.Dir, n.Name) }

func (c *Cluster) arguments(n *Node) []string {
	var peers []string
	for _, other := range c.Nodes {
		peers = append(peers, other.Name+"="+other.DialAddr())
	}
	args := []string{"serve", "--id", n.Name, "--dir", c.dataPath(n), "--listen", n.Addr(),
		"--peer-listen", n.PeerAddr(), "--http", n.HTTPAddr(), "--cluster-listen", n.ClusterAddr(),
		"--peer-advertise", n.DialAddr(), "--peers", strings.Join(peers, ",")}
	return append(args, c.Args...)
}

// Start starts a node that does not run and returns at once.
func (c *Cluster) Start(n *Node) error {
	if n.Running() {
		return fmt.Errorf("%s runs already (process %d)", n.Name, n.Process.PID)
	}
	line := append([]string{c.Binary}, c.arguments(n)...)
	if c.network != nil {
		line = c.network.command(n, line)
	}
	p, err := spawn(line[0], line[1:], c.Env, c.logPath(n))
	if err != nil {
		return err
	}
	n.Process, n.Paused = p, false
	if c.network != nil {
		c.network.started(n)
	}
	return c.save()
}

// StartAll starts every node that does not run.
func (c *Cluster) StartAll() error {
	for _, n := range c.Nodes {
		if n.Running() {
			continue
		}
		if err := c.Start(n); err != nil {
			return err
		}
	}
	return nil
}

// Kill ends a node by SIGKILL and returns when the process is gone.
func (c *Cluster) Kill(n *Node) error {
	if err := n.Process.signal(sigKill); err != nil {
		return c.notRunning(n, err)
	}
	if !n.Process.waitGone(killTimeout) {
		return fmt.Errorf("%s (process %d) still runs %s after SIGKILL", n.Name, n.Process.PID,
			killTimeout)
	}
	n.Paused = false
	return c.save()
}

// KillAll sends SIGKILL to all running nodes before it waits for any of them.
func (c *Cluster) KillAll() error { return c.killEach(c.Nodes) }

// Close ends all nodes at once, and the network. What is on the disk stays.
func (c *Cluster) Close() error {
	err := c.KillAll()
	if c.network != nil {
		err = errors.Join(err, c.network.close())
	}
	return err
}

// Stop asks a node to end by SIGTERM and waits until it has.
func (c *Cluster) Stop(n *Node) error {
	if n.Paused {
		if err := c.Resume(n); err != nil {
			return err
		}
	}
	if err := n.Process.signal(sigTerm); err != nil {
		return c.notRunning(n, err)
	}
	if !n.Process.waitGone(stopTimeout) {
		return fmt.Errorf("%s (process %d) still runs %s after SIGTERM; see %s, or: kelek local kill %s",
			n.Name, n.Process.PID, stopTimeout, c.logPath(n), n.Name)
	}
	return nil
}

// Pause freezes a node, as a long stop of its machine would.
func (c *Cluster) Pause(n *Node) error {
	if err := n.Process.signal(sigPause); err != nil {
		return c.notRunning(n, err)
	}
	n.Paused = true
	return c.save()
}

// Resume lets a frozen node go on.
func (c *Cluster) Resume(n *Node) error {
	if err := n.Process.signal(sigResume); err != nil {
		return c.notRunning(n, err)
	}
	n.Paused = false
	return c.save()
}

func (c *Cluster) notRunning(n *Node, err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s does not run", n.Name)
	}
	return err
}

// Infos asks every node that runs; a node that does not answer is absent.
func (c *Cluster) Infos() map[string]*client.NodeInfo {
	infos := map[string]*client.NodeInfo{}
	dialer := c.dialer(askTimeout)
	for _, n := range c.Nodes {
		if !n.Running() || n.Paused {
			continue
		}
		if info, err := dialer.AskInfo(n.Addr()); err == nil {
			infos[n.Name] = info
		}
	}
	return infos
}

// Leader is the node that says it leads, in the highest term, or nil.
func (c *Cluster) Leader() (*Node, *client.NodeInfo) {
	var leader *Node
	var best *client.NodeInfo
	for name, info := range c.Infos() {
		if info.Leading() && (best == nil || info.Term > best.Term) {
			best = info
			leader, _ = c.Node(name) // Infos knows no other names
		}
	}
	return leader, best
}

// WaitLeader waits for a leader of a term above the given one.
func (c *Cluster) WaitLeader(ctx context.Context, above uint64) (*Node, *client.NodeInfo, error) {
	deadline := time.Now().Add(startLimit)
	for {
		if leader, info := c.Leader(); leader != nil && info.Term > above {
			return leader, info, nil
		}
		if err := c.dead(); err != nil {
			return nil, nil, err
		}
		if time.Now().After(deadline) {
			return nil, nil, fmt.Errorf("no leader within %s; see the logs in %s", startLimit, c.Dir)
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return nil, nil, err
		}
	}
}

// dead tells of a majority that has ended, with the last words of one of them.
func (c *Cluster) dead() error {
	var ended *Node
	running := 0
	for _, n := range c.Nodes {
		if n.Running() {
			running++
		} else {
			ended = n
		}
	}
	if running > len(c.Nodes)/2 {
		return nil
	}
	return fmt.Errorf("%s has ended: %s", ended.Name, lastLine(c.logPath(ended)))
}

// lastLine is the last line of a log, or the first of a panic at its end.
func lastLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close() // only read
	const tailBytes = 64 << 10
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		f.Seek(max(size-tailBytes, 0), io.SeekStart) // reading from elsewhere shows too much, not less
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	last := lines[len(lines)-1]
	if strings.HasPrefix(last, "{") {
		return last // a line of the logger: no panic came after it
	}
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.HasPrefix(lines[i], "panic: ") || strings.HasPrefix(lines[i], "fatal error: ") {
			return lines[i]
		}
	}
	return last
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
