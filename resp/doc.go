// Package resp is the Redis face of a node: bytes from clients become commands, results become
// replies.
//
// # A pipelined batch, from the socket and back
//
//  1. redcon accepts, through a listener that counts clients and turns away one too many, and
//     gives each connection a goroutine. It reads from a guard, which is the connection as redcon
//     sees it.
//  2. The guard reads the socket, at most once per batch, into a query buffer of its own. A
//     framer, which is a pure state machine, checks every length before anything trusts it, and
//     remembers where an unfinished command stands. When a whole command is there, the guard
//     rings.
//  3. The dispatcher takes all commands that are there: they are one batch. For each it asks one
//     guard after the other: known? number of arguments? authenticated? for the leader only? Then
//     the handler, which is pure (package command), decides: an answer, an op, or a query.
//  4. The ops of the batch are one Submission. Queries before the first op are answered from one
//     View after one linearizable read point. Queries behind an op are answered in Applied of
//     that op, at its place in the log: a mixed pipeline never waits between its commands.
//  5. The node wakes the connection once, with Resolve. The replies lie in one buffer, in order,
//     and leave in one write.
//
// So a command without a pipeline costs one read, one write and one wake-up, and nothing that the
// garbage collector would see beyond redcon's doorbell.
//
// # A transaction
//
// Between MULTI and EXEC a command is checked and copied. EXEC decides all of them; the writes are
// one op, with what WATCH saw as conditions, and take one slot of the batch. While that op is
// applied, Step hands over the result of one write after the other, with the view in between for
// the reads that stand there. A transaction that only reads is a query on one stable view. WATCH
// ends its batch, and so does an EXEC that changes the session (SELECT in it), because what comes
// behind depends on what came of it.
//
// # Who owns the bytes of an argument
//
// The guard. Arguments point into its query buffer, from the moment they are taken until the
// batch is answered; nothing reads into the buffer before that. Ops are encoded, so copied, when
// they are decided. Queries use their arguments in place, also on the node's goroutine, while the
// connection's own goroutine waits. What outlives a batch (a client's name) is copied where it is
// kept, and so are the commands of a transaction.
//
// # What a reply promises
//
//   - An OK, a number, a value: the op was applied here after a majority had it on disk. A query
//     was linearizable.
//   - CLUSTERDOWN, TRYAGAIN, MOVED, REDIRECT: certainly never proposed. Clients retry these words
//     by themselves, so they must never stand behind a proposal.
//   - UNCERTAIN: proposed, and the outcome is not known. No client retries the word, and the
//     connection stays open, because a closed one makes clients resend.
//   - Any other error: decided, equal on every replica.
//
// # Two faces
//
// A Plain server never redirects; whoever is not the leader forwards, and holds commands while
// there is none: of all the things to say in an election, saying nothing yet is the only one that
// unmodified clients survive. A Cluster server answers MOVED with the true slot, and only ever to
// a node that is known to lead. Which of the two a client wants cannot be told from what it
// sends, hence two listeners. They may share counters, limits and CLIENT LIST through a Shared.
//
// # Invariants
//
//   - No length reaches redcon that was not checked: its reader gets nothing but the doorbell,
//     and its parser gets whole frames (framer_test.go, FuzzGuard).
//   - Memory of a connection follows the bytes it sent and the replies it takes, within Limits;
//     what an idle connection keeps is small (TestBuffersAreGivenBack).
//   - Replies keep the order of the commands, errors and broken frames included.
//   - No line of an error holds CR or LF.
//   - A slot of a batch has one user at a time: the connection's goroutine, or the node's between
//     Propose and Resolve.
//
// # Why redcon gets a doorbell and not the commands
//
// redcon's Reader believes lengths: one announced bulk of 2^63-1 bytes panics the process. It
// reads 4 KiB at a time, so that a longer pipeline would be cut into batches that wait for one
// another, keeps its largest buffer for as long as a connection lives, and allocates three times
// per command. Its ReadNextCommand has none of these once the frame is known to be whole and
// sane. So the accept loop, the goroutines, and the parser are redcon's; reading and writing are
// the guard's.
//
// An alternative was to put a checked stream under redcon's Reader and take its pipelines. It was
// simpler by some lines, and cost a second copy of each value, twice the memory for large ones,
// and the batches.
//
// # What it does not do
//
// No TLS (a listener that speaks it may be passed in), no ACL beyond the one password, no pub/sub
// and no CLIENT TRACKING, hence no pushes; no blocking commands, no Sentinel emulation.
package resp
