package store

import (
	"bytes"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"kelek/store/op"
)

// slotRange is where the keys of a slot are: from lower on, before upper.
func slotRange(db uint8, slot uint16) (lower, upper []byte) {
	lower = place{db: db, prefix: op.SlotPrefix(slot)}.append(nil)
	if slot == op.Slots-1 {
		return lower, []byte{db + 1}
	}
	return lower, place{db: db, prefix: op.SlotPrefix(slot + 1)}.append(nil)
}

// KeysInSlot visits the keys of a slot in order, at most limit of them, and returns how many it has
// visited. A key is valid during the call of visit only. It sees one state, as a stable view does.
func (v *liveView) KeysInSlot(
	db uint8, slot uint16, limit int, visit func(key []byte),
) (int, error) {
	stable := v.stable()
	defer stable.Close()
	return stable.KeysInSlot(db, slot, limit, visit)
}

// KeysInSlot is that of liveView.
func (v *stableView) KeysInSlot(
	db uint8, slot uint16, limit int, visit func(key []byte),
) (n int, err error) {
	if v.err != nil || limit <= 0 {
		return 0, v.err
	}
	lower, upper := slotRange(db, slot)
	err = eachRecord(v.snapshot, lower, upper, func(storeKey []byte, r record) bool {
		if r = r.at(uint64(v.position.stamp)); r.exists() {
			visit(storeKey[dataHead:])
			n++
		}
		return n < limit
	})
	return n, err
}

// KeysInSlot is that of liveView. It merges what the database has, without what the batch has
// touched, and what the batch has put.
func (v *batchView) KeysInSlot(
	db uint8, slot uint16, limit int, visit func(key []byte),
) (n int, err error) {
	if limit <= 0 {
		return 0, nil
	}
	lower, upper := slotRange(db, slot)
	put, err := v.putBetween(lower, upper)
	if err = errors.Join(err, v.m.state.settle()); err != nil {
		return 0, err
	}
	emit := func(storeKey []byte) bool {
		visit(storeKey[dataHead:])
		n++
		return n < limit
	}
	more := true
	err = eachRecord(v.m.db, lower, upper, func(storeKey []byte, r record) bool {
		for more && len(put) > 0 && bytes.Compare(put[0], storeKey) < 0 {
			more, put = emit(put[0]), put[1:]
		}
		if r = r.at(v.m.now); more && r.exists() && !v.touched(storeKey) {
			more = emit(storeKey)
		}
		return more
	})
	for err == nil && more && len(put) > 0 {
		more, put = emit(put[0]), put[1:]
	}
	return n, err
}

// touched reports whether the batch says what storeKey holds, and not the database.
func (v *batchView) touched(storeKey []byte) bool {
	_, k := v.m.overlay.find(hashOf(storeKey), storeKey, v.m.batch.Repr())
	return k != askPebble
}

// putBetween lists, in order, the keys of a range that the batch has put and that are there.
func (v *batchView) putBetween(lower, upper []byte) (keys [][]byte, err error) {
	v.m.overlay.each(lower[0], v.m.batch.Repr(), func(storeKey, value []byte) {
		if bytes.Compare(storeKey, lower) < 0 || bytes.Compare(storeKey, upper) >= 0 {
			return
		}
		r, parseErr := parseRecord(value)
		if r = r.at(v.m.now); r.exists() {
			keys = append(keys, storeKey)
		}
		if parseErr != nil {
			err = parseErr
		}
	})
	slices.SortFunc(keys, bytes.Compare)
	return keys, err
}

// eachRecord visits the records of a range of storeKeys in order, expired ones included, until
// visit returns false. What visit gets is valid during the call.
func eachRecord(
	r pebble.Reader, lower, upper []byte, visit func(storeKey []byte, r record) bool,
) error {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return readError("the state", err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return readError("the state", err)
		}
		found, err := parseRecord(value)
		if err != nil {
			return err
		}
		if !visit(it.Key(), found) {
			return nil
		}
	}
	return readErrorOf("the state", it.Error())
}
