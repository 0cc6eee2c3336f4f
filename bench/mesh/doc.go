// Package mesh puts the network between the nodes of a local cluster into the hands of a test, in
// two ways. Mesh forwards in this process: it needs no root, no kernel module and nothing from the
// nodes but that each can advertise another address than it listens on. Namespaces lets the
// system's own packets through or drops them: it needs Linux, root and the programs ip, ss and
// iptables.
//
// What Mesh is. In front of every node stands a door: a listener at the address that the node
// advertises to the others. What comes in at the door of B is forwarded to B, byte by byte. The
// mesh finds out which node dialled, so each directed link A -> B is known by itself and can be
// cut: bytes that A sent stay where they are until the link is whole again, and arrive then.
//
// How it knows who dialled. All nodes are on 127.0.0.1, so the source address tells nothing, and
// the bytes may be encrypted. The system knows: /proc/net/tcp names the inode of the socket at the
// other end, and /proc/<pid>/fd of that node's process has it. Where there is no /proc (Supported
// says so) there is no mesh.
//
// What a cut of Mesh does, compared with a cut cable:
//   - Bytes under way are kept and delivered after the cut, as TCP would send them again. Reset
//     breaks the connections instead, as a cut that was longer than TCP's patience.
//   - The end of a process is not told across a cut: the other side sees silence.
//   - A one-way cut stops the bytes of one direction only. A real network would lose the other
//     direction's acknowledgements, too, and stall it after a while: the mesh is the harder case,
//     a node that hears and is not heard.
//   - A connection that is dialled across a cut is accepted by the door and then hangs, where a
//     cable would let the dial itself hang. The node's handshake has a time-out for that.
//
// What Namespaces is. Each node runs in a network namespace of its own, with one address for the
// other nodes that exists nowhere else; veth pairs lead to a bridge in a further namespace, the
// hub:
//
//	n1 10.0.0.1 ---+
//	n2 10.0.0.2 ---+--- bridge (hub)
//	n3 10.0.0.3 ---+
//
// The link A -> B is cut at B: a rule drops what comes from A. So it is the cut cable itself. TCP
// sends again, ever more rarely, and a healed link stays silent until it tries; a dial hangs; the
// end of a process is told to nobody; and a link that is cut one way does not carry
// acknowledgements of the other way either. Reset lets both systems break their ends (ss -K).
//
// How clients cross cuts. They connect to the loopback of the node's namespace, from within: a
// thread enters the namespace, makes the socket and ends. A socket belongs to the namespace that it
// was made in, whoever uses it. So no address of a run is seen outside, nodes serve clients on
// loopback as they do by default, and neither routes nor filters of the machine are touched or in
// the way.
//
// What is left behind by a run that was killed is found by the names of its namespaces, which tell
// the process that made them, and removed with the nodes inside when the next network is made.
//
// Invariants.
//   - Only connections of known processes are forwarded: a stranger's is closed.
//   - Nothing is reordered, changed or duplicated within a connection.
//   - After Close no goroutine and no socket of a Mesh is left, and no namespace of Namespaces.
//   - Namespaces of a process that runs are never taken for leftovers, and in a leftover only nodes
//     are ended.
//
// Designs considered. Namespaces alone would be simpler, and nothing that a fresh machine or an
// ordinary user has. Clients that come over the bridge would need addresses off loopback, which the
// nodes rightly guard with passwords. A fault injector inside the node would test a transport that
// nobody runs.
package mesh
