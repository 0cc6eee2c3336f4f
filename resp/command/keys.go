package command

import "kelek/store/op"

func del(c *Call) Outcome {
	*c.Op = op.Op{Code: op.CodeDelete, Args: c.Args[1:]}
	return c.propose(resultInt)
}

func exists(c *Call) Outcome { return query(queryExists) }

// queryExists counts a key as often as it is named, as Redis does.
func queryExists(q *Query) error {
	n := int64(0)
	for _, key := range q.Args[1:] {
		v, _, err := q.View.Head(q.DB, key)
		if err != nil {
			return err
		}
		q.seen(v.Type)
		if v.Type != op.TypeNone {
			n++
		}
	}
	q.Reply.Int(n)
	return nil
}

func typeOf(c *Call) Outcome { return query(queryType) }

func queryType(q *Query) error {
	v, _, err := q.View.Head(q.DB, q.Args[1])
	if err != nil {
		return err
	}
	q.seen(v.Type)
	q.Reply.Status(v.Type.String())
	return nil
}

func dbsize(c *Call) Outcome { return query(queryDBSize) }

func queryDBSize(q *Query) error {
	keys, _, err := q.View.Count(q.DB)
	if err != nil {
		return err
	}
	q.Reply.Int(keys)
	return nil
}

func flushdb(c *Call) Outcome { return flush(c, c.Session.DB) }

func flushall(c *Call) Outcome { return flush(c, op.AllDatabases) }

// flush takes SYNC and ASYNC, which mean the same here: the keys are gone when it is answered.
func flush(c *Call, db uint8) Outcome {
	if len(c.Args) > 2 || len(c.Args) == 2 && !is(c.Args[1], "SYNC") && !is(c.Args[1], "ASYNC") {
		return c.fail(errSyntax)
	}
	*c.Op = op.Op{Code: op.CodeFlush}
	o := c.propose(resultOK)
	c.Op.DB = db
	return o
}
