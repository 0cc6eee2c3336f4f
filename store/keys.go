package store

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"kelek/raftcore"
	"kelek/store/op"
)

// Keys of log/. Big endian, so that entries are in order. There is one Raft group today, number 0.
//
//	0          4      5            13
//	+----------+------+------------+
//	| group    | kind | index      |   the index is there for kinds from logRun on
//	| 4 bytes  | 1    | 8 bytes    |
//	+----------+------+------------+
const (
	logHardState byte = 0x01 // term and vote: wire.AppendHardState
	logBase      byte = 0x02 // what is compacted: see appendBase
	logHint      byte = 0x03 // a commit index that was once known, 8 bytes
	logRun       byte = 0x10 // from this index on entries have this term, 8 bytes
	logConfig    byte = 0x11 // the entry at this index is a configuration; empty
	logEntry     byte = 0x20 // one entry and its trailer: see appendEntryValue
)

const (
	logGroup    uint32 = 0
	logKeyBytes        = 4 + 1 + 8
)

// logKey is the key of kinds below logRun.
func logKey(kind byte) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, logKeyBytes), logGroup), kind)
}

// logKeyAt is the key of kinds from logRun on.
func logKeyAt(kind byte, index raftcore.Index) []byte {
	return binary.BigEndian.AppendUint64(logKey(kind), uint64(index))
}

// indexOfLogKey is the inverse of logKeyAt.
func indexOfLogKey(key []byte) (raftcore.Index, bool) {
	if len(key) != logKeyBytes {
		return 0, false
	}
	return raftcore.Index(binary.BigEndian.Uint64(key[5:])), true
}

// Keys of state/. The first byte below op.Databases is the number of a database:
//
//	0    1         9
//	+----+---------+-----------+
//	| db | order   | user key  |      value: see appendRecord
//	| 1  | prefix  |           |
//	+----+---------+-----------+
//
// The order prefix (op.OrderPrefix) begins with the hash slot: a slot is one range of keys, and a
// scan resumes from a prefix alone. First bytes from 0xe0 on are the system's:
//
//	e0                                      applied position       see position
//	e1 origin(8)                            boot(8) seq(8)         design.md 5
//	e2 deadline(8) db prefix(8) user key    empty                  deadline index
//	e3 client                               floor(8)               ONCE: ids up to it are gone
//	e4 client request(8)                    see appendOnce         ONCE: first reply
//	e5 number(8)                            stamp(8) request(8) client   ONCE: in order of age
//	e6 node id(8)                           op of CodeMember       how members are reached
//	e7                                      index(8) and Config    membership as applied
//	e8 node id(8)                           index(8) and name      left for good at that index
const (
	sysPosition  byte = 0xe0
	sysOrigin    byte = 0xe1
	sysDeadline  byte = 0xe2
	sysOnceFloor byte = 0xe3
	sysOnce      byte = 0xe4
	sysOnceAge   byte = 0xe5
	sysMember    byte = 0xe6
	sysConfig    byte = 0xe7
	sysRetired   byte = 0xe8
)

// dataHead is how many bytes stand before the user key, and deadlineHead the same in the index.
const (
	dataHead     = 1 + 8
	deadlineHead = 1 + 8 + dataHead
)

// place is where a user key lives. Its prefix is computed once per op: two hashes of the key.
type place struct {
	db     uint8
	prefix uint64
	key    []byte
}

func placeOf(db uint8, key []byte) place { return place{db, op.OrderPrefix(key), key} }

// append appends the storeKey.
func (p place) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, p.db), p.prefix)
	return append(dst, p.key...)
}

func (p place) size() int { return dataHead + len(p.key) }

// parsePlace is the inverse of place.append. The key points into storeKey.
func parsePlace(storeKey []byte) (place, bool) {
	if len(storeKey) < dataHead || storeKey[0] >= op.Databases {
		return place{}, false
	}
	return place{storeKey[0], binary.BigEndian.Uint64(storeKey[1:]), storeKey[dataHead:]}, true
}

// appendDeadlineKey appends the key under which the deadline of p is indexed.
func appendDeadlineKey(dst []byte, deadline uint64, p place) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, sysDeadline), deadline)
	return p.append(dst)
}

// parseDeadlineKey is the inverse of appendDeadlineKey.
func parseDeadlineKey(storeKey []byte) (deadline uint64, p place, ok bool) {
	if len(storeKey) < deadlineHead || storeKey[0] != sysDeadline {
		return 0, place{}, false
	}
	p, ok = parsePlace(storeKey[9:])
	return binary.BigEndian.Uint64(storeKey[1:]), p, ok
}

// sysKey is the key of a system record that is numbered.
func sysKey(kind byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 9), kind), number)
}

func appendOnceFloorKey(dst, client []byte) []byte {
	return append(append(dst, sysOnceFloor), client...)
}

// appendOnceKey needs no length before the client: the request has a fixed one.
func appendOnceKey(dst, client []byte, request uint64) []byte {
	dst = append(append(dst, sysOnce), client...)
	return binary.BigEndian.AppendUint64(dst, request)
}

// hashOf is what the overlay finds a storeKey by: of a user key the prefix, which is known already.
func hashOf(storeKey []byte) uint64 {
	if p, ok := parsePlace(storeKey); ok {
		return p.prefix
	}
	return xxhash.Sum64(storeKey)
}
