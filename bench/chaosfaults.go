package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"kelek/bench/mesh"
)

// strike is a fault that lasts: begin breaks something, end repairs it. after is what can be waited
// for only while nothing else is broken.
type strike struct {
	kind  string
	what  string
	begin func() error
	end   func() error // nil: it is over at once
	after func() error // nil: nothing
}

// Kinds of faults, as --faults names them.
const (
	faultKill      = "kill"
	faultPause     = "pause"
	faultStop      = "stop"
	faultPartition = "partition"
	faultReset     = "reset"
	faultWipe      = "wipe"
	faultMember    = "member"
)

// FaultKinds are the kinds that chaos knows, in the order of the help.
var FaultKinds = []string{faultKill, faultPause, faultStop, faultPartition, faultReset, faultWipe,
	faultMember}

// storm draws faults and carries them out on a cluster under load. All choices come from the seed;
// what they meet depends on the moment, as the leader does.
type storm struct {
	cluster *Cluster
	load    *Workload
	random  *rand.Rand
	kinds   []string
	ctx     context.Context  // of the run: a change of the members is waited for
	size    int              // how many members the run began with
	homes   map[string][]int // places of the clients of each node
}

// weights is how often a kind is drawn, compared with the others.
var weights = map[string]int{faultKill: 4, faultPause: 3, faultStop: 1, faultPartition: 6,
	faultReset: 1, faultWipe: 2, faultMember: 3}

// visitLead is how long before the end of a pause the visitors come.
const visitLead = 30 * time.Millisecond

// draw chooses a fault among the kinds that are wanted.
func (s *storm) draw(kinds []string) *strike {
	var ballot []string
	for _, kind := range kinds {
		for range weights[kind] {
			ballot = append(ballot, kind)
		}
	}
	switch kind := ballot[s.random.IntN(len(ballot))]; kind {
	case faultKill:
		return s.drawKill()
	case faultPause:
		return s.drawPause()
	case faultStop:
		return s.drawStop()
	case faultReset:
		return s.drawReset()
	case faultWipe:
		return s.drawWipe()
	case faultMember:
		return s.drawMember()
	default:
		return s.drawPartition()
	}
}

// second is a fault that may strike during the first: of the processes if that is of the network,
// and the other way round; any if the members change meanwhile.
func (s *storm) second(first string) []string {
	other := []string{faultPartition, faultReset}
	switch first {
	case faultPartition, faultReset:
		other = []string{faultKill, faultPause, faultWipe, faultMember}
	case faultMember:
		other = []string{faultKill, faultPause, faultPartition, faultReset}
	}
	return slices.DeleteFunc(other, func(kind string) bool { return !slices.Contains(s.kinds, kind) })
}

// minority is the largest number of nodes that may be away.
func (s *storm) minority() int { return (len(s.cluster.Nodes) - 1) / 2 }

// victims draws nodes: one, the leader, a minority, or with all allowed everybody.
func (s *storm) victims(all bool) ([]*Node, string) {
	nodes := slices.Clone(s.cluster.Nodes)
	s.random.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	switch choice := s.random.IntN(10); {
	case choice < 3:
		return nodes[:1], nodes[0].Name
	case choice < 7:
		if leader, _ := s.cluster.Leader(); leader != nil {
			return []*Node{leader}, leader.Name + " (leader)"
		}
		return nodes[:1], nodes[0].Name
	case choice < 9 || !all:
		victims := nodes[:max(1, s.minority())]
		return victims, namesOf(victims)
	}
	return nodes, namesOf(nodes) + " (all at once)"
}

func namesOf(nodes []*Node) string {
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// places are the clients of some nodes.
func (s *storm) places(nodes []*Node) []int {
	var places []int
	for _, n := range nodes {
		places = append(places, s.homes[n.Name]...)
	}
	return places
}

func (s *storm) drawKill() *strike {
	victims, who := s.victims(true)
	return &strike{kind: faultKill, what: "kill -9 " + who,
		begin: func() error {
			return s.load.Expect(func() error { return s.cluster.killEach(victims) },
				s.places(victims)...)
		},
		end: func() error { return s.cluster.startEach(victims) }}
}

func (s *storm) drawPause() *strike {
	victims, who := s.victims(true)
	return &strike{kind: faultPause, what: "pause " + who,
		begin: func() error { return each(victims, s.cluster.Pause) },
		end: func() error {
			// Reads that were called while the others went on, and that the node finds when it wakes up:
			// it must not answer them before it has learned what it missed.
			for _, place := range s.places(victims) {
				s.load.Visit(place)
			}
			time.Sleep(visitLead)
			return each(victims, s.cluster.Resume)
		}}
}

// drawStop ends one node in order.
func (s *storm) drawStop() *strike {
	victims, who := s.victims(false)
	victims = victims[:1]
	if !strings.HasPrefix(who, victims[0].Name) {
		who = victims[0].Name
	}
	return &strike{kind: faultStop, what: "stop " + who,
		begin: func() error {
			return s.load.Expect(func() error { return s.cluster.Stop(victims[0]) },
				s.places(victims)...)
		},
		end: func() error { return s.cluster.startEach(victims) }}
}

func (s *storm) drawPartition() *strike {
	leader := ""
	if n, _ := s.cluster.Leader(); n != nil {
		leader = n.Name
	}
	c := drawCut(s.random, strings.Fields(s.cluster.names()), leader)
	// The connections may live through it, break at once, or break when it is over.
	var first, last []mesh.Link
	switch choice := s.random.IntN(4); {
	case s.cluster.network.noResets() != nil:
	case choice < 2:
		first, c.what = c.links, c.what+", reset"
	case choice == 2:
		last, c.what = c.links, c.what+", reset at the end"
	}
	network := s.cluster.network
	return &strike{kind: faultPartition, what: c.what,
		begin: func() error { return errors.Join(network.cut(c.links), network.reset(first)) },
		end:   func() error { return errors.Join(network.reset(last), network.cut(nil)) }}
}

// drawReset breaks all connections between the nodes at once, and nothing else.
func (s *storm) drawReset() *strike {
	names := strings.Fields(s.cluster.names())
	return &strike{kind: faultReset, what: "reset all connections between nodes",
		begin: func() error { return s.cluster.network.reset(between(names, names)) }}
}

// hold is how long a fault lasts: from below an election time-out to several of them.
func (s *storm) hold() time.Duration {
	return 200*time.Millisecond + s.upTo(2800*time.Millisecond)
}

func (s *storm) upTo(limit time.Duration) time.Duration {
	return time.Duration(s.random.Int64N(int64(limit)))
}

func each(nodes []*Node, act func(*Node) error) error {
	for _, n := range nodes {
		if err := act(n); err != nil {
			return err
		}
	}
	return nil
}

// killEach sends SIGKILL to all before it waits for any.
func (c *Cluster) killEach(nodes []*Node) error {
	for _, n := range nodes {
		if err := n.Process.signal(sigKill); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	for _, n := range nodes {
		if n.Paused = false; !n.Process.waitGone(killTimeout) {
			return fmt.Errorf("%s (process %d) still runs %s after SIGKILL", n.Name, n.Process.PID,
				killTimeout)
		}
	}
	return c.save()
}

func (c *Cluster) startEach(nodes []*Node) error { return each(nodes, c.Start) }
