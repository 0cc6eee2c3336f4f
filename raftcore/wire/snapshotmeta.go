package wire

import (
	"encoding/binary"
	"fmt"

	"kelek/raftcore"
)

const snapshotMetaFixedSize = 8 + 16 + 8 + 8 + 4

func snapshotMetaSize(s *raftcore.SnapshotMeta) int {
	return snapshotMetaFixedSize + configSize(&s.Config)
}

// configSize is the length of an encoded configuration, 0 when there is none.
func configSize(c *raftcore.Config) int {
	ids := len(c.Voters) + len(c.OldVoters) + len(c.Learners)
	if ids == 0 {
		return 0
	}
	return 4 + 8*ids
}

// appendSnapshotMeta appends the description of a snapshot. It travels in messages only:
//
//	0         8                  24         32             40          44
//	+---------+------------------+----------+--------------+-----------+----------------+
//	| id      | position         | stamp    | config index | n: length | config         |
//	| 8 bytes | term 8, index 8  | 8 bytes  | 8 bytes      | 4 bytes   | n bytes        |
//	+---------+------------------+----------+--------------+-----------+----------------+
//
// The config has the layout of raftcore.EncodeConfig; n is 0 where there is none, as in responses.
func appendSnapshotMeta(dst []byte, s *raftcore.SnapshotMeta) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, s.ID)
	dst = appendPos(dst, s.Pos)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.Stamp))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.ConfigIndex))
	n := configSize(&s.Config)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	if n == 0 {
		return dst
	}
	return raftcore.AppendConfig(dst, &s.Config)
}

// snapshotMeta reads what appendSnapshotMeta wrote. A description without an id is refused: its
// bit is not set.
func (r *reader) snapshotMeta(s *raftcore.SnapshotMeta) (err error) {
	s.ID = r.uint64()
	s.Pos = r.pos()
	s.Stamp = raftcore.LogTime(r.uint64())
	s.ConfigIndex = raftcore.Index(r.uint64())
	config := r.bytes()
	if r.short {
		return nil
	}
	if s.ID == 0 {
		return fmt.Errorf("%w: a snapshot without an id", ErrUnknown)
	}
	if len(config) == 0 {
		return nil
	}
	if s.Config, err = raftcore.DecodeConfig(config); err != nil {
		return fmt.Errorf("%w: snapshot %x: %v", ErrUnknown, s.ID, err)
	}
	return nil
}
