package sim

import (
	"math/rand/v2"

	"kelek/raftcore"
)

// Rolling upgrades. Two things differ between the builds of one cluster while it is upgraded, or
// taken back, one node at a time: what each is set to, and what it can say. There is one version of
// the protocol so far, so what the core of another build differs in are its options: limits, times,
// leases. And a newer build may say what no present one understands: an unknown version of a
// record, an unknown kind, an unknown field. That must be refused, whole, and end the connection.

// build is what a node is set to, as a release or a flag would change it. Changes keep to what
// raftcore/options.go and lease.go demand of a cluster.
type build struct {
	// Options of the core.
	election, heartbeat, fast            raftcore.Instant
	appendBytes                          int
	inflightMessages, inflightBytes      int
	uncommittedEntries, uncommittedBytes int
	applyBytes, tailBytes, pendingReads  int
	leaseDrift                           int // parts per thousand; 0: no leases

	// The loop around it.
	tickEvery raftcore.Instant // coarse ticker; 0: timers fire when the core wants them
	gather    raftcore.Instant // inputs within up to this are drained together; 0: one by one
}

// drawNewer draws the build that nodes are upgraded to: each setting of the first one is changed
// with small odds. Time-outs grow, so that what is measured in the first build's is enough for a
// heartbeat to either.
func (k *knobs) drawNewer(g *rand.Rand) {
	var other knobs
	drawOptions(g, &other)
	k.newer = k.build
	n := &k.newer
	change := func(do func()) {
		if g.IntN(3) == 0 {
			do()
		}
	}
	longer := func() { n.election = k.election * pick[raftcore.Instant](g, 3, 4) / 2 }
	if k.leaseDrift > 0 { // the promises of one build may not do for the leases of the other
		longer()
	}
	change(longer)
	change(func() { n.heartbeat = k.election / pick[raftcore.Instant](g, 4, 5, 10) })
	change(func() { n.fast = pick(g, ms, n.election) })
	change(func() { n.appendBytes = other.appendBytes })
	change(func() {
		n.inflightMessages, n.inflightBytes = other.inflightMessages, other.inflightBytes
	})
	change(func() {
		n.uncommittedEntries, n.uncommittedBytes = other.uncommittedEntries, other.uncommittedBytes
	})
	change(func() { n.applyBytes, n.tailBytes = other.applyBytes, other.tailBytes })
	change(func() { n.pendingReads = other.pendingReads })
	change(func() { n.tickEvery, n.gather = other.tickEvery, other.gather })
	if k.leaseDrift > 0 { // on either side of the stated bound, or off
		change(func() { n.leaseDrift = pick(g, 0, 2*k.leaseDrift) })
	}
	k.newerPermille = pick(g, 0, 20)
}

// rollingUpgrade is nothing but upgrades, most of the time. Whoever has leases on states a bound on
// clocks that holds.
func rollingUpgrade(g *rand.Rand, k *knobs) {
	if g.IntN(3) > 0 {
		calm(g, k)
	}
	k.every[upgradeFault] = between(g, k.election/2, 4*k.election)
	k.every[transferFault] = between(g, k.election, 8*k.election)
	k.every[partitionFault] = between(g, 2*k.election, 8*k.election)
	k.lasts[partitionFault] = between(g, k.election, 4*k.election)
	k.lasts[crashFault] = between(g, ms, 4*k.election)
	if g.IntN(2) == 0 {
		k.leaseDrift = pick(g, 10, 100, 500)
		k.clockDrift = k.leaseDrift
		k.every[clockFault] = between(g, k.election/2, 4*k.election)
		k.readPermille, k.think = 700, 5*ms
		k.every[cutFault], k.lasts[cutFault] = between(g, k.election, 2*k.election), 2*k.election
		k.partitions = []partitionKind{isolateLeader, bridge}
		k.lasts[crashFault] = pick(g, ms, k.election/2, 4*k.election)
	}
}

// electionMax is the longest election time-out of any build.
func (k *knobs) electionMax() raftcore.Instant { return max(k.election, k.newer.election) }

// upgrade stops a node, in order or not, so that it starts as the other build.
func (w *World) upgrade(p *process) {
	if p.core == nil || p.paused || p.upgrade {
		return
	}
	p.upgrade = true
	if w.rng.strike.IntN(4) == 0 {
		w.armCrash(p)
	} else {
		w.stopGracefully(p)
	}
	if w.rng.strike.IntN(2) == 0 {
		p.downFor = max(p.downFor, p.promisedFor())
	}
}

// other is the build that a node does not run.
func (p *process) other() *build {
	if k := &p.w.knobs; p.build == &k.build {
		return &k.newer
	}
	return &p.w.knobs.build
}

// promisedFor is how long a node has to be down before it may run the other build: a promise to a
// leader that has leases outlives a restart only as long as the new build waits at its start.
func (p *process) promisedFor() raftcore.Instant {
	now, next := p.build, p.other()
	if now.leaseDrift > 0 && (next.leaseDrift == 0 || next.election < now.election) {
		return now.election
	}
	return 0
}

// chooseBuild decides what a start runs. An upgrade that would come too early waits for another
// stop, as an operator would.
func (p *process) chooseBuild() {
	if !p.upgrade || p.w.now < p.diedAt+p.promisedFor() {
		return
	}
	p.upgrade = false
	p.build = p.other()
	p.w.stats.Upgraded++
}

// options are the core's for this start of a node.
func (p *process) options(seed uint64) raftcore.Options {
	b := p.build
	return raftcore.Options{
		ID: p.id, Boot: uint64(p.starts), Seed: seed,
		ElectionTimeout: b.election, Heartbeat: b.heartbeat, FastElection: b.fast,
		MaxAppendBytes:      b.appendBytes,
		MaxInflightMessages: b.inflightMessages, MaxInflightBytes: b.inflightBytes,
		MaxUncommittedEntries: b.uncommittedEntries, MaxUncommittedBytes: b.uncommittedBytes,
		MaxEntryBytes: p.w.knobs.entryBytesMax(), MaxApplyBytes: b.applyBytes,
		LogTailBytes: b.tailBytes, MaxPendingReads: b.pendingReads, LeaseDrift: b.leaseDrift,
		Trace: p.w.tracing(),
	}
}

// mixed reports whether the members of a cluster run different builds.
func (w *World) mixed(config *raftcore.Config) bool {
	var first *build
	for _, p := range w.nodes {
		switch {
		case p.core == nil || !config.IsMember(p.id):
		case first == nil:
			first = p.build
		case first != p.build:
			return true
		}
	}
	return false
}
