package store

import (
	"encoding/binary"

	"kelek/store/op"
)

// record is what a user key holds. A record of type op.TypeNone is not there.
type record struct {
	kind     op.Type
	deadline uint64 // log time in ms; 0: never
	body     []byte
}

func (r *record) exists() bool { return r.kind != op.TypeNone }

const (
	recordTypeMask     = 0x0f
	recordHasDeadline  = 0x80
	recordDeadlineSize = 8
)

// recordSize is the length of an encoded record.
func recordSize(deadline uint64, bodyBytes int) int {
	if deadline != 0 {
		bodyBytes += recordDeadlineSize
	}
	return 1 + bodyBytes
}

// putRecordHead writes what stands before the body and returns where that goes:
//
//	0                  1            9
//	+------------------+------------+-------------+
//	| D 0 0 0 type     | deadline   | body        |   D = there is a deadline; without one
//	| 1 byte           | 8 bytes    |             |   the body begins at 1
//	+------------------+------------+-------------+
func putRecordHead(dst []byte, kind op.Type, deadline uint64) (body []byte) {
	dst[0] = byte(kind)
	if deadline == 0 {
		return dst[1:]
	}
	dst[0] |= recordHasDeadline
	binary.BigEndian.PutUint64(dst[1:], deadline)
	return dst[1+recordDeadlineSize:]
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
	return r, nil
}

// at returns the record as it is at a log time: not there once its deadline has come.
func (r record) at(now uint64) record {
	if r.deadline != 0 && r.deadline <= now {
		return record{}
	}
	return r
}
