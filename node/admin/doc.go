// Package admin is the HTTP face of a node: health, status and metrics, all read-only.
//
// What it is.
//
//	/livez            200 while the process can answer. Local only, never tied to a quorum: a probe
//	                  that restarts nodes because their peers are gone makes an outage of a hiccup.
//	/readyz           200 when a command sent to this node would be carried out: a leader is known,
//	                  this node has applied a log, it is not stopping. 503 otherwise.
//	                  ?verbose prints each check with its reason.
//	/api/v1/status    what the node knows of itself and of its cluster, as JSON; see statusV1.
//	/metrics          Prometheus, prefix kelek_, with the stock go_ and process_ collectors.
//
// How it works. Everything is rendered from one call of Status, which is a pointer load: no
// request waits for the node's loop, and none can slow it down. The metrics are a collector that
// reads the same value at each scrape; counters live beside the code that owns them, and nothing
// here keeps a copy that could go stale.
//
// Invariants.
//   - No global registry: each Server has its own, because one process may run many nodes.
//   - No request changes anything; every method but GET and HEAD is refused.
//   - No key, value, client address or password is in any answer.
//   - Fields of /api/v1/status are added, never renamed or given another meaning.
//   - Each request has a time limit and a header limit, so an idle or hostile peer costs little.
//
// Designs considered. Metrics by global promauto variables are shorter, and wrong as soon as two
// nodes live in one process, as in the simulator. A status page that asks the leader for fresher
// figures would hang exactly when people need it.
//
// What it does not do: TLS and passwords (it listens on loopback unless told otherwise), profiles,
// and changes of any kind; those go through RESP.
package admin
