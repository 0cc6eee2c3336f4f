package node

import (
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"kelek/raftcore"
	"kelek/store/op"
)

// Options of a Node. Zero durations and limits mean their defaults.
type Options struct {
	// Self is this node as the cluster shall know it. ID, Name and PeerAddr must be set. It is
	// proposed as a CodeMember op whenever the recorded one differs.
	Self op.Member
	Boot uint64 // number of this start, from 1; never used before with this ID
	Seed uint64 // of the election time-outs; from the crypto source in production

	ElectionTimeout time.Duration // a follower campaigns after one to two of these; 500 ms
	Heartbeat       time.Duration // 50 ms
	// FastElection is within how long a follower campaigns once the connection to the leader broke.
	// It is drawn at random, so that two survivors seldom ask at the same moment; 30 ms.
	FastElection time.Duration

	// RequestTimeout is how long a submission or a read waits before it is told something else than
	// its result; 10 s.
	RequestTimeout time.Duration
	// PipelineDelay is how long submissions wait at most for their proposal to grow while others
	// are on their way, if the window has place: 2 ms. Where a commit takes less, it changes
	// nothing; over long distances it keeps more than one proposal on the way.
	PipelineDelay time.Duration
	// LogKeepBytes is how much log is kept for a member that is down or slow; 256 MiB. What lies
	// before is compacted, and who needs it gets a snapshot. While one is on its way, the log may grow
	// to twice that, or to the size of the snapshot.
	LogKeepBytes int64
	// FlushLogBytes is how much log may lie between what is applied and what of it is durable
	// before the state is flushed, so that the log can shrink; 64 MiB, or LogKeepBytes if that is
	// less.
	FlushLogBytes int64

	// LeaseDrift, in parts per thousand, switches leases on: the leader answers reads without a round
	// as long as no clock runs faster than another by more than that. It must be the same on all
	// nodes. 0: no leases.
	LeaseDrift int
	// PromoteAfter is for how long a learner must have been fit to vote before the leader makes it a
	// voter; 2 s.
	PromoteAfter time.Duration

	// Greeter, when not nil, is told who the members are: see Greeter.Know.
	Greeter *Greeter
	// Reinvite, when not nil, is called about once a second with the configuration in force, on a
	// goroutine of the node: see Greeter.Reinvite.
	Reinvite func(raftcore.Config)

	Limits Limits
	Logger zerolog.Logger
	// Clock is the monotonic and the wall clock; nil: that of the machine. With leases it has to run
	// on while the machine sleeps.
	Clock Clock
}

// Clock tells the monotonic time, which never goes back, and the wall clock, which may.
type Clock func() (raftcore.Instant, raftcore.LogTime)

// MachineClock reads both clocks of the machine. The monotonic one starts at one second, since zero
// means "never" in several places. The transport must stamp with the same one.
func MachineClock() Clock {
	start := time.Now()
	return func() (raftcore.Instant, raftcore.LogTime) {
		now := time.Now()
		return raftcore.Instant(now.Sub(start)) + raftcore.Second, raftcore.LogTime(now.UnixMilli())
	}
}

func (o *Options) setDefaults() {
	orDefault(&o.ElectionTimeout, 500*time.Millisecond)
	orDefault(&o.Heartbeat, 50*time.Millisecond)
	orDefault(&o.FastElection, min(30*time.Millisecond, o.ElectionTimeout))
	orDefault(&o.RequestTimeout, 10*time.Second)
	orDefault(&o.PromoteAfter, 2*time.Second)
	orDefault(&o.PipelineDelay, 2*time.Millisecond)
	orDefault(&o.LogKeepBytes, 256<<20)
	orDefault(&o.FlushLogBytes, min(64<<20, o.LogKeepBytes))
	o.Limits.setDefaults()
}

var errNoSleeplessClock = errors.New("node: leases need a clock that runs on while the machine " +
	"sleeps, which is known on Linux only: start without --read lease")

// setClock chooses the machine's clock unless there is another one.
func (o *Options) setClock() (err error) {
	switch {
	case o.Clock != nil:
	case o.LeaseDrift > 0:
		o.Clock, err = sleeplessClock()
	default:
		o.Clock = MachineClock()
	}
	return err
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (o *Options) validate() error {
	switch {
	case o.Self.ID == 0:
		return errors.New("node: the node id must not be 0")
	case o.Boot == 0:
		return errors.New("node: the boot number must not be 0")
	case o.RequestTimeout < 0 || o.ElectionTimeout < 0 || o.Heartbeat < 0 || o.FastElection < 0 ||
		o.PipelineDelay < 0 || o.PromoteAfter < 0:
		return errors.New("node: a time-out must not be negative")
	case o.RequestTimeout < o.ElectionTimeout:
		return fmt.Errorf("node: request timeout %s is shorter than the election timeout %s: "+
			"every write would fail while a leader is replaced", o.RequestTimeout, o.ElectionTimeout)
	}
	return o.Limits.validate()
}

// core is what of the options concerns the protocol.
func (o *Options) core() raftcore.Options {
	l := &o.Limits
	return raftcore.Options{
		ID:                    raftcore.NodeID(o.Self.ID),
		Boot:                  o.Boot,
		Seed:                  o.Seed,
		ElectionTimeout:       raftcore.Instant(o.ElectionTimeout),
		Heartbeat:             raftcore.Instant(o.Heartbeat),
		LeaseDrift:            o.LeaseDrift,
		FastElection:          raftcore.Instant(o.FastElection),
		MaxAppendBytes:        l.AppendBytesMax,
		MaxInflightMessages:   l.InflightMessagesMax,
		MaxInflightBytes:      l.InflightBytesMax,
		MaxUncommittedEntries: l.UncommittedEntriesMax,
		MaxUncommittedBytes:   l.UncommittedBytesMax,
		MaxEntryBytes:         l.EntryBytesMax,
		MaxApplyBytes:         l.ApplyQueueBytesMax,
		MaxPendingReads:       l.PendingReadsMax,
		LogTailBytes:          l.LogTailBytesMax,
	}
}
