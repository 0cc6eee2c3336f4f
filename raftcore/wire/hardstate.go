package wire

import (
	"encoding/binary"
	"fmt"
	"slices"

	"kelek/raftcore"
)

const (
	hardStateVersion = 1

	// HardStateSize is the length of an encoded HardState.
	HardStateSize = 1 + 8 + 8 + crcSize
)

// AppendHardState appends the encoded form of h. Term and vote are one record under one checksum:
// apart they could come back as two votes in one term.
//
//	0         1          9          17        21
//	+---------+----------+----------+---------+
//	| version | term     | vote     | CRC32C  |
//	| 1 byte  | 8 bytes  | 8 bytes  | 4 bytes |
//	+---------+----------+----------+---------+
func AppendHardState(dst []byte, h *raftcore.HardState) []byte {
	dst = slices.Grow(dst, HardStateSize)
	start := len(dst)
	dst = append(dst, hardStateVersion)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.Term))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.VotedFor))
	return appendCRC(dst, start)
}

// DecodeHardState reads the hard state at the front of b.
func DecodeHardState(b []byte, h *raftcore.HardState) (rest []byte, err error) {
	r := reader{b: b}
	if err := r.version("hard state", hardStateVersion); err != nil {
		return nil, err
	}
	h.Term = raftcore.Term(r.uint64())
	h.VotedFor = raftcore.NodeID(r.uint64())
	if err := r.checkCRC(b); err != nil {
		return nil, fmt.Errorf("hard state: %w", err)
	}
	return r.b, nil
}
