package wire

import (
	"encoding/binary"
	"fmt"
	"slices"

	"kelek/raftcore"
)

const (
	helloVersion   = 1
	inviteVersion  = 1
	founderSizeMin = 8 + 4
)

// AppendHello appends the encoded form of h. The version is that of this layout; Protocol speaks of
// what follows on the connection, and any value of it can be read.
//
//	0         1          3          11           27        35        43       44
//	+---------+----------+----------+------------+---------+---------+--------+-- - - - - - -+
//	| version | protocol | group    | cluster id | node id | boot    | join   | 7 strings:   |
//	| 1 byte  | 2 bytes  | 8 bytes  | 16 bytes   | 8 bytes | 8 bytes | 1 byte | 4 + n bytes  |
//	+---------+----------+----------+------------+---------+---------+--------+-- - - - - - -+
//
// The strings are name, peer address, address, cluster address, build, peers and members.
func AppendHello(dst []byte, h *Hello) []byte {
	dst = append(dst, helloVersion)
	dst = binary.LittleEndian.AppendUint16(dst, h.Protocol)
	dst = binary.LittleEndian.AppendUint64(dst, h.Group)
	dst = append(dst, h.ClusterID[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.NodeID))
	dst = binary.LittleEndian.AppendUint64(dst, h.Boot)
	dst = append(dst, byte(h.Join))
	for _, s := range h.strings() {
		dst = appendString(dst, *s)
	}
	return dst
}

// DecodeHello reads the hello at the front of b.
func DecodeHello(b []byte, h *Hello) (rest []byte, err error) {
	r := reader{b: b}
	if err := r.version("hello", helloVersion); err != nil {
		return nil, err
	}
	h.Protocol = r.uint16()
	h.Group = r.uint64()
	h.ClusterID = r.clusterID()
	h.NodeID = raftcore.NodeID(r.uint64())
	h.Boot = r.uint64()
	h.Join = JoinKind(r.uint8())
	if h.Join >= joinKinds {
		return nil, fmt.Errorf("hello: it asks to join in an unknown way, %d", h.Join)
	}
	for _, s := range h.strings() {
		*s = string(r.bytes())
	}
	if r.short {
		return nil, fmt.Errorf("hello: %w of %d bytes", ErrShort, len(b))
	}
	return r.b, nil
}

// strings is the strings of a hello in the order of the layout.
func (h *Hello) strings() [7]*string {
	return [...]*string{&h.Name, &h.PeerAddr, &h.Addr, &h.ClusterAddr, &h.Build, &h.Peers,
		&h.Members}
}

// AppendInvite appends the encoded form of v.
//
//	0         1            17        18        22
//	+---------+------------+---------+---------+-- - - - - - - - - - - - - - - - - +
//	| version | cluster id | joining | count   | count times: id, name             |
//	| 1 byte  | 16 bytes   | 0 or 1  | 4 bytes |              8 bytes, 4 + n bytes |
//	+---------+------------+---------+---------+-- - - - - - - - - - - - - - - - - +
func AppendInvite(dst []byte, v *Invite) []byte {
	dst = append(dst, inviteVersion)
	dst = append(dst, v.ClusterID[:]...)
	joining := byte(0)
	if v.Joining {
		joining = 1
	}
	dst = append(dst, joining)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(v.Members)))
	for i := range v.Members {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(v.Members[i].ID))
		dst = appendString(dst, v.Members[i].Name)
	}
	return dst
}

// DecodeInvite reads the invite at the front of b; the Members slice of v is reused.
func DecodeInvite(b []byte, v *Invite) (rest []byte, err error) {
	r := reader{b: b}
	if err := r.version("invite", inviteVersion); err != nil {
		return nil, err
	}
	v.ClusterID = r.clusterID()
	joining := r.uint8()
	if joining > 1 {
		return nil, fmt.Errorf("invite: joining is %d, neither 0 nor 1", joining)
	}
	v.Joining = joining == 1
	count := r.uint32()
	if uint64(count) > uint64(len(r.b)/founderSizeMin) {
		return nil, fmt.Errorf("invite: %w: %d members in %d bytes", ErrShort, count, len(r.b))
	}
	v.Members = slices.Grow(v.Members[:0], int(count))[:count]
	for i := range v.Members {
		v.Members[i].ID = raftcore.NodeID(r.uint64())
		v.Members[i].Name = string(r.bytes())
	}
	if r.short {
		return nil, fmt.Errorf("invite: %w of %d bytes", ErrShort, len(b))
	}
	return r.b, nil
}

func (r *reader) clusterID() (id [16]byte) {
	copy(id[:], r.take(len(id)))
	return id
}
