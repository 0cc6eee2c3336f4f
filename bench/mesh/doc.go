// Package mesh puts the network between the nodes of a local cluster into the hands of a test. It
// needs no root, no kernel module and nothing from the nodes but that each can advertise another
// address than it listens on.
//
// What it is. In front of every node stands a door: a listener at the address that the node
// advertises to the others. What comes in at the door of B is forwarded to B, byte by byte. The
// mesh finds out which node dialled, so each directed link A -> B is known by itself and can be
// cut: bytes that A sent stay where they are until the link is whole again, and arrive then.
//
// How it knows who dialled. All nodes are on 127.0.0.1, so the source address tells nothing, and
// the bytes may be encrypted. The system knows: /proc/net/tcp names the inode of the socket at the
// other end, and /proc/<pid>/fd of that node's process has it. Where there is no /proc (Supported
// says so) there is no mesh.
//
// What a cut does, compared with a cut cable:
//   - Bytes under way are kept and delivered after the cut, as TCP would send them again. Reset
//     breaks the connections instead, as a cut that was longer than TCP's patience.
//   - The end of a process is not told across a cut: the other side sees silence.
//   - A one-way cut stops the bytes of one direction only. A real network would lose the other
//     direction's acknowledgements, too, and stall it after a while: the mesh is the harder case,
//     a node that hears and is not heard.
//   - A connection that is dialled across a cut is accepted by the door and then hangs, where a
//     cable would let the dial itself hang. The node's handshake has a time-out for that.
//
// Invariants.
//   - Only connections of known processes are forwarded: a stranger's is closed.
//   - Nothing is reordered, changed or duplicated within a connection.
//   - After Close no goroutine and no socket of the mesh is left.
//
// Designs considered. Network namespaces with packet filters are closer to a real network and need
// root, the tools ip and tc or iptables, and addresses off loopback, which the nodes rightly
// guard with passwords: nothing that a fresh machine has. A fault injector inside the node would
// test a transport that nobody runs.
package mesh
