// Package client is a small RESP client and the prompt that stands on it.
//
// What it is. Conn speaks RESP2 and RESP3 over one TCP connection: Do sends one command and reads
// its reply, Pipeline sends many in one write. Shell is `kelek cli`: one command, a script on
// standard input, or a prompt with line editing. Survey and its table are `kelek status`. The
// load generators and the torture tests of package bench use Conn too, so they see the store as
// any stranger's client does.
//
// Two kinds of failure. A Reply of kind Error is an answer: the server refused the command, or
// says that its outcome is not known (-UNCERTAIN). A Go error from Do is the loss of the
// connection: if the command had been written, nobody knows whether it took effect. Do therefore
// never repeats a command by itself. Dialer tries one address after the other, which is always
// safe, because nothing was sent yet.
//
// Output. Shell prints exactly what redis-cli prints: raw text when standard output is not a
// terminal, types and quotes when it is, so that scripts written for one work with the other.
// The differences are deliberate: an error reply makes the exit code 1 (redis-cli needs -e for
// that), every node is tried, and passwords come from a file or the environment only, never from
// an argument that `ps` shows.
//
// Invariants.
//   - One goroutine uses a Conn at a time.
//   - After an error of Do, Pipeline or Receive the Conn is useless: the position in the reply
//     stream is lost. Err says so, and every later call fails with the same error.
//   - A length that comes from the network is checked against a limit before memory is allocated,
//     and arrays grow as their elements arrive.
//   - Nesting deeper than depthMax is a protocol error, not a deep recursion.
//
// Designs considered. A public client library would have brought pooling, retries and topology
// handling, which are exactly what a tool for looking at failures must not have: a hidden retry
// turns an unknown outcome into a wrong one. Zero-copy replies would save an allocation per call;
// the load generator is not limited by it, and a string that lives on is easier to reason about
// in a recorded history.
//
// What it does not do: pooling, cluster redirects, publish and subscribe (push frames are
// skipped), TLS, and a history file (the history of the prompt lives in memory).
package client
