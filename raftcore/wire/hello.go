package wire

import (
	"errors"

	"kelek/raftcore"
)

// ErrOtherCluster is why a Hello is refused for good: both nodes belong to a cluster, and not to the
// same. The transport tells it to the other side as such, all other reasons as a text.
var ErrOtherCluster = errors.New("the nodes belong to different clusters")

// ErrNoSnapshot is why a request for a snapshot is refused for good: its sender does not have it, or
// not any more. It is told as such, too.
var ErrNoSnapshot = errors.New("the snapshot is not there")

// Hello is the first frame in each direction of a peer connection: who speaks, of which cluster,
// and how it can be reached. Addresses are hints and never identity.
type Hello struct {
	Protocol    uint16   // version of everything that follows on this connection
	Group       uint64   // Raft group; 0 today
	ClusterID   [16]byte // zero: the node belongs to no cluster yet
	NodeID      raftcore.NodeID
	Boot        uint64
	Name        string
	PeerAddr    string
	Addr        string
	ClusterAddr string
	Build       string
	Peers       string // the --peers list in canonical order "n1=host:port,n2=..."; empty without one
}

// Invite is sent by a member to a blank node that the first configuration lists, so that it adopts
// the cluster.
type Invite struct {
	ClusterID [16]byte
	Members   []Founder
}

// Founder is one member of the first configuration.
type Founder struct {
	ID   raftcore.NodeID
	Name string
}

// PeerStatus is the state of the connections to one peer.
type PeerStatus struct {
	ID           raftcore.NodeID // 0 until it has said hello
	Name         string
	Addr         string // where it is dialled
	Connected    bool   // our sending connection is up
	LastError    string // why it is not
	Sent         uint64 // frames
	Dropped      uint64 // frames, queue full or not connected
	LastReceived raftcore.Instant
}
