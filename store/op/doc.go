// Package op is what the log says: the few operations that are replicated, the proposals that carry
// them, their results, and the words in which store, node and resp speak of all three.
//
// # What
//
// An Op is a change of the replicated state, already normalized: no command name, no relative
// clock, no random choice is left in it. Many commands become few ops (SET, SETNX, SETEX, GETSET
// are all one CodePut), since the command list is an interface, while an op is a disk and wire
// format that has to be understood for years. A Proposal is a numbered batch of ops of one origin:
// the Data of one log entry. A Result is how an op ended, equal on every replica.
//
// Slot and OrderPrefix say where a key lives. They are here, and not in store, because the cluster
// listener has to name the slot of a key, and both have to agree for ever.
//
// # How
//
// Numbers are varints: most of them are small, and what an op weighs is paid in three logs, three
// memtables and two connections. Each layout has its diagram directly above the code that writes
// it, and the code that reads it directly below. There is one legal encoding of every op as far as
// fields go: a bit that a code does not use must be zero, so that nothing can hide in it which a
// later version would understand differently from this one.
//
// Decoding aliases: the byte slices of a decoded Op point into the input, and only Args and Watched
// keep memory of their own, which the next Decode into the same Op uses again. So applying an entry of a
// thousand ops allocates nothing for them.
//
// # Versions
//
// A proposal begins with the version of the layout of everything in it. A new op is a new code
// under the same version; a changed layout is a new version, and both stay decodable. A code or
// version that is not known here is an UnknownCodeError or UnknownVersionError: the log was
// written by a newer build, and skipping what others apply would fork the state, so the node stops
// (exit 67).
//
// # Invariants
//
//   - Decode(Append(o)) == o for every valid op, and Append(Decode(b)) == b unless b spells a number
//     with superfluous zeros.
//   - Decoders never panic, and reserve no more memory than a constant times the input.
//   - CodeMulti never holds a CodeMulti, and CodeOnce neither of the two: execution is at most three
//     deep, a CodeOnce in a CodeMulti.
//   - Bytes once released decode for ever: testdata/golden holds one file for each.
//   - Slot and OrderPrefix never change: they are the order of keys on every disk.
//
// # What it does not do
//
// It has no checksum (the entry has one), no size limits (the front end and the transport have
// them) and no opinion on whether an op makes sense in a state: that is store's.
package op
