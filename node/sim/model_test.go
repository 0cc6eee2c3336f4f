package sim

import (
	"bytes"
	"fmt"
	"strconv"

	"kelek/raftcore"
	"kelek/store/op"
)

// model is what the committed entries make, written a second time and without a disk: one database,
// every version of every key, the result of every op.
type model struct {
	keys    map[string][]version
	once    map[string]op.Result
	origins map[uint64][2]uint64 // boot, seq
	config  raftcore.Config
	stamps  []raftcore.LogTime // of entry i+1
	results [][]op.Result      // of entry i+1; nil: its proposal did not count
	effects map[string]int     // how often the value with a token was written

	configIndex raftcore.Index           // of config
	known       map[raftcore.NodeID]bool // who has ever been a member
}

// version is what a key is from an index on.
type version struct {
	index    raftcore.Index
	there    bool
	value    []byte
	deadline raftcore.LogTime // 0: none
}

func newModel() *model {
	return &model{keys: map[string][]version{}, once: map[string]op.Result{},
		origins: map[uint64][2]uint64{}, effects: map[string]int{}, known: map[raftcore.NodeID]bool{}}
}

// apply executes the next entry.
func (m *model) apply(e *raftcore.Entry) error {
	m.stamps = append(m.stamps, e.Stamp)
	m.results = append(m.results, nil)
	switch e.Kind {
	case raftcore.EntryNoop:
		return nil
	case raftcore.EntryConfig:
		c, err := raftcore.DecodeConfig(e.Data)
		if err == nil {
			m.enter(c)
			m.configIndex = e.Index
		}
		return err
	}
	var p op.Proposal
	if err := op.DecodeProposal(e.Data, &p); err != nil || !m.counts(&p) {
		return err
	}
	results := make([]op.Result, 0, p.Count)
	for rest := p.Ops; len(rest) > 0; {
		var o op.Op
		var err error
		if rest, err = op.Decode(rest, &o); err != nil {
			return err
		}
		results = append(results, m.execute(e, &o))
	}
	m.results[e.Index-1] = results
	return nil
}

func (m *model) enter(c raftcore.Config) {
	for _, id := range m.config.Members() {
		if !c.Joint() && !c.IsMember(id) {
			delete(m.origins, uint64(id))
		}
	}
	m.config = c
	for _, id := range c.Members() {
		m.known[id] = true
	}
}

// gone reports that a node has been a member, and is none any more.
func (m *model) gone(id raftcore.NodeID) bool { return m.known[id] && !m.config.IsMember(id) }

// counts is the rule that executes each proposal once.
func (m *model) counts(p *op.Proposal) bool {
	last, known := m.origins[p.Origin]
	next := known && last[0] == p.Boot && p.Seq == last[1]+1
	first := p.Seq == 1 && (known && p.Boot > last[0] ||
		!known && m.config.IsMember(raftcore.NodeID(p.Origin)))
	if next || first {
		m.origins[p.Origin] = [2]uint64{p.Boot, p.Seq}
	}
	return next || first
}

func (m *model) execute(e *raftcore.Entry, o *op.Op) op.Result {
	switch o.Code {
	case op.CodePut:
		return m.put(e, o)
	case op.CodeDelete:
		deleted := int64(0)
		for _, key := range o.Args {
			if m.now(e, key).there {
				m.set(e, key, version{})
				deleted++
			}
		}
		return op.Result{Kind: op.ResultInt, Int: deleted}
	case op.CodeAdd:
		old := m.now(e, o.Key)
		sum := o.Delta
		if old.there {
			before, err := strconv.ParseInt(string(old.value), 10, 64)
			if err != nil {
				return op.Result{Kind: op.ResultError, Error: op.ErrNotInteger}
			}
			sum += before
		}
		m.set(e, o.Key, version{there: true, value: fmt.Append(nil, sum), deadline: old.deadline})
		return op.Result{Kind: op.ResultInt, Int: sum}
	case op.CodeAppend:
		old := m.now(e, o.Key)
		m.effect(o.Value)
		value := append(bytes.Clone(old.value), o.Value...)
		m.set(e, o.Key, version{there: true, value: value, deadline: old.deadline})
		return op.Result{Kind: op.ResultInt, Int: int64(len(value))}
	case op.CodeOnce:
		return m.executeOnce(e, o)
	case op.CodePurge: // changes nothing that anybody can see; how much is the store's affair
		return op.Result{}
	case op.CodeMulti:
		for rest := o.Inner; len(rest) > 0; {
			var inner op.Op
			var err error
			if rest, err = op.Decode(rest, &inner); err != nil {
				return op.Result{}
			}
			m.execute(e, &inner)
		}
	}
	return op.Result{Kind: op.ResultOK}
}

func (m *model) put(e *raftcore.Entry, o *op.Op) op.Result {
	if o.Cond == op.IfAbsent && m.now(e, o.Key).there {
		return op.Result{Kind: op.ResultNil}
	}
	v := version{there: true, value: bytes.Clone(o.Value)}
	if o.TTL == op.TTLAfter {
		v.deadline = e.Stamp + raftcore.LogTime(o.Time)
	}
	m.effect(o.Value)
	m.set(e, o.Key, v)
	return op.Result{Kind: op.ResultOK}
}

func (m *model) executeOnce(e *raftcore.Entry, o *op.Op) op.Result {
	key := fmt.Sprintf("%s/%d", o.Client, o.Request)
	if first, ok := m.once[key]; ok {
		return first
	}
	var inner op.Op
	if _, err := op.Decode(o.Inner, &inner); err != nil {
		return op.Result{}
	}
	result := m.execute(e, &inner)
	m.once[key] = result
	return result
}

// effect counts that the value with a token was written.
func (m *model) effect(value []byte) {
	if token, _, ok := bytes.Cut(value, []byte(";")); ok {
		m.effects[string(token)]++
	}
}

func (m *model) now(e *raftcore.Entry, key []byte) version {
	return m.at(key, e.Index, e.Stamp)
}

// at is a key as a state shows it that has applied index, at a log time.
func (m *model) at(key []byte, index raftcore.Index, now raftcore.LogTime) version {
	list := m.keys[string(key)]
	for i := len(list) - 1; i >= 0; i-- {
		v := list[i]
		if v.index > index {
			continue
		}
		if v.deadline != 0 && v.deadline <= now {
			return version{}
		}
		return v
	}
	return version{}
}

func (m *model) set(e *raftcore.Entry, key []byte, v version) {
	v.index = e.Index
	m.keys[string(key)] = append(m.keys[string(key)], v)
}
