package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"kelek/raftcore"
	"kelek/store/op"
)

// applyConfig takes a configuration over. A member of the last one that it lacks has left for good:
// who is going to stay a learner is in a joint configuration already, and ids are never used again.
func (m *machine) applyConfig(e *raftcore.Entry) error {
	config, err := raftcore.DecodeConfig(e.Data)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	for _, id := range m.config.Members() {
		if config.IsMember(id) {
			continue
		}
		if err := m.retire(id, e.Index); err != nil {
			return err
		}
	}
	m.config, m.configIndex = config, e.Index
	m.hash.addData(e.Data)
	value := append(appendUint64(nil, uint64(e.Index)), e.Data...)
	m.ordered = true
	return m.batch.Set([]byte{sysConfig}, value, nil)
}

// retire drops what is kept of a node, and remembers that there was such a node. The records stay
// for ever, some bytes for each machine that was ever replaced: a disk that is plugged in again
// after years must not pass for a member.
func (m *machine) retire(id raftcore.NodeID, index raftcore.Index) error {
	key := sysKey(sysMember, uint64(id))
	value, found, err := m.read(hashOf(key), key, &m.value, everything)
	if err != nil {
		return err
	}
	record := appendUint64(nil, uint64(index))
	if found {
		member, err := decodeMember(uint64(id), value)
		if err != nil {
			return err
		}
		record = append(record, member.Name...)
	}
	if at, known := m.findOrigin(id); known {
		m.origins = slices.Delete(m.origins, at, at+1)
	}
	return errors.Join(m.delSys(key), m.batch.Delete(sysKey(sysOrigin, uint64(id)), nil),
		m.putSys(sysKey(sysRetired, uint64(id)), record))
}

// applyMember records how a node is reached and that it stays a learner, unless it has left: what was proposed before that and
// comes after it would stay for ever.
func (m *machine) applyMember(o *op.Op) error {
	key := sysKey(sysRetired, o.Member.ID)
	_, retired, err := m.read(hashOf(key), key, &m.value, everything)
	if err != nil {
		return err
	}
	if retired {
		return m.answer(op.ResultOK)
	}
	member := *o
	if member.Member.Standing, err = m.stands(&o.Member); err != nil {
		return err
	}
	if err := m.putSys(sysKey(sysMember, o.Member.ID), member.Append(nil)); err != nil {
		return err
	}
	return m.answer(op.ResultOK)
}

// stands: whoever stays a learner once stays one. The node itself may not know that it does: it was
// demoted by others, and has restarted since on a state that is older.
func (m *machine) stands(next *op.Member) (bool, error) {
	key := sysKey(sysMember, next.ID)
	value, found, err := m.read(hashOf(key), key, &m.value, everything)
	if err != nil || !found || next.Standing {
		return next.Standing, err
	}
	known, err := decodeMember(next.ID, value)
	return known.Standing, err
}

func decodeMember(id uint64, value []byte) (op.Member, error) {
	var o op.Op
	rest, err := op.Decode(value, &o)
	if err != nil || len(rest) != 0 || o.Code != op.CodeMember || o.Member.ID != id {
		return op.Member{}, corrupt("a member record", "of %016x, with code %d: %v", id, o.Code, err)
	}
	return o.Member, nil
}

// Members lists the recorded members. See node.Storage.
func (m *machine) Members() (members []op.Member, err error) {
	err = m.eachRecorded(sysMember, func(id uint64, value []byte) error {
		member, err := decodeMember(id, value)
		members = append(members, member)
		return err
	})
	return members, err
}

// Retired lists the nodes that have left for good, by id. See node.Storage.
func (m *machine) Retired() (nodes []op.Retired, err error) {
	err = m.eachRecorded(sysRetired, func(id uint64, value []byte) error {
		if len(value) < 8 {
			return corrupt("a record of a retired node", "it has %d bytes", len(value))
		}
		nodes = append(nodes, op.Retired{
			ID: id, Index: binary.BigEndian.Uint64(value), Name: string(value[8:]),
		})
		return nil
	})
	return nodes, err
}

func (m *machine) eachRecorded(kind byte, visit func(id uint64, value []byte) error) error {
	d := m.acquire()
	defer d.release()
	return eachSys(d.db, kind, visit)
}

// OriginOf is the last proposal of a node that was applied; ok is false when none was, or the node
// has left. See node.Storage.
func (m *machine) OriginOf(id uint64) (boot, seq uint64, ok bool) {
	d := m.acquire()
	defer d.release()
	ok, err := d.get(sysKey(sysOrigin, id), func(value []byte) error {
		if len(value) != originSize {
			return corrupt("an origin record", "it has %d bytes", len(value))
		}
		boot, seq = binary.BigEndian.Uint64(value), binary.BigEndian.Uint64(value[8:])
		return nil
	})
	if err != nil {
		_ = m.fuse.blow(err)
		return 0, 0, false
	}
	return boot, seq, ok
}
