package command

import "kelek/store/op"

// onceClientBytesMax bounds the client's name, which is stored with each kept reply.
const onceClientBytesMax = 128

// once is `ONCE <client> <request-id> <command...>`: the inner command is executed the first time
// this client uses this request id, and its stored reply is returned every other time, on any node
// and connection. The inner command decides what it proposes and how its result is written.
func once(c *Call) Outcome {
	client := c.Args[1]
	if len(client) == 0 || len(client) > onceClientBytesMax {
		return c.fail(errOnceClient)
	}
	request, ok := parseInt(c.Args[2])
	if !ok || request < 1 {
		return c.fail(errOnceRequest)
	}
	inner, bad := c.Table.Find(c.Args[3:])
	switch {
	case bad != "":
		return c.fail(bad)
	case inner.Flags&Control != 0:
		return c.fail(errOnceExec)
	case inner.Class != Write || inner.Flags&Wraps != 0:
		return c.fail(errOnceInner)
	}
	call := *c
	call.Args, call.Spec = c.Args[3:], inner
	outcome := inner.Handler(&call)
	switch outcome.Kind {
	case Answered:
		return outcome
	case Queried: // GETEX without an option
		return c.fail(errOnceInner)
	}
	c.inner = c.Op.Append(c.inner[:0])
	*c.Op = op.Op{Code: op.CodeOnce, Client: client, Request: uint64(request), Inner: c.inner}
	result := c.propose(outcome.Result)
	result.Name = inner.Name
	return result
}
