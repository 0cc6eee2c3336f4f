// Package raftcore is the protocol: one member of one Raft group as a deterministic state machine.
//
// # What it is
//
// A Core takes inputs (Tick, Step, Propose, ReadIndex, Durable, Applied...) that return at once,
// and gives out Effects (Drain): what to write, send, apply and answer. It has no goroutine,
// channel, lock, clock, map or I/O, and its only randomness is a generator seeded by the caller. So
// the simulator in raftcore/sim runs the very code that production runs, and a run repeats to the
// bit. purity_test.go parses the package and fails when any of that slips in.
//
// Names and rules are those of the Raft paper (Ongaro and Ousterhout, "In Search of an
// Understandable Consensus Algorithm", extended version) and of Ongaro's dissertation.
//
// # How to read it
//
//	types.go message.go effects.go options.go   the words
//	table.go                         role x message -> handler; Step settles the term, then dispatches
//	follower.go candidate.go leader.go   the handlers
//	log.go progress.go quorum.go readindex.go lease.go membership.go snapshot.go transfer.go
//	                                 one idea each
//	core.go                          time, Drain, and what is shared
//
// # How durability is told
//
// There is one mode: everything is written in the background. A Write has a number; the caller
// performs Writes in order and reports the last durable one. A message that promises durability (a
// vote, an acknowledgement, a newer term) names the Write that makes the promise true, and may not
// leave earlier. AppendEntries and RequestVote promise nothing and leave at once, so a leader's
// disk and its followers' disks work in parallel. The leader counts itself in a quorum with what is
// durable here, a candidate counts its own vote when that is durable: the rules for a single voter
// are the rules for everybody.
//
// Two other designs were considered. Synchronous storage calls inside the core make it simpler, and
// make every message wait for the local disk. Completions that carry (term, index) instead of
// numbers need a guard against entries that were overwritten while their write was in flight (the
// "ABA" of mistake 30); with numbers and a cap at truncation (log.truncateFrom) there is nothing
// to guard.
//
// # Invariants
//
// Asserted here, always: commit, applied, term and stamps never go back; nothing committed is
// truncated; one leader per term as far as this node can see; a snapshot at a committed index has
// that entry's term; an unknown entry kind stops the node.
// Check asserts the rest (it costs time). The sixteen invariants over a whole cluster are the
// simulator's.
//
// # Elections, fast and slow
//
// Pre-vote and check-quorum are not options. A follower that hears nothing for one to two election
// time-outs asks for pre-votes. One whose connection to the leader breaks does so within
// FastElection: a killed process is noticed by its closed sockets. Voters that still hear the
// leader refuse, so a broken cable between two nodes changes nothing. Safety rests on votes alone.
//
// # Reads
//
// readindex.go: rounds that a quorum echoes, never "I believe that I lead". lease.go: where the
// operator vouches for a bound on clock drift, a promise that a quorum gave stands in for a round.
//
// # Snapshots
//
// snapshot.go: a peer that needs what is compacted is offered a snapshot, heartbeat after
// heartbeat, until its answers say that replication can go on. The files are the caller's business.
// Of a snapshot that is installed the log keeps nothing but the position and the configuration: it
// did not hold that position, so nothing in it is known to be worth keeping.
//
// # Planted bugs
//
// Under the build tag mutants, planted(n) switches on one of the known mistakes of other
// implementations, so that the simulator can show that it would be found: 1 commit of older terms
// by counting; 2 majority of n/2 for even n; 3 vote cleared in the same term; 4 pre-votes counted
// as votes; 5 vote answered before it is durable; 6 newer term of a refused pre-vote ignored; 7
// truncation after prev on every append; 8 logs compared by index before term; 9 reads before an
// entry of the own term (109: single voters only); 10 read rounds taken from an older term (110:
// reads are answered without a round); 11 the leader, or a follower, counts what is not durable
// (111: the leader commits what is durable on itself alone); 12 acknowledgements of an older
// membership taken; 13 writes in flight not capped at truncation; 14 configuration changed before
// an entry of the own term is committed; 15 a joint quorum is a majority of the union (115:
// elections ask the new half only); 16 configurations of the old log kept after an install; 20 a
// transfer kept over the end of its term; 21 commit beyond the matched prefix; 22 a lease counts
// from when the promise arrived (122: not given up for a transfer; 222: and promises that are too
// short will do); 25 a compacted position has term 0; 26 a heartbeat commits what it has not
// compared; 27 one failed snapshot is the last; 28 a leader without a quorum stays; 29 a new leader
// does not leave the joint configuration that an old one opened; 317 a follower is never sent again
// what its disk has lost. The other numbers up to 32 are mistakes of disks and state machines, and
// live in the simulator.
//
// # What it does not do
//
// It does not know addresses, clients or what an entry means; it does not touch the files of a
// snapshot; it does not batch by time; it does not compress. It trusts its peers to follow the
// protocol: it is not Byzantine.
package raftcore
