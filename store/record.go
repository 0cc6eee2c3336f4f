package store

import (
	"encoding/binary"

	"kelek/store/op"
)

// record is what a user key holds. A record of type op.TypeNone is not there.
type record struct {
	kind     op.Type
	deadline uint64 // log time in ms; 0: never
	version  uint64 // number of the op that wrote it
	body     []byte
}

func (r *record) exists() bool { return r.kind != op.TypeNone }

const (
	recordTypeMask     = 0x0f
	recordHasDeadline  = 0x80
	recordDeadlineSize = 8
	// recordHeadMax is the most that stands before a body.
	recordHeadMax = 1 + recordDeadlineSize + binary.MaxVarintLen64
)

// recordSize is the length of an encoded record.
func recordSize(deadline, version uint64, bodyBytes int) int {
	if deadline != 0 {
		bodyBytes += recordDeadlineSize
	}
	return 1 + uvarintBytes(version) + bodyBytes
}

// putRecordHead writes what stands before the body and returns where that goes:
//
//	0                  1            9
//	+------------------+------------+----------+-------------+
//	| D 0 0 0 type     | deadline   | version  | body        |   D = there is a deadline; without
//	| 1 byte           | 8 bytes    | uvarint  |             |   one the version begins at 1
//	+------------------+------------+----------+-------------+
func putRecordHead(dst []byte, kind op.Type, deadline, version uint64) (body []byte) {
	dst[0] = byte(kind)
	rest := dst[1:]
	if deadline != 0 {
		dst[0] |= recordHasDeadline
		binary.BigEndian.PutUint64(rest, deadline)
		rest = rest[recordDeadlineSize:]
	}
	return rest[binary.PutUvarint(rest, version):]
}

// parseRecord is its inverse. The body points into value.
func parseRecord(value []byte) (record, error) {
	if len(value) == 0 || value[0]&^(recordHasDeadline|recordTypeMask) != 0 ||
		op.Type(value[0]&recordTypeMask) != op.TypeString {
		return record{}, corrupt("a value", "its head is % x", value[:min(1, len(value))])
	}
	r := record{kind: op.Type(value[0] & recordTypeMask), body: value[1:]}
	if value[0]&recordHasDeadline != 0 {
		if len(r.body) < recordDeadlineSize {
			return record{}, corrupt("a value", "%d bytes hold no deadline", len(value))
		}
		r.deadline, r.body = binary.BigEndian.Uint64(r.body), r.body[recordDeadlineSize:]
	}
	version, n := binary.Uvarint(r.body)
	if n <= 0 {
		return record{}, corrupt("a value", "%d bytes hold no version", len(value))
	}
	r.version, r.body = version, r.body[n:]
	return r, nil
}

// at returns the record as it is at a log time: not there once its deadline has come.
func (r record) at(now uint64) record {
	if r.deadline != 0 && r.deadline <= now {
		return record{}
	}
	return r
}
