package wire

import (
	"errors"

	"kelek/raftcore"
)

// ErrOtherCluster is why a Hello is refused for good: both nodes belong to a cluster, and not to
// the same. The transport tells it to the other side as such, all other reasons as a text.
var ErrOtherCluster = errors.New("the nodes belong to different clusters")

// ErrNoSnapshot is why a request for a snapshot is refused for good: its sender does not have it,
// or not any more. It is told as such, too.
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
	Join        JoinKind
	// Members are those of the sender's cluster as it knows them, in the form of Peers: who asks to
	// join finds the leader among them.
	Members string
}

// JoinKind says whether a node asks the members of a cluster to let it in, and as what.
type JoinKind uint8

const (
	JoinNot     JoinKind = 0 // it is in, or forms a cluster of its own
	JoinVoter   JoinKind = 1 // as a learner, which shall vote when it has caught up
	JoinLearner JoinKind = 2 // as a learner for good
	joinKinds   JoinKind = 3
)

// ErrRemoved is why a Hello is refused for good: the cluster has removed its node. The transport
// tells it to the other side as such.
var ErrRemoved = errors.New("the cluster has removed this node")

// ErrExpelled is what the other side then knows of itself.
var ErrExpelled = errors.New("a member of the cluster refuses this node for good")

// Invite is sent by a member to a node that belongs to no cluster, so that it adopts the sender's.
// Either the first configuration lists it, or, with Joining, it has asked to join and the committed
// configuration lists it.
type Invite struct {
	ClusterID [16]byte
	Joining   bool
	Members   []Founder // of that configuration
}

// Founder is one member that an Invite lists.
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
	Connects     uint64 // connections that we have made to it
	DialsFailed  uint64
	Sent         uint64 // frames
	Dropped      uint64 // frames, queue full or not connected
	LastReceived raftcore.Instant
}
