package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"kelek/resp/client"
)

// What a cluster of this package does when its members change. Only the commands and the flags that
// anybody has are used: a node joins by being started with the addresses of the others.

// exitRemoved is how a node ends that is a member no longer.
const exitRemoved = 66

// How long a change of the membership may take. A new voter has to catch up and to stay so for a
// while; every change may meet a fault.
const memberLimit = 60 * time.Second

// Wipe deletes the data of a node that does not run, as a new disk would.
func (c *Cluster) Wipe(n *Node) error {
	if n.Running() {
		return fmt.Errorf("%s runs (process %d): stop it first", n.Name, n.Process.PID)
	}
	return os.RemoveAll(c.dataPath(n))
}

// Add plans one more node; Start lets it join. Its name was never used before.
func (c *Cluster) Add() (*Node, error) {
	if len(c.Nodes) >= nodesMax {
		return nil, fmt.Errorf("%d nodes: a cluster has 1 to %d", len(c.Nodes)+1, nodesMax)
	}
	c.Named = max(c.Named, len(c.Nodes)) + 1
	n := &Node{Name: fmt.Sprintf("n%d", c.Named)}
	port, err := c.freePort()
	if err != nil {
		return nil, err
	}
	n.Port = port
	if c.network != nil {
		if err := c.network.add(n); err != nil {
			return nil, err
		}
	}
	c.Nodes = append(c.Nodes, n)
	return n, c.save()
}

// freePort is one above those of all nodes, running or not.
func (c *Cluster) freePort() (int, error) {
	first := firstPort
	for _, n := range c.Nodes {
		first = max(first, n.Port+1)
	}
	for port := first; port < first+portStep*portTries; port++ {
		if portsFree(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free ports for one more node above %d", first)
}

// Forget leaves out a node that is no member and does not run. Its data and log stay until the
// cluster is removed.
func (c *Cluster) Forget(n *Node) error {
	at := slices.Index(c.Nodes, n)
	if at < 0 || n.Running() {
		return fmt.Errorf("%s is none of %s, or still runs", n.Name, c.names())
	}
	c.Nodes = slices.Delete(c.Nodes, at, at+1)
	c.Gone = append(c.Gone, n)
	if c.network != nil {
		if err := c.network.remove(n); err != nil {
			return err
		}
	}
	return c.save()
}

// Readdress gives all nodes, none of which runs, ports that they never had.
func (c *Cluster) Readdress() error {
	if c.network != nil {
		return errors.New("in a network that can be broken the addresses stay")
	}
	for _, n := range c.Nodes {
		if n.Running() {
			return fmt.Errorf("%s runs (process %d): stop it first", n.Name, n.Process.PID)
		}
		port, err := c.freePort()
		if err != nil {
			return err
		}
		n.Port = port
	}
	return c.save()
}

// Administer sends a RAFT command to the leader until it is carried out, as done tells. What the
// leader refuses may be possible a moment later, when an open change is finished, and an answer may
// be lost with a leader: it is tried again until the limit.
func (c *Cluster) Administer(ctx context.Context, limit time.Duration, done func(*client.NodeInfo) bool,
	args ...string) error {
	begin := time.Now()
	for {
		err := c.administerOnce(args)
		if err == nil {
			return nil
		}
		if _, info := c.Leader(); info != nil && done(info) {
			return nil
		}
		if time.Since(begin) > limit {
			return err
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// without tells that a node is no member in the eyes of another one.
func without(name string) func(*client.NodeInfo) bool {
	return func(info *client.NodeInfo) bool {
		return !slices.ContainsFunc(info.Members, func(m client.MemberInfo) bool { return m.Name == name })
	}
}

func (c *Cluster) administerOnce(args []string) error {
	leader, _ := c.Leader()
	if leader == nil {
		return errors.New("no node says that it leads")
	}
	conn, err := c.dialer(commandTimeout).DialTo(leader.Addr())
	if err != nil {
		return err
	}
	defer conn.Close() // one command only
	reply, err := conn.Do(args...)
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		return fmt.Errorf("%v on %s: %w", args, leader.Name, err)
	}
	return nil
}

// waitVoters waits until every node of the plan, and nobody else, is a voter in the eyes of all.
func (c *Cluster) waitVoters(ctx context.Context, limit time.Duration) error {
	begin := time.Now()
	for {
		missing := c.notVoters()
		if missing == "" {
			return nil
		}
		if time.Since(begin) > limit {
			return fmt.Errorf("after %s %s", limit, missing)
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// notVoters says what is not as it should be, or nothing.
func (c *Cluster) notVoters() string {
	infos := c.Infos()
	for _, n := range c.Nodes {
		info := infos[n.Name]
		if info == nil {
			return n.Name + " does not answer"
		}
		var voters []string
		for _, m := range info.Members {
			if m.Voting {
				voters = append(voters, m.Name)
			}
		}
		want := []string{}
		for _, other := range c.Nodes {
			want = append(want, other.Name)
		}
		slices.Sort(voters)
		slices.Sort(want)
		if !info.Voting || !slices.Equal(voters, want) || len(info.Members) != len(want) {
			return fmt.Sprintf("%s knows %d members, the voters %v, instead of %v", n.Name,
				len(info.Members), voters, want)
		}
	}
	return ""
}
