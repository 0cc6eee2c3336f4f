package sim

import (
	"slices"

	"kelek/node"
	"kelek/raftcore"
	"kelek/store/op"
)

// recorder is the storage of a process, and notes what it promises and what it is given.
type recorder struct {
	node.Storage
	p        *process
	started  raftcore.Seq
	durable  raftcore.Seq // every write up to here is
	landed   map[raftcore.Seq]bool
	applying raftcore.Index // the entry whose ops are being told
}

func newRecorder(s node.Storage, p *process) *recorder {
	return &recorder{Storage: s, p: p, landed: map[raftcore.Seq]bool{}}
}

// Write implements node.Storage.
func (r *recorder) Write(w *raftcore.Write) (func() error, error) {
	seq, hard := w.Seq, w.HardState
	if hard != nil {
		kept := *hard
		hard = &kept
	}
	var appended []raftcore.Pos
	for i := range w.Append {
		appended = append(appended, w.Append[i].Pos)
	}
	r.started = max(r.started, seq)
	if w.TruncateFrom != 0 {
		r.withdraw(w.TruncateFrom)
	}
	wait, err := r.Storage.Write(w)
	if err != nil {
		return nil, err
	}
	return func() error {
		failed := r.p.failed.Load()
		if err := wait(); err != nil {
			return err
		}
		r.land(seq, failed)
		r.note(func(x *promises) {
			x.extend(appended)
			if hard != nil {
				x.hard = *hard
			}
		})
		return nil
	}, nil
}

// Install implements node.Storage.
func (r *recorder) Install(meta raftcore.SnapshotMeta, hard *raftcore.HardState) error {
	failed := r.p.failed.Load()
	r.withdraw(meta.Pos.Index + 1)
	if err := r.Storage.Install(meta, hard); err != nil {
		return err
	}
	r.started++
	r.land(r.started, failed)
	r.note(func(x *promises) {
		x.install(meta.Pos)
		if hard != nil {
			x.hard = *hard
		}
		r.p.w.stats.installs++
	})
	return nil
}

// withdraw takes promises back. It does so while the power goes, too: the image of the disk is
// taken an instant later, and may show the write.
func (r *recorder) withdraw(from raftcore.Index) {
	r.p.w.mu.Lock()
	defer r.p.w.mu.Unlock()
	if !r.p.gone {
		r.p.m.promised.truncate(from)
	}
}

// note changes what was promised, unless nobody hears it any more.
func (r *recorder) note(f func(x *promises)) {
	r.p.w.mu.Lock()
	defer r.p.w.mu.Unlock()
	if !r.p.mute() {
		f(r.p.m.promised)
	}
}

// land notes that a write is reported durable, which it cannot be after a failure.
func (r *recorder) land(seq raftcore.Seq, failed bool) {
	r.p.w.mu.Lock()
	defer r.p.w.mu.Unlock()
	if failed {
		r.p.w.check.violate("%s: write %d is reported durable after a failure", r.p, seq)
	}
	r.landed[seq] = true
	for r.landed[r.durable+1] {
		r.durable++
		delete(r.landed, r.durable)
	}
}

// Apply implements node.Storage.
func (r *recorder) Apply(entries []raftcore.Entry, observers []op.Observer) error {
	w, p := r.p.w, r.p
	w.mu.Lock()
	if !p.mute() {
		w.check.committed(w, p, entries)
	}
	w.mu.Unlock()
	told := slices.Clone(observers)
	for i, o := range told {
		told[i] = &witness{o, r, entries[i].Index}
	}
	failed := p.failed.Load()
	if err := r.Storage.Apply(entries, told); err != nil {
		return err
	}
	index, hash := r.Storage.ApplyHash()
	w.mu.Lock()
	defer w.mu.Unlock()
	if failed {
		w.check.violate("%s: applies after a failure", p)
	}
	if !p.mute() {
		w.check.hash(p, index, hash)
	}
	return nil
}

// witness compares what each op does with what the model has done, on every node.
type witness struct {
	told  op.Observer // of an origin; nil on all others
	r     *recorder
	index raftcore.Index
}

// Applied implements op.Observer.
func (x *witness) Applied(i int, result *op.Result, v op.View) {
	w, p := x.r.p.w, x.r.p
	w.mu.Lock()
	if !p.mute() {
		w.check.result(p, x.index, i, result)
	}
	x.r.applying = x.index
	w.mu.Unlock()
	if x.told != nil {
		x.told.Applied(i, result, v)
	}
}
