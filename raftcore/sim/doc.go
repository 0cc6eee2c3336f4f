// Package sim runs whole clusters of raftcore on one goroutine, with a faulty network, faulty disks
// and faulty clocks, and checks after every event that nothing impossible has happened. A run is a
// function of its seed: what failed once can be looked at as often as one likes.
//
// # What
//
// One to seven cores, each with a model of everything that stands around it in a real node: a disk
// with exact crash semantics, an applier, a state machine, an origin that numbers and re-sends
// proposals, and clients. Messages pass through raftcore/wire in a third of the seeds. There is one
// heap of events, keyed (time, order), and virtual time jumps from one to the next, so a core
// runs some hundred times faster than life.
//
//	sim.go       the World: event table, main loop, replay hash
//	heap.go      events
//	process.go   one node: start, crash at a boundary, timer, pause
//	advance.go   its effects, performed in order
//	origin.go    its proposals and reads; client.go: those who ask
//	machine.go   its state machine
//	once.go      requests that it executes once
//	snapshot.go  snapshots taken, kept and installed; stream.go: how they travel
//	disk.go      its disk; media.go: errors and lies of a disk, and damage in what was synced
//	build.go     what it is set to, and how that changes in a rolling upgrade
//	clock.go     its clocks
//	network.go   links between nodes; frames.go: what must not get through;
//	             stranger.go: calls of other clusters
//	faults.go    what goes wrong; strike.go: when; heal.go: how it ends
//	graph.go     partial partitions; wipe.go: lost disks, and machines that come back
//	profile.go   families of runs; every number a run is made of
//	changes.go   changes of membership
//	checker.go   the invariants; claims.go: of messages and answers; configs.go: of configurations;
//	             audit.go: the slow ones
//	shrink.go    failing runs made small; script.go: runs as text
//
// # How
//
// The seed feeds one generator per concern (set-up, network, disk, faults, clients, cores), so that
// a change to one does not shift the decisions of the others; and each fault has one of its own.
// Every decision is drawn when an event is scheduled. A rolling hash over (time, node, event,
// effects) tells whether two runs are the same; TestSameSeedSameRun compares some, one of them
// without the garbage collector, and can write them down for comparison with another build or
// setting.
//
// A run has four phases. In the first everything fails at the rates that the profile has drawn.
// Then the faults end, and a random quorum of every configuration that may yet be in force is
// connected while the others are down or alone: it must leave what is joint, elect a leader, answer
// what is open, and serve a write and a read on each of its nodes. Then everybody is connected, and
// must become equal; and then there is nothing to do, and nothing but heartbeats may happen.
//
// The disk: writes are atomic, ordered, and durable when a sync that began after them has ended. A
// crash keeps the synced writes and none, a prefix or all of the rest, or any subset of it up to
// its first hole; the first that is lost may leave a torn record, which the checksum has to notice.
// Syncs are slow, and hang for up to a minute. A sync, a write (for want of space) or a read that
// fails stops the node before anything rests on it. A record that was synced may rot, or be
// overwritten by another one: the node that finds out fences itself, and never runs again. Of a
// snapshot that is being received a crash leaves all, a part or nothing, or older bytes in the last
// file.
//
// A disk may also lie, and show at a crash that it has not what it synced last. No protocol bears
// that on a quorum, so profile lost-writes takes only what is committed and on a quorum without the
// liar. A node whose state is then ahead of its log knows, and fences itself; of another one the
// leader finds out, and sends again what was lost.
//
// The power goes at any boundary between two effects, and after whatever comes back: before a
// write, between write and sync, between sync and sends, between two sends, before and after an
// apply, after a read, after a snapshot was taken or has come. Stats count the crashes at each, and
// a test fails if one kind is missing. Nodes also stop in order, and hand over before that.
//
// The network, per directed link: loss, one to three copies that come up to twenty election
// time-outs late, a heavy tail, or strict order with connections that break and lose what was under
// way; bandwidth, so that large packets take longer and hold up others; links that clog; flipped
// bits, which the checksum of a frame has to notice; partitions (two groups, one node, the leader,
// a bridge, a ring, everybody alone), one-way cuts.
//
// A partial partition leaves some links, in both directions, for many time-outs. As long as a
// majority's members all see each other, writes are served meanwhile.
//
// The state machine is durable only now and then, and is replayed from the log after a crash, as
// the real one. Logs are compacted at any legal index: up to what is durably applied here, whoever
// may still need it. Such a peer, and one that is new, gets a snapshot.
//
// Snapshots are taken when the core wants one and at any other time, and may get lost. The receiver
// fetches one part after the other; parts are lost, repeated and damaged, transfers break, go on
// after a restart, or end with the term. An install is a marker and then a reset of the log: a
// crash leaves either, both or none of them done. What it jumps over is answered with "unknown".
//
// Nodes are upgraded, and taken back, one at a time, with or without order: profile rolling-upgrade
// and half of the others. There is one version of the protocol so far, so the cores of two builds
// differ in what a flag or a release may change: limits, times, leases. What leases ask of an
// upgrade is kept to. A newer build may also say what nobody understands yet, an unknown version,
// kind or field: the codec has to refuse the whole message, and the connection ends. A second
// version of the protocol has to be mixed with the first one here before there is one.
//
// Nodes of other clusters call, under ids of their own and under those of members, in later terms;
// and so do removed ones. They are refused by the first frame of a connection.
//
// With leases on, clocks drift as far as the bound allows and do not leap; TestLeasesNeedTheirBound
// lets them drift further, and expects a stale read.
//
// Members come blank, and learn everything from the leader; go, and run on for ever, with clients
// that nobody serves; are promoted, demoted, replaced, one to three at once, the leader among them,
// who may die or be cut off in the middle. What must be refused is asked for, too: an entry over
// the limit, no voters at all, the return of a removed id. A machine that lost its disk comes back
// as a new node, and takes the place of the old one by itself, as the node above the core sees to
// it. Only the profile re-add brings a node back under its old id with a blank disk, which kelek
// forbids: a learner that never voted, so that nothing but the core's progress epoch is put to the
// test.
//
// # Invariants
//
// Checked after every Drain on the node that drained; the marked ones (*) every 1,000 events too,
// or at the end. The numbers are those that a failure prints; 0 is a panic of the core.
//
//	 1  One leader per term, for ever; it has a quorum of durable votes, its own included, and no
//	    node leads a term twice, before and after a crash.
//	 2  One vote per node and term, from durable writes and sent grants; a sent grant is durable.
//	 3  A leader's log only grows; equal (index, term) means equal logs up to there (chain hash). *
//	 4  A new leader has everything committed in earlier terms; what is committed never changes.
//	 5  At the first commit a quorum of disks holds the entry, crashed ones included, by the
//	    configuration in force there.
//	 6  Applied without gap; every replica's state hash equals the reference machine's.
//	 7  Term, commit, first index and stamps never go back, a snapshot takes no node back. The log
//	    reaches from what is durably applied to what was acknowledged, after every crash.
//	 8  The configuration is the one recomputed from snapshot and log (*), and a snapshot's is the
//	    one that was committed there; neighbours share all quorums, by brute force; a leader has at
//	    most one that is uncommitted, and proposes none before an entry of its term is committed;
//	    it leads no longer than until its own removal is. What a leader calls held by every member
//	    (Floor) is durable on every member, or was before its disk lied.
//	 9  Nothing is acknowledged, applied or answered before it is durable where it has to be.
//	10  A read's index, and what a read or write shows, covers all that was answered before it began.
//	11  Each operation takes effect once if answered, at most once otherwise; counters add up. *
//	    A request by ONCE is executed once, however often it comes, and its reply is the first one.
//	12  What was refused before it was proposed never takes effect.
//	13  Limits hold, and every counter is zero at rest. *
//	14  Liveness after healing, as above; and during partial partitions.
//	15  Effects come in order, no message is unknown, too large or promises an unknown write.
//	16  An idle cluster keeps its leader and sends heartbeats only, at the configured rate. *
//
// Invariant 10 is linearizability, without a search: every answer is an index of one log, so it is
// enough that indexes agree with real time. Some histories are judged by porcupine as well, which
// knows nothing of logs.
//
// # Planted bugs
//
// A checker that finds nothing may be blind. Under the build tag mutants the core makes one known
// mistake at a time, or the models around it do, and TestPlantedBugs fails when one survives its
// budget of seeds, is caught by an invariant that speaks of something else, or when the same seeds
// fail without it:
//
//	go test -tags mutants ./raftcore/sim -run TestPlantedBugs -v
//
// MUTATIONS.md, which that test writes when it is run with -rewrite, lists them and how many events
// each took.
//
// # When a seed fails
//
// The failure prints the command that repeats it and the last lines of its trace; -lines 0 prints
// all of them. TestSeeds also makes it small: it leaves out noises, kinds of faults, half of the
// time, and then fault by fault, as long as the same invariant breaks. What remains is printed as a
// script, for -script FILE: faults do not share a generator, so each can be left out or moved by
// hand. Add the seed to testdata/seeds.txt, with the reason, when it is fixed. New seeds for
// as long as one likes: go test ./raftcore/sim -run TestSeeds -minutes 60 -timeout 0 -v; -v tells
// in the end what the runs have met.
//
// # Designs considered
//
// Real goroutines under a scheduler that controls them find races of the node, and cannot be
// repeated to the bit, nor at a million events per second: that is another tier's work. Checking
// all histories with a linearizability checker is exponential in the worst case: one in twenty-five
// is enough for a second opinion.
//
// # What it does not do
//
// Learners are never too far behind for a promotion, since PromoteSlack is more than a run's log.
// Snapshots do not outlive the node that took them, as the real store removes them at a start.
// It says nothing about the real disk, the real network or the real loop.
package sim
