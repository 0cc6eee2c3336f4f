package node

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"kelek/raftcore"
)

// writeTask is a copy of one raftcore.Write, or a compaction, on its way to the log.
type writeTask struct {
	write   raftcore.Write
	hard    raftcore.HardState    // storage behind write.HardState
	meta    raftcore.SnapshotMeta // storage behind write.Snapshot
	bytes   int
	compact raftcore.Index // not 0: compact up to here, and nothing else
}

// fill copies w, whose memory is the core's.
func (t *writeTask) fill(w *raftcore.Write) {
	entries := append(t.write.Append[:0], w.Append...)
	*t = writeTask{write: *w}
	t.write.Append = entries
	if w.HardState != nil {
		t.hard = *w.HardState
		t.write.HardState = &t.hard
	}
	if w.Snapshot != nil {
		t.meta = *w.Snapshot
		t.meta.Config = cloneConfig(&w.Snapshot.Config)
		t.write.Snapshot = &t.meta
	}
	t.bytes = taskOverhead
	for i := range entries {
		t.bytes += entries[i].Bytes()
	}
}

// taskOverhead is what a write counts beside its entries.
const taskOverhead = 64

// recycle returns t to the pool. Storage has what it needs: the entries' data is immutable.
func (n *Node) recycle(t *writeTask) {
	clear(t.write.Append)
	n.writeTasks.Put(t)
}

// logWriter performs the writes of the core, pipelined by two goroutines: one starts each write, in
// order, and the other waits for each, in order, and posts how far the log is durable. So the next
// write is on its way while one syncs, and one sync may serve several.
type logWriter struct {
	node    *Node
	starter *worker[*writeTask]
	started chan startedWrite // bounded: WriterPipelineMax
}

// startedWrite is a write that is not yet durable.
type startedWrite struct {
	seq   raftcore.Seq
	bytes int
	since time.Time
	wait  func() error // nil: it is durable already
}

func newLogWriter(n *Node) *logWriter {
	w := &logWriter{
		node:    n,
		started: make(chan startedWrite, n.options.Limits.WriterPipelineMax),
	}
	w.starter = newWorker(w.start)
	return w
}

// start starts writes. It waits while too many are started and not durable.
func (w *logWriter) start(tasks []*writeTask) {
	for _, t := range tasks {
		if w.node.lifecycle.failed() {
			return
		}
		if err := w.startOne(t); err != nil {
			w.node.fail(err)
			return
		}
		w.node.recycle(t)
	}
}

func (w *logWriter) startOne(t *writeTask) error {
	if t.compact != 0 {
		return w.node.storage.Compact(t.compact)
	}
	x := startedWrite{seq: t.write.Seq, bytes: t.bytes, since: time.Now()}
	var err error
	if t.write.Snapshot != nil {
		err = w.node.install(t)
	} else {
		x.wait, err = w.node.storage.Write(&t.write)
	}
	if err != nil {
		return err
	}
	select {
	case w.started <- x:
	case <-w.node.lifecycle.broken:
	}
	return nil
}

// install makes a staged snapshot the state and the beginning of the log. It stands in the line of
// the writes, and the core hands nothing to the applier meanwhile.
func (n *Node) install(t *writeTask) error {
	if err := n.storage.Install(t.meta, t.write.HardState); err != nil {
		return fmt.Errorf("install the snapshot at %s: %w", t.meta.Pos, err)
	}
	x := &installResult{meta: t.meta}
	x.boot, x.seq, x.known = n.storage.OriginOf(n.options.Self.ID)
	n.snapshotting.installed.Store(x)
	return nil
}

// run starts writes until finish, and then ends the waiting goroutine as well.
func (w *logWriter) run(finish <-chan struct{}, running *sync.WaitGroup) {
	w.starter.run(finish, w.node.lifecycle.broken, running)
	close(w.started)
}

// await waits for one write after the other. It blocks on nothing but the disk.
func (w *logWriter) await(running *sync.WaitGroup) {
	defer running.Done()
	for x := range w.started {
		w.awaitOne(x)
	}
}

func (w *logWriter) awaitOne(x startedWrite) {
	switch {
	case w.node.lifecycle.failed():
		return
	case x.wait == nil:
		w.node.landed(x.seq, x.bytes)
		return
	}
	if err := x.wait(); err != nil {
		w.node.fail(err)
		return
	}
	took := time.Since(x.since)
	w.node.fsync.count(took)
	if took > slowWrite {
		w.node.warnSlow("log write", took)
	}
	w.node.landed(x.seq, x.bytes)
}

// landed posts that everything up to seq is durable.
func (n *Node) landed(seq raftcore.Seq, bytes int) {
	n.writerBytes.Add(-int64(bytes))
	n.postedDurable.post(uint64(seq))
}

// fsyncCounters are written by the log writer and read by Status.
type fsyncCounters struct {
	writes      atomic.Uint64
	maxMicros   atomic.Uint64
	totalMicros atomic.Uint64
}

func (c *fsyncCounters) count(took time.Duration) {
	micros := uint64(took.Microseconds())
	c.writes.Add(1)
	c.totalMicros.Add(micros)
	c.maxMicros.Store(max(c.maxMicros.Load(), micros)) // one writer
}
