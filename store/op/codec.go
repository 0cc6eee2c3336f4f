package op

import (
	"encoding/binary"
	"fmt"
)

// Layouts. Every op begins with its code; what follows is said at its two functions:
//
//	key, value, ...  uvarint length, then the bytes
//	n, request       uvarint
//	delta, time      varint (zigzag)
//	db               1 byte: 0..15; a flush also takes 255
//	flags            1 byte:  7 6 5 4 3 2 1 0
//	                          0 0 R T T C C C     R = Return, T = TTL, C = Cond
//
// time is there exactly if TTL is TTLAfter or TTLAt; match exactly if Cond is IfEqual.

const (
	flagReturn = 1 << 5
	ttlShift   = 3
	condMask   = 1<<ttlShift - 1
)

// Append appends the encoded form of o. It panics if o is not valid: which fields must be set, and
// to what, is decided where ops are made, and a bad one must never reach a log.
func (o *Op) Append(dst []byte) []byte {
	dst = append(dst, byte(o.Code))
	switch o.Code {
	case CodePut:
		return o.appendPut(dst)
	case CodeDelete, CodePutMany, CodePutNew:
		return o.appendArgs(dst)
	case CodeTake, CodePersist:
		return appendBytes(append(dst, o.DB), o.Key)
	case CodeExpire, CodeGetEx:
		return o.appendExpire(dst)
	case CodeAdd:
		return binary.AppendVarint(appendBytes(append(dst, o.DB), o.Key), o.Delta)
	case CodeAppend, CodeAddFloat:
		return appendBytes(appendBytes(append(dst, o.DB), o.Key), o.Value)
	case CodeSetRange:
		dst = binary.AppendVarint(appendBytes(append(dst, o.DB), o.Key), o.Delta)
		return appendBytes(dst, o.Value)
	case CodeCopy:
		return o.appendCopy(dst)
	case CodeFlush:
		return append(dst, o.DB)
	case CodePurge:
		return binary.AppendVarint(dst, o.Delta)
	case CodeOnce:
		return o.appendOnce(dst)
	case CodeMember:
		return o.Member.append(dst)
	case CodeMulti:
		return o.appendMulti(dst)
	}
	panic(UnknownCodeError{o.Code})
}

// Decode reads the op at the front of b and returns what follows it. The slices of o point into b;
// o.Args and o.Watched are used again. An unknown code is an UnknownCodeError, anything else an ErrMalformed.
func Decode(b []byte, o *Op) (rest []byte, err error) {
	r := reader{b: b}
	*o = Op{Code: Code(r.uint8()), Args: o.Args[:0], Watched: o.Watched[:0]}
	switch o.Code {
	case CodePut:
		o.decodePut(&r)
	case CodeDelete, CodePutMany, CodePutNew:
		o.decodeArgs(&r)
	case CodeTake, CodePersist:
		o.decodeKey(&r)
	case CodeExpire, CodeGetEx:
		o.decodeExpire(&r)
	case CodeAdd:
		o.decodeKey(&r)
		o.Delta = r.varint()
	case CodeAppend, CodeAddFloat:
		o.decodeKey(&r)
		o.Value = r.bytes()
	case CodeSetRange:
		o.decodeKey(&r)
		o.Delta = r.varint()
		o.Value = r.bytes()
		r.require(o.Delta >= 0)
	case CodeCopy:
		o.decodeCopy(&r)
	case CodeFlush:
		o.DB = r.uint8()
		r.require(o.DB < Databases || o.DB == AllDatabases)
	case CodePurge:
		o.Delta = r.varint()
		r.require(o.Delta > 0)
	case CodeOnce:
		o.decodeOnce(&r)
	case CodeMember:
		o.Member.decode(&r)
	case CodeMulti:
		o.decodeMulti(&r)
	default:
		if !r.bad {
			return nil, UnknownCodeError{o.Code}
		}
	}
	if r.bad {
		return nil, fmt.Errorf("%w: op with code %d in %d bytes", ErrMalformed, o.Code, len(b))
	}
	return r.b, nil
}

func (o *Op) decodeKey(r *reader) {
	o.decodeDB(r)
	o.Key = r.bytes()
}

func (o *Op) decodeDB(r *reader) {
	o.DB = r.uint8()
	r.require(o.DB < Databases)
}

// appendPut:
//
//	+------+----+-------+--------+-----+-------+---------+
//	| code | db | flags | [time] | key | value | [match] |
//	+------+----+-------+--------+-----+-------+---------+
func (o *Op) appendPut(dst []byte) []byte {
	dst = o.appendFlags(append(dst, o.DB))
	dst = appendBytes(appendBytes(dst, o.Key), o.Value)
	if o.Cond == IfEqual {
		dst = appendBytes(dst, o.Match)
	}
	return dst
}

func (o *Op) decodePut(r *reader) {
	o.decodeDB(r)
	o.decodeFlags(r)
	r.require(o.Cond <= IfEqual)
	o.Key = r.bytes()
	o.Value = r.bytes()
	if o.Cond == IfEqual {
		o.Match = r.bytes()
	}
}

// appendExpire is that of CodeExpire and of CodeGetEx, where the time may be missing:
//
//	+------+----+-------+--------+-----+
//	| code | db | flags | [time] | key |
//	+------+----+-------+--------+-----+
func (o *Op) appendExpire(dst []byte) []byte {
	return appendBytes(o.appendFlags(append(dst, o.DB)), o.Key)
}

func (o *Op) decodeExpire(r *reader) {
	o.decodeDB(r)
	o.decodeFlags(r)
	if o.Code == CodeGetEx {
		r.require(o.TTL != TTLKeep && !o.Return && o.Cond == Always)
	} else {
		r.require(o.TTL >= TTLAfter && !o.Return && o.Cond != IfEqual)
	}
	o.Key = r.bytes()
}

// appendFlags appends the flags and the time that they announce.
func (o *Op) appendFlags(dst []byte) []byte {
	flags := byte(o.Cond) | byte(o.TTL)<<ttlShift
	if o.Return {
		flags |= flagReturn
	}
	dst = append(dst, flags)
	if o.TTL >= TTLAfter {
		dst = binary.AppendVarint(dst, o.Time)
	}
	return dst
}

func (o *Op) decodeFlags(r *reader) {
	flags := r.uint8()
	r.require(flags < flagReturn<<1)
	o.Cond = Cond(flags & condMask)
	o.TTL = TTL(flags >> ttlShift & 3)
	o.Return = flags&flagReturn != 0
	if o.TTL >= TTLAfter {
		o.Time = r.varint()
	}
}

// appendArgs is that of CodeDelete, where n counts keys, and of CodePutMany and CodePutNew, where n
// counts pairs:
//
//	+------+----+---+------------------------------------+
//	| code | db | n | n keys, or n times key and value   |
//	+------+----+---+------------------------------------+
func (o *Op) appendArgs(dst []byte) []byte {
	per := o.argsPer()
	if len(o.Args) == 0 || len(o.Args)%per != 0 {
		panic(fmt.Sprintf("op: code %d with %d arguments", o.Code, len(o.Args)))
	}
	dst = binary.AppendUvarint(append(dst, o.DB), uint64(len(o.Args)/per))
	for _, arg := range o.Args {
		dst = appendBytes(dst, arg)
	}
	return dst
}

func (o *Op) decodeArgs(r *reader) {
	o.decodeDB(r)
	n := r.uvarint()
	r.require(n > 0 && n <= uint64(len(r.b)))
	o.Args = r.list(o.Args, n*uint64(o.argsPer()))
}

// argsPer is how many arguments one unit of n has.
func (o *Op) argsPer() int {
	if o.Code != CodeDelete {
		return 2
	}
	return 1
}

// appendCopy; of the flags it uses Cond, and Return for Move:
//
//	+------+----+-------+-----+-------+----+
//	| code | db | flags | key | to db | to |
//	+------+----+-------+-----+-------+----+
func (o *Op) appendCopy(dst []byte) []byte {
	flags := byte(o.Cond)
	if o.Move {
		flags |= flagReturn
	}
	dst = appendBytes(append(dst, o.DB, flags), o.Key)
	return appendBytes(append(dst, o.ToDB), o.To)
}

func (o *Op) decodeCopy(r *reader) {
	o.decodeDB(r)
	flags := r.uint8()
	o.Cond, o.Move = Cond(flags&condMask), flags&flagReturn != 0
	r.require(flags&^(condMask|flagReturn) == 0 && o.Cond <= IfAbsent)
	o.Key = r.bytes()
	o.ToDB = r.uint8()
	o.To = r.bytes()
	r.require(o.ToDB < Databases)
}

// appendOnce:
//
//	+------+--------+---------+------------------------+
//	| code | client | request | length, one encoded op |
//	+------+--------+---------+------------------------+
func (o *Op) appendOnce(dst []byte) []byte {
	dst = binary.AppendUvarint(appendBytes(dst, o.Client), o.Request)
	return appendBytes(dst, o.Inner)
}

func (o *Op) decodeOnce(r *reader) {
	o.Client = r.bytes()
	o.Request = r.uvarint()
	o.Inner = r.bytes()
	r.require(o.Request > 0 && len(o.Inner) > 0 && Code(o.Inner[0]).MayBeInOnce())
}

// append appends a member; ids are random, so a varint would only make them longer:
//
//	+------+---------+----------+------+------+------+---------+---------+
//	| code | id      | standing | name | peer | addr | cluster | version |
//	|      | 8 bytes | 0 or 1   |      | addr |      | addr    |         |
//	+------+---------+----------+------+------+------+---------+---------+
func (m *Member) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, m.ID)
	standing := byte(0)
	if m.Standing {
		standing = 1
	}
	dst = append(dst, standing)
	for _, s := range [...]string{m.Name, m.PeerAddr, m.Addr, m.ClusterAddr, m.Version} {
		dst = appendString(dst, s)
	}
	return dst
}

func (m *Member) decode(r *reader) {
	m.ID = r.uint64()
	standing := r.uint8()
	r.require(standing <= 1)
	m.Standing = standing == 1
	for _, s := range [...]*string{&m.Name, &m.PeerAddr, &m.Addr, &m.ClusterAddr, &m.Version} {
		*s = r.string()
	}
	r.require(m.ID != 0)
}
