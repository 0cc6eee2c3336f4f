package command

import (
	"strconv"

	"kelek/store/op"
)

// SCAN, KEYS and RANDOMKEY: the commands that go over a database. The cursor of SCAN is the order
// prefix to go on from (op.OrderPrefix), so it means the same on every node and after a failover.

// ScanView is a View that can go over the keys of a database in order. It visits at least as many
// as limit says, expired ones counted, and with the last one all that share its prefix; next is the
// prefix to go on from, 0 at the end. A key is valid during the call of visit.
type ScanView interface {
	Scan(db uint8, from uint64, limit int, visit func(key []byte, t op.Type)) (next uint64, err error)
}

const (
	scanCountDefault = 10
	// scanCountMax bounds the work of one SCAN. Redis promises no number of keys per call either.
	scanCountMax = 100_000
	// keysStep is how many keys KEYS looks at before it asks whether the reply is too long already.
	keysStep = 1000
	// randomStep is how many keys RANDOMKEY looks at in one place before it goes on: more than one
	// only because some may have expired.
	randomStep = 16
)

// scanRequest is what SCAN was asked for.
type scanRequest struct {
	cursor  uint64
	count   int
	pattern []byte // nil: all
	only    op.Type
	typed   bool
	nothing bool // a type that no key has
}

func scan(c *Call) Outcome {
	if _, bad := parseScan(c.Args); bad != "" {
		return c.fail(bad)
	}
	return query(queryScan)
}

// parseScan reads cursor [MATCH pattern] [COUNT n] [TYPE t].
func parseScan(args [][]byte) (r scanRequest, bad string) {
	var err error
	if r.cursor, err = strconv.ParseUint(string(args[1]), 10, 64); err != nil {
		return r, "ERR invalid cursor"
	}
	r.count = scanCountDefault
	for rest := args[2:]; len(rest) > 0; rest = rest[2:] {
		switch {
		case len(rest) < 2:
			return r, errSyntax
		case is(rest[0], "COUNT"):
			n, ok := parseInt(rest[1])
			switch {
			case !ok:
				return r, errNotInteger
			case n < 1:
				return r, errSyntax
			}
			r.count = int(min(n, scanCountMax))
		case is(rest[0], "MATCH"):
			r.pattern = rest[1]
		case is(rest[0], "TYPE"):
			r.typed, r.only = true, op.TypeString
			r.nothing = !is(rest[1], "STRING")
		default:
			return r, errSyntax
		}
	}
	return r, ""
}

func (r *scanRequest) wants(key []byte, t op.Type) bool {
	return !r.nothing && (!r.typed || t == r.only) && (r.pattern == nil || match(r.pattern, key, false))
}

func queryScan(q *Query) error {
	request, _ := parseScan(q.Args) // scan has looked at it
	var keys Reply
	n := 0
	next, err := q.scan(request.cursor, request.count, func(key []byte, t op.Type) {
		if request.wants(key, t) {
			keys.Bulk(key)
			n++
		}
	})
	if err != nil {
		return err
	}
	q.Reply.Array(2)
	q.Reply.BulkString(strconv.FormatUint(next, 10))
	q.Reply.Array(n)
	q.Reply.Buf = append(q.Reply.Buf, keys.Buf...)
	return nil
}

// scan is that of the view, which is a stable one for commands with the flag Whole.
func (q *Query) scan(
	from uint64, limit int, visit func(key []byte, t op.Type),
) (next uint64, err error) {
	return q.View.(ScanView).Scan(q.DB, from, limit, visit)
}

func keys(c *Call) Outcome { return query(queryKeys) }

// queryKeys lists all keys that match, in order.
func queryKeys(q *Query) error {
	list := Reply{BytesMax: q.Reply.BytesMax}
	n := 0
	for from, more := uint64(0), true; more; {
		next, err := q.scan(from, keysStep, func(key []byte, _ op.Type) {
			if match(q.Args[1], key, false) {
				list.Bulk(key)
				n++
			}
		})
		if err != nil {
			return err
		}
		if list.Full() {
			q.Reply.Error(ErrReplyTooLong)
			return nil
		}
		from, more = next, next != 0
	}
	q.Reply.Array(n)
	q.Reply.Buf = append(q.Reply.Buf, list.Buf...)
	return nil
}

func randomKey(c *Call) Outcome { return query(queryRandomKey) }

// queryRandomKey takes the first key behind a random place in the order, which goes round at its
// end: order prefixes are hashes, so every key has some chance, though not all have the same.
func queryRandomKey(q *Query) error {
	start := q.Random()
	from, wrapped := start, false
	for {
		var found []byte
		next, err := q.scan(from, randomStep, func(key []byte, _ op.Type) {
			if found == nil {
				found = append(q.Buf[:0], key...)
			}
		})
		switch {
		case err != nil:
			return err
		case found != nil:
			q.keep(found)
			q.Reply.Bulk(found)
			return nil
		case wrapped && (next == 0 || next > start):
			q.Reply.Null()
			return nil
		case next == 0:
			wrapped = true
		}
		from = next
	}
}
