package command

import (
	"bytes"
	"strings"
	"testing"
)

// TestTransactionsAreBounded: what goes beyond the bounds is refused with a reason, EXEC refuses
// the rest, and the next transaction is not affected.
func TestTransactionsAreBounded(t *testing.T) {
	command := func(line string) [][]byte { return bytes.Fields([]byte(line)) }
	expect := func(t *testing.T, h *fakeHost, line, want string) {
		t.Helper()
		if got := string(h.do(command(line))); !strings.HasPrefix(got, want) {
			t.Fatalf("%.40s: %.100q, want %q", line, got, want)
		}
	}
	t.Run("commands", func(t *testing.T) {
		h := newFakeHost(t)
		h.do(command("MULTI"))
		for range queuedCommandsMax {
			h.do(command("GET k"))
		}
		expect(t, h, "GET k", "-ERR MULTI: more than 65536 commands")
		expect(t, h, "EXEC", "-EXECABORT")
		expect(t, h, "MULTI", "+OK")
		expect(t, h, "GET k", "+QUEUED")
	})
	t.Run("bytes", func(t *testing.T) {
		h := newFakeHost(t)
		set := append(command("SET k"), make([]byte, queuedBytesMax/2))
		h.do(command("MULTI"))
		h.do(set)
		if got := h.do(set); !bytes.HasPrefix(got, []byte("-ERR MULTI: more than 67108864 bytes")) {
			t.Fatalf("%q", got)
		}
		expect(t, h, "EXEC", "-EXECABORT")
	})
	t.Run("keys", func(t *testing.T) {
		h := newFakeHost(t)
		expect(t, h, "WATCH"+strings.Repeat(" k", watchedKeysMax), "+OK")
		expect(t, h, "WATCH"+strings.Repeat(" k", watchedKeysMax), "-ERR WATCH: more than 4096 keys")
		expect(t, h, "MULTI", "+OK")
		expect(t, h, "EXEC", "*0")
	})
}
