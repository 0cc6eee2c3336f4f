package node

import (
	"context"
	"errors"
	"time"

	"kelek/raftcore/wire"
	"kelek/store/op"
)

// fetcher brings one snapshot here: over as many connections as it takes, each of which goes on
// where the one before ended.
type fetcher struct {
	node  *Node
	task  *fetchTask
	pause func(context.Context, time.Duration)
	stage op.Stage // nil until the first list of files
}

// doFetches runs on the goroutine that fetches.
func (n *Node) doFetches(tasks []*fetchTask) {
	for _, t := range tasks {
		f := fetcher{node: n, task: t, pause: pause}
		f.run()
	}
}

// run fetches, and tells the loop how it ended. What was given up needs no news; its files go,
// unless the process ends: after the next start the same snapshot may still be offered.
func (f *fetcher) run() {
	n, ctx := f.node, f.task.ctx
	err := f.fetch()
	if ctx.Err() != nil {
		f.release(n.lifecycle.fetches.Err() != nil)
		return
	}
	if err == nil {
		n.snapshots.putWait(snapshotNews{what: fetchEnded, task: f.task, all: f.stage}, 1, 0)
		return
	}
	n.logger.Error().Err(err).Str("from", f.task.sender).
		Msg("a snapshot could not be fetched: it is asked for again")
	f.release(!errors.Is(err, wire.ErrNoSnapshot) && !errors.Is(err, op.ErrSnapshotDamaged))
	f.pause(ctx, snapshotRetry)
	n.snapshots.putWait(snapshotNews{what: fetchEnded, task: f.task, err: err}, 1, 0)
}

// fetch stages the whole snapshot.
func (f *fetcher) fetch() error {
	ctx, received := f.task.ctx, &f.node.streamed.bytesReceived
	wait, inVain := fetchPauseMin, 0
	for {
		before := received.Load()
		err := f.node.transport.FetchSnapshot(ctx, f.task.From, f.task.Meta.ID, f.begin)
		if err == nil {
			return f.stage.Complete()
		}
		if received.Load() > before && !errors.Is(err, op.ErrChecksum) {
			inVain, wait = 0, fetchPauseMin
		}
		inVain++
		if ctx.Err() != nil || errors.Is(err, wire.ErrNoSnapshot) || inVain == fetchesInVainMax {
			return err
		}
		f.pause(ctx, wait)
		wait = min(2*wait, fetchPauseMax)
	}
}

// begin opens the stage, with what it has from an earlier attempt.
func (f *fetcher) begin(files []wire.SnapshotFile) (op.Stage, error) {
	if f.stage != nil {
		return countedStage{f.stage, &f.node.streamed}, nil
	}
	stage, err := f.node.storage.Stage(f.task.Meta, files)
	if err != nil {
		return nil, err
	}
	f.stage = stage
	return countedStage{stage, &f.node.streamed}, nil
}

// release ends the use of the stage.
func (f *fetcher) release(keep bool) {
	if f.stage == nil {
		return
	}
	end := f.stage.Abort
	if keep {
		end = f.stage.Close
	}
	if err := end(); err != nil {
		f.node.logger.Error().Err(err).Msg("end of a snapshot that is not complete")
	}
}

// countedStage counts what arrives.
type countedStage struct {
	op.Stage
	streamed *streamed
}

func (s countedStage) Write(name string, offset int64, p []byte) error {
	err := s.Stage.Write(name, offset, p)
	if err == nil {
		s.streamed.bytesReceived.Add(uint64(len(p)))
	}
	return err
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
