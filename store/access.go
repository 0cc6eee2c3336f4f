package store

import (
	"fmt"

	"kelek/store/op"
)

// This file is how ops read and write while the batch is in the making: reads see what earlier ops
// of the batch have written, writes are seen by later ones.

// everything is a limit for read that copies the whole value.
const everything = int(^uint(0) >> 1)

// read returns what storeKey holds now, or its first limit bytes: from the batch, or from elsewhere
// and then copied to scratch. Both stay valid until scratch is used again: a batch that grows
// leaves its old memory as it was.
func (m *machine) read(
	hash uint64, storeKey []byte, scratch *[]byte, limit int,
) (value []byte, found bool, err error) {
	switch value, k := m.overlay.find(hash, storeKey, m.batch.Repr()); k {
	case isPresent:
		return value, true, nil
	case isAbsent:
		return nil, false, nil
	}
	kept, k := m.state.recent((*scratch)[:0], hash, storeKey)
	switch k {
	case isPresent:
		*scratch = kept
		return kept[:min(len(kept), limit)], true, nil
	case isAbsent:
		return nil, false, nil
	}
	err = m.state.ask(hash, storeKey, func(stored []byte) error {
		found = true
		*scratch = append((*scratch)[:0], stored[:min(len(stored), limit)]...)
		return nil
	})
	return *scratch, found, err
}

// get returns the record of p as of the entry being applied: what has expired is not there. Its
// body is valid until the next get.
func (m *machine) get(p place) (record, error) {
	r, err := m.getRaw(p, everything)
	return r.at(m.now), err
}

// head is get for who needs no body, and does not copy it.
func (m *machine) head(p place) (record, error) {
	r, err := m.getRaw(p, recordHeadMax)
	return r.at(m.now), err
}

// getRaw returns the record of p even if it has expired.
func (m *machine) getRaw(p place, limit int) (record, error) {
	m.key = p.append(m.key[:0])
	value, found, err := m.read(p.prefix, m.key, &m.value, limit)
	if err != nil || !found {
		return record{}, err
	}
	return parseRecord(value)
}

// put writes the string body, suffix to p. A deadline that is not zero is in the index already, or
// the caller adds it there.
func (m *machine) put(p place, deadline uint64, body, suffix []byte) error {
	size := recordSize(deadline, m.ops, len(body)+len(suffix))
	d := m.batch.SetDeferred(p.size(), size)
	p.append(d.Key[:0])
	rest := putRecordHead(d.Value, op.TypeString, deadline, m.ops)
	copy(rest[copy(rest, body):], suffix)
	if err := d.Finish(); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	m.overlay.put(p.prefix, m.batch.Repr(), p.size(), size, false)
	return nil
}

// del deletes p, whether it is there or not.
func (m *machine) del(p place) error {
	d := m.batch.DeleteDeferred(p.size())
	p.append(d.Key[:0])
	if err := d.Finish(); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	m.overlay.put(p.prefix, m.batch.Repr(), p.size(), 0, true)
	return nil
}

// putSys writes a system record that later ops of the batch read.
func (m *machine) putSys(key, value []byte) error {
	m.ordered = true
	if err := m.batch.Set(key, value, nil); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	m.overlay.put(hashOf(key), m.batch.Repr(), len(key), len(value), false)
	return nil
}

func (m *machine) delSys(key []byte) error {
	m.ordered = true
	if err := m.batch.Delete(key, nil); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	m.overlay.put(hashOf(key), m.batch.Repr(), len(key), 0, true)
	return nil
}

// Results. Each ends an op.

func (m *machine) answer(kind op.ResultKind) error {
	m.result.Kind = kind
	return nil
}

func (m *machine) answerInt(v int64) error {
	m.result = op.Result{Kind: op.ResultInt, Int: v}
	return nil
}

func (m *machine) answerError(code op.ErrorCode) error {
	m.result = op.Result{Kind: op.ResultError, Error: code}
	return nil
}

// answerString answers the string of r, or nil when it is not there.
func (m *machine) answerString(r record) error {
	if !r.exists() {
		return m.answer(op.ResultNil)
	}
	m.result = op.Result{Kind: op.ResultBytes, Bytes: r.body}
	return nil
}

// wrongType reports whether r is there and no string. It is the one place that says so.
func wrongType(r record) bool { return r.exists() && r.kind != op.TypeString }
