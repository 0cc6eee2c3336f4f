// Package node is the actor between clients and the protocol: one goroutine, the loop, owns
// everything that changes, and the goroutines around it do what they are told. It numbers what
// clients want, brings it to the leader, carries out what the core wants done, and answers from its
// own state machine.
//
// # A turn
//
// loop.go is the heart: one select with an arm per input, each of them a channel. Whichever comes
// first ends the wait and begins a turn:
//
//	tick     read the clocks; start what is due
//	arm      take what came: messages of a peer, a durable write, an applied index, a connection,
//	         a load, a report, a forwarded proposal, a submission, a read; or only the time
//	gather   take what else waits in every channel by now, without waiting for more
//	advance  number and send own proposals, append forwarded ones, ask for read indexes; drain the
//	         core and carry out its Effects; again, until the core wants nothing more
//	finish   tell what has waited for too long; publish the status
//
// So it does not matter which arm wins, and a burst costs one wake-up. advance.go is the only place
// where effects leave the core: write, send, apply, answer. No arm decides anything, so a test
// takes turns itself, without the select, on a virtual clock, with helpers that are lists of work
// (cluster_test.go); production adds run and the goroutines.
//
// # The channels
//
// mailbox.go. A channel's capacity is the count of its limit in limits.go. Beside it are numbers
// for what a channel cannot count: bytes, messages in a batch, and what the loop has received and
// still holds. Clients are refused by a full one (ErrBusy), readers of peers wait, and what a
// helper says of progress is a number of which only the newest counts (latest): it is stored, and a
// channel for one token says that there is news.
//
// Nothing is lost at the end: an item is sent under the lock under which close is decided, so that
// what is in the channel after close is all there is, and answerRest resolves it.
//
// # Around the loop
//
//	log writer (2)  starts each raftcore.Write, and waits for each; posts the last durable seq
//	applier         applies committed entries in batches; answers submissions; posts the applied index
//	loader          reads old entries for slow peers
//	chores          once a second: durable applied index, members, who was removed, flush
//	snapshots       takes and drops snapshots of the own state
//	fetcher         brings a leader's snapshot here, over as many connections as it takes
//	transport       one reader and one sender per peer, not of this package
//
// Who may wait for whom, and why that cannot be a circle:
//
//   - The loop waits for nobody. It hands work to helpers through lists that always accept
//     (worker.go), and the transport's Send and Forward drop rather than wait. Its own errands go
//     into the channel of submissions, and are given up when that is full.
//   - Helpers wait for the disk, and the first of the two log writers for the second. To the loop
//     they post numbers, which waits for nobody; the loader and the chores may wait for the loop.
//   - A transport's reader may wait for the loop, while the inbox is full. A connection's goroutine
//     waits for its Resolve, which comes from the loop or the applier.
//
// So every chain ends at the disk or at the loop; when the loop ends, it closes its channels, and
// nobody waits for them any longer. What keeps the helpers' lists bounded although they always
// accept is what the loop hands out: the core's limits on what is handed to the applier and in
// flight to each peer, WriterBytesMax for a leader's own log, one load per peer, one chore.
// limits.go lists every bound with what happens there, and asserts how they relate.
//
// # The life of a submission
//
// propose.go. A connection hands over ops; it is told one thing, once:
//
//	waiting      not numbered. Refused with certainty: ErrBusy (queue full), ErrTooLarge,
//	             ErrStopping, ErrNoLeader (deadline, or its client has gone while it was held)
//	window       numbered (origin, boot, seq): copied into a proposal with everything else that
//	             waited, forwarded or appended, and from now on never refused. At the deadline, or
//	             when this node learns that it was removed: ErrUncertain. The proposal stays, since
//	             later numbers need it.
//	applier      the entry with the next number was committed: each op's result, then nil
//
// The window is sent again, in order, when the leader or the term changes, and, on a follower, when
// nothing came back for an election time-out or its connection to the leader is new. The state
// machine executes each number once however often it is in the log (design.md 5), and the loop uses
// the same rule to find its proposals among the committed entries: the first entry with the number
// after the last, as long as this node is a member. Store and loop have to agree; if they do not, the
// node stops.
//
// Batches form by themselves. An idle node sends a lone command at once; while
// PipelineProposalsMax proposals are on their way, what arrives grows into the next one, though not
// for longer than PipelineDelay. With CPU as the limit and not the disk, larger batches are what
// makes more commands per second possible, on all nodes at once.
//
// On the leader, forward.go appends what others forwarded, in order of arrival, and keeps it in
// order while the core is busy: refusing one and accepting the next would tear a hole into an
// origin's numbers. Copies are dropped; that saves log space and decides nothing.
//
// # Reads
//
// read.go. All reads that wait become one ReadIndex of the core; when it is answered, and this node
// has applied that far, they are resolved, and a View opened then is linearizable. Nothing here
// asks "am I the leader?". A round that is lost with a leader is asked again.
//
// Messages that nobody waits for are kept back for some milliseconds, and mostly made superfluous by
// the next one: commit indexes for peers without clients, and rounds for more peers than make a
// majority. See hint.go.
//
// # Snapshots
//
// Every node keeps the log that a member lacks, within LogKeepBytes; beyond that the member gets a
// snapshot (snapshot.go, shelf.go, fetcher.go). Who needs one, and when one is installed, is the
// core's to say. Here is what it costs and what may break:
//
//   - Taking one is hard links and a flush, on a goroutine of its own, and not before the member is
//     there. It stays on the shelf while somebody needs it and a little longer; a stream that is
//     under way keeps its files.
//   - The receiver dials. A broken connection goes on where it ended; one that brings nothing is
//     tried less and less often; a snapshot that is not there any more is offered anew. A new term
//     or leader ends both sides.
//   - Meanwhile the sender holds the log that comes after it, up to twice LogKeepBytes or the size of
//     the snapshot: a receiver that is always too late would fetch for ever.
//   - The install is a write in the line of the log writer: before it, all that was written before is
//     durable, and nothing is at the applier. Afterwards the applied index has jumped, and what
//     clients of this node had under way below is told ErrUncertain, by the origin record in the new
//     state; what is above is sent again.
//
// # Members
//
// One source says who the members are: the configuration in force, which the core derives from log
// and snapshot. What is recorded of them in the state (names, addresses, who stays a learner) only
// tells how to reach and to call them.
//
//	form.go        a node without a cluster: create one with the others, or ask one to be let in
//	greeter.go     whom this node talks to, and what its hello says
//	peers.go       who the members are and where: records, hellos, and what others have met
//	membership.go  the leader: who asks becomes a learner, who has caught up a voter
//	task.go        what a person asked for, from Admin to its answer
//	roster.go      the arithmetic of both, and the words of every refusal
//	removal.go     how a node learns that it is out, and what its clients are told
//
// A machine that lost its disk comes back with a new id under its old name: it joins like any other
// node, and the change that makes it a voter removes its former self. An id that has left is
// recorded for good. Its node is refused by everybody, and the identity file keeps it from asking
// again.
//
// Every step is taken from what is in the log, not from what a leader remembers: any leader can take
// the next one. An address is a hint, in whatever place it is found; the handshake says who is there.
//
// # Ownership
//
//   - A proposal belongs to the loop until its entry is handed to the applier, then to the applier.
//     Deadlines are the loop's, so they end there: what is committed will be applied, or the node
//     has stopped. Therefore nothing about it is atomic, and no answer can be given twice.
//   - A Submission is the connection's again after Resolve, and may be reused at once: no code
//     touches one after resolving it.
//   - Effects are the core's until the next call of it: a Write is copied, messages are sent or
//     cloned, entries are copied (their data never changes, and is shared).
//
// # Invariants
//
//   - Own numbers leave in order, to one leader at a time, and the window is consecutive.
//   - A message that promises a write is sent after that write was posted as durable.
//   - Resolve is called exactly once per submission and read, except after a failure: then never.
//   - ErrNoLeader, ErrBusy, ErrTooLarge and ErrStopping mean that no number was ever given.
//   - The log is compacted neither past the durable applied index, nor into the last LogKeepBytes
//     unless every member holds them durably, which leaders find out and tell
//     (raftcore.Status.Floor).
//   - A snapshot is dropped after the last stream of it has ended.
//
// torture_test.go checks the first four over random crashes, cuts, stalls and frozen nodes.
//
// # What was considered
//
//   - A goroutine per proposal with a future, as many Raft libraries do: a wake-up and an allocation
//     per command, and a lock around the map of futures.
//   - Slices behind locks and one token that wakes the loop, instead of channels: swapped whole,
//     they cost 0.3 us per command where channels cost 0.4, and 1 us less per idle command, since
//     nobody selects over twelve channels (BenchmarkPropose). A sync costs a hundred times that, and
//     with channels the select says what the loop is fed by.
//   - Sending beside the lock and looking at closed again afterwards: the lock would be held for a
//     shorter time, but each sender might have to resolve the items of others.
//   - Answering forwarded commands over the connection to the leader: replies would have to be
//     routed, deduplicated and timed out. The origin applies the same log, so it knows the result.
//   - A compare-and-swap on each submission between deadline and applier: the memory may be in its
//     next life by then. Handing over ownership needs no such guard.
//   - Calling the log's Write in the loop: it does not sync, but may stall on a memtable switch.
//
// # What it does not do
//
// One Raft group. A node that stops does not leave the cluster, and no dead voter is replaced by a
// standing learner on its own: only its namesake does that. One very large command delays the
// heartbeats behind it on the same connection. A snapshot is sent by the leader alone, and whole:
// neither by a follower, nor as a difference to what the receiver has.
package node
