package command

import (
	"bytes"

	"kelek/store/op"
)

func del(c *Call) Outcome {
	*c.Op = op.Op{Code: op.CodeDelete, Args: c.Args[1:]}
	return c.propose(resultInt)
}

func rename(c *Call) Outcome {
	*c.Op = op.Op{Code: op.CodeCopy, Move: true, Key: c.Args[1], To: c.Args[2]}
	return c.proposeCopy(c.Session.DB, resultRenamed)
}

func renamenx(c *Call) Outcome {
	*c.Op = op.Op{Code: op.CodeCopy, Move: true, Cond: op.IfAbsent, Key: c.Args[1], To: c.Args[2]}
	return c.proposeCopy(c.Session.DB, resultRenamedNX)
}

// proposeCopy sets both databases.
func (c *Call) proposeCopy(to uint8, result ResultFunc) Outcome {
	o := c.propose(result)
	c.Op.ToDB = to
	return o
}

// resultRenamed is OK; without a source there is nothing to rename.
func resultRenamed(r *Reply, result *op.Result) {
	if result.Kind == op.ResultNil {
		r.Error(errNoKey)
		return
	}
	r.OK()
}

func resultRenamedNX(r *Reply, result *op.Result) {
	if result.Kind == op.ResultNil {
		r.Error(errNoKey)
		return
	}
	r.Int(result.Int)
}

// resultCopied is 0 as well when there is no source.
func resultCopied(r *Reply, result *op.Result) { r.Int(result.Int) }

// move is MOVE key db.
func move(c *Call) Outcome {
	db, bad := parseDB(c.Args[2])
	switch {
	case c.Host.Face().Cluster:
		return c.fail(errMoveCluster)
	case bad != "":
		return c.fail(bad)
	case db == c.Session.DB:
		return c.fail(errSameObject)
	}
	*c.Op = op.Op{Code: op.CodeCopy, Move: true, Cond: op.IfAbsent, Key: c.Args[1], To: c.Args[1]}
	return c.proposeCopy(db, resultCopied)
}

// copyKey is COPY source destination [DB n] [REPLACE].
func copyKey(c *Call) Outcome {
	db := c.Session.DB
	*c.Op = op.Op{Code: op.CodeCopy, Cond: op.IfAbsent, Key: c.Args[1], To: c.Args[2]}
	for i := 3; i < len(c.Args); i++ {
		switch {
		case is(c.Args[i], "REPLACE"):
			c.Op.Cond = op.Always
		case is(c.Args[i], "DB") && i+1 < len(c.Args):
			i++
			var bad string
			if db, bad = parseDB(c.Args[i]); bad != "" {
				return c.fail(bad)
			}
		default:
			return c.fail(errSyntax)
		}
	}
	switch {
	case db != c.Session.DB && c.Host.Face().Cluster:
		return c.fail(errCopyCluster)
	case db == c.Session.DB && bytes.Equal(c.Op.Key, c.Op.To):
		return c.fail(errSameObject)
	}
	return c.proposeCopy(db, resultCopied)
}

func parseDB(arg []byte) (db uint8, bad string) {
	n, ok := parseInt(arg)
	switch {
	case !ok:
		return 0, errNotInteger
	case n < 0 || n >= op.Databases:
		return 0, errDBIndex
	}
	return uint8(n), ""
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

// objectEncoding says how Redis would keep the string: its rule goes by content and size.
func objectEncoding(c *Call) Outcome { return query(queryEncoding) }

const embeddedBytesMax = 44

func queryEncoding(q *Query) error {
	v, err := q.View.Get(q.DB, q.Args[2], q.Buf[:0])
	if err != nil {
		return err
	}
	q.keep(v.Bytes)
	_, number := parseInt(v.Bytes)
	switch {
	case v.Type == op.TypeNone:
		q.Reply.Null()
	case number:
		q.Reply.BulkString("int")
	case len(v.Bytes) <= embeddedBytesMax:
		q.Reply.BulkString("embstr")
	default:
		q.Reply.BulkString("raw")
	}
	return nil
}

// objectRefCount and objectIdleTime: values are not shared, and accesses are not recorded.
func objectRefCount(c *Call) Outcome { return query(queryRefCount) }

func queryRefCount(q *Query) error { return q.ifThere(1) }

func objectIdleTime(c *Call) Outcome { return query(queryIdleTime) }

func queryIdleTime(q *Query) error { return q.ifThere(0) }

// ifThere answers n if the key of OBJECT exists.
func (q *Query) ifThere(n int64) error {
	v, _, err := q.View.Head(q.DB, q.Args[2])
	if err != nil {
		return err
	}
	if v.Type == op.TypeNone {
		q.Reply.Null()
	} else {
		q.Reply.Int(n)
	}
	return nil
}

func objectFreq(c *Call) Outcome { return c.fail(errNoLFU) }

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
