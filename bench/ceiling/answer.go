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

func answer(conn redcon.Conn, args [][]byte, value []byte) {
	switch name := args[0]; {
	case is(name, "GET"):
		conn.WriteBulk(value)
	case is(name, "INCR"), is(name, "APPEND"):
		conn.WriteInt(1)
	case is(name, "PING"):
		conn.WriteString("PONG")
	case is(name, "SET"), is(name, "MSET"), is(name, "AUTH"):
		conn.WriteString("OK")
	default:
		conn.WriteError("ERR this server only answers GET, SET, MSET, INCR, APPEND and PING")
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
