package ceiling

import (
	"context"
	"net"

	"github.com/tidwall/redcon"
)

// valueBytes is the size of the value that GET answers.
const valueBytes = 64

// Answer serves until ctx is done.
func Answer(ctx context.Context, ln net.Listener) error {
	value := make([]byte, valueBytes)
	for i := range value {
		value[i] = byte('a' + i%26)
	}
	server := redcon.NewServer("", func(conn redcon.Conn, cmd redcon.Command) {
		answer(conn, cmd.Args, value)
	}, func(redcon.Conn) bool { return true }, func(redcon.Conn, error) {})
	defer context.AfterFunc(ctx, func() {
		server.Close() // Serve tells how it ended
	})()
	if err := server.Serve(ln); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// transaction is the context of a connection between MULTI and EXEC: how many commands wait.
type transaction int

func answer(conn redcon.Conn, args [][]byte, value []byte) {
	if queued, open := conn.Context().(transaction); open {
		answerQueued(conn, args[0], queued)
		return
	}
	switch name := args[0]; {
	case is(name, "GET"):
		conn.WriteBulk(value)
	case is(name, "INCR"), is(name, "APPEND"):
		conn.WriteInt(1)
	case is(name, "PING"):
		conn.WriteString("PONG")
	case is(name, "MULTI"):
		conn.SetContext(transaction(0))
		conn.WriteString("OK")
	case is(name, "SET"), is(name, "MSET"), is(name, "AUTH"):
		conn.WriteString("OK")
	default:
		conn.WriteError("ERR this server only answers GET, SET, MSET, INCR, APPEND, PING and MULTI")
	}
}

// answerQueued counts what is in a transaction, and answers as often at its end.
func answerQueued(conn redcon.Conn, name []byte, queued transaction) {
	if !is(name, "EXEC") {
		conn.SetContext(queued + 1)
		conn.WriteString("QUEUED")
		return
	}
	conn.SetContext(nil)
	conn.WriteArray(int(queued))
	for range queued {
		conn.WriteString("OK")
	}
}

// is compares without regard to case, and without an allocation.
func is(name []byte, word string) bool {
	if len(name) != len(word) {
		return false
	}
	for i, c := range name {
		if c&^0x20 != word[i] {
			return false
		}
	}
	return true
}
