// Package ceiling measures what a machine allows at most, so that every result can be read as a
// fraction of what is possible.
//
// What it is. Answer is a server that parses commands with the library that the real one uses, and
// does nothing but answer: the ceiling of the front. SyncedBatches writes batches to the log's
// database with a sync after each, one after the other: the ceiling of one group-committing log.
// Syncs appends to a file, or overwrites one that was filled before, with fdatasync after each
// write: the ceiling of the disk.
//
// Why a package of its own. bench looks at servers from outside and imports none of their
// libraries. The ceilings are exactly those libraries without anything around them, so the rule for
// imports makes the exception here, for redcon and Pebble, and for nothing of ours.
//
// Answer runs as a process of its own, so that its CPU is told apart from the generator's, and its
// garbage collector and scheduler do not share with it.
//
// What it does not do: replication, and a ceiling of the network, which on one machine is the
// kernel's loopback and part of what Answer costs.
package ceiling
