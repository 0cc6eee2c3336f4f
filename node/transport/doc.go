// Package transport carries frames between the nodes of a cluster over TCP.
//
// # What
//
// A Transport sends a peer the messages of our core, our proposals and our invitations, hands those
// of the peers to a Handler, and tells it who is connected. It decides nothing: whom we talk to is
// the Handler's word, and what is lost is sent again by those who need it.
//
// # How
//
// One connection per direction and peer: who wants to send dials, and the other side only reads. So
// each connection has one writer and one reader without a word about whose turn it is, a broken
// direction does not take the other with it, and two nodes that dial each other at the same moment
// have nothing to sort out. Both sides read from both connections nevertheless, because the end of
// a connection is news: the sockets of a killed process close at once, long before a time-out.
//
//	dialler                                   acceptor
//	  preamble, hello            ------->
//	                                          is it a kelek node? acceptable? the only one of its id?
//	                             <-------     preamble, hello        or: preamble, refusal; close
//	                                          (kinds of its own: the clusters differ; it was removed)
//	  is it who I wanted?
//	  hello, again, if it changed ------>
//	  messages, proposals, ...   ------->
//
// A peer is a goroutine and a queue. The goroutine dials, and then writes whatever the queue holds
// with one system call; the queue has two sets of slices that take turns, so that sending neither
// allocates nor waits for the encoding. A few small messages that find the queue empty are written at
// once by whoever sends them, as far as the socket takes them without waiting: waking the goroutine
// would cost more than that write, here and again at the other end. While there is no connection the queue is closed and drops:
// what a core said before a pause is stale after it. A dial pauses between attempts, not when the
// peer has just dialled us.
//
// A receiver decodes everything that one read brought into one slice and hands it over with one
// call. Memory that the handler keeps is never written again; all other memory is used again.
//
// A snapshot has a connection of its own, dialled by who wants it and closed at its end (stream.go).
// The receiver says from where on, so that a broken stream goes on where it ended; each chunk has a
// checksum, and each file another. A rate limit, one for all streams, is kept by the sender.
//
// Addresses are hints. A peer is known by its node id, and is looked for where it says it is, where
// the members say, and where --peers says, in turn; whoever answers says who he is. Before there is
// a cluster there are names and addresses only, and for one that joins only addresses. An address
// that leads to a member who is known by id is news of that member, and has done its work. Whoever
// dials us and is not dialled, since it waits to be let in, hears our hello again when it changes:
// the members are in it.
//
// # Invariants
//
//   - Send, Forward and Invite never wait for the network, and neither does any other peer's
//     connection: a stopped process blocks its own goroutines until their deadline.
//   - Frames that arrive on one connection arrive in the order in which they were sent. Across
//     connections nothing is promised.
//   - The handler sees no message whose sender is not who the handshake said, none that is for
//     another node id, none with a wrong checksum, and none before both nodes are in one cluster.
//   - A node id is connected to at most one process at a time (see arrive).
//   - A length that was not read from an accepted peer allocates nothing above a constant; a length
//     that was, nothing above what has arrived, doubled. The number of sockets in their handshake
//     and of connected nodes is bounded.
//   - Connected and Disconnected are called in the order of the events, one at a time. They know
//     nothing of snapshot connections.
//   - A node sends at most one snapshot to each receiver, and few at a time; what it sends of a file
//     lies within what it said that the file has.
//   - After Close no goroutine of the package runs.
//
// # Designs considered
//
// One connection for both directions halves the sockets, and needs a rule for crossing dials, whose
// mistakes show up only under failures. HTTP/2 or gRPC bring flow control between streams that we
// do not have and copy each message more often. A connection per kind of traffic would keep
// heartbeats from waiting behind a large entry; the write limit per system call and the limit of an
// entry bound that wait, and snapshots, which would really fill a line, get their own connections.
// A list of checksums ahead of the files of a snapshot would mean to read them all before the first
// byte is sent; sendfile(2) would be cheaper, and what it sends cannot be summed up.
//
// # What it does not do
//
// It does not log, retry, acknowledge, order across reconnects, compress or know what a leader is.
// It does not encrypt either: the listener and the dial function can be those of crypto/tls.
package transport
