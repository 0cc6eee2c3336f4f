package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kelek/store/op"
)

// history is what some keys held after each batch, and the batches. Most keys come and go, so that
// their absence is read as often as their value. The clock is a key that every batch counts up.
type history struct {
	batches [][]op.Op
	held    [][historyKeys]string // after each batch; "": nothing
}

const (
	historyKeys  = 12
	historyDB    = 0
	historyClock = 1 // the database of the clock, which no FLUSHDB takes
)

func historyKey(k int) []byte { return fmt.Append(nil, "key", k) }

// drawHistory draws some batches: those that are gathered, and those that are not.
func drawHistory(random *rand.Rand, batches int) *history {
	h := &history{held: make([][historyKeys]string, 1)}
	for n := 1; n <= batches; n++ {
		now := h.held[n-1]
		ops := []op.Op{{Code: op.CodeAdd, DB: historyClock, Key: []byte("clock"), Delta: 1}}
		for range 1 + random.IntN(4) {
			ops = append(ops, drawHistoryOp(random, n, &now))
		}
		for i := range random.IntN(2) * random.IntN(30) { // so that it is settled now and then
			ops = append(ops, op.Op{Code: op.CodePut, DB: historyClock, Key: fmt.Append(nil, "filler", i),
				Value: make([]byte, 90+n%10)})
		}
		h.batches, h.held = append(h.batches, ops), append(h.held, now)
	}
	return h
}

func drawHistoryOp(random *rand.Rand, n int, now *[historyKeys]string) op.Op {
	k := random.IntN(historyKeys)
	write := op.Op{Code: op.CodePut, DB: historyDB, Key: historyKey(k),
		Value: fmt.Append(nil, n%10, strings.Repeat("v", random.IntN(3)))}
	switch random.IntN(40) {
	case 0:
		*now = [historyKeys]string{}
		return op.Op{Code: op.CodeFlush, DB: historyDB}
	case 1, 2, 3: // passes the tables by
		write.TTL, write.Time = op.TTLAfter, 1<<40
	case 4, 5, 6: // what the applier reads, it keeps
		write.Cond = op.IfAbsent
		if now[k] == "" {
			now[k] = string(write.Value)
		}
		return write
	default:
		if now[k] != "" && random.IntN(3) > 0 {
			now[k] = ""
			return op.Op{Code: op.CodeDelete, DB: historyDB, Args: [][]byte{write.Key}}
		}
	}
	now[k] = string(write.Value)
	return write
}

// look reads the clock, a key, and the clock again, and checks that the key was what was read at
// some moment between.
func (h *history) look(v op.View, k int) error {
	first, err := clockOf(v)
	if err != nil {
		return err
	}
	value, err := v.Get(historyDB, historyKey(k), nil)
	if err != nil {
		return err
	}
	last, err := clockOf(v)
	if err != nil {
		return err
	}
	for n := first; n <= last; n++ {
		if h.held[n][k] == string(value.Bytes) {
			return nil
		}
	}
	return fmt.Errorf("key %d was %q between batches %d and %d, which left %q and %q",
		k, value.Bytes, first, last, h.held[first][k], h.held[last][k])
}

func clockOf(v op.View) (n int, err error) {
	value, err := v.Get(historyClock, []byte("clock"), nil)
	if err == nil && value.Type != op.TypeNone {
		_, err = fmt.Sscan(string(value.Bytes), &n)
	}
	return n, err
}

// TestRowsAgreeWithTheHistory: while batches are applied, gathered, settled or not, readers find what
// a key was at some moment of their reading, its absence included, from wherever it comes.
func TestRowsAgreeWithTheHistory(t *testing.T) {
	batches := 800
	if testing.Short() || raceEnabled {
		batches = 300
	}
	for seed := range uint64(3) {
		h := drawHistory(rand.New(rand.NewPCG(seed, 1)), batches)
		r := newReplica(t, smallOptions(t, vfs.NewMem()))
		if err := h.replay(r, seed); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		r.must(r.s.Close())
	}
}

// replay applies the batches while some readers look. Between two batches a key is known exactly.
func (h *history) replay(r *replica, seed uint64) (err error) {
	const readerCount = 3
	stop, failed := make(chan struct{}), make(chan error, readerCount)
	var readers sync.WaitGroup
	for reader := range readerCount {
		readers.Add(1)
		go func() {
			defer readers.Done()
			failed <- h.read(r.s, rand.New(rand.NewPCG(seed, uint64(2+reader))), stop)
		}()
	}
	view := r.s.View(false)
	defer view.Close()
	for i := 0; i < len(h.batches) && err == nil; i++ {
		err = r.commit(nil, r.proposal(h.batches[i]...))
		for k := 0; k < historyKeys && i%16 == 0 && err == nil; k++ {
			err = h.look(view, k)
		}
	}
	close(stop)
	readers.Wait()
	for range readerCount {
		err = errors.Join(err, <-failed)
	}
	return err
}

func (h *history) read(s *Store, random *rand.Rand, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		view := s.View(false)
		err := h.look(view, random.IntN(historyKeys))
		if view.Close(); err != nil {
			return err
		}
	}
}
