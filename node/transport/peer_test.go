package transport

import (
	"context"
	"slices"
	"testing"

	"kelek/raftcore/wire"
)

// Addresses take turns with each dial in vain; news of the peer, even in the middle of a dial, goes
// back to the best one; a good address is used again.
func TestAddressesTakeTurns(t *testing.T) {
	p := &peer{t: &Transport{handler: &recorder{}}, queue: newQueue(), kick: make(chan struct{}, 1)}
	p.stopped, p.stop = context.WithCancel(context.Background())
	defer p.stop()
	if p.address() != "" {
		t.Fatal("an address from nowhere")
	}
	p.told, p.recorded, p.hint = "told", "recorded", "hint"
	var tried []string
	try := func() { tried = append(tried, p.address()) }
	for range 4 {
		try()
		p.failures++
	}
	try() // the fifth dial: the peer dials us before it is done
	p.redial()
	p.begin(&conn{}, wire.Hello{})
	p.conn = nil
	try()
	p.hint, p.told = "recorded", "recorded"
	p.failures++
	try()
	want := []string{"told", "recorded", "hint", "told", "recorded", "told", "recorded"}
	if !slices.Equal(tried, want) {
		t.Fatalf("tried %q, want %q", tried, want)
	}
}
