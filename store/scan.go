package store

import (
	"encoding/binary"

	"kelek/store/op"
)

// Scan visits keys of a database in their order, from the order prefix from on: at least as many as
// limit says, if there are so many, counting expired ones, which are not visited; and then the rest
// of those that share the prefix of the last. next is the prefix to go on from, 0 at the end. A key
// is valid during the call of visit only.
//
// So a cursor is a place in the order of keys and nothing else: no node keeps anything for it, every
// node understands it, and a key that is there from the first call to the last is visited exactly
// once, whatever is written meanwhile.
func (v *stableView) Scan(
	db uint8, from uint64, limit int, visit func(key []byte, t op.Type),
) (next uint64, err error) {
	if v.err != nil {
		return 0, v.err
	}
	lower := place{db: db, prefix: from}.append(nil)
	seen, last := 0, uint64(0)
	err = eachRecord(v.snapshot, lower, []byte{db + 1}, func(storeKey []byte, r record) bool {
		prefix := binary.BigEndian.Uint64(storeKey[1:])
		if seen >= limit && prefix != last {
			next = prefix
			return false
		}
		seen, last = seen+1, prefix
		if r = r.at(uint64(v.position.stamp)); r.exists() {
			visit(storeKey[dataHead:], r.kind)
		}
		return true
	})
	return next, err
}
