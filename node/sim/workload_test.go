package sim

import (
	"errors"
	"fmt"

	"kelek/raftcore"
	"kelek/store/op"
)

// call is what one client wants: some ops, or a read. It is the op.Sink of its submission.
type call struct {
	w       *world
	p       *process
	token   string
	ops     []op.Op
	floor   raftcore.Index // what was answered before it began
	index   raftcore.Index // where it took effect
	told    int
	adds    map[string]int64 // to counters
	request uint64           // of a ONCE; 0: none
	lease   bool             // a read under a lease
	read    []byte           // key of a read; nil: it is none
	outcome outcome
}

type outcome uint8

const (
	pending outcome = iota
	acked
	unknown
	refused
)

func (o outcome) String() string {
	return [...]string{"pending", "acked", "unknown", "refused"}[o]
}

func (x *call) String() string {
	return fmt.Sprintf("call %s on %s: %s at %d, after %d", x.token, x.p, x.outcome, x.index, x.floor)
}

// Applied implements op.Sink.
func (x *call) Applied(i int, _ *op.Result, _ op.View) {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	if x.p.mute() {
		return
	}
	if i != x.told || x.outcome != pending {
		x.w.check.violate("%s: is told of op %d after %d", x, i, x.told)
	}
	x.told++
	x.index = x.p.storage.applying
}

// Gone implements op.Sink.
func (x *call) Gone() bool { return false }

// sight is what a node shows of a key.
type sight struct {
	index raftcore.Index
	value op.Value
	err   error
}

// look reads the key that the node was asked for. It may never return, if Pebble has died with a
// lock, so the world is not locked then.
func (x *call) look() (s sight) {
	s.index, _ = x.p.storage.Applied()
	view := x.p.node.View(true)
	defer view.Close()
	s.value, s.err = view.Get(0, x.read, nil)
	return s
}

// asked reports that somebody wants to see what a node shows.
func (x *call) asked() bool {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	return x.read != nil && !x.p.mute()
}

// Resolve implements op.Sink.
func (x *call) Resolve(err error) {
	var s sight
	if err == nil && x.asked() {
		s = x.look()
	}
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	if x.p.lingering && x.read == nil && err == nil {
		x.w.check.violate("%s: answered after the storage had failed", x)
	}
	if x.p.mute() {
		return
	}
	if x.outcome != pending {
		x.w.check.violate("%s: resolved a second time, %v", x, err)
	}
	delete(x.p.calls, x)
	switch {
	case err == nil:
		x.answered(s)
	case errors.Is(err, op.ErrUncertain):
		x.unknown()
	default:
		x.outcome = refused
		x.w.stats.refused++
	}
}

// answered checks an answer against what was answered before the question.
func (x *call) answered(s sight) {
	w := x.w
	x.outcome = acked
	if x.read != nil {
		x.saw(s)
		return
	}
	if w.stats.acked++; x.told != len(x.ops) {
		w.check.violate("%s: %d of %d ops have a result", x, x.told, len(x.ops))
	}
	if x.index <= x.floor {
		w.check.violate("%s: it takes effect before what was answered earlier", x)
	}
	w.check.answered = max(w.check.answered, x.index)
	if x.request != 0 {
		delete(w.requests, x.request)
	}
}

// saw checks what a read shows.
func (x *call) saw(s sight) {
	w := x.w
	if w.stats.reads++; x.lease {
		w.stats.leaseReads++
	}
	x.index = s.index
	if s.index < x.floor {
		w.check.violate("%s: it sees %d", x, s.index)
	}
	if s.err != nil {
		if !x.p.excused() {
			w.check.violate("%s: %v", x, s.err)
		}
		return
	}
	w.check.value(x.p, s.index, x.read, s.value)
	w.check.answered = max(w.check.answered, s.index)
}

func (x *call) unknown() {
	x.outcome = unknown
	x.w.stats.unknown++
	delete(x.p.calls, x)
}

// load lets clients call.
func (w *world) load() {
	if w.rng.IntN(3) > 0 {
		return
	}
	m := w.machines[w.rng.IntN(len(w.machines))]
	if m.process == nil || len(m.process.calls) > 50 {
		return
	}
	for range 1 + w.rng.IntN(3) {
		w.submit(m.process)
	}
	if w.rng.IntN(2) == 0 {
		w.ask(m.process, w.key())
	}
}

func (w *world) newCall(p *process) *call {
	x := &call{w: w, p: p, token: fmt.Sprint(len(w.calls)), floor: w.check.answered,
		adds: map[string]int64{}}
	w.calls = append(w.calls, x)
	p.calls[x] = true
	return x
}

// ask is a linearizable read, or one that rests on the leader's lease if there are any.
func (w *world) ask(p *process, key []byte) *call {
	if w.leases && w.rng.IntN(2) == 0 {
		return w.askFor(p, key, op.ReadLease)
	}
	return w.askFor(p, key, op.ReadLinearizable)
}

func (w *world) askFor(p *process, key []byte, level op.ReadLevel) *call {
	x := w.newCall(p)
	x.read, x.lease = key, level == op.ReadLease
	w.unlocked(func() { p.node.Read(&op.ReadRequest{Resolve: x.Resolve, Level: level}) })
	return x
}

// submit writes something.
func (w *world) submit(p *process) *call {
	x := w.newCall(p)
	for range 1 + w.rng.IntN(2) {
		x.ops = append(x.ops, x.draw())
	}
	var data []byte
	for i := range x.ops {
		data = x.ops[i].Append(data)
	}
	w.unlocked(func() { p.node.Propose(&op.Submission{Ops: data, Count: len(x.ops), Sink: x}) })
	return x
}

// unlocked calls a node, which may answer at once.
func (w *world) unlocked(f func()) {
	w.mu.Unlock()
	defer w.mu.Lock()
	f()
}

func (w *world) key() []byte {
	const keys = 12
	return fmt.Append(nil, "k", w.rng.IntN(keys))
}

func (x *call) draw() op.Op {
	w := x.w
	switch w.rng.IntN(9) {
	case 0, 1:
		return x.add(fmt.Sprint("c", w.rng.IntN(3)))
	case 2:
		return op.Op{Code: op.CodeAppend, Key: w.key(), Value: x.value(20)}
	case 3:
		return op.Op{Code: op.CodeDelete, Args: [][]byte{w.key(), w.key()}}
	case 4:
		return x.once()
	case 5:
		inner := x.add("c0")
		both := op.Op{Code: op.CodePut, Key: w.key(), Value: x.value(50)}
		return op.Op{Code: op.CodeMulti, Count: 2, Inner: both.Append(inner.Append(nil))}
	case 6:
		return op.Op{Code: op.CodePut, Key: w.key(), Value: x.value(50), TTL: op.TTLAfter,
			Time: 1 + w.rng.Int64N(400)}
	case 7:
		return op.Op{Code: op.CodePut, Key: w.key(), Value: x.value(50), Cond: op.IfAbsent}
	}
	return op.Op{Code: op.CodePut, Key: w.key(), Value: x.value(400)}
}

func (x *call) add(key string) op.Op {
	delta := 1 + x.w.rng.Int64N(5)
	x.adds[key] += delta
	return op.Op{Code: op.CodeAdd, Key: []byte(key), Delta: delta}
}

// value is never written by anybody else: its token tells whose effect it is.
func (x *call) value(bytesMax int) []byte {
	x.w.values++
	pad := make([]byte, x.w.rng.IntN(bytesMax))
	for i := range pad {
		pad[i] = 'a' + byte(x.w.rng.IntN(26))
	}
	return fmt.Append(nil, x.token, ".", x.w.values, ";", string(pad))
}

// once increments by a request that is repeated until it is answered, wherever that is.
func (x *call) once() op.Op {
	w := x.w
	if x.request != 0 {
		return x.add("c1")
	}
	if len(w.requests) == 0 || w.rng.IntN(3) == 0 {
		w.lastRequest++
		w.requests[w.lastRequest] = true
	}
	for id := uint64(1); id <= w.lastRequest; id++ {
		if w.requests[id] && (x.request == 0 || w.rng.IntN(2) == 0) {
			x.request = id
		}
	}
	inner := op.Op{Code: op.CodeAdd, Key: []byte("once"), Delta: 1}
	return op.Op{Code: op.CodeOnce, Client: []byte("client"), Request: x.request, Inner: inner.Append(nil)}
}
