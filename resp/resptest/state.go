package resptest

import (
	"bytes"
	"math"
	"sort"
	"strconv"
	"sync/atomic"

	"kelek/store/op"
)

// stringBytesMax is what a string may grow to.
const stringBytesMax = 64 << 20

type value struct {
	data     []byte
	deadline uint64 // 0: never
	version  uint64 // the op that wrote it
}

type onceEntry struct {
	request uint64
	inner   []byte
	result  op.Result
}

type state struct {
	now  uint64 // log time, ms
	ops  uint64 // executed
	dbs  [op.Databases]map[string]value
	once map[string]onceEntry
}

func newState() state {
	s := state{now: 1_000_000, once: make(map[string]onceEntry)}
	for i := range s.dbs {
		s.dbs[i] = make(map[string]value)
	}
	return s
}

func (s *state) get(db uint8, key []byte) (value, bool) {
	v, ok := s.dbs[db][string(key)]
	if ok && v.deadline != 0 && v.deadline <= s.now {
		return value{}, false
	}
	return v, ok
}

func (s *state) execute(o *op.Op) op.Result {
	s.ops++
	switch o.Code {
	case op.CodePut:
		return s.put(o)
	case op.CodeDelete:
		n := int64(0)
		for _, key := range o.Args {
			if _, ok := s.get(o.DB, key); ok {
				n++
			}
			delete(s.dbs[o.DB], string(key))
		}
		return op.Result{Kind: op.ResultInt, Int: n}
	case op.CodeTake:
		result := s.old(o.DB, o.Key)
		delete(s.dbs[o.DB], string(o.Key))
		return result
	case op.CodeExpire:
		return s.expire(o)
	case op.CodePersist:
		v, ok := s.get(o.DB, o.Key)
		if !ok || v.deadline == 0 {
			return op.Result{Kind: op.ResultInt}
		}
		v.deadline = 0
		s.set(o.DB, o.Key, v)
		return op.Result{Kind: op.ResultInt, Int: 1}
	case op.CodeAdd:
		return s.add(o)
	case op.CodeAppend:
		v, _ := s.get(o.DB, o.Key)
		if len(v.data)+len(o.Value) > stringBytesMax {
			return op.Result{Kind: op.ResultError, Error: op.ErrTooLong}
		}
		v.data = append(bytes.Clone(v.data), o.Value...)
		s.set(o.DB, o.Key, v)
		return op.Result{Kind: op.ResultInt, Int: int64(len(v.data))}
	case op.CodePutMany:
		for i := 0; i < len(o.Args); i += 2 {
			s.set(o.DB, o.Args[i], value{data: bytes.Clone(o.Args[i+1])})
		}
		return op.Result{Kind: op.ResultOK}
	case op.CodeFlush:
		for i := range s.dbs {
			if o.DB == uint8(i) || o.DB == op.AllDatabases {
				s.dbs[i] = make(map[string]value)
			}
		}
		return op.Result{Kind: op.ResultOK}
	case op.CodeOnce:
		return s.executeOnce(o)
	case op.CodePutNew:
		for i := 0; i < len(o.Args); i += 2 {
			if _, ok := s.get(o.DB, o.Args[i]); ok {
				return op.Result{Kind: op.ResultInt}
			}
		}
		for i := 0; i < len(o.Args); i += 2 {
			s.set(o.DB, o.Args[i], value{data: bytes.Clone(o.Args[i+1])})
		}
		return op.Result{Kind: op.ResultInt, Int: 1}
	case op.CodeCopy:
		return s.copy(o)
	case op.CodeSetRange:
		return s.setRange(o)
	case op.CodeGetEx:
		result := s.old(o.DB, o.Key)
		if v, ok := s.get(o.DB, o.Key); ok {
			if v.deadline, ok = s.deadline(o, 0); !ok {
				return op.Result{Kind: op.ResultError, Error: op.ErrInvalidExpire}
			}
			s.set(o.DB, o.Key, v)
		}
		return result
	case op.CodeAddFloat:
		return s.addFloat(o)
	}
	panic("resptest: an op that no command proposes: " + strconv.Itoa(int(o.Code)))
}

// executeMulti tells step of each op in between.
func (s *state) executeMulti(o *op.Op, step func(done int, r *op.Result)) op.Result {
	s.ops++
	for _, w := range o.Watched {
		if v, _ := s.get(w.DB, w.Key); v.version != w.Version {
			return op.Result{Kind: op.ResultNil}
		}
	}
	step(0, nil)
	rest := o.Inner
	for i := range int(o.Count) {
		var inner op.Op
		var err error
		if rest, err = op.Decode(rest, &inner); err != nil {
			panic("resptest: an op of a transaction that does not decode: " + err.Error())
		}
		result := s.execute(&inner)
		step(i+1, &result)
	}
	return op.Result{Kind: op.ResultOK}
}

func (s *state) set(db uint8, key []byte, v value) {
	v.version = s.ops
	s.dbs[db][string(key)] = v
}

func (s *state) copy(o *op.Op) op.Result {
	v, ok := s.get(o.DB, o.Key)
	_, taken := s.get(o.ToDB, o.To)
	switch {
	case !ok:
		return op.Result{Kind: op.ResultNil}
	case taken && o.Cond == op.IfAbsent:
		return op.Result{Kind: op.ResultInt}
	}
	if o.Move {
		delete(s.dbs[o.DB], string(o.Key))
	}
	s.set(o.ToDB, o.To, v)
	return op.Result{Kind: op.ResultInt, Int: 1}
}

func (s *state) setRange(o *op.Op) op.Result {
	v, _ := s.get(o.DB, o.Key)
	if end := o.Delta + int64(len(o.Value)); len(o.Value) > 0 {
		if end > stringBytesMax || end < 0 {
			return op.Result{Kind: op.ResultError, Error: op.ErrTooLong}
		}
		data := make([]byte, max(len(v.data), int(end)))
		copy(data, v.data)
		copy(data[o.Delta:], o.Value)
		v.data = data
		s.set(o.DB, o.Key, v)
	}
	return op.Result{Kind: op.ResultInt, Int: int64(len(v.data))}
}

// addFloat counts in 64 bits: the digits of the sum are the store's to get right.
func (s *state) addFloat(o *op.Op) op.Result {
	v, exists := s.get(o.DB, o.Key)
	sum, err := 0.0, error(nil)
	if exists {
		sum, err = strconv.ParseFloat(string(v.data), 64)
	}
	delta, bad := strconv.ParseFloat(string(o.Value), 64)
	switch {
	case err != nil || bad != nil:
		return op.Result{Kind: op.ResultError, Error: op.ErrNotFloat}
	case math.IsInf(sum+delta, 0) || math.IsNaN(sum+delta):
		return op.Result{Kind: op.ResultError, Error: op.ErrNotFinite}
	}
	v.data = strconv.AppendFloat(nil, sum+delta, 'f', -1, 64)
	s.set(o.DB, o.Key, v)
	return s.old(o.DB, o.Key)
}

// old is the string at a key, or nil.
func (s *state) old(db uint8, key []byte) op.Result {
	if v, ok := s.get(db, key); ok {
		return op.Result{Kind: op.ResultBytes, Bytes: bytes.Clone(v.data)}
	}
	return op.Result{Kind: op.ResultNil}
}

func (s *state) put(o *op.Op) op.Result {
	v, exists := s.get(o.DB, o.Key)
	result := op.Result{Kind: op.ResultOK}
	if o.Return {
		result = s.old(o.DB, o.Key)
	}
	holds := map[op.Cond]bool{op.Always: true, op.IfAbsent: !exists, op.IfExists: exists,
		op.IfEqual: exists && bytes.Equal(v.data, o.Match)}[o.Cond]
	if !holds {
		if !o.Return {
			result.Kind = op.ResultNil
		}
		return result
	}
	deadline, ok := s.deadline(o, v.deadline)
	if !ok {
		return op.Result{Kind: op.ResultError, Error: op.ErrInvalidExpire}
	}
	s.set(o.DB, o.Key, value{data: bytes.Clone(o.Value), deadline: deadline})
	return result
}

func (s *state) deadline(o *op.Op, old uint64) (uint64, bool) {
	switch o.TTL {
	case op.TTLKeep:
		return old, true
	case op.TTLAfter:
		if o.Time > math.MaxInt64-int64(s.now) {
			return 0, false
		}
		return uint64(max(1, int64(s.now)+o.Time)), true
	case op.TTLAt:
		return uint64(max(1, o.Time)), true
	}
	return 0, true
}

func (s *state) expire(o *op.Op) op.Result {
	v, exists := s.get(o.DB, o.Key)
	at, ok := s.deadline(o, 0)
	if !ok {
		return op.Result{Kind: op.ResultError, Error: op.ErrInvalidExpire}
	}
	has := v.deadline != 0
	later, sooner := has && at > v.deadline, !has || at < v.deadline
	holds := map[op.Cond]bool{op.Always: true, op.IfAbsent: !has, op.IfExists: has, op.IfLater: later,
		op.IfSooner: sooner, op.IfExistsLater: has && later, op.IfExistsSooner: has && sooner}[o.Cond]
	if !exists || !holds {
		return op.Result{Kind: op.ResultInt}
	}
	v.deadline = at
	s.set(o.DB, o.Key, v)
	return op.Result{Kind: op.ResultInt, Int: 1}
}

func (s *state) add(o *op.Op) op.Result {
	v, exists := s.get(o.DB, o.Key)
	n := int64(0)
	if exists {
		var err error
		n, err = strconv.ParseInt(string(v.data), 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != string(v.data) {
			return op.Result{Kind: op.ResultError, Error: op.ErrNotInteger}
		}
	}
	sum := n + o.Delta
	if (o.Delta > 0) != (sum > n) && o.Delta != 0 {
		return op.Result{Kind: op.ResultError, Error: op.ErrOverflow}
	}
	v.data = strconv.AppendInt(nil, sum, 10)
	s.set(o.DB, o.Key, v)
	return op.Result{Kind: op.ResultInt, Int: sum}
}

func (s *state) executeOnce(o *op.Op) op.Result {
	if e, ok := s.once[string(o.Client)]; ok && o.Request <= e.request {
		switch {
		case o.Request < e.request:
			return op.Result{Kind: op.ResultError, Error: op.ErrOnceExpired}
		case !bytes.Equal(e.inner, o.Inner):
			return op.Result{Kind: op.ResultError, Error: op.ErrOnceMismatch}
		}
		return e.result
	}
	var inner op.Op
	if _, err := op.Decode(o.Inner, &inner); err != nil {
		panic("resptest: an inner op that does not decode: " + err.Error())
	}
	result := s.execute(&inner)
	s.once[string(o.Client)] = onceEntry{o.Request, bytes.Clone(o.Inner), result}
	return result
}

// view reads a state. open is nil when nobody counts.
type view struct {
	state *state
	open  *atomic.Int64
}

func (v *view) LogTime() uint64 { return v.state.now }

func (v *view) Get(db uint8, key, buf []byte) (op.Value, error) {
	found, ok := v.state.get(db, key)
	if !ok {
		return op.Value{}, nil
	}
	content := append(buf, found.data...)
	return op.Value{Type: op.TypeString, Deadline: found.deadline, Version: found.version,
		Bytes: content}, nil
}

func (v *view) Head(db uint8, key []byte) (op.Value, int, error) {
	found, ok := v.state.get(db, key)
	if !ok {
		return op.Value{}, 0, nil
	}
	head := op.Value{Type: op.TypeString, Deadline: found.deadline, Version: found.version}
	return head, len(found.data), nil
}

func (v *view) Count(db uint8) (keys, expires int64, err error) {
	for key := range v.state.dbs[db] {
		if found, ok := v.state.get(db, []byte(key)); ok {
			keys++
			if found.deadline != 0 {
				expires++
			}
		}
	}
	return keys, expires, nil
}

// KeysInSlot implements command.SlotView.
func (v *view) KeysInSlot(db uint8, slot uint16, limit int, visit func([]byte)) (int, error) {
	var keys []string
	for key := range v.state.dbs[db] {
		if _, ok := v.state.get(db, []byte(key)); ok && op.Slot([]byte(key)) == slot {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	keys = keys[:min(limit, len(keys))]
	for _, key := range keys {
		visit([]byte(key))
	}
	return len(keys), nil
}

// Scan implements command.ScanView.
func (v *view) Scan(
	db uint8, from uint64, limit int, visit func([]byte, op.Type),
) (next uint64, err error) {
	var keys []string
	for key := range v.state.dbs[db] {
		if op.OrderPrefix([]byte(key)) >= from {
			keys = append(keys, key)
		}
	}
	sort.Slice(keys, func(i, j int) bool {
		return op.OrderPrefix([]byte(keys[i])) < op.OrderPrefix([]byte(keys[j]))
	})
	for i, key := range keys {
		if i >= limit {
			return op.OrderPrefix([]byte(key)), nil
		}
		if _, ok := v.state.get(db, []byte(key)); ok {
			visit([]byte(key), op.TypeString)
		}
	}
	return 0, nil
}

func (v *view) Close() {
	if v.open != nil {
		v.open.Add(-1)
	}
}
