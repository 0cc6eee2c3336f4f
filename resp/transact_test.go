package resp

import (
	"fmt"
	"strings"
	"testing"

	"kelek/store/op"
)

// TestAFailedTransactionTakesNothingWithIt: the database is the one before, nothing is watched, and
// the words are those of a single command.
func TestAFailedTransactionTakesNothingWithIt(t *testing.T) {
	f := newFace(t, Options{})
	c := f.dial(t)
	c.send("SET k zero\r\nWATCH k\r\n").expect("+OK\r\n+OK\r\n")
	for err, word := range map[error]string{op.ErrBusy: "-TRYAGAIN ", op.ErrUncertain: "-UNCERTAIN ",
		op.ErrNoLeader: "-CLUSTERDOWN ", op.ErrTooLarge: "-ERR "} {
		f.node.Fail(err)
		c.send("MULTI\r\nSELECT 3\r\nSET k 3\r\nEXEC\r\n")
		c.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n" + word)
		if _, err := c.in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	f.node.Fail(nil)
	c.send("GET k\r\nSET k 0\r\nMULTI\r\nGET k\r\nEXEC\r\n")
	c.expect("$4\r\nzero\r\n+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n$1\r\n0\r\n")
}

// TestATransactionIsOneOp, and none at all when it only reads.
func TestATransactionIsOneOp(t *testing.T) {
	f := newFace(t, Options{})
	c := f.dial(t)
	c.send("MULTI\r\nINCR n\r\nGET n\r\nINCR n\r\nEXEC\r\n")
	c.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n:1\r\n$1\r\n1\r\n:2\r\n")
	if s, r := f.node.Submissions.Load(), f.node.Reads.Load(); s != 1 || r != 0 {
		t.Errorf("%d submissions, %d reads", s, r)
	}
	c.send("MULTI\r\nGET n\r\nPING\r\nGET n\r\nEXEC\r\n")
	c.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n$1\r\n2\r\n+PONG\r\n$1\r\n2\r\n")
	s, r, stable := f.node.Submissions.Load(), f.node.Reads.Load(), f.node.StableViews.Load()
	if s != 1 || r != 1 || stable != 1 {
		t.Errorf("%d submissions, %d reads, %d stable views", s, r, stable)
	}
}

// TestATransactionMayBePutOff: one that does not fit into its batch, or is too much for the node's
// goroutine, is decided again in the next batch, and nobody can tell.
func TestATransactionMayBePutOff(t *testing.T) {
	f := newFace(t, Options{Limits: Limits{BatchBytesMax: 100}})
	c := f.dial(t)
	big := strings.Repeat("x", 60)
	c.send("WATCH b\r\nSET a " + big + "\r\nMULTI\r\nSELECT 1\r\nSET b " + big +
		"\r\nSTRLEN b\r\nEXEC\r\nSTRLEN b\r\n")
	c.expect("+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n" +
		"*3\r\n+OK\r\n+OK\r\n:60\r\n:60\r\n")
	if s := f.node.Submissions.Load(); s != 2 {
		t.Errorf("%d submissions, want one for the write and one for the transaction", s)
	}
	c.send("SET c 1\r\nMULTI\r\nDBSIZE\r\nEXEC\r\nSET d 1\r\nMULTI\r\n" +
		strings.Repeat("GET d\r\n", inlineKeysMax+1) + "EXEC\r\n")
	c.expect("+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n:2\r\n+OK\r\n+OK\r\n" +
		strings.Repeat("+QUEUED\r\n", inlineKeysMax+1) +
		fmt.Sprintf("*%d\r\n", inlineKeysMax+1) + strings.Repeat("$1\r\n1\r\n", inlineKeysMax+1))
	if r := f.node.Reads.Load(); r != 4 {
		t.Errorf("%d reads, want those of WATCH, STRLEN and two transactions", r)
	}
}

// TestElementsAreCounted: an error among the replies is an error in INFO, and EXEC's is not.
func TestElementsAreCounted(t *testing.T) {
	f := newFace(t, Options{})
	f.dial(t).send("SET s x\r\nMULTI\r\nINCR s\r\nSELECT 99\r\nEXEC\r\n").
		expect("+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n-ERR value is not an integer " +
			"or out of range\r\n-ERR DB index is out of range\r\n")
	waitFor(t, func() bool { return f.Stats().Batches.Load() > 0 })
	if n := f.Stats().ErrorReplies.Load(); n != 2 {
		t.Errorf("%d error replies", n)
	}
	if got := fmt.Sprint(f.Stats().errorstats()); got != "[{ERR 2}]" {
		t.Errorf("counted %s", got)
	}
}

// TestInfoKnowsWhoWatches.
func TestInfoKnowsWhoWatches(t *testing.T) {
	f := newFace(t, Options{})
	a, b := f.dial(t), f.dial(t)
	a.send("WATCH x y\r\n").expect("+OK\r\n")
	b.send("WATCH x\r\nMULTI\r\nPING\r\n").expect("+OK\r\n+OK\r\n+QUEUED\r\n")
	info := func() (clients, keys, queued int) {
		clients, keys = f.shared.watching(f.node.Clock())
		for _, i := range f.Clients() {
			queued = max(queued, i.Queued)
		}
		return clients, keys, queued
	}
	waitFor(t, func() bool { c, k, q := info(); return c == 2 && k == 3 && q == 1 })
	b.send("EXEC\r\n").expect("*1\r\n+PONG\r\n")
	waitFor(t, func() bool { c, k, q := info(); return c == 1 && k == 2 && q == 0 })
}
