package node

import (
	"context"
	"iter"
	"time"
)

// Driver is a node without goroutines and without a select: a simulator says what happens next. It
// does what they would do, with their code, one step at a time, on the goroutine of its caller.
type Driver struct {
	node  *Node
	crew  *crew
	queue []*writeTask // of the log, not started

	// A snapshot that is being fetched, as a coroutine: a transport waits by Yield.
	resume  func() (struct{}, bool)
	abandon func()
	yield   func(struct{}) bool
}

// Job is a step of one of the goroutines of a node.
type Job uint8

const (
	JobTurn      Job = iota // of the loop
	JobStart                // the log writer starts one write, or a compaction, or an install
	JobAwait                // the log writer waits for the oldest started write
	JobApply                // the applier applies what was handed to it
	JobLoad                 // old entries are read for slow peers
	JobChores               // once a second
	JobSnapshots            // snapshots are taken and dropped
	JobFetch                // a snapshot is fetched until its transport yields, or a pause
	jobCount
)

// Jobs is how many there are.
const Jobs = int(jobCount)

// Drive is Start for a simulator. The node does nothing but what Do is told.
func (n *Node) Drive(t Transport, formed FormResult) (*Driver, error) {
	if err := n.prepare(t, formed); err != nil {
		return nil, err
	}
	d := &Driver{node: n, crew: n.newCrew()}
	n.helpers.write = func(t *writeTask) { d.queue = append(d.queue, t) }
	n.lifecycle.phase.Store(serving)
	return d, nil
}

// Do does one step. It reports whether there was anything to do, which there always is for a turn.
// As in production, a node that has failed is not kept from it: it has to be silent by itself.
func (d *Driver) Do(j Job) bool {
	switch j {
	case JobTurn:
		d.node.turn()
		return true
	case JobStart:
		return d.startWrite()
	case JobAwait:
		return d.awaitWrite()
	case JobApply:
		return d.crew.apply.step()
	case JobLoad:
		return d.crew.load.step()
	case JobChores:
		return d.crew.chores.step()
	case JobSnapshots:
		return d.crew.snapshots.step()
	}
	return d.fetch()
}

// startWrite makes room first if too many writes are started, where a goroutine would wait.
func (d *Driver) startWrite() bool {
	if len(d.queue) == 0 {
		return false
	}
	started := d.crew.writer.started
	if len(started) == cap(started) {
		d.awaitWrite()
	}
	first := d.queue[:1]
	d.queue = d.queue[1:]
	d.crew.writer.start(first)
	return true
}

func (d *Driver) awaitWrite() bool {
	if len(d.crew.writer.started) == 0 {
		return false
	}
	d.crew.writer.awaitOne(<-d.crew.writer.started)
	return true
}

// fetch goes on with a fetch until it waits for something.
func (d *Driver) fetch() bool {
	if d.resume == nil {
		tasks := d.crew.fetches.take()
		if len(tasks) == 0 {
			return false
		}
		d.resume, d.abandon = iter.Pull(func(yield func(struct{}) bool) {
			d.yield = yield
			for _, t := range tasks {
				f := fetcher{node: d.node, task: t, pause: d.pause}
				f.run()
			}
		})
	}
	if _, more := d.resume(); !more {
		d.resume = nil
	}
	return true
}

func (d *Driver) pause(context.Context, time.Duration) { d.Yield() }

// Yield is called by a transport within FetchSnapshot, so that others go on meanwhile. It returns
// with the next JobFetch.
func (d *Driver) Yield() { d.yield(struct{}{}) }

// Close gives up what is being fetched, so that the storage may be closed. It answers nobody.
func (d *Driver) Close() {
	d.node.lifecycle.endFetch()
	if d.resume != nil {
		d.abandon()
	}
}
