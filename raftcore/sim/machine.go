package sim

import (
	"encoding/binary"
	"fmt"
	"slices"

	"kelek/raftcore"
)

// The model state machine: a few registers, some of which expire, counters and append-only lists,
// with the origin records of proposals; once.go has the requests that are executed once. It is
// small on purpose, a plain value without pointers: copying it is making it durable, comparing two
// is comparing two replicas.

// opCode is an operation of the model.
type opCode uint8

const (
	opSet    opCode = 1 + iota // registers[key] = value; the result is the old value
	opAdd                      // counters[key] += value; the result is the sum
	opAppend                   // value is appended to lists[key]; the result is the length
	opOnce                     // request number value of client key: adds to its own counter, once
	opRead                     // never proposed: a linearizable read, see machine.read
)

const (
	registerCount = 8 // those from firstMortal on expire
	firstMortal   = 4
	counterCount  = 4
	listCount     = 4
	opSize        = 1 + 1 + 8 + 8
	headerSize    = 8 + 8 + 8 + 2
)

// list is an append-only list: its length, and a hash over its elements in order.
type list struct{ length, hash uint64 }

// originRecord is the last proposal of one node that took effect.
type originRecord struct {
	origin    raftcore.NodeID
	boot, seq uint64
}

// machine is one replica's state. hash runs over every effect since the beginning, so equal hashes
// at equal applied indexes mean equal histories, not only equal states.
type machine struct {
	applied   raftcore.Index
	stamp     raftcore.LogTime
	hash      uint64
	registers [registerCount]uint64
	deadlines [registerCount]raftcore.LogTime // of the mortal ones
	counters  [counterCount]uint64
	lists     [listCount]list
	once      [onceClients]onceClient
	origins   [nodesMax]originRecord
	members   [nodesMax]raftcore.NodeID // by the last applied configuration
	retired   [nodesMax]raftcore.NodeID // were members once, and never will be again
}

// proposal is a decoded entry: a numbered batch of ops of one origin.
type proposal struct {
	origin    raftcore.NodeID
	boot, seq uint64
	ops       []byte
}

// appendProposal encodes a proposal header:
//
//	+---------+---------+---------+---------+----------------------------------+---------+
//	| origin  | boot    | seq     | count   | count times: code, key, id, value| padding |
//	| 8 bytes | 8 bytes | 8 bytes | 2 bytes |              1, 1, 8, 8 bytes    |         |
//	+---------+---------+---------+---------+----------------------------------+---------+
func appendProposal(dst []byte, origin raftcore.NodeID, boot, seq uint64, count int) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(origin))
	dst = binary.LittleEndian.AppendUint64(dst, boot)
	dst = binary.LittleEndian.AppendUint64(dst, seq)
	return binary.LittleEndian.AppendUint16(dst, uint16(count))
}

func appendOp(dst []byte, code opCode, key uint8, id opID, value uint64) []byte {
	dst = append(dst, byte(code), key)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(id))
	return binary.LittleEndian.AppendUint64(dst, value)
}

func decodeProposal(b []byte) (proposal, error) {
	if len(b) < headerSize {
		return proposal{}, fmt.Errorf("proposal of %d bytes", len(b))
	}
	p := proposal{
		origin: raftcore.NodeID(binary.LittleEndian.Uint64(b)),
		boot:   binary.LittleEndian.Uint64(b[8:]),
		seq:    binary.LittleEndian.Uint64(b[16:]),
	}
	size := int(binary.LittleEndian.Uint16(b[24:])) * opSize
	if len(b) < headerSize+size {
		return proposal{}, fmt.Errorf("proposal of %d bytes lacks its ops", len(b))
	}
	p.ops = b[headerSize : headerSize+size]
	return p, nil
}

// effect is told of each op of a proposal that took effect, in order.
type effect func(id opID, code opCode, result uint64)

// apply takes the next entry. It reports whether the proposal took effect: a repeated one, one
// after a gap, and one of an older boot are skipped, on every replica alike. clock is what the
// clock shows here; nothing may depend on it.
func (m *machine) apply(
	e *raftcore.Entry, clock raftcore.LogTime, told effect,
) (from proposal, took bool, err error) {
	if e.Index != m.applied+1 {
		return proposal{}, false, fmt.Errorf("apply %v after %d", e.Pos, m.applied)
	}
	if e.Stamp < m.stamp {
		return proposal{}, false, fmt.Errorf("stamp of %v went back to %d", e.Pos, e.Stamp)
	}
	m.applied, m.stamp = e.Index, e.Stamp
	m.fold(uint64(e.Term))
	m.fold(uint64(e.Stamp))
	if e.Kind != raftcore.EntryNormal {
		return proposal{}, false, m.configure(e)
	}
	p, err := decodeProposal(e.Data)
	if err != nil || !m.admit(&p) {
		return p, false, err
	}
	now := m.stamp
	if planted(24) {
		now = clock
	}
	for ops := p.ops; len(ops) > 0; ops = ops[opSize:] {
		code, key := opCode(ops[0]), ops[1]
		id := opID(binary.LittleEndian.Uint64(ops[2:]))
		value := binary.LittleEndian.Uint64(ops[10:])
		result := m.execute(now, code, key, value)
		m.fold(uint64(id))
		m.fold(result)
		if told != nil {
			told(id, code, result)
		}
	}
	return p, true, nil
}

// configure takes the members from a config entry, and forgets the origins that are none any more:
// all that is kept of those is that their ids are used up.
func (m *machine) configure(e *raftcore.Entry) error {
	if e.Kind != raftcore.EntryConfig {
		return nil
	}
	config, err := raftcore.DecodeConfig(e.Data)
	if err != nil {
		return err
	}
	before := m.members
	clear(m.members[:])
	copy(m.members[:], config.Members())
	for _, id := range before {
		if id != 0 && !m.isMember(id) && !slices.Contains(m.retired[:], id) {
			m.retired[slices.Index(m.retired[:], 0)] = id
		}
	}
	kept := m.origins
	clear(m.origins[:])
	n := 0
	for _, o := range kept {
		if o.origin != 0 && m.isMember(o.origin) {
			m.origins[n] = o
			n++
		}
	}
	return nil
}

// origin is the record of a node.
func (m *machine) origin(id raftcore.NodeID) (none originRecord) {
	for i := range m.origins {
		if m.origins[i].origin == id {
			return m.origins[i]
		}
	}
	return none
}

func (m *machine) isMember(id raftcore.NodeID) bool { return slices.Contains(m.members[:], id) }

// admit applies the origin rule and moves the origin's record. Without a record, only a member
// may begin: what a removed node once sent is dead.
func (m *machine) admit(p *proposal) bool {
	for i := range m.origins {
		o := &m.origins[i]
		switch {
		case o.origin == 0:
			if p.seq != 1 || !m.isMember(p.origin) {
				return false
			}
		case o.origin != p.origin:
			continue
		case p.boot == o.boot && p.seq == o.seq+1:
		case planted(32) && p.boot == o.boot && p.seq > o.seq:
		case p.boot > o.boot && p.seq == 1:
		default:
			return false
		}
		*o = originRecord{p.origin, p.boot, p.seq}
		return true
	}
	return false
}

// execute performs one op at a log time.
func (m *machine) execute(
	now raftcore.LogTime, code opCode, key uint8, value uint64,
) (result uint64) {
	switch code {
	case opSet:
		result = m.register(now, key)
		m.registers[key%registerCount] = value
		m.deadlines[key%registerCount] = now + 1 + raftcore.LogTime(value%lifetimeMax)
	case opAdd:
		m.counters[key%counterCount] += value
		result = m.counters[key%counterCount]
	case opAppend:
		l := &m.lists[key%listCount]
		l.length++
		l.hash = mix(l.hash, value)
		result = l.length
	case opOnce:
		result = m.executeOnce(key, value)
	}
	return result
}

// lifetimeMax bounds how long a mortal register lives, in milliseconds of log time.
const lifetimeMax = 1_000

// register is what a register shows at a log time: 0 once its deadline is reached.
func (m *machine) register(now raftcore.LogTime, key uint8) uint64 {
	key %= registerCount
	if key >= firstMortal && now >= m.deadlines[key] {
		return 0
	}
	return m.registers[key]
}

// read is a linearizable read of what ops of a code show of their key.
func (m *machine) read(code opCode, key uint8) uint64 {
	switch code {
	case opAdd:
		return m.counters[key%counterCount]
	case opAppend:
		return mix(m.lists[key%listCount].hash, m.lists[key%listCount].length)
	}
	return m.register(m.stamp, key)
}

func (m *machine) fold(x uint64) { m.hash = mix(m.hash, x) }

// mix folds one value into a running 64-bit hash. Multiplication and rotation spread every bit; it
// need not resist an adversary.
func mix(h, x uint64) uint64 {
	h ^= x
	h *= 0x9e3779b97f4a7c15
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	return h ^ h>>32
}

// mixBytes folds a byte string into a hash, eight bytes at a time.
func mixBytes(h uint64, b []byte) uint64 {
	h = mix(h, uint64(len(b)))
	for ; len(b) >= 8; b = b[8:] {
		h = mix(h, binary.LittleEndian.Uint64(b))
	}
	for _, x := range b {
		h = h<<8 ^ uint64(x)
	}
	return mix(h, 0)
}
