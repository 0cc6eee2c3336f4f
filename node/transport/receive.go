package transport

import (
	"errors"
	"fmt"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// receiver turns the frames of one inbound connection into calls of the handler. Everything that
// has arrived by the time of a read becomes one batch: the loop is woken once for all of it.
//
// Who owns what: small frames are decoded from the connection's buffer, which is read into again.
// What the handler may keep, the data of entries and proposals, is first moved to the arena, whose
// memory is never written twice; a large frame has memory of its own anyway. Only frames with such
// data go there, so a kept entry does not keep the heartbeats around it.
type receiver struct {
	c       *conn
	frames  *frameReader
	batch   []raftcore.Message // decoded and not delivered; its capacity is what the piece has left
	entries []raftcore.Entry   // empty; likewise
	arena   []byte             // its length is what is used
	joined  bool               // both ends are known to be in one cluster, which neither will leave
}

var (
	errBlankPeer = errors.New("raft or a proposal from a node that belongs to no cluster, or another")
	errKind      = errors.New("a frame of a kind that has no place here")
)

// run reads until the connection breaks, and returns why.
func (r *receiver) run() error {
	for {
		k, payload, owned, err := r.frames.next()
		if err != nil {
			return err
		}
		if err := r.frame(k, payload, owned); err != nil {
			return err
		}
		if !r.frames.ready() {
			r.deliver()
			r.c.touch()
		}
	}
}

func (r *receiver) frame(k kind, payload []byte, owned bool) error {
	switch k {
	case kindMessage, kindAppend:
		return r.message(k, payload, owned)
	case kindProposal:
		r.deliver()
		use, err := r.member()
		if use {
			r.c.t.handler.Forwarded(r.c.id(), r.keep(payload, owned))
		}
		return err
	case kindInvite:
		r.deliver()
		return r.invite(payload)
	case kindHello:
		r.deliver()
		h, err := decodeHello(payload)
		if err != nil {
			return err
		}
		return r.c.t.renew(r.c, h)
	case kindRefusal, kindForeign, kindRemoved:
		return refusal(k, payload)
	}
	return fmt.Errorf("%w: %d", errKind, k)
}

func (r *receiver) message(k kind, payload []byte, owned bool) error {
	m := r.nextMessage()
	if k == kindAppend {
		payload = r.keep(payload, owned)
		m.Entries = r.spareEntries()
	}
	rest, err := wire.DecodeMessage(payload, m)
	switch {
	case err != nil:
		return err
	case len(rest) > 0:
		return fmt.Errorf("%d bytes after a message", len(rest))
	case (len(m.Entries) > 0) != (k == kindAppend):
		// NB: entries in a kindMessage would point into a buffer that is about to change.
		return fmt.Errorf("%w: %d, with %d entries", errKind, k, len(m.Entries))
	case m.From != r.c.id() || m.To != r.c.t.self:
		return fmt.Errorf("a message from node %x to %x on a connection from %x to %x",
			uint64(m.From), uint64(m.To), uint64(r.c.id()), uint64(r.c.t.self))
	}
	use, err := r.member()
	if use {
		r.takeEntries(m)
		r.batch = r.batch[:len(r.batch)+1]
	}
	return err
}

// member reports whether what the peer's core says is for ours. A node that is invited hears the
// others' cores before it has adopted the cluster, and does not listen yet. The reverse is refused:
// a node without a cluster has no core that could speak.
func (r *receiver) member() (use bool, err error) {
	if r.joined {
		return true, nil
	}
	theirs, ours := r.c.hello.Load().ClusterID, r.c.t.handler.Hello().ClusterID
	switch {
	case theirs == [16]byte{}:
		return false, errBlankPeer
	case ours == [16]byte{}:
		return false, nil
	case ours != theirs:
		return false, errBlankPeer
	}
	r.joined = true
	return true, nil
}

// nextMessage returns the place of the next message of the batch.
func (r *receiver) nextMessage() *raftcore.Message {
	if len(r.batch) == cap(r.batch) {
		r.deliver()
		r.batch = make([]raftcore.Message, 0, messagesPerPiece)
	}
	m := &r.batch[:len(r.batch)+1][len(r.batch)]
	*m = raftcore.Message{}
	return m
}

// deliver hands over the batch, and begins the next one behind it.
func (r *receiver) deliver() {
	n := len(r.batch)
	if n == 0 {
		return
	}
	batch := r.batch[:n:n]
	r.batch = r.batch[n:]
	r.c.t.handler.Messages(r.c.id(), batch)
}

// spareEntries is memory that a decoder may put entries into.
func (r *receiver) spareEntries() []raftcore.Entry {
	if cap(r.entries) == 0 {
		r.entries = make([]raftcore.Entry, 0, entriesPerPiece)
	}
	return r.entries
}

// takeEntries gives the message sole use of the part of the piece that its entries occupy. When
// they did not fit, the decoder has made room for them elsewhere.
func (r *receiver) takeEntries(m *raftcore.Message) {
	n := len(m.Entries)
	if n == 0 {
		m.Entries = nil
		return
	}
	if n <= cap(r.entries) {
		r.entries = r.entries[n:n]
	} else {
		r.entries = nil // what is left of the piece is too small to go on with
	}
	m.Entries = m.Entries[:n:n]
}

// keep returns payload in memory that belongs to whoever gets it.
func (r *receiver) keep(payload []byte, owned bool) []byte {
	if owned {
		return payload
	}
	n := len(payload)
	if n > arenaFrameBytesMax {
		return append(make([]byte, 0, n), payload...)
	}
	if cap(r.arena)-len(r.arena) < n {
		r.arena = make([]byte, 0, arenaBytes)
	}
	begin := len(r.arena)
	r.arena = append(r.arena, payload...)
	return r.arena[begin:len(r.arena):len(r.arena)]
}

func (r *receiver) invite(payload []byte) error {
	var inv wire.Invite
	rest, err := wire.DecodeInvite(payload, &inv)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes after an invitation", len(rest))
	}
	if err == nil {
		r.c.t.handler.Invited(r.c.id(), inv)
	}
	return err
}
