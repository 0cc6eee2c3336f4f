package op

import (
	"encoding/binary"
	"fmt"
)

// MayBeInMulti reports whether a transaction may hold such an op: what a client can ask for by
// itself, other transactions excepted.
func (c Code) MayBeInMulti() bool { return c != CodeMulti && c != CodeMember && c != CodePurge }

// MayBeInOnce reports whether a CodeOnce may hold such an op. A transaction has one reply for each
// of its commands, and some of them are reads: there is no Result that could be kept for it.
func (c Code) MayBeInOnce() bool { return c != CodeOnce && c.MayBeInMulti() }

// watchedBytesMin is the length of the shortest condition, on the empty key.
const watchedBytesMin = 3

// appendMulti:
//
//	+------+---+------------------+---+-----------------------+
//	| code | w | w times db, key, | n | length, n encoded ops |
//	|      |   | version          |   |                       |
//	+------+---+------------------+---+-----------------------+
//
// w, n and version are uvarints.
func (o *Op) appendMulti(dst []byte) []byte {
	if o.Count == 0 || len(o.Inner) < opBytesMin {
		panic(fmt.Sprintf("op: a transaction of %d ops in %d bytes", o.Count, len(o.Inner)))
	}
	dst = binary.AppendUvarint(dst, uint64(len(o.Watched)))
	for i := range o.Watched {
		w := &o.Watched[i]
		dst = binary.AppendUvarint(appendBytes(append(dst, w.DB), w.Key), w.Version)
	}
	return appendBytes(binary.AppendUvarint(dst, uint64(o.Count)), o.Inner)
}

// decodeMulti looks at the first op of Inner only; the others are judged as they are executed.
func (o *Op) decodeMulti(r *reader) {
	watched := r.uvarint()
	r.require(watched <= uint64(len(r.b)/watchedBytesMin))
	for ; watched > 0 && !r.bad; watched-- {
		w := Watched{DB: r.uint8(), Key: r.bytes(), Version: r.uvarint()}
		r.require(w.DB < Databases)
		o.Watched = append(o.Watched, w)
	}
	count := r.uvarint()
	o.Inner = r.bytes()
	r.require(count > 0 && count <= 1<<32-1 && count <= uint64(len(o.Inner)/opBytesMin) &&
		Code(o.Inner[0]).MayBeInMulti())
	o.Count = uint32(count)
}
