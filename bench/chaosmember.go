package bench

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// changeLimit is how long a change of the members is tried before it counts as refused by a cluster
// whose network is whole. When a change is the first fault, a second one strikes only afterwards;
// what it meets is the learner that catches up. When it is the second one, the network may be cut,
// and it is tried for cutChangeLimit then, and again when everything is repaired.
const (
	changeLimit    = 20 * time.Second
	cutChangeLimit = 3 * time.Second
)

// drawWipe takes a node's disk away. It comes back under its name, as another member.
func (s *storm) drawWipe() *strike {
	victims, who := s.victims(false)
	if len(victims) > 1 {
		victims = victims[:1] // one at a time: a second one could be the majority's last copy
		who = victims[0].Name
	}
	return &strike{kind: faultWipe, what: "kill -9 and wipe the disk of " + who,
		begin: func() error {
			return s.load.Expect(func() error {
				if err := s.cluster.killEach(victims); err != nil {
					return err
				}
				return s.cluster.Wipe(victims[0])
			}, s.places(victims)...)
		},
		end: func() error { return s.cluster.startEach(victims) }}
}

// drawMember lets the cluster grow up to two nodes above its size, and shrink again.
func (s *storm) drawMember() *strike {
	more := len(s.cluster.Nodes) - s.size
	switch {
	case len(s.cluster.Nodes) == nodesMax, more == 2, more == 1 && s.random.IntN(2) == 0:
		return s.drawRemoval()
	case s.random.IntN(3) == 0:
		return s.drawReplacement()
	}
	return &strike{kind: faultMember, what: "one more node joins",
		begin: func() error {
			_, err := s.join()
			return err
		}, end: nothing}
}

// nothing repairs what repairs itself, after a while in which other faults may strike.
func nothing() error { return nil }

// join starts one more node.
func (s *storm) join() (*Node, error) {
	n, err := s.cluster.Add()
	if err != nil {
		return nil, err
	}
	s.homes[n.Name] = []int{s.load.Place(n.Name, n.Addr())}
	return n, s.cluster.Start(n)
}

// drawRemoval removes a member, the leader as often as not.
func (s *storm) drawRemoval() *strike {
	victim, who := s.oneMember()
	d := &departure{storm: s, victim: victim, command: []string{"RAFT.MEMBER", "REMOVE", victim.Name}}
	return &strike{kind: faultMember, what: "remove " + who, begin: d.begin, end: nothing,
		after: d.finish}
}

// drawReplacement puts a new node in the place of a member by one change.
func (s *storm) drawReplacement() *strike {
	victim, who := s.oneMember()
	d := &departure{storm: s, victim: victim}
	return &strike{kind: faultMember, what: "a new node replaces " + who,
		begin: func() error {
			n, err := s.join()
			if err != nil {
				return err
			}
			d.command = []string{"RAFT.MEMBER", "REPLACE", victim.Name, "WITH", n.Name}
			return d.begin()
		}, end: nothing, after: d.finish}
}

func (s *storm) oneMember() (*Node, string) {
	leader, _ := s.cluster.Leader()
	if leader != nil && s.random.IntN(2) == 0 {
		return leader, leader.Name + " (leader)"
	}
	n := s.cluster.Nodes[s.random.IntN(len(s.cluster.Nodes))]
	return n, n.Name
}

// departure is a change by which a member goes. Its process has to end by itself, and to end the
// same way when it is started again. Its clients go to other nodes.
type departure struct {
	storm   *storm
	victim  *Node
	command []string // RAFT.MEMBER ...
	changed bool     // the change has been carried out
	over    func()   // the trouble of the clients of victim
}

// begin tries the change, perhaps while the nodes are cut off from each other.
func (d *departure) begin() error {
	s := d.storm
	d.over = s.load.Trouble(s.places([]*Node{d.victim})...)
	d.changed = d.change(cutChangeLimit) == nil // if not, finish tries again, and says why
	return s.ctx.Err()
}

func (d *departure) change(limit time.Duration) error {
	return d.storm.cluster.Administer(d.storm.ctx, limit, without(d.victim.Name), d.command...)
}

// finish needs a whole network: whoever is cut off cannot know that it was removed.
func (d *departure) finish() error {
	s := d.storm
	defer d.over()
	if !d.changed {
		if err := d.change(changeLimit); err != nil {
			return errors.Join(s.ctx.Err(), &finding{fmt.Sprintf("a healthy cluster refuses for %s: %v",
				changeLimit, err)})
		}
	}
	if err := s.endsRemoved(d.victim); err != nil {
		return err
	}
	if err := s.cluster.Start(d.victim); err != nil {
		return err
	}
	if err := s.endsRemoved(d.victim); err != nil {
		return err
	}
	places := s.places([]*Node{d.victim})
	delete(s.homes, d.victim.Name)
	if err := s.cluster.Forget(d.victim); err != nil {
		return err
	}
	for _, place := range places {
		s.settle(place)
	}
	return nil
}

func (s *storm) endsRemoved(n *Node) error {
	code, err := n.Process.exitCode(memberLimit)
	if err != nil {
		return &finding{fmt.Sprintf("%s was removed and goes on: %v", n.Name, err)}
	}
	if code != exitRemoved {
		return &finding{fmt.Sprintf("%s was removed and ended with exit code %d, not %d: %s", n.Name,
			code, exitRemoved, lastLine(s.cluster.logPath(n)))}
	}
	return nil
}

// settle moves the clients of a place to the node with the fewest.
func (s *storm) settle(place int) {
	to := slices.MinFunc(s.cluster.Nodes, func(a, b *Node) int {
		return len(s.homes[a.Name]) - len(s.homes[b.Name])
	})
	s.homes[to.Name] = append(s.homes[to.Name], place)
	s.load.Move(place, to.Name, to.Addr())
}
