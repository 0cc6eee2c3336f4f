package node

import (
	"fmt"
	"slices"

	"kelek/raftcore"
	"kelek/store/op"
)

// How a node learns that it was removed. Whoever applies the configuration that it has left records
// its id as retired, for good. If it still gets that far itself, it finds its own id there; if not,
// the others refuse its handshake with ErrRemoved, which it hears as ErrExpelled. Both end the
// process with ExitRemoved, and the identity file remembers it, so that a supervisor that starts it
// again has the same answer at once.
//
// Nobody is kept waiting for that end: what is in flight will not be heard of here again, so it is
// answered as soon as the removal is known, and nothing new is accepted.
//
// What is not proof: a configuration without this node. One that joins replays the log from its
// begin, and is in none of the configurations before its own.

// noteRemoval looks for this node among those that are gone.
func (n *Node) noteRemoval() {
	for _, gone := range n.joining.retired {
		if gone.ID != n.options.Self.ID || n.Removal() != nil {
			continue
		}
		n.learnRemoval(fmt.Errorf("%w: %s (id %x) was removed from cluster %s at index %d", ErrRemoved,
			n.options.Self.Name, gone.ID, ClusterName(n.clusterID), gone.Index))
	}
}

// learnRemoval takes a proof that this node is out; the first one counts. Safe for every goroutine.
func (n *Node) learnRemoval(why error) {
	if n.lifecycle.removal.CompareAndSwap(nil, &why) {
		close(n.lifecycle.removed)
		n.wakeUp()
	}
}

// Removed is closed when this node learns that the cluster has removed it; Removal then says when.
func (n *Node) Removed() <-chan struct{} { return n.lifecycle.removed }

// Removal is why Removed was closed; nil while it is not.
func (n *Node) Removal() error {
	if err := n.lifecycle.removal.Load(); err != nil {
		return *err
	}
	return nil
}

// member reports whether this node is in the configuration in force.
func (n *Node) member() bool { return n.config.IsMember(raftcore.NodeID(n.options.Self.ID)) }

// wasMember reports whether a configuration that was found at the start has this node: the last one
// may be the one that removes it.
func (n *Node) wasMember(r *raftcore.Restored) bool {
	self := raftcore.NodeID(n.options.Self.ID)
	return r.Snapshot.Config.IsMember(self) ||
		slices.ContainsFunc(r.Configs, func(at raftcore.ConfigAt) bool { return at.Config.IsMember(self) })
}

// goes reports whether this node is on its way out: it votes in the old half only of a change, or a
// configuration that has others lacks it, or it is out. What it numbered now might never be
// executed.
func (n *Node) goes() bool {
	stays := raftcore.Config{Voters: n.config.Voters, Learners: n.config.Learners}
	return n.Removal() != nil || n.joining.joined && len(n.config.Voters) > 0 &&
		!stays.IsMember(raftcore.NodeID(n.options.Self.ID))
}

// refuseLeaving tells clients of a node on its way out that nothing was done: they find another
// one. Once it is out, nobody waits for anything any more.
func (n *Node) refuseLeaving() {
	if !n.goes() {
		return
	}
	n.refuseWaiting(op.ErrStopping)
	if n.Removal() != nil {
		n.tellUnknown()
		n.refuseReads(op.ErrStopping)
	}
}

// warnOrphaned speaks up when this node was invited into a cluster of which nobody leads.
//
// Scenario: A creates the cluster with B and C, invites them and loses its disk before it has sent
// its first entry. B and C belong to a cluster without a log; A comes back blank and waits to be
// let in. Nothing was ever stored, but only a person can know that A's disk is gone.
func (n *Node) warnOrphaned() {
	j := &n.joining
	later := n.now + raftcore.Instant(warnInterval)
	switch {
	case len(n.config.Voters) > 0 || n.leader != 0:
		j.orphanWarnAt = 0
	case j.orphanWarnAt == 0:
		j.orphanWarnAt = later
	case n.now >= j.orphanWarnAt:
		j.orphanWarnAt = later
		n.logger.Warn().Str("cluster", ClusterName(n.clusterID)).Msg("this node was invited into a " +
			"cluster and has not met its leader since; if the node that created the cluster has lost its " +
			"disk before it sent its first entry, nothing was stored: stop all nodes, empty their data " +
			"directories and start them again")
	}
}
