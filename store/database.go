package store

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"
)

// database is one Pebble database that holds the state, or held it until a snapshot replaced it.
//
// Whoever uses it holds a reference, so that an install need not wait for readers, nor they for it:
// views that are open go on with the database that they were opened on, and the last one to be
// closed closes that as well. The reference is one atomic counter. Pebble has one of its own for
// each read, and this one is beside it lost in the noise.
type database struct {
	db       *pebble.DB
	rows     *rows
	path     string
	retiring *retiring

	// What was applied and Pebble does not have yet, and how it comes there. See settle.go.
	gathered    gathered
	settling    settling
	gatherBytes int
	tables      func(begin bool) // Options.Tables

	// position is what views show, or an instant less.
	position atomic.Pointer[position]
	counts   counts
	flushing chan struct{} // has room while no flush is under way
	refs     atomic.Int64  // far below zero once it is 0 for good
}

// gone is what refs becomes when nobody can get a reference any more. However many try at once, it
// stays below zero.
const gone = math.MinInt64 / 2

// newDatabase returns a database to which its maker has a reference.
func newDatabase(db *pebble.DB, o *Options, path string, r *retiring) *database {
	d := &database{
		db: db, rows: newRows(o.RowBytes), path: path, retiring: r,
		gatherBytes: int(o.GatherBytes), tables: o.Tables,
		flushing: make(chan struct{}, 1),
	}
	d.gathered.front = &table{usual: d.gatherBytes}
	d.settling.spare = &table{usual: d.gatherBytes}
	d.settling.batch = db.NewBatch(pebble.WithMaxRetainedSizeBytes(batchBytesKept))
	d.position.Store(&position{})
	d.refs.Store(1)
	return d
}

// acquire returns a reference to the database that is in force. It fails for one that was replaced
// between the two steps, and whose last reference went meanwhile; then there is a newer one.
func (m *machine) acquire() *database {
	for {
		d := m.current.Load()
		if d.refs.Add(1) > 0 {
			return d
		}
	}
}

// release gives a reference back. The last one of a database that is not in force any more gets rid
// of it.
func (d *database) release() {
	if d.refs.Add(-1) == 0 && d.refs.CompareAndSwap(0, gone) {
		d.retiring.start(d)
	}
}

// flush makes everything that is applied durable, and tells when by closing done. It is nil when
// there is nothing to do. The caller holds flushing, and gives it back after done: a second flush
// that waited for the first would hold up Apply.
func (d *database) flush() (done <-chan struct{}, err error) {
	if err := d.settle(); err != nil {
		return nil, err
	}
	durable, err := d.durable()
	if err != nil || durable == d.position.Load().index {
		return nil, err
	}
	return d.db.AsyncFlush()
}

// retiring gets rid of databases that are in force no more, in the background.
type retiring struct {
	fs      vfs.FS
	logger  zerolog.Logger
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// start closes a database and removes its directory. What fails is no harm: the next start removes
// what is left.
func (r *retiring) start(d *database) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return // its directory goes at the next start, and its files are closed by the process
	}
	r.running.Add(1)
	go func() {
		defer r.running.Done()
		if err := d.close(); err != nil {
			r.logger.Warn().Err(err).Str("dir", d.path).Msg("closing a replaced state failed")
		}
		if err := r.fs.RemoveAll(d.path); err != nil {
			r.logger.Warn().Err(err).Str("dir", d.path).Msg("removing a replaced state failed")
		}
	}()
}

// finish waits for what was started, and starts nothing more.
func (r *retiring) finish() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.running.Wait()
}

// close waits for a settlement that is under way. What is gathered is not given to Pebble.
func (d *database) close() error {
	d.settling.mu.Lock()
	defer d.settling.mu.Unlock()
	return errors.Join(d.waitSettled(), d.settling.batch.Close(), d.db.Close())
}

// get reads one record, and hands it to visit, which must not keep it.
func (d *database) get(storeKey []byte, visit func(value []byte) error) (found bool, err error) {
	value, k := d.gathered.get(nil, hashOf(storeKey), storeKey)
	switch k {
	case isPresent:
		return true, visit(value)
	case isAbsent:
		return false, nil
	}
	return get(d.db, storeKey, "the state", visit)
}
