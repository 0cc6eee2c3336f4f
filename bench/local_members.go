package bench

import (
	"context"
	"fmt"
	"strings"
	"time"

	"kelek/resp/client"
)

// Add starts more nodes, one after the other. Each joins by the addresses of the others, and the
// leader makes it a voter once it has caught up.
func (l *Local) Add(ctx context.Context, count int) error {
	c, err := LoadCluster(l.Dir)
	if err != nil {
		return err
	}
	if count < 1 || len(c.Nodes)+count > nodesMax {
		return fmt.Errorf("%d nodes and %d more: a cluster has 1 to %d", len(c.Nodes), count, nodesMax)
	}
	if c.Binary, err = l.binary(); err != nil {
		return err
	}
	for range count {
		if err := l.addOne(ctx, c); err != nil {
			return err
		}
	}
	return l.tolerance(c)
}

func (l *Local) addOne(ctx context.Context, c *Cluster) error {
	if leader, _ := c.Leader(); leader == nil {
		return fmt.Errorf("no node says that it leads, and only a leader lets a node in; " +
			"see kelek local status")
	}
	n, err := c.Add()
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := c.Start(n); err != nil {
		return err
	}
	fmt.Fprintf(l.Out, "%s %s joins ", n.Name, n.Addr())
	last := ""
	for last != "voter" {
		role, err := c.joining(n)
		if err == nil && time.Since(begin) > memberLimit {
			err = fmt.Errorf("%s is no voter after %s (%s)", n.Name, memberLimit, role)
		}
		if err == nil {
			err = sleep(ctx, 20*time.Millisecond)
		}
		if err != nil {
			fmt.Fprintln(l.Out)
			return fmt.Errorf("%w; see %s, or take it back: kelek local remove %s", err, c.logPath(n),
				n.Name)
		}
		if role != last && role != "" {
			fmt.Fprintf(l.Out, ".. %s ", role)
			last = role
		}
	}
	fmt.Fprintf(l.Out, "(%.1f s)\n", time.Since(begin).Seconds())
	return nil
}

// joining is what a node that was just started is in the eyes of the leader: nothing, a learner, a
// voter.
func (c *Cluster) joining(n *Node) (role string, err error) {
	if !n.Running() {
		return "", fmt.Errorf("%s has ended: %s", n.Name, lastLine(c.logPath(n)))
	}
	_, info := c.Leader()
	if info == nil {
		return "", nil // an election; the next look will tell
	}
	for _, m := range info.Members {
		if m.Name == n.Name {
			return m.Role, nil
		}
	}
	return "", nil
}

// tolerance ends the output: what it was good for, and what to look at.
func (l *Local) tolerance(c *Cluster) error {
	survey, err := client.Take(&client.Dialer{Addrs: l.awake(c), Timeout: askTimeout})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(l.Out, "%s   see: kelek local status\n", survey.Tolerance())
	return err
}

// Remove removes a node from the cluster for good, and waits until its process has ended.
func (l *Local) Remove(_ context.Context, which string) error {
	c, err := LoadCluster(l.Dir)
	if err != nil {
		return err
	}
	n, err := c.Node(which)
	if err != nil {
		return err
	}
	text, err := l.removeMember(c, n)
	if err != nil {
		return err
	}
	if n.Running() && !n.Process.waitGone(stopTimeout) { // it sees its removal, and ends by itself
		if err := c.Stop(n); err != nil {
			return err
		}
	}
	if err := c.Forget(n); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(l.Out, "%s   %s has ended\n", text, n.Name); err != nil {
		return err
	}
	return l.tolerance(c)
}

// removeMember asks the cluster. A node that never got in is no member, and is only stopped.
func (l *Local) removeMember(c *Cluster, n *Node) (string, error) {
	dialer := client.Dialer{Addrs: l.awake(c), Timeout: askTimeout}
	roster, err := client.TakeRoster(&dialer)
	if err != nil {
		return "", err
	}
	var others []string
	for _, m := range roster.Members {
		if m.Name == n.Name {
			return client.Administer(&dialer, "RAFT.MEMBER", "REMOVE", n.Name)
		}
		others = append(others, m.Name)
	}
	if n.Running() {
		err = c.Stop(n)
	}
	return fmt.Sprintf("%s was no member, only %s", n.Name, strings.Join(others, " ")), err
}
