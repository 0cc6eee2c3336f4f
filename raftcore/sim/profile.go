package sim

import (
	"fmt"
	"math/rand/v2"

	"kelek/raftcore"
)

const (
	us  = raftcore.Microsecond
	ms  = raftcore.Millisecond
	sec = raftcore.Second
)

// knobs are everything about a run that is not decided event by event. They are drawn once from the
// seed, by the profile.
type knobs struct {
	nodes int
	blank bool // only the creator's disk holds the founding entry
	codec bool // messages pass through raftcore/wire
	// Links and disks differ by factors of up to eight.
	uneven bool

	build               // that nodes begin with
	newer         build // that they are upgraded to, see build.go
	newerPermille int   // packets of a newer build that are followed by one of an unknown kind
	// clockDrift is how much faster than another a clock may run, in parts per thousand. 0: from
	// half to double, with leaps.
	clockDrift int

	// Network. Times are one way.
	latency      raftcore.Instant
	tailPermille int // packets that take up to tailMax longer
	tailMax      raftcore.Instant
	dropPermille int
	dupPermille  int // packets of which one to three copies arrive, up to dupLate later
	dupLate      raftcore.Instant
	fifo         bool             // packets of one link stay in order
	flipPermille int              // packets with a bit flipped
	perByte      raftcore.Instant // time that a byte takes to leave; 0: none
	partitions   []partitionKind

	// Disk and applier.
	syncMean         raftcore.Instant
	syncTailPermille int
	syncTailMax      raftcore.Instant
	readMean         raftcore.Instant
	applyMean        raftcore.Instant

	// Faults, by kind: mean time between two, 0 for never, and how long one lasts.
	every, lasts [faultKinds]raftcore.Instant

	// Snapshots.
	snapshotParts        int // that one travels in
	snapshotFailPermille int // that cannot be taken when the core wants them
	partFlipPermille     int // parts with a bit flipped

	// Clients and origins.
	sessions      int // per node
	think         raftcore.Instant
	opTimeout     raftcore.Instant
	readPermille  int
	window        int // unresolved proposals per origin
	batch         int // ops per proposal
	largePermille int // proposals with up to largeBytes more
	largeBytes    int

	// Membership. configFault makes the changes.
	joiners int  // new nodes that may come
	reAdd   bool // only wrong re-adds under the old id, see World.reAdd

	// graphLimit is how long a partly connected cluster may take to serve a write, see graph.go.
	graphLimit raftcore.Instant

	duration raftcore.Instant // of the faulty phase
}

// Profile is a family of runs. adjust changes what the swarm has drawn.
type Profile struct {
	Name   string
	About  string
	adjust func(g *rand.Rand, k *knobs)
}

// Profiles are all families, in the order in which the default test takes turns.
var Profiles = []Profile{
	{"swarm", "each fault with even odds, each limit drawn, 3 to 5 nodes", swarm},
	{"calm", "no faults but the first election", calm},
	{"slow-disk", "syncs slower than the network, with stalls, and many crashes", slowDisk},
	{"two-node", "both voters are the quorum", func(_ *rand.Rand, k *knobs) { k.nodes = 2 }},
	{"single-node", "one voter: durability without replication", singleNode},
	{"even", "four or six nodes: a majority is more than half", even},
	{"seven-node", "the largest usual cluster", func(_ *rand.Rand, k *knobs) { k.nodes = 7 }},
	{"no-quorum-then-heal", "long times in which nobody reaches a quorum", noQuorum},
	{"elections", "leaders die or are cut off all the time, messages carry one entry", elections},
	{"reads", "old answers arrive late, at leaders that come, go and come back", staleReads},
	{"membership-storm", "members come, go, and change roles all the time", membershipStorm},
	{"snapshot-storm", "logs are cut short, members lag, snapshots travel badly", snapshotStorm},
	{"lease", "reads rest on leases, clocks drift as far as is allowed", lease},
	{"lost-disks", "synced records rot, disks are lost, machines come back as new nodes", lostDisks},
	{"lost-writes", "disks forget what they have synced, never on a quorum", lostWrites},
	{"partial-partitions", "links are gone, a fully connected quorum is there", partialPartitions},
	{"rolling-upgrade", "nodes of two builds, one at a time changes its own", rollingUpgrade},
	{"re-add", "learners lose their disks and come back under their old ids", reAdd},
}

func profileByName(name string) *Profile {
	for i := range Profiles {
		if Profiles[i].Name == name {
			return &Profiles[i]
		}
	}
	panic(fmt.Sprintf("sim: there is no profile %q", name))
}

// drawKnobs draws a run of the swarm and lets the profile adjust it.
func drawKnobs(g *rand.Rand, p *Profile) knobs {
	k := knobs{
		nodes:  3 + 2*g.IntN(2),
		blank:  g.IntN(2) == 0,
		codec:  g.IntN(3) == 0,
		fifo:   g.IntN(2) == 0,
		uneven: g.IntN(2) == 0,
	}
	drawOptions(g, &k)
	drawNetwork(g, &k)
	drawDisk(g, &k)
	drawFaults(g, &k)
	drawClients(g, &k)
	k.duration = 60 * k.election
	if p.adjust != nil {
		p.adjust(g, &k)
	}
	k.drawNewer(g)
	return k
}

func drawOptions(g *rand.Rand, k *knobs) {
	k.election = pick(g, 100*ms, 200*ms, 400*ms)
	k.heartbeat = k.election / pick[raftcore.Instant](g, 4, 5, 10)
	k.fast = pick(g, ms, 10*ms, k.election/4)
	k.appendBytes = pick(g, 1, 200, 2_000, 1<<20)
	k.inflightMessages = pick(g, 1, 2, 8, 256)
	k.inflightBytes = pick(g, 1, 1_000, 1<<20)
	k.uncommittedEntries = pick(g, 4, 64, 10_000)
	k.uncommittedBytes = pick(g, 1_000, 1<<20)
	k.applyBytes = pick(g, 1, 500, 1<<20)
	k.tailBytes = pick(g, 1, 2_000, 1<<20)
	k.pendingReads = pick(g, 2, 64, 1_000)
	k.tickEvery = pick(g, 0, 0, 0, 10*ms)
	k.gather = pick(g, 0, 0, 100*us, 2*ms)
}

func drawNetwork(g *rand.Rand, k *knobs) {
	k.latency = pick(g, 50*us, 500*us, 3*ms)
	k.tailPermille, k.tailMax = sometimes(g, 100), between(g, ms, k.election)
	k.dropPermille = sometimes(g, 100)
	k.dupPermille = sometimes(g, 100)
	k.dupLate = pick(g, 10*k.latency, 200*k.latency, 4*k.election)
	k.flipPermille = pick(g, 0, 0, 2)
	k.perByte = pick(g, 0, 0, 0, 100, us)
	k.partitions = []partitionKind{uniform, isolateOne, isolateLeader, bridge, ring}
	if g.IntN(3) == 0 {
		k.partitions = k.partitions[:0]
		for range 2 {
			k.partitions = append(k.partitions, partitionKind(g.IntN(int(partitionKinds))))
		}
	}
}

func drawDisk(g *rand.Rand, k *knobs) {
	k.syncMean = pick(g, 50*us, 500*us, 5*ms)
	k.syncTailPermille, k.syncTailMax = sometimes(g, 50), between(g, ms, k.election/2)
	k.readMean = pick(g, 50*us, 2*ms)
	k.applyMean = pick(g, 5*us, 50*us, 2*ms)
	k.snapshotParts = pick(g, 1, 2, 7, 12)
	k.snapshotFailPermille = pick(g, 0, 200)
	k.partFlipPermille = pick(g, 0, 20)
}

// drawFaults switches each kind on with even odds, at a random rate.
func drawFaults(g *rand.Rand, k *knobs) {
	for kind := range configFault { // from there on they are the profiles' own
		if g.IntN(2) == 0 {
			k.every[kind] = between(g, k.election/2, 8*k.election)
		}
		k.lasts[kind] = between(g, k.election/4, 4*k.election)
	}
	k.every[flushFault] = between(g, k.election/4, 4*k.election)
	k.lasts[crashFault] = between(g, ms, 10*k.election)
	for kind := syncErrorFault; kind <= tooLargeFault; kind++ {
		k.every[kind] *= 4
	}
}

func drawClients(g *rand.Rand, k *knobs) {
	k.sessions = 1 + g.IntN(3)
	k.think = pick(g, 2*ms, 10*ms, 40*ms)
	k.opTimeout = pick[raftcore.Instant](g, 2, 10) * k.election
	k.readPermille = pick(g, 100, 400, 700)
	k.window = pick(g, 1, 3, 16)
	k.batch = pick(g, 1, 4)
	k.largePermille = sometimes(g, 100)
	k.largeBytes = 4_000
}

// swarm leaves what is drawn as it is, and changes the membership in few of its runs.
func swarm(g *rand.Rand, k *knobs) {
	if g.IntN(8) == 0 {
		changing(k, between(g, k.election, 8*k.election))
	}
}

// changing lets the membership change.
func changing(k *knobs, every raftcore.Instant) {
	k.joiners = nodesMax - k.nodes
	k.every[configFault] = every
}

// membershipStorm is one change after the other, from one node to seven and back, while leaders
// die and are cut off in the middle of them.
func membershipStorm(g *rand.Rand, k *knobs) {
	k.nodes = 1 + g.IntN(5)
	changing(k, between(g, k.election/4, 2*k.election))
	if g.IntN(2) == 0 {
		k.every[partitionFault] = between(g, k.election, 4*k.election)
		k.lasts[partitionFault] = between(g, k.election/2, 3*k.election)
	}
}

// snapshotStorm is where members fall behind what is compacted, again and again, and where leaders
// change and nodes crash while they are brought forward.
func snapshotStorm(g *rand.Rand, k *knobs) {
	k.snapshotParts = pick(g, 2, 12, 24)
	k.every[compactFault] = between(g, k.election/8, k.election)
	k.every[flushFault] = k.election / 8
	k.every[snapshotFault] = between(g, k.election/4, 4*k.election)
	k.every[crashFault] = between(g, k.election/2, 4*k.election)
	k.lasts[crashFault] = between(g, k.election/2, 4*k.election)
	k.every[partitionFault] = between(g, k.election, 4*k.election)
	k.lasts[partitionFault] = between(g, k.election/2, 4*k.election)
	k.every[stallFault], k.every[upgradeFault], k.every[strangerFault] = 0, 0, 0
	if g.IntN(3) > 0 {
		changing(k, between(g, k.election/2, 2*k.election))
	}
}

// lease is where a leader that is cut off, paused or asked to hand over goes on to answer reads for
// as long as it may.
func lease(g *rand.Rand, k *knobs) {
	k.leaseDrift = pick(g, 10, 100, 500)
	k.clockDrift = k.leaseDrift
	k.every[clockFault] = between(g, k.election/2, 4*k.election)
	k.every[upgradeFault] = 0
	k.every[transferFault] = between(g, k.election, 4*k.election)
	k.every[partitionFault] = between(g, k.election, 4*k.election)
	k.lasts[partitionFault] = between(g, k.election, 4*k.election)
	k.partitions = []partitionKind{isolateLeader, uniform}
	k.every[cutFault] = between(g, k.election, 4*k.election)
	k.readPermille, k.think = 700, pick(g, 2*ms, 10*ms)
}

// lostDisks is where nodes are lost for good, in clusters that may replace them and in such that
// may not.
func lostDisks(g *rand.Rand, k *knobs) {
	k.nodes = 3 + g.IntN(3)
	if g.IntN(3) > 0 {
		changing(k, between(g, 2*k.election, 8*k.election))
		k.every[configFault] *= raftcore.Instant(g.IntN(2)) // or only those that a loss calls for
	}
	k.every[rotFault] = between(g, k.election, 8*k.election)
	k.every[wipeFault] = between(g, 4*k.election, 20*k.election)
}

// lostWrites is where a disk says that it has synced what it has not, and the cluster repairs that.
func lostWrites(g *rand.Rand, k *knobs) {
	if g.IntN(2) == 0 {
		calm(g, k)
	}
	k.nodes = pick(g, 3, 5, 5)
	k.every[lieFault] = between(g, k.election/2, 4*k.election)
	k.lasts[crashFault] = pick(g, ms, k.election, 4*k.election)
	k.every[flushFault] = between(g, k.election, 16*k.election)
}

// partialPartitions is calm but for its links. Whoever leads, and whoever wants to, a quorum whose
// members all see each other must be able to write.
func partialPartitions(g *rand.Rand, k *knobs) {
	calm(g, k)
	k.nodes, k.heartbeat = pick(g, 3, 4, 5, 5, 7), k.election/pick[raftcore.Instant](g, 4, 5)
	k.every[compactFault] = 0
	k.latency, k.uneven = pick(g, 50*us, 500*us), false // a vote takes much less than a time-out
	k.syncMean, k.readMean, k.applyMean = pick(g, 50*us, 500*us), 50*us, 50*us
	k.appendBytes, k.inflightMessages, k.inflightBytes = 1<<20, 256, 1<<20
	k.uncommittedEntries, k.uncommittedBytes = 10_000, 1<<20
	k.graphLimit = 15 * k.election
	k.every[graphFault] = 2 * k.graphLimit
	k.opTimeout = 2 * k.election
	k.duration = 8 * k.graphLimit
}

// reAdd is where acknowledgements of an earlier life arrive late, at the leader of the same term.
func reAdd(g *rand.Rand, k *knobs) {
	calm(g, k)
	k.nodes, k.fifo, k.reAdd = pick(g, 1, 2, 3), false, true
	changing(k, between(g, k.election/4, k.election))
	k.joiners = 2
	k.dupPermille, k.dupLate = 300, between(g, k.election, 4*k.election)
	k.think, k.sessions, k.inflightMessages = 20*ms, 1, pick(g, 1, 2, 8)
	k.duration = 20 * k.election
}

func calm(_ *rand.Rand, k *knobs) {
	k.every = [faultKinds]raftcore.Instant{}
	k.every[flushFault], k.every[compactFault] = 4*k.election, 4*k.election
	k.tailPermille, k.dropPermille, k.dupPermille, k.syncTailPermille = 0, 0, 0, 0
	k.flipPermille, k.perByte = 0, 0
}

func slowDisk(g *rand.Rand, k *knobs) {
	k.latency = 50 * us
	k.syncMean = pick(g, 5*ms, 20*ms)
	k.syncTailPermille, k.syncTailMax = 100, k.election
	k.every[stallFault] = 2 * k.election
	k.every[crashFault] = between(g, k.election/4, 2*k.election)
	k.lasts[crashFault] = k.election
}

func singleNode(g *rand.Rand, k *knobs) {
	k.nodes, k.sessions = 1, 6
	k.every[crashFault] = between(g, k.election/4, 2*k.election)
	k.lasts[crashFault] = k.election
}

func even(g *rand.Rand, k *knobs) { k.nodes = pick(g, 4, 6) }

func noQuorum(g *rand.Rand, k *knobs) {
	k.partitions = []partitionKind{alone, uniform}
	k.every[partitionFault] = 5 * k.election
	k.lasts[partitionFault] = between(g, 2*k.election, 8*k.election)
}

// elections is where the rules about terms are tested: short reigns, logs that end in different
// terms, and messages small enough that a leader dies between two entries.
func elections(g *rand.Rand, k *knobs) {
	k.appendBytes, k.inflightMessages = 1, pick(g, 1, 2, 8)
	k.every[crashFault] = between(g, k.election/4, k.election)
	k.lasts[crashFault] = pick(g, k.election/2, 3*k.election)
	k.every[partitionFault] = between(g, k.election, 3*k.election)
	k.lasts[partitionFault] = between(g, k.election/2, 3*k.election)
	k.think = 2 * ms
}

// staleReads is where reads go wrong: a leader hands over and takes over again, answers of its
// earlier reign arrive late, and it is cut off while others write.
func staleReads(g *rand.Rand, k *knobs) {
	k.nodes = 3
	k.fifo = false
	k.dupPermille, k.dupLate = 300, between(g, k.election, 20*k.election)
	k.every[transferFault] = between(g, k.election, 3*k.election)
	k.every[partitionFault] = between(g, 2*k.election, 4*k.election)
	k.lasts[partitionFault] = between(g, k.election/2, 2*k.election)
	k.partitions = []partitionKind{isolateLeader}
	k.readPermille, k.think, k.sessions = 600, 5*ms, 3
}

// sometimes is 0, or up to most.
func sometimes(g *rand.Rand, most int) int {
	if g.IntN(2) == 0 {
		return 0
	}
	return 1 + g.IntN(most)
}

func pick[T any](g *rand.Rand, from ...T) T { return from[g.IntN(len(from))] }

// entryBytesMax is the largest proposal that number can make.
func (k *knobs) entryBytesMax() int { return headerSize + k.batch*opSize + k.largeBytes }
