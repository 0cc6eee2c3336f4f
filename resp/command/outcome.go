package command

import "kelek/store/op"

// Handler decides what one command means. It does nothing itself: it answers at once, or it says
// which op is to be replicated, or which query is to be run on a View. Its arguments live until the
// command was answered.
type Handler func(c *Call) Outcome

// Kind is the sort of an Outcome.
type Kind uint8

const (
	Answered Kind = iota // the reply is in Call.Reply
	Proposed             // the op is in Call.Op
	Queried              // Outcome.Query is to be run
	HungUp               // close without a word
)

// Outcome is a handler's decision. Its functions are static, so that a command costs no closure.
type Outcome struct {
	Kind   Kind
	Result ResultFunc // Proposed: writes the reply
	Query  QueryFunc  // Queried: writes the reply
	Name   string     // Proposed: the command that errors name; empty: the one that was called
	Exec   *Exec      // a transaction, Proposed or Queried: in the place of Result and Query
}

// ResultFunc writes the reply to a Result that is no error.
type ResultFunc func(r *Reply, result *op.Result)

// QueryFunc reads a View and writes the reply. An error means that storage cannot be read.
type QueryFunc func(q *Query) error

// Query is what a QueryFunc has.
type Query struct {
	View  op.View
	DB    uint8
	Args  [][]byte
	NowMs uint64 // this node's clock; for remaining times only, never to decide whether a key exists
	Reply *Reply
	Buf   []byte // scratch, kept between queries
	// Random is a source of local chance: no two nodes need agree about what is read.
	Random func() uint64
	// Session is for WATCH alone: its query runs before the connection decides anything else.
	Session *Session

	Hits, Misses uint64 // keys that were looked up; the dispatcher moves them to its counters
}

// Run writes the reply of one query, or an error: that the replies are too long already, or that
// storage cannot be read, which it returns.
func (q *Query) Run(f QueryFunc) error {
	if q.Reply.Full() {
		q.Reply.Error(ErrReplyTooLong)
		return nil
	}
	from := len(q.Reply.Buf)
	err := f(q)
	if err != nil {
		q.Reply.Buf = q.Reply.Buf[:from]
		q.Reply.Error("ERR cannot read storage: " + err.Error())
	}
	return err
}

// Call is one command on its way to an Outcome. One connection reuses one Call.
type Call struct {
	Args    [][]byte
	Spec    *Spec
	Table   *Table
	Session *Session
	Host    Host
	Reply   *Reply
	Op      *op.Op

	inner  []byte // ONCE: the encoded inner op
	inExec bool   // EXEC is calling
}

func (c *Call) propose(result ResultFunc) Outcome {
	c.Op.DB = c.Session.DB
	return Outcome{Kind: Proposed, Result: result}
}

func query(f QueryFunc) Outcome { return Outcome{Kind: Queried, Query: f} }

// answered ends a handler that has written its reply.
func (c *Call) answered() Outcome { return Outcome{Kind: Answered} }

func (c *Call) ok() Outcome {
	c.Reply.OK()
	return c.answered()
}

func (c *Call) fail(line string) Outcome {
	c.Reply.Error(line)
	return c.answered()
}

// WriteResult writes the reply to what an op did, errors included.
func WriteResult(r *Reply, o *Outcome, result *op.Result) {
	if result.Kind == op.ResultError {
		r.Error(resultError(result.Error, o.Name))
		return
	}
	o.Result(r, result)
}

// The replies that many commands share.

func resultOK(r *Reply, _ *op.Result) { r.OK() }

func resultInt(r *Reply, result *op.Result) { r.Int(result.Int) }

// resultSet is that of a conditional write: OK, or null when the condition did not hold.
func resultSet(r *Reply, result *op.Result) {
	if result.Kind == op.ResultNil {
		r.Null()
		return
	}
	r.OK()
}

// resultSetInt is 1 when the condition held, else 0.
func resultSetInt(r *Reply, result *op.Result) {
	if result.Kind == op.ResultNil {
		r.Int(0)
		return
	}
	r.Int(1)
}

// resultBytes is a string or null.
func resultBytes(r *Reply, result *op.Result) {
	if result.Kind == op.ResultBytes {
		r.Bulk(result.Bytes)
		return
	}
	r.Null()
}
