// Package resp is the Redis face of a node: bytes from clients become commands, results become
// replies.
//
// # A pipelined batch, from the socket and back
//
//  1. A listener counts clients and turns away one too many. The reactor (reactor_linux.go) waits
//     for all of them at once, and reads those that have something to say, each into a query
//     buffer of its own.
//  2. A framer, which is a pure state machine, checks every length before anything trusts it, and
//     remembers where an unfinished command stands.
//  3. The dispatcher takes all commands of a connection that are there: they are one batch. For
//     each it asks one guard after the other: known? number of arguments? authenticated? for the
//     leader only? Then the handler, which is pure (package command), decides: an answer, an op,
//     or a query.
//  4. The ops of all batches that came together are one Submission, and their queries wait for one
//     read point. Queries before the first op of a batch are answered from a View behind that.
//     Queries behind an op are answered in Applied of that op, at its place in the log: a mixed
//     pipeline never waits between its commands.
//  5. The node resolves the group; the reactor's replier writes the replies of one connection
//     after the other, each in order and in one write.
//
// So a command without a pipeline costs one read and one write, and shares the rest with those of
// the other clients: the wake-ups, the place in the node's queues, the locks. What may take long
// (INFO, a count of all keys, a transaction over many, a client that does not read) is carried
// out by a goroutine of its own, by the same code.
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
// they are decided. Queries use their arguments in place, also on the node's goroutine, while
// nobody reads from the connection. What outlives a batch (a client's name) is copied where it is
// kept, and so are the commands of a transaction.
//
// # What a reply promises
//
//   - An OK, a number, a value: the op was applied here after a majority had it on disk. A query
//     was linearizable, unless its connection has asked for less (RAFT.READ).
//   - CLUSTERDOWN, TRYAGAIN, MOVED, REDIRECT: certainly never proposed. Clients retry these words
//     by themselves, so they must never stand behind a proposal.
//   - UNCERTAIN: proposed, and the outcome is not known. No client retries the word, and the
//     connection stays open, because a closed one makes clients resend.
//   - Any other error: decided, equal on every replica.
//
// An administrative command (RAFT.MEMBER, RAFT.LEADER) on a node that does not lead is handed on to
// the leader's plain listener, with this node's password, and no further: see relay.go. Its error
// says whether anything was begun.
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
//   - No length reaches redcon that was not checked: its parser gets whole frames, and its reader,
//     where it is used, nothing but the doorbell (framer_test.go, FuzzGuard).
//   - Memory of a connection follows the bytes it sent and the replies it takes, within Limits;
//     what an idle connection keeps is small (TestBuffersAreGivenBack).
//   - Replies keep the order of the commands, errors and broken frames included.
//   - No line of an error holds CR or LF.
//   - A connection and its batch have one owner at a time: the reader, the replier, a goroutine of
//     its own, or the node between Propose and Resolve.
//   - A client that does not take its replies holds up nobody (TestAClientThatDoesNotRead).
//
// # What waits for the clients
//
// A goroutine per connection, as redcon's, costs a wake-up per command and a read that returns
// EAGAIN before each sleep; under them, each command was a submission of its own. An event loop
// from a library (gnet) saves the wake-ups, and tells of one connection after the other, but not
// when it has told of all: the moment at which a group is complete. So the loop here is our own,
// some three hundred lines over epoll, and the parser is redcon's. It parks like any goroutine,
// since the runtime's poller watches its epoll descriptor; a thread that blocks in epoll_wait
// would keep its processor from the node's goroutines until the runtime takes it away.
//
// Where there is no epoll, and for listeners that are not plain TCP (TLS), redcon's accept loop and
// its goroutines serve, on the same batches. redcon's Reader gets a doorbell there and not the
// commands: it believes lengths (one announced bulk of 2^63-1 bytes panics the process), reads 4
// KiB at a time, so that a longer pipeline would be cut into batches that wait for one another,
// keeps its largest buffer for as long as a connection lives, and allocates three times per
// command. Its ReadNextCommand has none of these once the frame is known to be whole and sane.
//
// # What it does not do
//
// No TLS (a listener that speaks it may be passed in), no ACL beyond the one password, no pub/sub
// and no CLIENT TRACKING, hence no pushes; no blocking commands, no Sentinel emulation.
package resp
