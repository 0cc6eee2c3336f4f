package admin

import (
	"strings"

	"kelek/store/op"
)

// check is one condition of readiness; failed is empty when it holds, else the reason in a line.
type check struct {
	name, failed string
}

// readiness is what must hold for a command to be carried out here without waiting for people.
func readiness(s *op.Status) []check {
	formed := check{name: "formed"}
	if s.ClusterID == [16]byte{} {
		formed.failed = "no cluster yet: waiting for the other nodes of --peers"
	}
	leader := check{name: "leader"}
	if s.Leader == 0 {
		leader.failed = "no leader is known: an election is under way, or a majority is unreachable"
	}
	applied := check{name: "applied"}
	if s.Applied == 0 {
		applied.failed = "nothing has been applied yet"
	}
	running := check{name: "running"}
	if s.Stopping {
		running.failed = "the node is stopping"
	}
	return []check{running, formed, leader, applied}
}

func verbose(checks []check) string {
	var b strings.Builder
	for _, c := range checks {
		if c.failed == "" {
			b.WriteString("[+]" + c.name + " ok\n")
		} else {
			b.WriteString("[-]" + c.name + " " + c.failed + "\n")
		}
	}
	return b.String()
}
