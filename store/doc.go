// Package store is what survives a power cut: the Raft log and the state machine of one node, in
// two Pebble databases.
//
// # What
//
//	log/          synced. Term and vote, entries, the compacted position: log.go, logread.go,
//	              compact.go
//	state/        never synced. What the committed entries have made: machine.go, members.go, the
//	              apply_ files, gathered.go and settle.go. After the nth snapshot that was installed
//	              it is state-<n>/
//	state.marker  which of them counts, and which snapshot it came by: layout.go, install.go
//	snapshots/    taken here, to be sent: snapshot.go
//	incoming/     what has arrived of one that is being received: plan.go, stage.go
//
// A Store has the methods of node.Storage. One goroutine writes the log (Write, Compact, Install),
// another one waits for its syncs, a third one applies entries, and any number read.
//
// # The log
//
// A Write of the core is one batch: truncate, append, hard state. Pebble puts it in its write-ahead
// log and its memtable, and Write returns; the wait that it returned ends with the sync. The next
// batch is formed meanwhile, and batches that arrive during a sync share the next one.
//
// Each entry is one key. Its value is the entry as it travels between nodes, with its CRC-32C, and
// a hash that chains it to the entry before. Small side keys say from which index on entries have
// which term, and which entries are configurations; they change in the batch that changes the
// entries, so a start reads as many keys as there were elections, and not the log. What a start
// does check entry by entry is what it will use without asking a peer: the tail that the core
// keeps in memory, and what has to be applied again.
//
// # The state
//
// The Raft log is the state's write-ahead log. Apply makes one batch of everything that some entries
// do (data, origin records, ONCE entries, membership, the position reached), which views see as a
// whole or not at all. It does not go to Pebble by itself: batches are gathered in a table in memory
// (gathered.go), and some megabytes of them are given to Pebble in one batch of its own, without a
// log and in order of the keys (settle.go). Memtables are flushed in order, and a batch is in one of
// them as a whole; so what is on disk after a crash is the state at exactly one applied index, which
// stands in it, and the log has the rest. The log is never compacted past that index.
//
// That order is what it is done for. A memtable is a skiplist, in which a random key costs a search
// over some eighteen levels, most of them out of the processor's caches, and a large batch that is
// in order costs nothing: Pebble takes it in place of a memtable. Apply, with flushes and
// compactions, costs less than half of the CPU that it did (BenchmarkApply).
//
// Ops see the writes of earlier ops of the same batch by way of the overlay. A plain SET reads
// nothing at all: a read costs more than the write, and three nodes pay for it. That shapes the
// rest: whoever needs to know what was there (a count of keys, an old deadline) has to look when it
// asks, and not when somebody writes. A count looks at the slots that were written to since it was
// last asked (counts.go), and is exact.
//
// Reads of live views look in what is gathered, then in the rows (rows.go): records in memory,
// found by their key, and keys of which it is known that they are not there. What Pebble had to be
// asked for is kept in the rows, unless the state was given something meanwhile.
//
// For the same reason a record carries its version, which is the number of the op that wrote it,
// counted since the cluster began. WATCH remembers versions, and a transaction that finds others
// does nothing. Comparing values instead would call a key unchanged that was written twice, and a
// counter per key would have to be read before each write.
//
// # Snapshots
//
// A snapshot is a checkpoint: the state is flushed, and its tables, which never change, get a second
// name each. That takes a tenth of a second for 200 MB, in which writers and readers do not wait;
// what the snapshot holds is read from it afterwards, since the state goes on meanwhile. Everything
// that replicas agree on is in the state, and so in a snapshot: data, origin records, ONCE entries,
// members, those that have left, the configuration, the apply hash.
//
// The receiver says what it lacks, by file and offset, so a stream may break anywhere and either
// side restart. A file counts when the checksum of its sender matches what is on the disk here, and
// the state counts when all files together open as the state that was offered, block by block: the
// checksum of a file is computed from what the sender's disk returns, which may be rotten.
//
// Installing it moves the files to where a state stands and replaces one small file that says that
// this state counts; then the log is reset. A crash before the one leaves the old state with its
// log, a crash between the two is seen at the next start, which does the rest (install.go). A
// database goes with its last reader: views that are open go on with the state they were opened on.
//
// # Crash model
//
// A power cut keeps what was synced, and of the rest any part: bytes of a file by blocks, names of
// a directory one by one. Nothing here rests on the order in which unsynced things reach the disk.
// crash_test.go and install_crash_test.go cut the power before every sync, and before every change
// of a directory, with none, half and all of the rest kept; and let each operation fail.
//
// Pebble takes the first invalid record of a write-ahead log or of a MANIFEST for the end of it. That
// is right for a torn tail, and would hide damage: walcheck.go and manifestcheck.go tell the two
// apart by what comes later. What nothing comes after, the very last sync of a file, remains in doubt.
//
// # Time
//
// A key is gone once an entry stamped at or past its deadline was applied. Ops judge by the stamp
// of their entry, views by that of the last entry applied, and no clock of this machine is ever
// read. The index of deadlines, in order, tells the leader when to propose a purge; the purge
// deletes what is due, and is what frees the space.
//
// # Errors
//
// Three classes. What a client did wrong is a result of the op, equal on every replica. What the
// disk did is fatal (see fuse), or a CorruptError where it returned something else than was
// written. What a newer version wrote is an UnknownKindError, op.UnknownCodeError or
// op.UnknownVersionError, and stops the node as well: an entry that others apply is never skipped.
//
// # Invariants
//
//   - What Write's wait has reported is found after any crash. What it has not may be, as a prefix.
//   - After any crash there is one state and one log that belong together: those before an install,
//     or those after it.
//   - The state on disk is that of one applied index, and replaying the log from there gives the
//     states, and the apply hashes, that there were. (crash_test.go, for both.)
//   - base <= durable applied <= applied <= last, and the log is contiguous from base+1 to last.
//   - After the first failed write or sync nothing is reported durable, read or applied.
//   - How entries are batched changes nothing in the state, the system's keys included.
//   - A record with a deadline has an entry in the index. The converse does not hold.
//   - What a live view finds is what the key was at some moment of the call, wherever it comes
//     from. (rows_history_test.go)
//   - A ONCE request is executed at most once: it has its entry, or is above its client's floor.
//
// # Designs that were considered
//
// One database for both: a single batch would make applied and appended atomic, which nobody
// needs, and syncs would carry every applied byte a second time. A log of plain files: a third
// less CPU for a sync, in return for an own format of segments, truncation and recovery; Pebble
// recycles its files, so that a sync need not update metadata, and what it costs beyond that is
// noise at larger batches. A state in memory with snapshots: fast, and bounded by memory; restarts
// and snapshots would take as long as the data is large. Pebble's indexed batch instead of the
// overlay: an insert into a skiplist for each write, and a merging iterator for each read.
//
// Batches that go to Pebble one by one, as they did: see above. Tables that are written here and
// ingested: the disk would be synced for each of them, and Pebble flushes its memtable first when
// both have the same keys, as the position is in each. A larger memtable: fewer compactions, and
// still the skiplist, deeper. One batch that is not given to Pebble until it is large, with the
// overlay for readers: they would see half of what an entry does.
//
// Building a received state by writing its records: no format of files would be shared between
// nodes, and it would cost the CPU and the writes of everything twice, with the log behind it.
// Renaming the received state over the old one: a directory that is not empty cannot be replaced by
// a rename, and between two renames there is none. A symbolic link instead of the marker: it cannot
// say of which snapshot the state is, so a start could not tell a log that still has to be reset
// from one that lost its entries; and not every system has them. The marker inside the log's
// database, in the batch that resets it: one step less, and then the log would decide whether the
// state is whole, which it cannot look at. Copying the tables for a snapshot instead of linking
// them: the disk would need twice the room, and the snapshot minutes.
//
// # What it does not do
//
// It takes no decisions: when to compact, flush or purge is the node's. It holds one Raft group,
// in keys that carry its number. It has no type but the string. It does not decide who gets a
// snapshot, and sends nothing. Directories are locked by the node. It does not repair: a damaged
// node is replaced.
package store
