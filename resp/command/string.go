package command

import (
	"math"

	"kelek/store/op"
)

func get(c *Call) Outcome { return query(queryGet) }

func queryGet(q *Query) error {
	v, err := q.View.Get(q.DB, q.Args[1], q.Buf[:0])
	if err != nil {
		return err
	}
	q.keep(v.Bytes)
	q.seen(v.Type)
	switch v.Type {
	case op.TypeNone:
		q.Reply.Null()
	case op.TypeString:
		q.Reply.Bulk(v.Bytes)
	default:
		q.Reply.Error(errWrongType)
	}
	return nil
}

// scratchBytesMax is the largest scratch that is kept for the next query.
const scratchBytesMax = 64 << 10

// keep remembers a scratch buffer that a View may have grown.
func (q *Query) keep(buf []byte) {
	if cap(buf) > cap(q.Buf) && cap(buf) <= scratchBytesMax {
		q.Buf = buf
	}
}

// seen counts a key that a read looked up.
func (q *Query) seen(t op.Type) {
	if t == op.TypeNone {
		q.Misses++
	} else {
		q.Hits++
	}
}

func mget(c *Call) Outcome { return query(queryMget) }

func queryMget(q *Query) error {
	keys := q.Args[1:]
	from := len(q.Reply.Buf)
	q.Reply.Array(len(keys))
	for _, key := range keys {
		if q.Reply.Full() {
			q.Reply.Buf = q.Reply.Buf[:from]
			q.Reply.Error(ErrReplyTooLong)
			return nil
		}
		v, err := q.View.Get(q.DB, key, q.Buf[:0])
		if err != nil {
			return err
		}
		q.keep(v.Bytes)
		q.seen(v.Type)
		if v.Type == op.TypeString {
			q.Reply.Bulk(v.Bytes)
		} else {
			q.Reply.Null()
		}
	}
	return nil
}

func strlen(c *Call) Outcome { return query(queryStrlen) }

func queryStrlen(q *Query) error {
	v, n, err := q.View.Head(q.DB, q.Args[1])
	if err != nil {
		return err
	}
	q.seen(v.Type)
	switch v.Type {
	case op.TypeNone:
		q.Reply.Int(0)
	case op.TypeString:
		q.Reply.Int(int64(n))
	default:
		q.Reply.Error(errWrongType)
	}
	return nil
}

// getRange is GETRANGE and SUBSTR: key start end, both inclusive, negative ones from the end.
func getRange(c *Call) Outcome {
	for _, arg := range c.Args[2:] {
		if _, ok := parseInt(arg); !ok {
			return c.fail(errNotInteger)
		}
	}
	return query(queryGetRange)
}

func queryGetRange(q *Query) error {
	v, err := q.View.Get(q.DB, q.Args[1], q.Buf[:0])
	if err != nil {
		return err
	}
	q.keep(v.Bytes)
	q.seen(v.Type)
	if v.Type != op.TypeNone && v.Type != op.TypeString {
		q.Reply.Error(errWrongType)
		return nil
	}
	start, _ := parseInt(q.Args[2]) // getRange has looked at them
	end, _ := parseInt(q.Args[3])
	q.Reply.Bulk(sliceOf(v.Bytes, start, end))
	return nil
}

// sliceOf is the part of b from start to end.
func sliceOf(b []byte, start, end int64) []byte {
	length := int64(len(b))
	if start < 0 && end < 0 && start > end {
		return nil
	}
	if start < 0 {
		start = max(start+length, 0)
	}
	if end < 0 {
		end = max(end+length, 0)
	}
	end = min(end, length-1)
	if start > end {
		return nil
	}
	return b[start : end+1]
}

func set(c *Call) Outcome {
	*c.Op = op.Op{Code: op.CodePut, Key: c.Args[1], Value: c.Args[2]}
	if bad := setOptions(c.Op, c.Args[3:], c.Spec.Name); bad != "" {
		return c.fail(bad)
	}
	if c.Op.Return {
		return c.propose(resultBytes)
	}
	return c.propose(resultSet)
}

func setnx(c *Call) Outcome {
	*c.Op = op.Op{Code: op.CodePut, Cond: op.IfAbsent, Key: c.Args[1], Value: c.Args[2]}
	return c.propose(resultSetInt)
}

func setex(c *Call) Outcome { return setWithExpiry(c, expiry{op.TTLAfter, true}) }

func psetex(c *Call) Outcome { return setWithExpiry(c, expiry{op.TTLAfter, false}) }

func setWithExpiry(c *Call, e expiry) Outcome {
	*c.Op = op.Op{Code: op.CodePut, Key: c.Args[1], Value: c.Args[3]}
	if bad := positiveExpiry(c.Op, e, c.Args[2], c.Spec.Name); bad != "" {
		return c.fail(bad)
	}
	return c.propose(resultOK)
}

func getset(c *Call) Outcome {
	*c.Op = op.Op{Code: op.CodePut, Key: c.Args[1], Value: c.Args[2], Return: true}
	return c.propose(resultBytes)
}

func getdel(c *Call) Outcome {
	*c.Op = op.Op{Code: op.CodeTake, Key: c.Args[1]}
	return c.propose(resultBytes)
}

func mset(c *Call) Outcome {
	if len(c.Args)%2 == 0 {
		return c.fail(errArity("mset"))
	}
	*c.Op = op.Op{Code: op.CodePutMany, Args: c.Args[1:]}
	return c.propose(resultOK)
}

func msetnx(c *Call) Outcome {
	if len(c.Args)%2 == 0 {
		return c.fail(errArity("msetnx"))
	}
	*c.Op = op.Op{Code: op.CodePutNew, Args: c.Args[1:]}
	return c.propose(resultInt)
}

// getex changes a deadline and returns the string. Without an option it changes nothing, and is a
// read: as part of a command table it is a write, so it is one for MOVED, too.
func getex(c *Call) Outcome {
	*c.Op = op.Op{Code: op.CodeGetEx, Key: c.Args[1]}
	switch len(c.Args) {
	case 2:
		return query(queryGet)
	case 3:
		if !is(c.Args[2], "PERSIST") {
			return c.fail(errSyntax)
		}
	case 4:
		e, timed := expiryOption(c.Args[2])
		if !timed {
			return c.fail(errSyntax)
		}
		if bad := positiveExpiry(c.Op, e, c.Args[3], c.Spec.Name); bad != "" {
			return c.fail(bad)
		}
	default:
		return c.fail(errSyntax)
	}
	return c.propose(resultBytes)
}

func setrange(c *Call) Outcome {
	offset, ok := parseInt(c.Args[2])
	switch {
	case !ok:
		return c.fail(errNotInteger)
	case offset < 0:
		return c.fail(errOffset)
	}
	*c.Op = op.Op{Code: op.CodeSetRange, Key: c.Args[1], Delta: offset, Value: c.Args[3]}
	return c.propose(resultInt)
}

// incrbyfloat leaves the number as it is: what a number is, and what comes out, is decided where
// the op is applied, by one function.
func incrbyfloat(c *Call) Outcome {
	*c.Op = op.Op{Code: op.CodeAddFloat, Key: c.Args[1], Value: c.Args[2]}
	return c.propose(resultBytes)
}

func appendTo(c *Call) Outcome {
	*c.Op = op.Op{Code: op.CodeAppend, Key: c.Args[1], Value: c.Args[2]}
	return c.propose(resultInt)
}

func incr(c *Call) Outcome { return add(c, 1) }

func decr(c *Call) Outcome { return add(c, -1) }

func incrby(c *Call) Outcome {
	n, ok := parseInt(c.Args[2])
	if !ok {
		return c.fail(errNotInteger)
	}
	return add(c, n)
}

func decrby(c *Call) Outcome {
	n, ok := parseInt(c.Args[2])
	switch {
	case !ok:
		return c.fail(errNotInteger)
	case n == math.MinInt64:
		return c.fail(errDecrOverflow)
	}
	return add(c, -n)
}

func add(c *Call, delta int64) Outcome {
	*c.Op = op.Op{Code: op.CodeAdd, Key: c.Args[1], Delta: delta}
	return c.propose(resultInt)
}
