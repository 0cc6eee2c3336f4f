package command

import "kelek/store/op"

func expire(c *Call) Outcome { return changeDeadline(c, expiry{op.TTLAfter, true}) }

func pexpire(c *Call) Outcome { return changeDeadline(c, expiry{op.TTLAfter, false}) }

func expireat(c *Call) Outcome { return changeDeadline(c, expiry{op.TTLAt, true}) }

func pexpireat(c *Call) Outcome { return changeDeadline(c, expiry{op.TTLAt, false}) }

// changeDeadline proposes a new deadline. A span stays a span: only the stamp of the entry turns it
// into a moment. One that has passed deletes the key when it is applied.
func changeDeadline(c *Call, e expiry) Outcome {
	*c.Op = op.Op{Code: op.CodeExpire, Key: c.Args[1], TTL: e.ttl}
	if bad := expireOptions(c.Op, c.Args[3:]); bad != "" {
		return c.fail(bad)
	}
	n, ok := parseInt(c.Args[2])
	if !ok {
		return c.fail(errNotInteger)
	}
	if c.Op.Time, ok = e.millis(n); !ok {
		return c.fail(errInvalidExpire(c.Spec.Name))
	}
	return c.propose(resultInt)
}

func persist(c *Call) Outcome {
	*c.Op = op.Op{Code: op.CodePersist, Key: c.Args[1]}
	return c.propose(resultInt)
}

func ttl(c *Call) Outcome { return query(queryTTL) }

func pttl(c *Call) Outcome { return query(queryPTTL) }

func expiretime(c *Call) Outcome { return query(queryExpireTime) }

func pexpiretime(c *Call) Outcome { return query(queryPExpireTime) }

// deadline answers -2 for no key and -1 for no deadline, and returns the deadline otherwise.
func (q *Query) deadline() (ms int64, ok bool, err error) {
	v, _, err := q.View.Head(q.DB, q.Args[1])
	if err != nil {
		return 0, false, err
	}
	q.seen(v.Type)
	switch {
	case v.Type == op.TypeNone:
		q.Reply.Int(-2)
	case v.Deadline == 0:
		q.Reply.Int(-1)
	default:
		return int64(v.Deadline), true, nil
	}
	return 0, false, nil
}

// remaining is the time to a deadline. Log time stands still between entries, so what is left is
// told by the later of it and this node's clock. Whether the key exists was decided by log time.
func (q *Query) remaining(deadline int64) int64 {
	return max(0, deadline-int64(max(q.View.LogTime(), q.NowMs)))
}

func queryTTL(q *Query) error {
	at, ok, err := q.deadline()
	if ok {
		q.Reply.Int((q.remaining(at) + 500) / 1000)
	}
	return err
}

func queryPTTL(q *Query) error {
	at, ok, err := q.deadline()
	if ok {
		q.Reply.Int(q.remaining(at))
	}
	return err
}

func queryExpireTime(q *Query) error {
	at, ok, err := q.deadline()
	if ok {
		q.Reply.Int((at + 500) / 1000)
	}
	return err
}

func queryPExpireTime(q *Query) error {
	at, ok, err := q.deadline()
	if ok {
		q.Reply.Int(at)
	}
	return err
}
