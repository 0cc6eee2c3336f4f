package node

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// scriptedTransport answers one FetchSnapshot after the other.
type scriptedTransport struct {
	fakeTransport
	attempts []func(stage op.Stage) error
	made     int
}

func (s *scriptedTransport) FetchSnapshot(_ context.Context, from raftcore.NodeID, id uint64,
	stage func([]wire.SnapshotFile) (op.Stage, error)) error {
	if from != 1 || id != 7 {
		return fmt.Errorf("asked %d for %d", from, id)
	}
	attempt := s.attempts[min(s.made, len(s.attempts)-1)]
	s.made++
	x, err := stage([]wire.SnapshotFile{{Name: "a", Bytes: 1000}})
	if err != nil {
		return err
	}
	return attempt(x)
}

// bring stages n bytes more, and then breaks.
func bring(n int) func(op.Stage) error {
	return func(s op.Stage) error {
		_, at, _ := s.Next()
		if err := s.Write("a", at, make([]byte, n)); err != nil {
			return err
		}
		return errCut
	}
}

func refuse(err error) func(op.Stage) error { return func(op.Stage) error { return err } }

// endedStage notes how its use ended.
type endedStage struct {
	*fakeStage
	end string
	bad error // of Complete
}

func (s *endedStage) Abort() error    { s.end = "aborted"; return nil }
func (s *endedStage) Close() error    { s.end = "closed"; return nil }
func (s *endedStage) Complete() error { return s.bad }

type stagingStorage struct {
	*fakeStorage
	stage *endedStage
}

func (s *stagingStorage) Stage(meta raftcore.SnapshotMeta, files []wire.SnapshotFile) (op.Stage,
	error) {
	x, err := s.fakeStorage.Stage(meta, files)
	if err == nil {
		s.stage.fakeStage = x.(*fakeStage)
	}
	return s.stage, err
}

func TestFetcher(t *testing.T) {
	finish := func(s op.Stage) error {
		if err := bring(500)(s); err != errCut {
			return err
		}
		return s.FinishFile("a", crc32.ChecksumIEEE(make([]byte, 1000)))
	}
	nothing := refuse(errCut)
	ms := time.Millisecond
	for name, c := range map[string]struct {
		attempts []func(op.Stage) error
		bad      error
		failing  string // call of the storage
		pauses   []time.Duration
		err      error
		end      string
	}{
		"at once": {attempts: []func(op.Stage) error{func(s op.Stage) error {
			bring(500)(s)
			return finish(s)
		}}},
		"goes on": {attempts: []func(op.Stage) error{bring(100), bring(200), nothing, bring(200), finish},
			pauses: []time.Duration{50 * ms, 50 * ms, 100 * ms, 50 * ms}},
		"in vain": {attempts: []func(op.Stage) error{nothing}, err: errCut, end: "closed",
			pauses: []time.Duration{50 * ms, 100 * ms, 200 * ms, 400 * ms, 800 * ms, time.Second,
				time.Second, time.Second, time.Second, snapshotRetry}},
		"always damaged": {attempts: []func(op.Stage) error{func(s op.Stage) error {
			bring(1000)(s)
			return s.FinishFile("a", 1)
		}}, err: op.ErrChecksum, end: "closed",
			pauses: []time.Duration{50 * ms, 100 * ms, 200 * ms, 400 * ms, 800 * ms, time.Second,
				time.Second, time.Second, time.Second, snapshotRetry}},
		"gone": {attempts: []func(op.Stage) error{bring(1), refuse(wire.ErrNoSnapshot)},
			err: wire.ErrNoSnapshot, end: "aborted", pauses: []time.Duration{50 * ms, snapshotRetry}},
		"damaged": {attempts: []func(op.Stage) error{bring(500), finish}, bad: op.ErrSnapshotDamaged,
			err: op.ErrSnapshotDamaged, end: "aborted", pauses: []time.Duration{50 * ms, snapshotRetry}},
		"not complete": {attempts: []func(op.Stage) error{bring(500), finish}, bad: errInjected,
			err: errInjected, end: "closed", pauses: []time.Duration{50 * ms, snapshotRetry}},
		"disk full once": {attempts: []func(op.Stage) error{nothing, bring(500), finish}, failing: "Stage",
			pauses: []time.Duration{50 * ms, 50 * ms}},
	} {
		t.Run(name, func(t *testing.T) {
			n, storage := fetching(t, c.attempts)
			storage.stage.bad = c.bad
			storage.failAt[c.failing] = 1
			var pauses []time.Duration
			task := &fetchTask{Fetch: raftcore.Fetch{From: 1, Meta: raftcore.SnapshotMeta{ID: 7}},
				ctx: context.Background()}
			f := fetcher{node: n, task: task, pause: func(_ context.Context, d time.Duration) {
				pauses = append(pauses, d)
			}}
			f.run()
			news := <-n.snapshots.items
			if news.what != fetchEnded || news.task != task || !errors.Is(news.err, c.err) ||
				(news.err == nil) != (c.err == nil) || (news.all != nil) != (c.err == nil) {
				t.Errorf("news %+v, wanted %v", news, c.err)
			}
			if !slices.Equal(pauses, c.pauses) {
				t.Errorf("pauses %v, wanted %v", pauses, c.pauses)
			}
			if storage.stage.end != c.end {
				t.Errorf("the stage is %q, wanted %q", storage.stage.end, c.end)
			}
			if c.err == nil && n.streamed.bytesReceived.Load() != 1000 {
				t.Errorf("%d bytes are counted", n.streamed.bytesReceived.Load())
			}
		})
	}
}

func fetching(t *testing.T, attempts []func(op.Stage) error) (*Node, *stagingStorage) {
	t.Helper()
	storage := &stagingStorage{newFakeStorage(), &endedStage{}}
	n, err := New(Options{Self: op.Member{ID: 2, Name: "n2"}, Boot: 1}, storage)
	if err != nil {
		t.Fatal(err)
	}
	n.transport = &scriptedTransport{attempts: attempts}
	return n, storage
}

// What nobody wants any more is removed; what the end of the process interrupts is kept, since it
// may be offered again.
func TestFetchThatIsGivenUp(t *testing.T) {
	for _, stopping := range []bool{false, true} {
		var n *Node
		var cancel context.CancelFunc
		n, storage := fetching(t, []func(op.Stage) error{bring(10), func(op.Stage) error {
			if stopping {
				n.lifecycle.endFetch()
			} else {
				cancel()
			}
			return errCut
		}})
		task := &fetchTask{Fetch: raftcore.Fetch{From: 1, Meta: raftcore.SnapshotMeta{ID: 7}}}
		task.ctx, cancel = context.WithCancel(n.lifecycle.fetches)
		defer cancel()
		f := fetcher{node: n, task: task, pause: func(context.Context, time.Duration) {}}
		f.run()
		want := map[bool]string{false: "aborted", true: "closed"}[stopping]
		if len(n.snapshots.items) != 0 || storage.stage.end != want {
			t.Errorf("stopping %v: %d news, the stage is %q", stopping, len(n.snapshots.items),
				storage.stage.end)
		}
	}
}

func TestPauseEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	pause(ctx, time.Hour)
	pause(context.Background(), time.Microsecond)
}

func TestShelf(t *testing.T) {
	var s shelf
	file := []wire.SnapshotFile{{Name: "a", Bytes: 10}, {Name: "b", Bytes: 5}}
	s.put(raftcore.SnapshotMeta{ID: 1}, file)
	s.put(raftcore.SnapshotMeta{ID: 2}, file[:1])
	if _, ok := s.borrow(3); ok {
		t.Fatal("3 is not there")
	}
	x, ok := s.borrow(1)
	again, _ := s.borrow(1)
	if !ok || again != x || len(x.files) != 2 {
		t.Fatalf("1 is %+v", x)
	}
	if streams, bytes := s.use(); streams != 2 || bytes != 15 {
		t.Fatalf("%d streams, %d bytes", streams, bytes)
	}
	all := func(*shelved) bool { return true }
	if drop := s.clear(all); !slices.Equal(drop, []uint64{2}) || x.ctx.Err() == nil {
		t.Fatalf("dropped at once: %v; the streams' context: %v", drop, x.ctx.Err())
	}
	if _, ok := s.borrow(1); ok {
		t.Fatal("1 was given up")
	}
	if s.giveBack(1) {
		t.Fatal("there is one more stream")
	}
	if drop := s.clear(all); len(drop) != 0 {
		t.Fatalf("dropped under a stream: %v", drop)
	}
	if !s.giveBack(1) || len(s.items) != 0 {
		t.Fatalf("the last stream has ended: %+v", s.items)
	}
	if s.giveBack(1) {
		t.Fatal("dropped twice")
	}
}
