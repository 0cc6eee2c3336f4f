package load

import (
	"fmt"
	"strconv"
)

// session is one connection without its socket: it writes commands into a buffer and understands
// the replies. It does no I/O and reads no clock, so the same code runs in the event loop, in the
// portable loop, and in tests with a clock of their own.
type session struct {
	options *Options
	encoder encoder
	random  *source
	sizes   sizer
	keys    *zipf // nil: all keys are equally frequent
	next    int   // sequential keys: the next one
	stride  int   // and the distance to the one after it

	out     []byte // commands that were not written yet
	in      []byte // a buffer; the bytes up to inUsed are replies that were not understood yet
	inUsed  int
	waiting []sent // in the order of their replies
	first   int    // index of the oldest in waiting
}

// sent is a command that waits for its reply. A transaction has several, and is answered by the last.
type sent struct {
	due     int64
	kind    int
	replies int  // that have not come
	refused bool // one of those that have come was an error
}

const inBytes = 16 << 10 // to begin with; a buffer grows to the largest reply

// newSession prepares connection number i.
func newSession(o *Options, i int) *session {
	s := &session{options: o, random: newSource(o.Seed, uint64(i)), sizes: newSizer(o.Sizes),
		encoder: encoder{protocol: o.Protocol, host: o.Addrs[i%len(o.Addrs)]},
		in:      make([]byte, inBytes), waiting: make([]sent, 0, o.Depth),
		next: i, stride: o.Connections}
	if o.ZipfKeys {
		s.keys = newZipf(o.Keys, zipfExponent)
	}
	return s
}

func (s *session) key() int {
	switch {
	case s.options.Sequential:
		key := s.next
		s.next += s.stride
		return key
	case s.keys != nil:
		return s.keys.draw(s.random)
	}
	return s.random.below(s.options.Keys)
}

// exhausted says that all sequential keys of this connection were used.
func (s *session) exhausted() bool { return s.options.Sequential && s.next >= s.options.Keys }

// idle says that every reply has come.
func (s *session) idle() bool { return s.first == len(s.waiting) }

// queue appends one command that was due at a time.
func (s *session) queue(due int64) {
	s.waiting = append(s.waiting, sent{due: due, kind: s.options.kind(), replies: 1})
	s.appendCommand(&s.waiting[len(s.waiting)-1])
}

func (s *session) appendCommand(c *sent) {
	command := s.options.Command
	if share := s.options.ReadShare; share > 0 && s.random.float() < share {
		command = "get"
	}
	switch command {
	case "get":
		c.kind = reads
		s.out = s.encoder.get(s.out, s.key())
	case "set":
		s.out = s.encoder.set(s.out, s.key(), s.random, s.sizes.draw(s.random))
	case "incr":
		s.out = appendBulkKey(append(s.out, "*2\r\n$4\r\nINCR\r\n"...), "ctr:", s.key())
	case "append":
		s.out = appendBulkKey(append(s.out, "*3\r\n$6\r\nAPPEND\r\n"...), "txt:", s.key())
		s.out = appendBulkValue(s.out, s.random, s.sizes.draw(s.random))
	case "mset":
		s.mset()
	case "multi":
		c.replies = s.multi()
	case "ping":
		s.out = append(s.out, "*1\r\n$4\r\nPING\r\n"...)
	}
}

func (s *session) mset() {
	s.out = append(s.out, '*')
	s.out = strconv.AppendInt(s.out, int64(1+2*s.options.MsetKeys), 10)
	s.out = append(s.out, "\r\n$4\r\nMSET\r\n"...)
	for range s.options.MsetKeys {
		s.out = appendBulkKey(s.out, "mst:", s.key())
		s.out = appendBulkValue(s.out, s.random, s.sizes.draw(s.random))
	}
}

// multi appends a transaction on the keys of "set" and returns how many replies it has.
func (s *session) multi() int {
	s.out = append(s.out, "*1\r\n$5\r\nMULTI\r\n"...)
	for range s.options.MultiSets {
		s.out = s.encoder.set(s.out, s.key(), s.random, s.sizes.draw(s.random))
	}
	s.out = append(s.out, "*1\r\n$4\r\nEXEC\r\n"...)
	return s.options.MultiSets + 2
}

// room is where the next bytes of the connection go. It is never empty.
func (s *session) room() []byte {
	if s.inUsed == len(s.in) {
		s.in = append(s.in, make([]byte, len(s.in))...)
	}
	return s.in[s.inUsed:]
}

// take understands the n bytes that were read into room, and records the replies they complete.
func (s *session) take(n int, now int64, t *tally) error {
	s.inUsed += n
	begin := 0
	for begin < s.inUsed {
		length, refusal, err := s.options.Protocol.frame(s.in[begin:s.inUsed])
		if err != nil {
			return err
		}
		if length == 0 {
			break
		}
		if s.idle() {
			return fmt.Errorf("reply %.40q: nothing was asked", s.in[begin:begin+length])
		}
		s.settle(refusal, now, t)
		begin += length
	}
	s.inUsed = copy(s.in, s.in[begin:s.inUsed])
	if s.idle() {
		s.waiting, s.first = s.waiting[:0], 0
	}
	return nil
}

// settle takes one reply to the oldest command that waits.
func (s *session) settle(refusal []byte, now int64, t *tally) {
	c := &s.waiting[s.first]
	if refusal != nil && !c.refused {
		c.refused = true
		t.refuse(refusal)
	}
	if c.replies--; c.replies > 0 {
		return
	}
	if !c.refused {
		t.record(c.kind, now-c.due)
	}
	s.first++
}
