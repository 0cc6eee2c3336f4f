package store

import (
	"bytes"
	"fmt"

	"kelek/store/op"
)

func (m *machine) applyTake(o *op.Op) error {
	p := placeOf(o.DB, o.Key)
	old, err := m.get(p)
	if err != nil {
		return err
	}
	if wrongType(old) {
		return m.answerError(op.ErrWrongType)
	}
	if old.exists() {
		if err := m.del(p); err != nil {
			return err
		}
	}
	return m.answerString(old)
}

func (m *machine) applyDelete(o *op.Op) error {
	var existed int64
	for _, key := range o.Args {
		p := placeOf(o.DB, key)
		old, err := m.head(p)
		if err != nil {
			return err
		}
		if !old.exists() {
			continue // or has expired, and is left to the purge
		}
		existed++
		if err := m.del(p); err != nil {
			return err
		}
	}
	return m.answerInt(existed)
}

// applyCopy copies a key with its deadline, or moves it. A key that is its own target is there
// already, and stays as it is.
func (m *machine) applyCopy(o *op.Op) error {
	from, to := placeOf(o.DB, o.Key), placeOf(o.ToDB, o.To)
	target, err := m.head(to)
	if err != nil {
		return err
	}
	old, err := m.get(from)
	switch {
	case err != nil:
		return err
	case !old.exists():
		return m.answer(op.ResultNil)
	case o.Cond == op.IfAbsent && target.exists():
		return m.answerInt(0)
	case o.DB == o.ToDB && bytes.Equal(o.Key, o.To):
		return m.answerInt(1)
	}
	if err := m.put(to, old.deadline, old.body, nil); err != nil {
		return err
	}
	if old.deadline != 0 {
		if err := m.addDeadline(old.deadline, to); err != nil {
			return err
		}
	}
	if o.Move {
		if err := m.del(from); err != nil {
			return err
		}
	}
	return m.answerInt(1)
}

// applyFlush deletes databases with one range tombstone. ONCE entries stay: they say what was
// answered, not what is stored. Of the deadline index only a flush of everything can get rid of so
// easily; otherwise its entries are found to be void when they fall due.
func (m *machine) applyFlush(o *op.Op) error {
	first, end := o.DB, o.DB+1
	if o.DB == op.AllDatabases {
		first, end = 0, op.Databases
		if err := m.dropDeadlines(); err != nil {
			return err
		}
	}
	m.ordered = true
	if err := m.batch.DeleteRange([]byte{first}, []byte{end}, nil); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	m.overlay.flush(o.DB)
	return m.answer(op.ResultOK)
}
