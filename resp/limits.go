package resp

import (
	"fmt"
	"time"
)

// Limits are the bounds of the RESP face. Each has a unit in its name, Redis's name in CONFIG GET
// where Redis has one, and a stated behaviour when it is reached. Zero means the default.
type Limits struct {
	// MaxClients is how many connections both listeners of one Shared may hold together
	// (maxclients). One more gets `-ERR max number of clients reached` and is closed.
	MaxClients int
	// BulkBytesMax bounds one argument (proto-max-bulk-len) and what a string may grow to. A longer
	// one is a protocol error and closes the connection before any of it is buffered.
	BulkBytesMax int
	// ElementsMax bounds the arguments of one command. More is a protocol error.
	ElementsMax int
	// InlineBytesMax bounds one inline line, and the header of an array or a bulk. Longer is a
	// protocol error.
	InlineBytesMax int
	// QueryBytesMax bounds one command with its framing (client-query-buffer-limit). It is the
	// memory one connection can claim for input. More is a protocol error.
	QueryBytesMax int
	// ElementsBeforeAuth and BulkBytesBeforeAuth replace ElementsMax and BulkBytesMax until a
	// client has given the password, when there is one.
	ElementsBeforeAuth  int
	BulkBytesBeforeAuth int
	// AuthTimeout is how long a connection may be silent before it has given the password.
	AuthTimeout time.Duration
	// IdleTimeout closes a silent connection (timeout); 0: never, as in Redis.
	IdleTimeout time.Duration
	// WriteTimeout closes a connection whose client does not take its replies.
	WriteTimeout time.Duration
	// ReplyBytesMax bounds the replies a batch holds in memory. Replies read before that are sent
	// first where the order allows it; a reply that begins above the bound becomes an error.
	ReplyBytesMax int
	// BatchOpsMax and BatchBytesMax end a batch: what a pipeline holds beyond them is the next
	// batch of the same connection. Bytes are those of the encoded ops.
	BatchOpsMax   int
	BatchBytesMax int
}

// Bounds that are no option: nobody has a reason to change them.
const (
	// queryBytesInitial is a connection's first query buffer; it grows while reads fill it.
	queryBytesInitial = 8 << 10
	// readBytesMax is the most one read of the socket asks for, unless a single bulk is longer.
	readBytesMax = 64 << 10
	// replyBytesKept is the largest reply or op buffer that a connection keeps between batches.
	replyBytesKept = 64 << 10
	// inlineKeysMax is how many keys a query may touch to be answered on the node's goroutine, behind
	// a write of its batch. A larger one is the next batch, and is answered by its connection.
	inlineKeysMax = 128
	// flushBytes is how many bytes of replies are gathered before they are written in mid-pipeline.
	flushBytes = 64 << 10
)

// DefaultLimits are those of redis.md.
func DefaultLimits() Limits {
	return Limits{
		MaxClients:          10000,
		BulkBytesMax:        64 << 20,
		ElementsMax:         1 << 20,
		InlineBytesMax:      64 << 10,
		QueryBytesMax:       128 << 20,
		ElementsBeforeAuth:  10,
		BulkBytesBeforeAuth: 16 << 10,
		AuthTimeout:         10 * time.Second,
		WriteTimeout:        30 * time.Second,
		ReplyBytesMax:       64 << 20,
		BatchOpsMax:         4096,
		BatchBytesMax:       1 << 20,
	}
}

// withDefaults fills what is zero.
func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	for _, f := range []struct{ have, def *int }{
		{&l.MaxClients, &d.MaxClients},
		{&l.BulkBytesMax, &d.BulkBytesMax},
		{&l.ElementsMax, &d.ElementsMax},
		{&l.InlineBytesMax, &d.InlineBytesMax},
		{&l.QueryBytesMax, &d.QueryBytesMax},
		{&l.ElementsBeforeAuth, &d.ElementsBeforeAuth},
		{&l.BulkBytesBeforeAuth, &d.BulkBytesBeforeAuth},
		{&l.ReplyBytesMax, &d.ReplyBytesMax},
		{&l.BatchOpsMax, &d.BatchOpsMax},
		{&l.BatchBytesMax, &d.BatchBytesMax},
	} {
		if *f.have == 0 {
			*f.have = *f.def
		}
	}
	if l.AuthTimeout == 0 {
		l.AuthTimeout = d.AuthTimeout
	}
	if l.WriteTimeout == 0 {
		l.WriteTimeout = d.WriteTimeout
	}
	return l
}

// Validate checks the relations between the limits; a zero is not a default here.
func (l Limits) Validate() error {
	for _, n := range []int{l.MaxClients, l.BulkBytesMax, l.ElementsMax, l.InlineBytesMax,
		l.QueryBytesMax, l.ElementsBeforeAuth, l.BulkBytesBeforeAuth, l.ReplyBytesMax,
		l.BatchOpsMax, l.BatchBytesMax} {
		if n < 1 {
			return fmt.Errorf("limits: %d is not positive; leave a limit out for its default", n)
		}
	}
	if l.QueryBytesMax <= l.BulkBytesMax {
		return fmt.Errorf("limits: client-query-buffer-limit %d must exceed proto-max-bulk-len %d: "+
			"a command carries its argument and its name", l.QueryBytesMax, l.BulkBytesMax)
	}
	return nil
}
