package store

import (
	"math"

	"kelek/store/op"
)

// deadlineOf is the deadline that o asks for; 0 when it asks for none. ok is false when it is
// beyond what 64 bits hold. A deadline before 1970 is one that has come.
func (m *machine) deadlineOf(o *op.Op) (deadline uint64, ok bool) {
	at := o.Time
	switch o.TTL {
	case op.TTLClear, op.TTLKeep:
		return 0, true
	case op.TTLAfter:
		if at > 0 && m.now > math.MaxInt64-uint64(at) {
			return 0, false
		}
		at += int64(m.now)
	}
	return uint64(max(at, 0)), true
}

// applyExpire changes the deadline of a key that is there.
func (m *machine) applyExpire(o *op.Op) error {
	deadline, ok := m.deadlineOf(o)
	if !ok {
		return m.answerError(op.ErrInvalidExpire)
	}
	p := placeOf(o.DB, o.Key)
	old, err := m.get(p)
	if err != nil {
		return err
	}
	if !old.exists() || !expireConditionMet(o.Cond, old.deadline, deadline) {
		return m.answerInt(0)
	}
	m.result = op.Result{Kind: op.ResultInt, Int: 1}
	switch {
	case deadline <= m.now:
		return m.del(p)
	case deadline == old.deadline:
		return nil
	}
	if err := m.put(p, deadline, old.body, nil); err != nil {
		return err
	}
	return m.addDeadline(deadline, p)
}

// expireConditionMet compares deadlines; an old one of 0 is infinite.
func expireConditionMet(cond op.Cond, old, next uint64) bool {
	has := old != 0
	switch cond {
	case op.IfAbsent:
		return !has
	case op.IfExists:
		return has
	case op.IfLater, op.IfExistsLater:
		return has && next > old
	case op.IfSooner:
		return !has || next < old
	case op.IfExistsSooner:
		return has && next < old
	}
	return true
}

func (m *machine) applyPersist(o *op.Op) error {
	p := placeOf(o.DB, o.Key)
	old, err := m.get(p)
	if err != nil {
		return err
	}
	if old.deadline == 0 {
		return m.answerInt(0)
	}
	m.result = op.Result{Kind: op.ResultInt, Int: 1}
	return m.put(p, 0, old.body, nil)
}

// applyGetEx returns a string and changes its deadline; one that has come deletes it.
func (m *machine) applyGetEx(o *op.Op) error {
	deadline, ok := m.deadlineOf(o)
	if !ok {
		return m.answerError(op.ErrInvalidExpire)
	}
	p := placeOf(o.DB, o.Key)
	old, err := m.get(p)
	switch {
	case err != nil:
		return err
	case wrongType(old):
		return m.answerError(op.ErrWrongType)
	case !old.exists() || deadline == old.deadline:
		return m.answerString(old)
	case o.TTL != op.TTLClear && deadline <= m.now:
		err = m.del(p)
	default:
		err = m.put(p, deadline, old.body, nil)
		if err == nil && deadline != 0 {
			err = m.addDeadline(deadline, p)
		}
	}
	if err != nil {
		return err
	}
	return m.answerString(old)
}
