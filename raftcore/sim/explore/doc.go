// Package explore looks at every state that three cores of raftcore can reach within small
// bounds, and checks after every step that nothing impossible has happened. It runs the code that
// production runs. Package sim meets rare combinations by chance in long runs; this one leaves
// none out, and what it finds comes with a shortest run that leads there.
//
// # What
//
// A state is three nodes, what is on the wire between them, what is committed, who has led each
// term, and how much of the bounds is used. A node is its core, its disk, its writes in flight
// and the messages that wait for them. From each state every event that the bounds allow is
// tried: a message is delivered, or delivered and kept; a time-out; a proposal, a change of
// configuration, a read, a transfer, a snapshot with compaction; a crash with any prefix of the
// writes in flight surviving; the end of a write. An event's writes are durable at once, or,
// within the bound of Delays, stay in flight until an event of their own.
//
//	scope.go    the searches, their bounds and where they begin; setup.go: how they get there
//	search.go   the breadth-first search, and the events
//	step.go     one event on one node
//	state.go    one event on the cluster, the invariants between nodes, signatures
//	node.go packet.go cell.go   what states are made of
//	trace.go    a run, for people
//
// # Time
//
// Cores compare clocks, and a clock that is part of a state makes all states different. Without
// leases nothing but the liveness of raftcore depends on time, so a time-out may come whenever it
// likes, and any clock may run at any speed: that includes everything that real clocks do. Each
// node has a clock of its own. An election time-out is 2^30 heartbeats long, so heartbeats within
// the bounds never add up to one, and a node's clock passes one only in three events that are
// made of it: timeout (a node campaigns), lapse (a follower has not heard its leader for so long,
// and does not campaign yet), resign (a leader has heard nobody for so long). So what is left of
// time in a node is whether it sticks to its leader, and that is all that
// raftcore.Likeness{Timeless} hashes. TestNodesThatLookAlikeActAlike compares nodes of equal
// fingerprint step by step.
//
// Leases rest on clocks. There all nodes share one, which advances in steps of half an election
// time-out, as an event; a node looks at it when something happens to it, or within the bound of
// Heartbeats. Then instants are part of the state.
//
// # Fewer states
//
//   - Names: two states that differ by a renaming of the nodes are one. The signature of a state is
//     the least of its hashes under the six renamings. With leases it is not used: time-outs are
//     drawn by node id. (raftcore breaks the symmetry in one place, when it chooses a successor
//     among voters that are equally caught up: then one choice stands for both.)
//   - Loss: a message that stays on the wire for ever is a lost one. So nothing is ever removed to
//     lose it, and a delivery that changes nothing is not a step. Being down is not being reached:
//     a crash and the restart are one event.
//   - What belongs to a term that its receiver has durably left, and would not be answered, is
//     taken off the wire: no later event can make it count.
//   - Order: a step concerns one node, and messages to different nodes commute. The orders of
//     independent steps meet again in one state after a few layers, and each step of a node is
//     computed once, however many states of the others it is combined with: a few thousand steps
//     make millions of transitions. Leaving out orders (sleep sets, ample sets) would save
//     transitions and no states, as every subset of independent steps is a state that invariants
//     speak of; it was not worth the proof that it goes together with renamings.
//
// # Invariants
//
// The numbers are those of package sim. 0: the core's own asserts, Check among them. 1: one
// leader per term. 2: a vote is durable when it leaves, and never changes in its term. 3: equal
// positions have equal logs. 4: a leader has everything that was committed in earlier terms; what
// is committed never changes. 5: what is committed is on the disks of a quorum of the
// configuration in force there, whatever happens later. 7: commit indexes do not go back. 8: the
// configuration is the one of the log. 9: what is acknowledged or taken for durable is on the
// disk. 10: a read sees what was committed before it was asked.
//
// # Running it
//
//	go test ./raftcore/sim/explore -v                        the bounded form
//	go test ./raftcore/sim/explore -run Scopes -v -states 5000000 -timeout 0
//	go test ./raftcore/sim/explore -run Scopes -v -minutes 30 -timeout 0
//	go test -tags mutants ./raftcore/sim/explore -run PlantedBugs -v
//
// -scope and the bounds (-terms, -timeouts, -proposals, -crashes...) choose one search. A state
// takes about 250 bytes of memory, and the limit of states is the limit of memory.
//
// # What it does not do
//
// No liveness: a search of what must not happen knows nothing of what must. Time-outs of
// transfers, and fast elections after a broken connection, are left to package sim, as are disks
// that lie, more than three nodes, and data. Signatures have 64 bits, so at 10^7 states the
// chance that two were taken for one is about one in 400,000.
package explore
