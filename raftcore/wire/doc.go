// Package wire turns log entries, hard states, Raft messages and the two handshake records into
// bytes and back. It is the only place that knows these layouts.
//
// # What
//
// Six records, each an Append function and a Decode function that stand beside one byte diagram:
//
//	Entry      one log entry: the value of a log key on disk and the tail of an AppendEntries
//	HardState  term and vote: the value of one key on disk
//	Message    what one core says to another; a frame between nodes holds several in a row
//	Hello      the first frame of a peer connection
//	Invite     a founder tells a blank node of which cluster it is a member
//	SnapshotFile  the list of files that a snapshot consists of
//
// # How
//
// All integers are little endian and of fixed width. Varints would save about fourteen bytes per
// entry, and cost a branch per byte, a second legal encoding of each number, and a length that is
// not known before it is encoded. An entry has the same bytes on disk and on the wire, so that a
// follower could store what it received, one checksum guards the entry from the leader's memory to
// the follower's disk, and one set of golden bytes pins both.
//
// A Message has nine fields that most kinds leave zero. A bit set says which of them follow, so an
// append response is 52 bytes and not 96, and a field added later is a new bit that an old node
// refuses by number instead of misreading.
//
// The first byte of each record is the version of its layout. An unknown version, kind or bit is
// an error that names the number: a node that skips what it does not understand forks the state.
//
// Append functions allocate only when the given buffer is too small, and for an entry or a message
// then once. Decode functions return the rest of the input; an Entry's Data points into the input,
// and a Message's Entries slice is reused.
//
// # Invariants
//
//   - decode(encode(x)) == x, except Message.After, which is local and never travels.
//   - A decoder does not panic, whatever the input, and reserves no more memory than a constant
//     times the length of its input: a count is checked against the bytes that are there first.
//   - The entries of a decoded Message are consecutive, begin after Prev, and are there in
//     AppendEntries only. The core indexes by position and relies on it.
//   - A decoder that fails says what was wrong: ErrShort, ErrChecksum or ErrUnknown, wrapped with
//     the numbers. Storage needs the difference, since a torn tail is legal and bit rot is not.
//   - Bytes once released decode for ever: testdata/golden holds them for each version.
//
// # Checksums
//
// Entry and HardState end in a CRC-32C (Castagnoli, which x86 and arm64 compute in hardware) over
// everything before it. Message, Hello, Invite and the list of files have none of their own: they
// only travel, and the transport's frame checks them as a whole.
//
// # What it does not do
//
// It neither frames, compresses, encrypts nor reads from a connection; it does not limit sizes
// (the frame does, before anything is decoded); and it does not judge whether a message makes
// sense at this moment, which is the core's.
package wire
