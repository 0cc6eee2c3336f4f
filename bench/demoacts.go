package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The acts of the demo, in the order of the plan.

// killLeader kills the leader, waits for the next one, and brings the killed one back.
func (d *Demo) killLeader(ctx context.Context) error {
	c := d.cluster
	victim, before, err := c.WaitLeader(ctx, 0)
	if err != nil {
		return err
	}
	d.load.stalls.restart()
	d.event("fault", "kill -9 %s (leader)", victim.Name)
	kill := func() error { return c.Kill(victim) }
	if err := d.load.Expect(kill, slices.Index(c.Nodes, victim)); err != nil {
		return err
	}
	leader, info, err := c.WaitLeader(ctx, before.Term)
	if err != nil {
		return err
	}
	if err := d.waitWrites(ctx); err != nil {
		return err
	}
	d.stalls[0], _ = d.load.stalls.restart()
	d.event("elected", "%-20s writes stalled %d ms   %s", fmt.Sprintf("%s   term %d", leader.Name,
		info.Term), d.stalls[0].Milliseconds(), judgeStall(d.stalls[0]))
	if err := sleep(ctx, withoutLeader); err != nil {
		return err
	}
	return d.bringBack(ctx, victim, before.Applied)
}

func judgeStall(stall time.Duration) string {
	if stall < stallTarget {
		return fmt.Sprintf("[ok, target < %s]", stallTarget)
	}
	return fmt.Sprintf("[slow, target < %s]", stallTarget)
}

// bringBack restarts a node and waits until it has executed what the leader had committed by then.
func (d *Demo) bringBack(ctx context.Context, victim *Node, applied uint64) error {
	_, leader, err := d.cluster.WaitLeader(ctx, 0)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := d.cluster.Start(victim); err != nil {
		return err
	}
	d.event("fault", "%s restarted", victim.Name)
	for {
		info := d.cluster.Infos()[victim.Name]
		if info != nil && info.Applied >= leader.Commit {
			break
		}
		if err := d.cluster.giveUp(victim, begin); err != nil {
			return err
		}
		if err := sleep(ctx, settle/10); err != nil {
			return err
		}
	}
	d.event("back", "%-20s caught up %d entries in %.1f s", victim.Name,
		leader.Commit-min(applied, leader.Commit), time.Since(begin).Seconds())
	return nil
}

// giveUp is an error when a node that was started at begin has ended or takes too long.
func (c *Cluster) giveUp(n *Node, begin time.Time) error {
	if !n.Running() {
		return fmt.Errorf("%s has ended: %s", n.Name, lastLine(c.logPath(n)))
	}
	if time.Since(begin) > startLimit {
		return fmt.Errorf("%s has not caught up within %s; see %s", n.Name, startLimit, c.logPath(n))
	}
	return nil
}

// killAll kills every node at once, under load, and starts them again.
func (d *Demo) killAll(ctx context.Context) error {
	c := d.cluster
	_, before, err := c.WaitLeader(ctx, 0)
	if err != nil {
		return err
	}
	d.load.stalls.restart()
	d.event("fault", "kill -9 %s (all at once, under load)", c.names())
	if err := d.load.Expect(c.KillAll, 0, 1, 2); err != nil {
		return err
	}
	if err := c.StartAll(); err != nil {
		return err
	}
	leader, info, err := c.WaitLeader(ctx, before.Term)
	if err != nil {
		return err
	}
	if err := d.waitWrites(ctx); err != nil {
		return err
	}
	d.stalls[1], _ = d.load.stalls.restart()
	d.event("back", "%-20s writes stalled %d ms", fmt.Sprintf("leader %s   term %d", leader.Name,
		info.Term), d.stalls[1].Milliseconds())
	return nil
}

// waitWrites waits until writes are acknowledged again, and a little longer.
func (d *Demo) waitWrites(ctx context.Context) error {
	before, begin := d.load.Acknowledged(), time.Now()
	for d.load.Acknowledged() == before {
		if time.Since(begin) > startLimit {
			return fmt.Errorf("no write was acknowledged within %s; see the logs in %s", startLimit,
				d.cluster.Dir)
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return sleep(ctx, settle)
}

// isolateLeader cuts the leader off from the others, who replace it. Its clients wait.
func (d *Demo) isolateLeader(ctx context.Context) error {
	c := d.cluster
	if d.noCut != nil {
		d.event("", "no partition: %v", d.noCut)
		return nil
	}
	old, before, err := c.WaitLeader(ctx, 0)
	if err != nil {
		return err
	}
	var rest []string
	for _, n := range c.Nodes {
		if n != old {
			rest = append(rest, n.Name)
		}
	}
	d.load.stalls.restart()
	d.event("fault", "partition {%s (leader) | %s}", old.Name, group(rest))
	if err := c.network.cut(bothWays([]string{old.Name}, rest)); err != nil {
		return err
	}
	leader, info, err := c.WaitLeader(ctx, before.Term)
	if err != nil {
		return err
	}
	if err := d.waitWrites(ctx); err != nil {
		return err
	}
	d.stalls[2], _ = d.load.stalls.restart()
	d.event("elected", "%-20s writes stalled %d ms", fmt.Sprintf("%s   term %d", leader.Name, info.Term),
		d.stalls[2].Milliseconds())
	if err := sleep(ctx, cutOffFor); err != nil {
		return err
	}
	if err := c.network.cut(nil); err != nil {
		return err
	}
	return d.follows(ctx, old, info.Term)
}

// follows waits until a node that was cut off knows the newer term.
func (d *Demo) follows(ctx context.Context, n *Node, term uint64) error {
	for begin := time.Now(); ; {
		info := d.cluster.Infos()[n.Name]
		if info != nil && info.Term >= term && !info.Leading() {
			d.event("healed", "%-20s %.1f s after the cut was mended", n.Name+" follows",
				time.Since(begin).Seconds())
			return nil
		}
		if err := d.cluster.giveUp(n, begin); err != nil {
			return err
		}
		if err := sleep(ctx, settle/10); err != nil {
			return err
		}
	}
}

// wipeDisk deletes the data of a node that follows. It is another member then, under the old name.
func (d *Demo) wipeDisk(ctx context.Context) error {
	c := d.cluster
	leader, _, err := c.WaitLeader(ctx, 0)
	if err != nil {
		return err
	}
	at := (slices.Index(c.Nodes, leader) + 1) % len(c.Nodes)
	victim := c.Nodes[at]
	d.event("fault", "kill -9 %s, its disk wiped, started again", victim.Name)
	wipe := func() error {
		return errors.Join(c.Kill(victim), c.Wipe(victim), c.Start(victim))
	}
	if err := d.load.Expect(wipe, at); err != nil {
		return err
	}
	begin := time.Now()
	if err := c.waitVoters(ctx, memberLimit); err != nil {
		return err
	}
	d.event("back", "%-20s rejoined as a new node id, learner -> voter in %.1f s", victim.Name,
		time.Since(begin).Seconds())
	return nil
}

// grow adds two nodes, while the load goes on.
func (d *Demo) grow(ctx context.Context) error {
	begin := time.Now()
	for range 2 {
		n, err := d.cluster.Add()
		if err != nil {
			return err
		}
		d.load.Place(n.Name, n.Addr())
		if err := d.cluster.Start(n); err != nil {
			return err
		}
	}
	if err := d.cluster.waitVoters(ctx, memberLimit); err != nil {
		return err
	}
	d.event("grow", "%-20s %d voters after %.1f s, tolerates 2 failures",
		d.cluster.names(), len(d.cluster.Nodes), time.Since(begin).Seconds())
	return nil
}
