package bench

import (
	"fmt"
	"slices"
	"time"
)

// changeLimit is how long a change of the members is tried before it counts as refused. A second
// fault strikes only afterwards; what it meets is the learner that catches up.
const changeLimit = 20 * time.Second

// drawWipe takes a node's disk away. It comes back under its name, as another member.
func (s *storm) drawWipe() *strike {
	victims, who := s.victims(false)
	if len(victims) > 1 {
		victims = victims[:1] // one at a time: a second one could be the majority's last copy
		who = victims[0].Name
	}
	return &strike{faultWipe, "kill -9 and wipe the disk of " + who,
		func() error {
			return s.load.Expect(func() error {
				if err := s.cluster.killEach(victims); err != nil {
					return err
				}
				return s.cluster.Wipe(victims[0])
			}, s.places(victims)...)
		},
		func() error { return s.cluster.startEach(victims) }}
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
	return &strike{faultMember, "one more node joins",
		func() error {
			_, err := s.join()
			return err
		}, nothing}
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
	return &strike{faultMember, "remove " + who,
		func() error {
			return s.leave(victim, "RAFT.MEMBER", "REMOVE", victim.Name)
		}, nothing}
}

// drawReplacement puts a new node in the place of a member by one change.
func (s *storm) drawReplacement() *strike {
	victim, who := s.oneMember()
	return &strike{faultMember, "a new node replaces " + who,
		func() error {
			n, err := s.join()
			if err != nil {
				return err
			}
			return s.leave(victim, "RAFT.MEMBER", "REPLACE", victim.Name, "WITH", n.Name)
		}, nothing}
}

func (s *storm) oneMember() (*Node, string) {
	leader, _ := s.cluster.Leader()
	if leader != nil && s.random.IntN(2) == 0 {
		return leader, leader.Name + " (leader)"
	}
	n := s.cluster.Nodes[s.random.IntN(len(s.cluster.Nodes))]
	return n, n.Name
}

// leave carries out a change by which a member goes. Its process has to end by itself, and to end
// the same way when it is started again. Its clients go to other nodes.
func (s *storm) leave(victim *Node, command ...string) error {
	return s.load.Expect(func() error {
		gone := without(victim.Name)
		if err := s.cluster.Administer(s.ctx, changeLimit, gone, command...); err != nil {
			return &finding{fmt.Sprintf("a healthy cluster refuses for %s: %v", changeLimit, err)}
		}
		if err := s.endsRemoved(victim); err != nil {
			return err
		}
		if err := s.cluster.Start(victim); err != nil {
			return err
		}
		if err := s.endsRemoved(victim); err != nil {
			return err
		}
		places := s.places([]*Node{victim})
		delete(s.homes, victim.Name)
		if err := s.cluster.Forget(victim); err != nil {
			return err
		}
		for _, place := range places {
			s.settle(place)
		}
		return nil
	}, s.places([]*Node{victim})...)
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
