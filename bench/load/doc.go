// Package load is a load generator: it puts commands on a server and tells how fast they were
// answered and what they cost. It knows nothing of kelek; any server of RESP will do, and etcd
// through its HTTP gateway.
//
// How it works. A session is one connection without its socket: it writes commands into a buffer
// and understands replies, and is pure. On Linux an event loop (epoll and a timer descriptor)
// drives all sessions from one goroutine; elsewhere a goroutine drives each. A pace says when
// commands are due. A recorder holds HDR histograms, which the collector empties every second. Run
// puts these together, Row is one measurement, Report writes many as CSV, JSON and SVG, and Ratios
// compares systems round by round.
//
// Closed and open loop. In a closed loop each connection sends its next pipeline when the last was
// answered. That finds the highest throughput, and it hides stalls: a server that stops for a
// second delays one pipeline per connection, not the many commands that users would have sent
// meanwhile. In an open loop (Rate) command k is due at k/rate whatever the server does, and its
// latency counts from then. A due command goes to the connection that is idle for longest; when
// all are busy, commands gather and leave as one pipeline of at most Depth. What was due and never
// sent counts with the time it had waited when the load ended. How late the generator itself was,
// with a connection free, is told as Late: above it, latencies are the server's.
//
// What is measured when. The warm-up is forgotten. Throughput counts replies within the measured
// time. Latencies include the replies that came after it, so that a stall at the end shows. Error
// replies are counted apart and have no latency.
//
// Invariants.
//   - Equal options and an equal seed give the same commands on the same connections.
//   - No value compresses: each is fresh from a random generator.
//   - Nothing is allocated per command.
//   - Latency in a closed loop obeys Little's law: connections x depth = throughput x mean. A
//     generator that starts the clock when it gets around to writing does not.
//
// Designs considered. A goroutine per connection is what Go does best, and costs a client about
// twice the CPU per command, which the server on the same machine then lacks; it remains for
// systems without epoll. Correcting a closed loop's histogram afterwards by the expected interval
// guesses what an open loop measures. A library for histograms was taken, because its bucket
// layout is the one that other tools read, and its edge cases have been found by others.
//
// What counts as one command: an MSET of ten keys is one, and so is a MULTI with ten SETs and its
// EXEC, which is answered when EXEC is. It is refused when one of its replies is an error, or EXEC's
// array holds one.
//
// What it does not do: TLS, WATCH, verification of what is read (that is for the history checker),
// and load from several machines.
package load
