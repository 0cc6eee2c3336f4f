package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kelek/resp/client"
)

// LocalDir is where `kelek local` keeps its cluster, below the working directory.
const LocalDir = "./kelek-local"

// Local is `kelek local`: a cluster in the background, for trying things out.
type Local struct {
	Dir string
	Out io.Writer
}

// Up starts n nodes, or those of an existing cluster that do not run.
func (l *Local) Up(ctx context.Context, n int) error {
	c, err := l.loadOrCreate(n)
	if err != nil {
		return err
	}
	if len(c.Nodes) != n {
		return fmt.Errorf("the cluster in %s has %d nodes, not %d: kelek local up %d starts it, and "+
			"kelek local down --wipe removes it", l.Dir, len(c.Nodes), n, len(c.Nodes))
	}
	if c.Binary, err = l.binary(); err != nil {
		return err
	}
	if err := c.StartAll(); err != nil {
		return err
	}
	leader, _, err := c.WaitLeader(ctx, 0)
	if err != nil {
		return err
	}
	for _, node := range c.Nodes {
		fmt.Fprintf(l.Out, "%s %s  ", node.Name, node.Addr())
	}
	fmt.Fprintf(l.Out, "   leader %s   http://%s\n", leader.Name, c.Nodes[0].HTTPAddr())
	return nil
}

func (l *Local) loadOrCreate(n int) (*Cluster, error) {
	if _, err := os.Stat(filepath.Join(l.Dir, stateFile)); errors.Is(err, os.ErrNotExist) {
		binary, err := l.binary()
		if err != nil {
			return nil, err
		}
		return NewCluster(l.Dir, binary, n)
	}
	return LoadCluster(l.Dir)
}

// binary is the program that the nodes run: this one. `go run` deletes its executable when it ends,
// so then a copy is kept beside the data.
func (l *Local) binary() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if !strings.Contains(filepath.ToSlash(self), "/go-build") {
		return self, nil
	}
	return copyBinary(self, l.Dir)
}

func copyBinary(from, dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	to, err := filepath.Abs(filepath.Join(dir, "kelek"))
	if err != nil {
		return "", err
	}
	in, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer in.Close() // only read
	// A new file, renamed: the old one may be running.
	out, err := os.OpenFile(to+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o700)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return "", err
	}
	return to, os.Rename(to+".tmp", to)
}

// Status prints the table of nodes.
func (l *Local) Status(context.Context) error {
	c, err := LoadCluster(l.Dir)
	if err != nil {
		return err
	}
	var asleep []string
	for _, n := range c.Nodes {
		if !n.Running() {
			asleep = append(asleep, n.Name+" does not run")
		} else if n.Paused {
			asleep = append(asleep, n.Name+" is paused")
		}
	}
	survey, err := client.Take(&client.Dialer{Addrs: l.awake(c), Timeout: askTimeout})
	if err == nil {
		err = survey.WriteTable(l.Out)
	}
	if len(asleep) > 0 {
		fmt.Fprintln(l.Out, strings.Join(asleep, ", "))
	}
	return err
}

func (l *Local) awake(c *Cluster) []string {
	var addrs []string
	for _, n := range c.Nodes {
		if n.Running() && !n.Paused {
			addrs = append(addrs, n.Addr())
		}
	}
	return addrs
}

// Kill ends a node, or the leader, by SIGKILL.
func (l *Local) Kill(ctx context.Context, which string) error {
	c, err := LoadCluster(l.Dir)
	if err != nil {
		return err
	}
	leader, info := c.Leader()
	victim := leader
	if which != "leader" {
		if victim, err = c.Node(which); err != nil {
			return err
		}
	} else if leader == nil {
		return errors.New("no node says that it leads; see kelek local status")
	}
	begin := time.Now()
	if err := c.Kill(victim); err != nil {
		return err
	}
	fmt.Fprintf(l.Out, "killed %s (SIGKILL)   ", victim.Name)
	if victim != leader || l.quorumLost(c) {
		fmt.Fprintf(l.Out, "kelek local start %s brings it back\n", victim.Name)
		return nil
	}
	next, _, err := c.WaitLeader(ctx, info.Term)
	if err != nil {
		return err
	}
	fmt.Fprintf(l.Out, "new leader %s after %d ms   kelek local start %s brings it back\n", next.Name,
		time.Since(begin).Milliseconds(), victim.Name)
	return nil
}

func (l *Local) quorumLost(c *Cluster) bool { return len(l.awake(c)) <= len(c.Nodes)/2 }

// Start starts a node that was killed or stopped.
func (l *Local) Start(_ context.Context, which string) error {
	return l.each(which, "started", func(c *Cluster, n *Node) (err error) {
		if c.Binary, err = l.binary(); err != nil {
			return err
		}
		if err = c.Start(n); err != nil {
			return err
		}
		return c.waitAnswer(n)
	})
}

// waitAnswer waits until a node that was just started answers on its RESP port.
func (c *Cluster) waitAnswer(n *Node) error {
	deadline := time.Now().Add(startLimit)
	dialer := c.dialer(askTimeout)
	for {
		_, err := dialer.AskInfo(n.Addr())
		switch {
		case err == nil:
			return nil
		case !n.Running():
			return fmt.Errorf("%s has ended: %s", n.Name, lastLine(c.logPath(n)))
		case time.Now().After(deadline):
			return fmt.Errorf("%s does not answer: %w; see %s", n.Name, err, c.logPath(n))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Stop ends a node gracefully.
func (l *Local) Stop(_ context.Context, which string) error {
	return l.each(which, "stopped", (*Cluster).Stop)
}

// Pause freezes a node.
func (l *Local) Pause(_ context.Context, which string) error {
	return l.each(which, "paused", (*Cluster).Pause)
}

// Resume lets a frozen node go on.
func (l *Local) Resume(_ context.Context, which string) error {
	return l.each(which, "resumed", (*Cluster).Resume)
}

func (l *Local) each(which, done string, act func(c *Cluster, n *Node) error) error {
	c, err := LoadCluster(l.Dir)
	if err != nil {
		return err
	}
	n, err := c.Node(which)
	if which == "leader" {
		if n, _ = c.Leader(); n == nil {
			return errors.New("no node says that it leads; see kelek local status")
		}
	} else if err != nil {
		return err
	}
	if err := act(c, n); err != nil {
		return err
	}
	fmt.Fprintf(l.Out, "%s %s   see: kelek local status\n", done, n.Name)
	return nil
}

// Down stops every node, and removes the directory when wipe is set.
func (l *Local) Down(_ context.Context, wipe bool) error {
	c, err := LoadCluster(l.Dir)
	if err != nil {
		return err
	}
	if err := c.stopAll(); err != nil {
		return err
	}
	if !wipe {
		fmt.Fprintf(l.Out, "stopped %s   data kept in %s (kelek local up %d starts them again; "+
			"kelek local down --wipe deletes it)\n", c.names(), l.Dir, len(c.Nodes))
		return nil
	}
	if err := c.remove(); err != nil {
		return err
	}
	fmt.Fprintf(l.Out, "stopped %s   removed %s\n", c.names(), l.Dir)
	return nil
}

// stopAll asks all nodes to end before it waits for any, so that no election delays the others.
func (c *Cluster) stopAll() error {
	for _, n := range c.Nodes {
		if n.Paused && n.Running() {
			if err := c.Resume(n); err != nil {
				return err
			}
		}
		if err := n.Process.signal(sigTerm); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	for _, n := range c.Nodes {
		if n.Running() && !n.Process.waitGone(stopTimeout) {
			return fmt.Errorf("%s (process %d) still runs %s after SIGTERM; see %s", n.Name,
				n.Process.PID, stopTimeout, c.logPath(n))
		}
	}
	return nil
}

// remove deletes what this package has put into the directory, and the directory if nothing else
// is in it.
func (c *Cluster) remove() error {
	var failures []error
	for _, n := range slices.Concat(c.Nodes, c.Gone) {
		failures = append(failures, os.RemoveAll(c.dataPath(n)), os.RemoveAll(c.logPath(n)))
	}
	for _, name := range []string{stateFile, stateFile + ".tmp", "kelek", "kelek.tmp"} {
		failures = append(failures, os.RemoveAll(filepath.Join(c.Dir, name)))
	}
	if left, err := os.ReadDir(c.Dir); err == nil && len(left) == 0 {
		failures = append(failures, os.Remove(c.Dir))
	}
	return errors.Join(failures...)
}

// LocalAddrs are the nodes of a cluster of `kelek local` in dir; none when there is no cluster.
func LocalAddrs(dir string) []string {
	c, err := LoadCluster(dir)
	if err != nil {
		return nil
	}
	return c.Addrs()
}
