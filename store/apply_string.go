package store

import (
	"bytes"
	"math"
	"strconv"

	"kelek/store/op"
)

// execute performs one op and leaves its result in m.result. An error means that the disk or the
// log is at fault and the node has to stop; what is the client's fault is a result, equal on every
// replica.
func (m *machine) execute(o *op.Op) error {
	switch o.Code {
	case op.CodePut:
		return m.applyPut(o)
	case op.CodePutMany:
		return m.applyPutMany(o)
	case op.CodeAdd:
		return m.applyAdd(o)
	case op.CodeAppend:
		return m.applyAppend(o)
	case op.CodeTake:
		return m.applyTake(o)
	case op.CodeDelete:
		return m.applyDelete(o)
	case op.CodeFlush:
		return m.applyFlush(o)
	case op.CodeExpire:
		return m.applyExpire(o)
	case op.CodePersist:
		return m.applyPersist(o)
	case op.CodePurge:
		return m.applyPurge(o)
	case op.CodeOnce:
		return m.applyOnce(o)
	case op.CodeMember:
		return m.applyMember(o)
	case op.CodeMulti:
		return m.applyMulti(o)
	case op.CodeCopy:
		return m.applyCopy(o)
	case op.CodeSetRange:
		return m.applySetRange(o)
	case op.CodeGetEx:
		return m.applyGetEx(o)
	case op.CodePutNew:
		return m.applyPutNew(o)
	case op.CodeAddFloat:
		return m.applyAddFloat(o)
	}
	return op.UnknownCodeError{Code: o.Code}
}

// applyPut sets a string.
//
// Hot: without a condition, a returned value or a kept deadline, nothing is read: a read costs
// more than the write (BenchmarkApplySet). An old deadline of the key stays in the index, and is
// found to be none any more when it falls due.
func (m *machine) applyPut(o *op.Op) error {
	deadline, ok := m.deadlineOf(o)
	if !ok || o.TTL >= op.TTLAfter && o.Time <= 0 {
		return m.answerError(op.ErrInvalidExpire)
	}
	p := placeOf(o.DB, o.Key)
	if o.Cond == op.Always && !o.Return && o.TTL != op.TTLKeep {
		m.result.Kind = op.ResultOK
		return m.putWithDeadline(p, deadline, o)
	}
	old, err := m.get(p)
	if err != nil {
		return err
	}
	if wrongType(old) && (o.Return || o.Cond == op.IfEqual) {
		return m.answerError(op.ErrWrongType)
	}
	met := putConditionMet(o, old)
	switch {
	case o.Return:
		_ = m.answerString(old)
	case met:
		m.result.Kind = op.ResultOK
	default:
		m.result.Kind = op.ResultNil
	}
	switch {
	case !met:
		return nil
	case o.TTL == op.TTLKeep:
		return m.put(p, old.deadline, o.Value, nil)
	}
	return m.putWithDeadline(p, deadline, o)
}

// putWithDeadline writes the value of o, or deletes the key when its deadline has come: it was set,
// and was gone in the same instant.
func (m *machine) putWithDeadline(p place, deadline uint64, o *op.Op) error {
	if o.TTL >= op.TTLAfter && deadline <= m.now {
		return m.del(p)
	}
	if err := m.put(p, deadline, o.Value, nil); err != nil || deadline == 0 {
		return err
	}
	return m.addDeadline(deadline, p)
}

func putConditionMet(o *op.Op, old record) bool {
	switch o.Cond {
	case op.IfAbsent:
		return !old.exists()
	case op.IfExists:
		return old.exists()
	case op.IfEqual:
		return old.exists() && bytes.Equal(old.body, o.Match)
	}
	return true
}

// applyPutNew looks at every key before it writes the first.
func (m *machine) applyPutNew(o *op.Op) error {
	for i := 0; i < len(o.Args); i += 2 {
		old, err := m.head(placeOf(o.DB, o.Args[i]))
		if err != nil {
			return err
		}
		if old.exists() {
			return m.answerInt(0)
		}
	}
	if err := m.applyPutMany(o); err != nil {
		return err
	}
	return m.answerInt(1)
}

func (m *machine) applyPutMany(o *op.Op) error {
	for i := 0; i < len(o.Args); i += 2 {
		if err := m.put(placeOf(o.DB, o.Args[i]), 0, o.Args[i+1], nil); err != nil {
			return err
		}
	}
	return m.answer(op.ResultOK)
}

func (m *machine) applyAdd(o *op.Op) error {
	p := placeOf(o.DB, o.Key)
	old, err := m.get(p)
	if err != nil {
		return err
	}
	if wrongType(old) {
		return m.answerError(op.ErrWrongType)
	}
	value, ok := int64(0), true
	if old.exists() {
		value, ok = parseInteger(old.body)
	}
	if !ok {
		return m.answerError(op.ErrNotInteger)
	}
	sum := value + o.Delta
	if (sum > value) != (o.Delta > 0) && o.Delta != 0 {
		return m.answerError(op.ErrOverflow)
	}
	if err := m.put(p, old.deadline, strconv.AppendInt(m.digits[:0], sum, 10), nil); err != nil {
		return err
	}
	return m.answerInt(sum)
}

// parseInteger accepts what Redis does: the one canonical spelling of a 64-bit number.
func parseInteger(b []byte) (value int64, ok bool) {
	digits := b
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		digits = b[1:]
	}
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' && len(b) > 1 {
		return 0, false
	}
	var magnitude uint64 // 19 digits fit
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		magnitude = magnitude*10 + uint64(d-'0')
	}
	switch {
	case negative && magnitude <= 1<<63:
		return -int64(magnitude), true
	case !negative && magnitude <= math.MaxInt64:
		return int64(magnitude), true
	}
	return 0, false
}

func (m *machine) applyAppend(o *op.Op) error {
	p := placeOf(o.DB, o.Key)
	old, err := m.get(p)
	if err != nil {
		return err
	}
	if wrongType(old) {
		return m.answerError(op.ErrWrongType)
	}
	length := len(old.body) + len(o.Value)
	if length > m.limits.valueBytesMax {
		return m.answerError(op.ErrTooLong)
	}
	if err := m.put(p, old.deadline, old.body, o.Value); err != nil {
		return err
	}
	return m.answerInt(int64(length))
}

// applySetRange writes over a part of a string, which grows by zero bytes where it is too short.
func (m *machine) applySetRange(o *op.Op) error {
	p := placeOf(o.DB, o.Key)
	old, err := m.get(p)
	if err != nil {
		return err
	}
	switch end := o.Delta + int64(len(o.Value)); {
	case wrongType(old):
		return m.answerError(op.ErrWrongType)
	case len(o.Value) == 0:
		return m.answerInt(int64(len(old.body)))
	case end > int64(m.limits.valueBytesMax) || end < 0:
		return m.answerError(op.ErrTooLong)
	}
	body := make([]byte, max(len(old.body), int(o.Delta)+len(o.Value)))
	copy(body, old.body)
	copy(body[o.Delta:], o.Value)
	if err := m.put(p, old.deadline, body, nil); err != nil {
		return err
	}
	return m.answerInt(int64(len(body)))
}
