package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"kelek/raftcore"
)

// generator draws random values that a correct sender could produce.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator {
	return generator{rand.New(rand.NewPCG(seed, 0))}
}

// number favours zero and the edges, where widths and presence bits break.
func (g generator) number() uint64 {
	switch g.IntN(4) {
	case 0:
		return 0
	case 1:
		return ^uint64(0) - g.Uint64N(3)
	default:
		return g.Uint64() >> g.IntN(64)
	}
}

func (g generator) data() []byte {
	n := g.IntN(40)
	if n == 0 {
		return nil
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

func (g generator) pos() raftcore.Pos {
	return raftcore.Pos{Term: raftcore.Term(g.number()), Index: raftcore.Index(g.number())}
}

func (g generator) entry(p raftcore.Pos) raftcore.Entry {
	kind := raftcore.EntryKind(1 + g.IntN(3))
	return raftcore.Entry{Pos: p, Kind: kind, Stamp: raftcore.LogTime(g.number()), Data: g.data()}
}

func (g generator) message() raftcore.Message {
	m := raftcore.Message{
		Kind:   raftcore.MessageKind(1 + g.IntN(int(raftcore.InstallSnapshotResponse))),
		From:   raftcore.NodeID(g.number()),
		To:     raftcore.NodeID(g.number()),
		Term:   raftcore.Term(g.number()),
		Prev:   g.pos(),
		Commit: raftcore.Index(g.number()),
		Match:  raftcore.Index(g.number()),
		Reject: g.IntN(2) == 0,
		Force:  g.IntN(2) == 0,
		Hint:   g.pos(),
		Epoch:  raftcore.Index(g.number()),
		Round:  g.number(),
		Lease:  raftcore.Instant(g.number()),
	}
	if g.IntN(2) == 0 {
		m.Snapshot = g.snapshotMeta()
	}
	if m.Kind == raftcore.AppendEntries {
		p := m.Prev
		for range g.IntN(5) {
			p.Index++
			if p.Term < 1<<63 {
				p.Term += raftcore.Term(g.IntN(2))
			}
			m.Entries = append(m.Entries, g.entry(p))
		}
	}
	return m
}

func (g generator) snapshotMeta() raftcore.SnapshotMeta {
	s := raftcore.SnapshotMeta{ID: 1 + g.Uint64N(1<<40), Pos: g.pos(),
		Stamp: raftcore.LogTime(g.number()), ConfigIndex: raftcore.Index(g.number())}
	if g.IntN(3) > 0 {
		for id := range raftcore.NodeID(1 + g.IntN(raftcore.VotersMax)) {
			s.Config.Voters = append(s.Config.Voters, 1+id)
		}
		for id := range raftcore.NodeID(g.IntN(raftcore.LearnersMax)) {
			s.Config.Learners = append(s.Config.Learners, 100+id)
		}
	}
	return s
}

func (g generator) text() string { return strings.Repeat("n1=host:7380,", g.IntN(4)) }

func (g generator) hello() Hello {
	h := Hello{Protocol: uint16(g.number()), Group: g.number(), Boot: g.number()}
	h.NodeID = raftcore.NodeID(g.number())
	h.Join = JoinKind(g.IntN(int(joinKinds)))
	copy(h.ClusterID[:], g.data())
	for _, s := range h.strings() {
		*s = g.text()
	}
	return h
}

func (g generator) invite() Invite {
	v := Invite{Members: []Founder{}, Joining: g.IntN(2) == 1}
	copy(v.ClusterID[:], g.data())
	for range g.IntN(5) {
		id := raftcore.NodeID(g.number())
		v.Members = append(v.Members, Founder{ID: id, Name: g.text()})
	}
	return v
}

func (g generator) snapshotFiles() []SnapshotFile {
	files := []SnapshotFile{}
	for i := range g.IntN(5) {
		name := fmt.Sprintf("%d%x", i, g.data())
		files = append(files, SnapshotFile{Name: name, Bytes: int64(g.number() >> 1)})
	}
	return files
}

// mustEqual compares what was encoded with what came back, and that the rest is what stood behind.
func mustEqual(t *testing.T, what string, got, want any, rest []byte, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v\n%+v", what, err, want)
	}
	if string(rest) != "rest" {
		t.Fatalf("%s: rest is %q", what, rest)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\ngot  %+v\nwant %+v", what, got, want)
	}
}

func TestDecodeReturnsWhatWasEncoded(t *testing.T) {
	g := newGenerator(1)
	for range 3000 {
		e := g.entry(g.pos())
		b := AppendEntry([]byte("before"), &e)
		if len(b) != len("before")+EntrySize(&e) {
			t.Fatalf("EntrySize is %d, encoded %d", EntrySize(&e), len(b)-len("before"))
		}
		var e2 raftcore.Entry
		rest, err := DecodeEntry(append(b[len("before"):], "rest"...), &e2)
		mustEqual(t, "entry", e2, e, rest, err)

		h := raftcore.HardState{Term: e.Term, VotedFor: raftcore.NodeID(g.number())}
		var h2 raftcore.HardState
		rest, err = DecodeHardState(append(AppendHardState(nil, &h), "rest"...), &h2)
		mustEqual(t, "hard state", h2, h, rest, err)

		m := g.message()
		b = AppendMessage(nil, &m)
		if len(b) != MessageSize(&m) {
			t.Fatalf("MessageSize is %d, encoded %d", MessageSize(&m), len(b))
		}
		m2 := g.message() // what was there before must not show through
		rest, err = DecodeMessage(append(b, "rest"...), &m2)
		if len(m2.Entries) == 0 {
			m2.Entries = m.Entries // nil or an empty buffer that is kept: equal
		}
		mustEqual(t, "message", m2, m, rest, err)

		hello := g.hello()
		hello2 := g.hello()
		rest, err = DecodeHello(append(AppendHello(nil, &hello), "rest"...), &hello2)
		mustEqual(t, "hello", hello2, hello, rest, err)

		invite := g.invite()
		invite2 := g.invite()
		rest, err = DecodeInvite(append(AppendInvite(nil, &invite), "rest"...), &invite2)
		mustEqual(t, "invite", invite2, invite, rest, err)

		files := g.snapshotFiles()
		files2 := append(g.snapshotFiles(), SnapshotFile{})
		rest, err = DecodeSnapshotFiles(append(AppendSnapshotFiles(nil, files), "rest"...), &files2)
		mustEqual(t, "snapshot files", files2, files, rest, err)
	}
}

func TestAfterDoesNotTravel(t *testing.T) {
	m := raftcore.Message{Kind: raftcore.RequestVoteResponse, Term: 3, After: 99}
	var got raftcore.Message
	if _, err := DecodeMessage(AppendMessage(nil, &m), &got); err != nil || got.After != 0 {
		t.Fatalf("After is %d, error %v", got.After, err)
	}
}

func TestManyMessagesInARow(t *testing.T) {
	g := newGenerator(2)
	var b []byte
	var sent []raftcore.Message
	for range 50 {
		sent = append(sent, g.message())
		b = AppendMessage(b, &sent[len(sent)-1])
	}
	for i := range sent {
		var m raftcore.Message
		var err error
		if b, err = DecodeMessage(b, &m); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if !reflect.DeepEqual(m, sent[i]) {
			t.Fatalf("message %d: got %+v, want %+v", i, m, sent[i])
		}
	}
	if len(b) != 0 {
		t.Fatalf("%d bytes left", len(b))
	}
}

func TestEveryCutIsShort(t *testing.T) {
	g := newGenerator(3)
	for name, c := range codecs {
		for range 50 {
			b := c.random(g)
			for n := range b {
				if err := c.decode(b[:n:n]); !errors.Is(err, ErrShort) {
					t.Fatalf("%s cut to %d of %d bytes: %v, want ErrShort", name, n, len(b), err)
				}
			}
		}
	}
}

// A record under a checksum notices each flipped bit, wherever it is.
func TestEveryFlippedBitIsNoticed(t *testing.T) {
	g := newGenerator(4)
	for _, name := range []string{"entry", "hard state"} {
		c := codecs[name]
		for range 20 {
			b := c.random(g)
			for bit := range len(b) * 8 {
				b[bit/8] ^= 1 << (bit % 8)
				if c.decode(b) == nil {
					t.Fatalf("%s: bit %d of %d flipped, and not noticed", name, bit, len(b)*8)
				}
				b[bit/8] ^= 1 << (bit % 8)
			}
		}
	}
}

func TestUnknownIsNamed(t *testing.T) {
	e := raftcore.Entry{Pos: raftcore.Pos{Term: 3, Index: 17}, Kind: 9}
	vote := raftcore.Message{Kind: 200}
	strange := raftcore.Message{Kind: raftcore.RequestVote, Entries: []raftcore.Entry{e}}
	e.Kind = raftcore.EntryNoop
	gap := raftcore.Message{Kind: raftcore.AppendEntries, Entries: []raftcore.Entry{e}}
	bits := AppendMessage(nil, &raftcore.Message{Kind: raftcore.PreVote})
	bits[3] = 0x80
	e.Kind = 9
	offer := raftcore.Message{Kind: raftcore.InstallSnapshot, Snapshot: raftcore.SnapshotMeta{ID: 7,
		Config: raftcore.Config{Voters: []raftcore.NodeID{3, 2}}}}
	unsorted := AppendMessage(nil, &offer)
	offer.Snapshot.Config = raftcore.Config{}
	nameless := AppendMessage(nil, &offer)
	nameless[messageHeaderSize] = 0
	for _, c := range []struct {
		codec string
		bytes []byte
		want  string
	}{
		{"entry", AppendEntry(nil, &e), "entry 17@3: " + ErrUnknown.Error() + ": kind 9"},
		{"entry", []byte{2}, "version 2, want 1"},
		{"hard state", []byte{7}, "version 7, want 1"},
		{"message", []byte{3}, "version 3, want 1"},
		{"message", AppendMessage(nil, &vote), "kind 200"},
		{"message", AppendMessage(nil, &strange), "1 entries in a message of kind 3"},
		{"message", AppendMessage(nil, &gap), "entry 17@3 does not follow 0@0"},
		{"message", bits, "field bits 0x8000"},
		{"message", unsorted, "snapshot 7: raft: malformed configuration"},
		{"message", nameless, "a snapshot without an id"},
		{"hello", []byte{4}, "version 4, want 1"},
		{"invite", []byte{0}, "version 0, want 1"},
		{"snapshot files", []byte{9}, "version 9, want 1"},
		{"snapshot files", snapshotFiles(""), `"" is not the name of a file`},
		{"snapshot files", snapshotFiles(".."), `".." is not the name of a file`},
		{"snapshot files", snapshotFiles("a/b"), `"a/b" is not the name of a file`},
		{"snapshot files", snapshotFiles(`..\b`), `"..\\b" is not the name of a file`},
		{"snapshot files", snapshotFiles("a\x00"), `"a\x00" is not the name of a file`},
		{"snapshot files", snapshotFiles("b", "a"), `"a" comes after "b"`},
		{"snapshot files", snapshotFiles("a", "a"), `"a" comes after "a"`},
		{"snapshot files", snapshotFiles(strings.Repeat("n", 256)), "256 bytes, and 255 are"},
		{"snapshot files", AppendSnapshotFiles(nil, []SnapshotFile{{"a", -1}}),
			`"a" of 18446744073709551615 bytes`},
		{"snapshot files", []byte{1, 0x41, 0x42, 0x0f, 0}, "1000001 files, and 1000000 are allowed"},
	} {
		err := codecs[c.codec].decode(c.bytes)
		if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want ... %s", c.codec, err, c.want)
		}
	}
}

func snapshotFiles(names ...string) []byte {
	var files []SnapshotFile
	for _, name := range names {
		files = append(files, SnapshotFile{Name: name})
	}
	return AppendSnapshotFiles(nil, files)
}

func TestDamageIsToldFromATornTail(t *testing.T) {
	e := raftcore.Entry{Kind: raftcore.EntryNormal, Data: []byte("value")}
	b := AppendEntry(nil, &e)
	b[len(b)-6] ^= 1
	if err := codecs["entry"].decode(b); !errors.Is(err, ErrChecksum) {
		t.Errorf("a flipped data bit gives %v", err)
	}
}

// A count that lies is refused before memory is reserved for it.
func TestCountsAreNotBelieved(t *testing.T) {
	m := raftcore.Message{
		Kind:    raftcore.AppendEntries,
		Entries: []raftcore.Entry{{Pos: raftcore.Pos{Index: 1}, Kind: raftcore.EntryNoop}},
	}
	b := AppendMessage(nil, &m)
	count := messageHeaderSize
	copy(b[count:], "\xff\xff\xff\xff")
	var into raftcore.Message
	if _, err := DecodeMessage(b, &into); !errors.Is(err, ErrShort) || cap(into.Entries) != 0 {
		t.Errorf("%v, room for %d entries", err, cap(into.Entries))
	}
	b = AppendInvite(nil, &Invite{Members: []Founder{{ID: 1}}})
	copy(b[18:], "\xff\xff\xff\xff")
	var v Invite
	if _, err := DecodeInvite(b, &v); !errors.Is(err, ErrShort) || cap(v.Members) != 0 {
		t.Errorf("%v, room for %d members", err, cap(v.Members))
	}
	b = snapshotFiles("a", "b")
	copy(b[1:], "\x00\x00\x0f\x00")
	var files []SnapshotFile
	if _, err := DecodeSnapshotFiles(b, &files); !errors.Is(err, ErrShort) || cap(files) != 0 {
		t.Errorf("%v, room for %d files", err, cap(files))
	}
}

func TestEncodingDoesNotAllocate(t *testing.T) {
	g := newGenerator(5)
	m := g.message()
	for m.Kind != raftcore.AppendEntries || len(m.Entries) == 0 {
		m = g.message()
	}
	h := raftcore.HardState{Term: 1, VotedFor: 2}
	buf := make([]byte, 0, 4096)
	var into raftcore.Message
	into.Entries = make([]raftcore.Entry, 0, 8)
	n := testing.AllocsPerRun(100, func() {
		b := AppendHardState(buf, &h)
		b = AppendMessage(b, &m)
		if _, err := DecodeMessage(b[HardStateSize:], &into); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// codec is one record behind a common signature, for tests that treat all alike.
type codec struct {
	random func(g generator) []byte
	decode func(b []byte) error
	// again decodes and encodes what was decoded.
	again func(b []byte) ([]byte, error)
}

var codecs = map[string]codec{
	"entry": newCodec(DecodeEntry, AppendEntry,
		func(g generator) raftcore.Entry { return g.entry(g.pos()) }),
	"hard state": newCodec(DecodeHardState, AppendHardState,
		func(g generator) raftcore.HardState {
			return raftcore.HardState{Term: raftcore.Term(g.number())}
		}),
	"message": newCodec(DecodeMessage, AppendMessage, generator.message),
	"hello":   newCodec(DecodeHello, AppendHello, generator.hello),
	"invite":  newCodec(DecodeInvite, AppendInvite, generator.invite),
	"snapshot files": newCodec(DecodeSnapshotFiles,
		func(dst []byte, files *[]SnapshotFile) []byte { return AppendSnapshotFiles(dst, *files) },
		generator.snapshotFiles),
}

func newCodec[T any](
	decode func([]byte, *T) ([]byte, error), encode func([]byte, *T) []byte, random func(generator) T,
) codec {
	return codec{
		random: func(g generator) []byte {
			v := random(g)
			return encode(nil, &v)
		},
		decode: func(b []byte) error {
			var v T
			_, err := decode(b, &v)
			return err
		},
		again: func(b []byte) ([]byte, error) {
			var v T
			rest, err := decode(b, &v)
			if err != nil {
				return nil, err
			}
			if !bytes.HasSuffix(b, rest) {
				return nil, errors.New("the rest is not the end of the input")
			}
			return encode(nil, &v), nil
		},
	}
}
