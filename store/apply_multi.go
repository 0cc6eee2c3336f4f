package store

import (
	"fmt"

	"kelek/store/op"
)

// applyMulti executes a transaction, all of it or nothing: nothing when a watched key was written
// since it was looked at. An op of it that fails does not stop the others, as in Redis: a failure
// that depends on data is a reply.
//
// Each op has a number and a result of its own, and sees what the ones before it wrote; the
// observer, which is told between them, sees the same. It answers the reads of the transaction, on
// the origin alone: reads change nothing, so they need not be in the log, where each kind of them
// would be a format, and every replica would execute all of them for nobody.
func (m *machine) applyMulti(o *op.Op) error {
	if unchanged, err := m.unchanged(o.Watched); err != nil || !unchanged {
		m.result.Kind = op.ResultNil
		return err
	}
	m.stepped(0, nil)
	rest := o.Inner
	for i := range int(o.Count) {
		var err error
		if rest, err = m.applyStep(rest); err != nil {
			return fmt.Errorf("op %d of %d of a transaction: %w", i+1, o.Count, err)
		}
		m.stepped(i+1, &m.result)
	}
	if len(rest) != 0 {
		return fmt.Errorf("%w: %d bytes after the last op of a transaction",
			op.ErrMalformed, len(rest))
	}
	m.result = op.Result{Kind: op.ResultOK}
	return nil
}

// unchanged reports whether every watched key has the version it had.
func (m *machine) unchanged(watched []op.Watched) (bool, error) {
	for i := range watched {
		w := &watched[i]
		r, err := m.head(placeOf(w.DB, w.Key))
		if err != nil || r.version != w.Version {
			return false, err
		}
	}
	return true, nil
}

// applyStep executes the op at the front of b and returns what follows it.
func (m *machine) applyStep(b []byte) (rest []byte, err error) {
	if rest, err = op.Decode(b, &m.step); err != nil {
		return nil, err
	}
	if !m.step.Code.MayBeInMulti() {
		return nil, fmt.Errorf("%w: its code is %d", op.ErrMalformed, m.step.Code)
	}
	m.result = op.Result{}
	m.ops++
	if err := m.execute(&m.step); err != nil {
		return nil, err
	}
	m.hash.addResult(&m.result)
	return rest, nil
}

func (m *machine) stepped(done int, r *op.Result) {
	if m.steps != nil {
		m.steps.Step(m.at, done, r, &m.observed)
	}
}
