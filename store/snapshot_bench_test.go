package store

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kelek/raftcore"
	"kelek/store/op"
)

// writer applies batches of 50 SETs of 1 KB that no compression makes smaller.
type writer struct {
	r      *replica
	random *rand.Rand
}

func newWriter(b *testing.B, megabytes int) *writer {
	s, err := Open(b.TempDir(), Options{Logger: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	w := &writer{&replica{t: b, s: s, stamp: 1000}, rand.New(rand.NewPCG(1, 1))}
	w.r.last.Term = 1
	w.r.must(s.Apply([]raftcore.Entry{w.r.configEntry(self)}, nil))
	for range megabytes * 20 {
		w.write()
	}
	w.r.must(flushed(s))
	return w
}

func (w *writer) write() (took time.Duration) {
	ops := make([]op.Op, 50)
	for i := range ops {
		value := make([]byte, 1000)
		for at := 0; at < len(value); at += 8 {
			binary.LittleEndian.PutUint64(value[at:], w.random.Uint64())
		}
		key := fmt.Appendf(nil, "key:%d", w.random.IntN(400_000))
		ops[i] = op.Op{Code: op.CodePut, Key: key, Value: value}
	}
	e := w.r.proposal(ops...)
	start := time.Now()
	w.r.must(w.r.s.Apply([]raftcore.Entry{e}, nil))
	return time.Since(start)
}

// longest writes until done is closed, at a few MB a second, and returns the longest Apply and the
// longest read of one key beside it.
func (w *writer) longest(done <-chan struct{}) (apply, get time.Duration) {
	for {
		select {
		case <-done:
			return apply, get
		default:
		}
		apply = max(apply, w.write())
		start := time.Now()
		v := w.r.s.View(false)
		_, err := v.Get(0, []byte("key:7"), nil)
		v.Close()
		w.r.must(err)
		get = max(get, time.Since(start))
		time.Sleep(10 * time.Millisecond)
	}
}

// BenchmarkTakeSnapshot takes snapshots of about 200 MB while entries are applied and keys are read,
// and tells the longest Apply and Get during them, and without them.
func BenchmarkTakeSnapshot(b *testing.B) {
	w := newWriter(b, 200)
	s := w.r.s
	quiet := make(chan struct{})
	time.AfterFunc(2*time.Second, func() { close(quiet) })
	applyQuiet, getQuiet := w.longest(quiet)
	taken := make(chan struct{})
	var id uint64
	go func() {
		defer close(taken)
		for b.Loop() {
			id++
			if _, err := s.TakeSnapshot(id); err != nil {
				b.Error(err)
			}
			if err := s.DropSnapshot(id); err != nil {
				b.Error(err)
			}
		}
	}()
	apply, get := w.longest(taken)
	b.ReportMetric(applyQuiet.Seconds()*1e3, "apply-max-without-ms")
	b.ReportMetric(getQuiet.Seconds()*1e3, "get-max-without-ms")
	b.ReportMetric(apply.Seconds()*1e3, "apply-max-ms")
	b.ReportMetric(get.Seconds()*1e3, "get-max-ms")
	b.StopTimer()
	if err := s.machine.close(); err != nil {
		b.Fatal(err)
	}
	_ = s.raftLog.db.Close()
}

// BenchmarkInstall receives and installs a snapshot of about 200 MB, and tells how long each part of
// it takes.
func BenchmarkInstall(b *testing.B) {
	a := newWriter(b, 200)
	var id uint64
	for b.Loop() {
		id++
		a.write()
		meta, files := mustTake(b, a.r.s, id)
		to, err := Open(b.TempDir(), Options{Logger: zerolog.Nop()})
		a.r.must(err)
		st, err := to.Stage(meta, files)
		a.r.must(err)
		start := time.Now()
		a.r.must(fetchAll(a.r.s, id, st, 256<<10))
		fetched := time.Now()
		a.r.must(st.Complete())
		complete := time.Now()
		a.r.must(to.Install(meta, nil))
		b.ReportMetric(fetched.Sub(start).Seconds()*1e3, "fetch-ms")
		b.ReportMetric(complete.Sub(fetched).Seconds()*1e3, "complete-ms")
		b.ReportMetric(time.Since(complete).Seconds()*1e3, "install-ms")
		b.ReportMetric(float64(meta.Pos.Index), "entries")
		a.r.must(to.Close())
		a.r.must(a.r.s.DropSnapshot(id))
	}
	b.StopTimer()
	if err := a.r.s.machine.close(); err != nil {
		b.Fatal(err)
	}
	_ = a.r.s.raftLog.db.Close()
}
