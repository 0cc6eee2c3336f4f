// Package bench looks at kelek from outside: real processes, real sockets, the protocol only. It
// holds the subcommands local, demo, chaos and bench, and the process tests.
//
// What it is. Cluster is a directory with some nodes: their ports, process ids, logs and data. It
// starts and signals them and finds the leader by INFO. `kelek local` is Cluster with a command
// line. Workload is clients that work on every node and record what they saw; Verdict judges the
// record. `kelek demo` puts these together with a plan of faults, `kelek chaos` with faults that a
// seed draws: kills, pauses, stops, partitions, wiped disks, and members that come and go. The
// network between the nodes is one of package mesh then: forwarders in this process, or network
// namespaces whose packets are dropped (network.go makes the two look alike, so a seed means the
// same faults in both). `kelek bench` puts the load of package load on systems (running servers,
// clusters it starts, rivals, the ceilings of package ceiling), lets them take turns, and tells
// what a command costs each of their processes. A system is servers and those of them that get the
// load, so the leader and a follower of one cluster are two that can be compared. `kelek bench
// growth` fills clusters with stores of several sizes, and looks at what else grows with them:
// memory, disk, and the time that a killed node needs to serve again.
//
// How the verdict works, in three independent ways, because each is blind to something:
//
//	audit      each client writes keys of its own, once, and remembers the acknowledged ones. At
//	           the end all of them are read through every node. A missing one is a lost write.
//	counters   the final value lies between the acknowledged INCRs and those plus the unknown ones.
//	history    all commands on shared keys, with times of call and return, are checked for
//	           linearizability (porcupine), each key by itself, against one model of registers
//	           (SET, GET, DEL, SET GET), locks (SET NX, DEL), counters (INCR), texts (APPEND), keys
//	           with a deadline (SET PX), swaps (WATCH, GET, MULTI, SET, EXEC) and pairs of keys that
//	           transactions change and read together. A deadline is an event of its own, somewhere
//	           around when it is due.
//
// A violation is shrunk before it is shown: records are left out as long as what remains is a
// violation by itself (shrink.go says which ones may be, and a test with random legal histories
// holds it to that). What is left is usually two or three lines: this was acknowledged, and then
// that was read.
//
// A command whose connection broke, or that was answered -UNCERTAIN, may have taken effect at any
// later time or never: it stays in the history without a return. That makes checking exponential
// in the number of such commands per key, so a key is retired soon after one, and after a bounded
// number of commands in any case. A checker that runs out of time says "unknown", and unknown is
// not a pass.
//
// Invariants.
//   - Only processes that this package started are signalled: the process id and the start time
//     of the process, which no second process shares, were recorded when it started. Nodes of a run
//     that was killed are known by the network namespace that it made for them.
//   - Clients never repeat a command by themselves. A retry would turn an unknown outcome into a
//     second execution that nobody sees.
//   - Whatever is deleted lies in a directory that was created by the same command, or is named by
//     the user and holds a state file of this package.
//   - node, store and raftcore are not imported. What cannot be seen from outside is not judged.
//
// Designs considered. Containers would isolate better and need an installation; a fresh machine
// with Go alone is enough here, and root with ip and iptables for namespaces. Checking one model of
// the whole store would be simpler to write and hopeless to compute; linearizability is local to
// each key (Herlihy and Wing), so nothing is lost by checking keys apart.
//
// A checker is believed only because it finds bugs: the fake store of the tests makes one of a
// dozen at a time, and a build with the tag mutants has nodes with planted bugs, which chaos has to
// fail.
//
// What it does not do: start nodes on other machines, full disks, clock changes, loss of what a
// power cut would lose (SIGKILL leaves the page cache alone; package store tests that).
package bench
