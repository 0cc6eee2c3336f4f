package store

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"kelek/raftcore"
	"kelek/store/op"
)

// position is how far the state has come: the last applied entry, and the running hash of
// design.md 6 over the effects of all entries up to it. Replicas at the same index have the same
// hash, however the entries were batched.
type position struct {
	index raftcore.Index
	term  raftcore.Term
	stamp raftcore.LogTime
	hash  uint64
	ops   uint64 // executed since the cluster began, those in transactions included
}

const (
	positionVersion = 2
	positionSize    = 1 + 5*8
)

// append appends the value of sysPosition:
//
//	0         1       9      17      25     33     41
//	+---------+-------+------+-------+------+------+
//	| version | index | term | stamp | hash | ops  |
//	+---------+-------+------+-------+------+------+
func (p *position) append(dst []byte) []byte {
	dst = append(dst, positionVersion)
	for _, v := range [...]uint64{uint64(p.index), uint64(p.term), uint64(p.stamp), p.hash,
		p.ops} {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	return dst
}

func (p *position) decode(b []byte) error {
	if len(b) != positionSize || b[0] != positionVersion {
		return corrupt("the applied position", "%d bytes begin with % x",
			len(b), b[:min(1, len(b))])
	}
	field := func(i int) uint64 { return binary.BigEndian.Uint64(b[1+8*i:]) }
	*p = position{
		raftcore.Index(field(0)), raftcore.Term(field(1)), raftcore.LogTime(field(2)), field(3),
		field(4),
	}
	return nil
}

// folder computes the hash of one entry's effects: of the hash before, the entry's head and data,
// and the result of each op. The op and the stamp alone decide what a sound replica does; the
// results show what it did. A proposal that is skipped leaves only its head.
type folder struct{ b []byte }

func (f *folder) begin(before uint64, e *raftcore.Entry) {
	f.b = f.b[:0]
	for _, v := range [...]uint64{before, uint64(e.Index), uint64(e.Stamp)} {
		f.b = binary.BigEndian.AppendUint64(f.b, v)
	}
	f.b = append(f.b, byte(e.Kind))
}

func (f *folder) addData(data []byte) {
	f.b = binary.BigEndian.AppendUint64(f.b, xxhash.Sum64(data))
}

func (f *folder) addResult(r *op.Result) {
	if r.Kind != op.ResultBytes {
		f.b = op.AppendResult(f.b, r)
		return
	}
	f.b = binary.BigEndian.AppendUint64(append(f.b, byte(r.Kind)), xxhash.Sum64(r.Bytes))
}

func (f *folder) sum() uint64 { return xxhash.Sum64(f.b) }
