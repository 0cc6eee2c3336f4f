package op

import (
	"encoding/binary"
	"fmt"
)

const proposalVersion = 1

// opBytesMin is the length of the shortest op, a flush.
const opBytesMin = 2

// AppendProposal appends the encoded form of p:
//
//	0         1          9
//	+---------+----------+---------+---------+---------+-----------------+
//	| version | origin   | boot    | seq     | count   | count ops, to   |
//	| 1 byte  | 8 bytes  | uvarint | uvarint | uvarint | the end         |
//	+---------+----------+---------+---------+---------+-----------------+
func AppendProposal(dst []byte, p *Proposal) []byte {
	dst = append(dst, proposalVersion)
	dst = binary.BigEndian.AppendUint64(dst, p.Origin)
	dst = binary.AppendUvarint(dst, p.Boot)
	dst = binary.AppendUvarint(dst, p.Seq)
	dst = binary.AppendUvarint(dst, uint64(p.Count))
	return append(dst, p.Ops...)
}

// DecodeProposal reads a proposal, which is all of b. It looks at the header only: p.Ops points
// into b and is not judged.
func DecodeProposal(b []byte, p *Proposal) error {
	r := reader{b: b}
	version := r.uint8()
	if version != proposalVersion && !r.bad {
		return UnknownVersionError{version}
	}
	p.Origin = r.uint64()
	p.Boot = r.uvarint()
	p.Seq = r.uvarint()
	count := r.uvarint()
	r.require(p.Origin != 0 && p.Seq != 0 && count > 0 && count <= uint64(len(r.b)/opBytesMin))
	if r.bad || count > 1<<32-1 {
		return fmt.Errorf("%w: proposal of %d bytes", ErrMalformed, len(b))
	}
	p.Count, p.Ops = uint32(count), r.b
	return nil
}

// AppendResult appends the encoded form of r, which is how the first reply of a CodeOnce is kept:
//
//	+--------+---------------------------------------------------------+
//	| kind   | ResultInt: varint; ResultBytes: uvarint length, bytes;  |
//	| 1 byte | ResultError: its code, 1 byte; otherwise nothing        |
//	+--------+---------------------------------------------------------+
func AppendResult(dst []byte, r *Result) []byte {
	dst = append(dst, byte(r.Kind))
	switch r.Kind {
	case ResultInt:
		return binary.AppendVarint(dst, r.Int)
	case ResultBytes:
		return appendBytes(dst, r.Bytes)
	case ResultError:
		return append(dst, byte(r.Error))
	}
	return dst
}

// DecodeResult reads the result at the front of b and returns what follows it. result.Bytes points
// into b.
func DecodeResult(b []byte, result *Result) (rest []byte, err error) {
	r := reader{b: b}
	*result = Result{Kind: ResultKind(r.uint8())}
	switch result.Kind {
	case ResultOK, ResultNil:
	case ResultInt:
		result.Int = r.varint()
	case ResultBytes:
		result.Bytes = r.bytes()
	case ResultError:
		result.Error = ErrorCode(r.uint8())
		r.require(result.Error >= ErrWrongType && result.Error <= ErrNotFinite)
	default:
		r.fail()
	}
	if r.bad {
		return nil, fmt.Errorf("%w: result of kind %d in %d bytes", ErrMalformed, result.Kind, len(b))
	}
	return r.b, nil
}
