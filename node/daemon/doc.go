// Package daemon is the wiring of `kelek serve`: it builds every part from the settings, runs until
// it is told to stop, and closes everything in reverse order.
//
// Why a package of its own. main.go is the command line, and stays small; the parts do not know
// each other (resp and node do not import each other, nor do node and store), so somebody has to
// import all of them. That is this package, and nothing but main imports it. There are no decisions
// of the protocol here: what is not about starting, stopping or an exit code belongs elsewhere.
//
// How it works. Each step opens one part and pushes how to close it:
//
//	identity    lock the directory, learn who this node is, count this start
//	store       open both databases
//	listeners   bind all ports, so that a busy one is known before anybody hears of this node
//	node        the loop, not started: it holds what it is asked
//	transport   connections with the other nodes
//	admin       livez, readyz, status, metrics
//	clients     the plain and the cluster listener; INFO and PING answer from here on
//	formation   waits until this node belongs to a cluster, then starts the loop
//
// Clients and probes are served before formation, since a node that waits for its peers should be
// able to say so; the node holds commands that need a leader. A stop closes in the opposite order:
// clients finish their batch, leadership is handed over, connections and databases are closed, the
// lock is given back.
//
// The machine's processors are not its own matter alone: nodes of several clusters, and the clients,
// may share them. CalmRuntime and processors keep the runtime from spending more time on waking up
// than the work takes.
//
// A node that finds itself among the members of another cluster (a copied or mixed up directory)
// ends with exit code 64 and both cluster ids, instead of knocking for ever; see doorman. One that
// the cluster has removed ends with 66, and its directory remembers it.
//
// Invariants.
//   - Whatever fails, all that was opened is closed, once, in reverse order.
//   - readyz says "stopping" before the first client is turned away.
//   - Run returns one error, whose text is one line and whose exit code is node.ExitCode's.
//
// Designs considered. A dependency injection library hides the order, which is what matters here.
// One long function with a defer per part is shorter, and cannot give the close steps a common
// deadline.
//
// What it does not do: signals (main turns them into the end of a context), restarts, and a pid
// file.
package daemon
