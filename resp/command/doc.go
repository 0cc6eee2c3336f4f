// Package command is the list of Redis commands and what each of them means: table.go has a line
// per command, and a handler per line decides.
//
// # A handler decides, it does not do
//
// A Handler gets arguments and a Session and returns an Outcome: the reply itself (Answered), an
// op to replicate and the function that turns its Result into a reply (Proposed), or a function
// to run on a View (Queried). It has no socket, no clock, no node: what it may ask of the process
// is the Host interface. So every command is tried by a script of lines and replies (testdata),
// and the dispatcher is free to run many of them as one batch.
//
// What Redis checks before it touches data is checked in the handler: syntax, integers, ranges.
// What depends on data is decided when the op is applied, and comes back as a Result that is
// equal on every replica. Error texts are Redis's, byte for byte, because clients match their
// beginnings.
//
// # Many commands, few ops
//
// SET with all its options, SETNX, SETEX, PSETEX and GETSET are one op with a condition and a
// deadline. A new command is a line in the table, a handler and a script; a new op is a change of
// a disk format, and only for what changes state in a new way.
//
// # Classes
//
// Every command has one: Local is answered by this node at once, also without a leader, since
// health checks must not hang in an election; Read is linearizable; Write becomes exactly one op.
// There is no class for commands that are not in the table: they are refused. What a Read promises
// a connection may change (RAFT.READ); a transaction's reads that stand behind a write are answered
// at its place in the log whatever they promise.
//
// # Transactions
//
// transaction.go. An Exec is what EXEC has decided: the outcomes of all queued commands, of which
// the writes are one op. Keys that are watched are conditions on versions, checked when that op is
// applied. Three things differ from Redis, and say so: a key that was absent when it was watched
// and is absent again counts as unchanged; commands about more than their own connection cannot be
// queued; and what reads a whole database cannot be in one transaction with a write.
//
// # Invariants
//
//   - A handler that proposes changes nothing else: it may be called again for the same command.
//     EXEC does, and can be undone (Exec.Restore).
//   - Functions in an Outcome are static: a command costs no closure.
//   - Names of nodes towards cluster clients come from node ids alone, and the topology never
//     names a leader that is not known to be one, nor an empty address.
//   - CLIENT TRACKING ON is an error as long as nothing sends invalidations: an OK would let
//     clients keep stale values for ever.
//
// # What it does not do
//
// No scripts, functions, pub/sub, blocking commands or collections: their commands are
// unknown here. CONFIG SET changes nothing that would change results: such settings go through
// the log.
package command
