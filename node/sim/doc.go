// Package sim runs some whole nodes in one process: the loop, the codec and the store with its
// Pebble databases are the real ones; the clock is a number, the network a list of encoded frames,
// and each disk a file system in memory that can lose its power. What package raftcore/sim cannot
// say anything of is put to the test here: that the store keeps what the node promises, and that
// the node promises no more than that.
//
// All of it is tests, so that it may use store and Pebble, which nothing in node may import. It
// drives a node by node.Driver, which does the work of the node's goroutines one step at a time.
//
//	world_test.go     machines, clock, faults; a round lets each process take some steps
//	process_test.go   one start of a machine: a real store and a real node, on a goroutine that waits
//	disk_test.go      power cuts at a sync, an operation that fails, syncs that lie, damage
//	network_test.go   frames, as bytes; snapshots, chunk by chunk
//	recorder_test.go  the storage, and what it has promised
//	workload_test.go  clients, and what they were told
//	model_test.go     what the committed entries make, without a disk
//	checker_test.go   what must not happen
//	sim_test.go       random runs under all faults
//	faults_test.go    one failed operation of each kind; disks that lie, which must be found out
//	damage_test.go    bits that flip in what was synced; torn tails; a damaged node is replaced
//	members_test.go   random runs in which machines join and leave
//	rot_test.go       bits that flip under a running node; writes that land elsewhere
//
// # A power cut
//
// Every sync of a disk may be the last one, before or after it is done. Then the image of the disk
// is taken, with none, all or a part of what was not synced, and from that instant on nobody hears
// what the process says. It finishes its step, so that its databases can be closed, on a disk that
// nobody will look at. What was heard before the image was taken must be true of the image.
//
// A failed operation is not like that. Where the real process would exit, this one stays, and takes
// some more steps on its own, while the world goes on without it: it must be silent by itself. In
// random runs an operation of whatever kind fails now and then, and the machine starts again.
//
// # What is checked
//
//   - What storage has reported as durable is found by the next start: log, term and vote.
//   - A message that promises a write leaves after that write was reported durable.
//   - One leader per term, one vote per node and term.
//   - An entry is applied where a majority of disks hold it, and is the same on every node.
//   - States have equal hashes at equal indexes, and are what the model has made of the entries:
//     every result, and every value that a read shows.
//   - A write takes effect after all that was answered before it was sent, and a read shows it.
//   - No value is written twice, none of a write that was refused; counters add up.
//   - Once nothing fails any more, every node answers a write and a read, and all become equal.
//
// # When a seed fails
//
// The failure says where trace, history and disks are. The seed decides everything that happens
// here, but Pebble flushes and compacts on goroutines of its own, whose syncs come a little earlier
// or later: the same seed is mostly, not always, the same run. New seeds for as long as one likes:
//
//	go test ./node/sim -run TestSeeds -minutes 10 -timeout 0
//
// # What it does not do
//
// A node that was removed is told so by the world, not by a handshake. Frames of one link
// stay in order, as on a connection: reordering is for raftcore/sim. There is no wrong content of a
// read other than by damage of what is stored, and no time that stands still.
package sim
