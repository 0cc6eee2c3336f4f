package transport

import (
	"testing"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// counter is a Handler that says how many messages each call brought.
type counter struct {
	recorder
	got chan int
}

func (c *counter) Messages(_ raftcore.NodeID, ms []raftcore.Message) { c.got <- len(ms) }

// BenchmarkAppend is one entry of 256 bytes per message, 64 messages on their way.
func BenchmarkAppend(b *testing.B) {
	la, lb := listen(b), listen(b)
	handler := func(id int) *counter {
		c := &counter{got: make(chan int, 64)}
		c.hello = wire.Hello{Protocol: 1, ClusterID: testCluster, NodeID: raftcore.NodeID(id)}
		c.hello.Name = memberAt(id, "").Name
		return c
	}
	to := handler(2)
	receiver, err := New(Options{Listener: lb}, to)
	if err != nil {
		b.Fatal(err)
	}
	defer receiver.Close()
	hint := Hint{"n2", lb.Addr().String()}
	sender, err := New(Options{Listener: la, Hints: []Hint{hint}}, handler(1))
	if err != nil {
		b.Fatal(err)
	}
	defer sender.Close()
	eventually(b, "a connection", func() bool { return sender.Peers()[0].Connected })
	messages := []raftcore.Message{appendFrom(1, 2, 1, string(make([]byte, 256)))}
	b.ReportAllocs()
	b.ResetTimer()
	for onTheWay := 0; b.Loop(); onTheWay++ {
		for onTheWay >= 64 {
			onTheWay -= <-to.got
		}
		sender.Send(2, messages)
	}
}
