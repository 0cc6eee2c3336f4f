package node

import (
	"fmt"
	"time"
)

// Limits are the bounds of all queues and batches of a node: nothing in it grows without one. Each
// line says the unit in its name, and what happens at the limit. Zero means the default.
//
// Byte limits on queues bound sums, and an empty queue accepts any one item: the size of an item is
// bounded by EntryBytesMax alone. So the largest command always gets through, one at a time.
type Limits struct {
	// Submissions that are not yet numbered: waiting for a leader or for a place in the window. At
	// the limit Propose answers ErrBusy at once.
	SubmissionsMax      int
	SubmissionsBytesMax int

	// Ops and bytes of one proposal. At the limit the next proposal is begun; one submission is
	// never split, so a large one is a proposal of its own.
	ProposalOpsMax   int
	ProposalBytesMax int
	// Size of one encoded proposal. Above it Propose answers ErrTooLarge at once.
	EntryBytesMax int

	// Own proposals without an outcome up to which even a small one is numbered at once. At the
	// limit submissions wait until one is resolved, until they fill a proposal of
	// PipelineFullBytes, or for Options.PipelineDelay: while a group is on its way, the next one
	// grows. This sets the size of batches under load. Measured with three nodes on two cores, 50
	// connections, one command at a time: with 8, a command costs about twice the CPU, over all
	// nodes, that it costs with 1 or 2.
	PipelineProposalsMax int
	PipelineFullBytes    int
	// Own proposals without an outcome, in all. At the limit submissions wait unnumbered.
	WindowProposalsMax int
	WindowBytesMax     int

	// Proposals that followers forwarded and that the core has not accepted yet. At the limit they
	// are dropped; the origin sends them again.
	ForwardedMax      int
	ForwardedBytesMax int

	// Reads that wait. At the limit Read answers ErrBusy at once.
	ReadsMax int
	// Own read index rounds without an answer. At the limit reads gather for the next round.
	ReadRoundsMax int
	// Rounds of all members that wait on the leader. At the limit it drops a follower's, which asks
	// again two heartbeats later: so this must have room for every member.
	PendingReadsMax int

	// Messages of peers that the loop has not taken. At the limit the peer's reader waits, and so
	// TCP slows the peer down.
	InboxMessagesMax int
	InboxBytesMax    int
	// Connections that came or went. At the limit an event is dropped: elections then take the
	// election time-out.
	EventsMax int

	// Bytes of log writes that are not durable. At the limit a leader appends nothing more; a
	// follower's share is bounded by its leader's InflightBytesMax.
	WriterBytesMax int
	// Writes that are started and not durable. At the limit the next one waits to be started.
	WriterPipelineMax int
	// Messages that wait for a write to be durable. At the limit new ones are dropped, as a network
	// may do.
	HeldMessagesMax int

	// Bytes of committed entries handed to the applier and not applied. At the limit the core hands
	// out nothing more.
	ApplyQueueBytesMax int
	// Bytes of entries in one batch of the state machine, and of one read from the log. At the
	// limit the next batch is begun.
	ApplyBatchBytesMax int

	// The core's own limits; see raftcore.Options.
	AppendBytesMax        int
	InflightMessagesMax   int
	InflightBytesMax      int
	UncommittedEntriesMax int // at the limit proposals wait, in order
	UncommittedBytesMax   int
	LogTailBytesMax       int // at the limit older entries are read from disk when a peer needs them

	// Keys that one purge deletes. At the limit another purge follows.
	PurgeKeysMax int
	// Entries of the log that a compaction is worth. Below it the log stays, unless it is a quarter
	// larger than Options.LogKeepBytes.
	CompactEntriesMin int
}

func (l *Limits) setDefaults() {
	orDefault(&l.SubmissionsMax, 100_000)
	orDefault(&l.SubmissionsBytesMax, 256<<20)
	orDefault(&l.ProposalOpsMax, 8192)
	orDefault(&l.ProposalBytesMax, 512<<10)
	orDefault(&l.EntryBytesMax, 130<<20) // a whole query buffer of resp, and the codes around it
	orDefault(&l.PipelineProposalsMax, 1)
	orDefault(&l.PipelineFullBytes, 128<<10)
	orDefault(&l.WindowProposalsMax, 64)
	orDefault(&l.WindowBytesMax, 64<<20)
	orDefault(&l.ForwardedMax, 1024)
	orDefault(&l.ForwardedBytesMax, 64<<20)
	orDefault(&l.ReadsMax, 100_000)
	orDefault(&l.ReadRoundsMax, 2)
	orDefault(&l.PendingReadsMax, 64)
	orDefault(&l.InboxMessagesMax, 4096)
	orDefault(&l.InboxBytesMax, 64<<20)
	orDefault(&l.EventsMax, 1024)
	orDefault(&l.WriterBytesMax, 128<<20)
	orDefault(&l.WriterPipelineMax, 16)
	orDefault(&l.HeldMessagesMax, 8192)
	orDefault(&l.ApplyQueueBytesMax, 32<<20)
	orDefault(&l.ApplyBatchBytesMax, 4<<20)
	orDefault(&l.AppendBytesMax, 1<<20)
	orDefault(&l.InflightMessagesMax, 256)
	orDefault(&l.InflightBytesMax, 16<<20)
	orDefault(&l.UncommittedEntriesMax, 8192)
	orDefault(&l.UncommittedBytesMax, 64<<20)
	orDefault(&l.LogTailBytesMax, 32<<20)
	orDefault(&l.PurgeKeysMax, 1000)
	orDefault(&l.CompactEntriesMin, 1024)
}

// validate asserts that the limits fit each other. Each line is a way to lose progress or to break
// a promise of the comments above when it does not hold.
func (l *Limits) validate() error {
	for _, relation := range [...]struct {
		holds bool
		why   string
	}{
		{l.PipelineProposalsMax >= 1 && l.WindowProposalsMax >= l.PipelineProposalsMax,
			"1 <= PipelineProposalsMax <= WindowProposalsMax"},
		{l.PipelineFullBytes <= l.ProposalBytesMax, "PipelineFullBytes <= ProposalBytesMax, " +
			"or no proposal is ever full"},
		{l.ProposalBytesMax <= l.EntryBytesMax, "ProposalBytesMax <= EntryBytesMax, " +
			"or a gathered proposal is refused by the core"},
		{l.ProposalOpsMax >= 1, "ProposalOpsMax >= 1"},
		{l.WindowProposalsMax <= l.ForwardedMax, "WindowProposalsMax <= ForwardedMax, " +
			"or one origin's window overruns its leader"},
		{l.WindowProposalsMax <= l.UncommittedEntriesMax,
			"WindowProposalsMax <= UncommittedEntriesMax"},
		{l.ApplyBatchBytesMax <= l.ApplyQueueBytesMax, "ApplyBatchBytesMax <= ApplyQueueBytesMax"},
		{l.AppendBytesMax <= l.InflightBytesMax, "AppendBytesMax <= InflightBytesMax"},
		{l.InflightMessagesMax <= l.InboxMessagesMax, "InflightMessagesMax <= InboxMessagesMax, " +
			"or a follower's reader waits in normal operation"},
		{l.InflightBytesMax <= l.WriterBytesMax, "InflightBytesMax <= WriterBytesMax"},
		{l.ReadRoundsMax >= 1 && l.ReadsMax >= 1, "ReadRoundsMax and ReadsMax >= 1"},
		{l.ReadRoundsMax+peersMax <= l.PendingReadsMax, "ReadRoundsMax + 9 <= PendingReadsMax, " +
			"or reads of nine members are dropped"},
		{l.WriterPipelineMax >= 1, "WriterPipelineMax >= 1"},
		{l.HeldMessagesMax >= 1, "HeldMessagesMax >= 1"},
		{l.PurgeKeysMax >= 1, "PurgeKeysMax >= 1"},
		{l.CompactEntriesMin >= 1, "CompactEntriesMin >= 1"},
	} {
		if !relation.holds {
			return fmt.Errorf("node: limits must satisfy %s", relation.why)
		}
	}
	return nil
}

// Answers of the loader and of the chores that the loop has not taken. At the limit the helper
// waits. Neither comes near it: one load per peer and one chore are out at a time.
const (
	loadsMax   = 4 * peersMax
	reportsMax = 1
)

// tasksMax is how many requests of administrators may wait for the loop. At the limit Admin answers
// ErrBusy; the loop never keeps more than one.
const tasksMax = 16

// snapshotNewsMax is what of helpers and streams the loop has not taken. At the limit a helper
// waits, and that a peer asked for a snapshot in vain is not told: it asks again.
const snapshotNewsMax = 64

// Fetching a snapshot. After an attempt that brought nothing, the next waits twice as long, from
// the first to the second of these; after fetchesInVainMax of them in a row the leader is asked
// anew, snapshotRetry later. So is one that could not be taken.
const (
	fetchPauseMin    = 50 * time.Millisecond
	fetchPauseMax    = time.Second
	fetchesInVainMax = 10
	snapshotRetry    = time.Second
	// snapshotIdle is how long a snapshot stays that no peer needs: others may come soon.
	snapshotIdle = 5 * time.Second
)

// Intervals of the loop's own work. They bound how late something is noticed, never correctness.
const (
	// retryInterval is when a proposal that the core or the transport refused is tried again,
	// unless something happens earlier.
	retryInterval = 10 * time.Millisecond
	// resendBackoffMax bounds the factor by which the resend time-out grows while nothing comes
	// back.
	resendBackoffMax = 8
	// choresInterval is how often the slow things are looked at: durable applied index, members,
	// log size. choresSoon is the same while a member has not recorded its addresses yet.
	choresInterval = time.Second
	choresSoon     = 100 * time.Millisecond
	// statusInterval is how old the copy for INFO may be while anything happens.
	statusInterval = 100 * time.Millisecond
	// purgeAgain is how long a purge that did not move the next deadline is not repeated.
	purgeAgain = 100 * time.Millisecond
	// warnInterval is how often the same warning is logged at most.
	warnInterval = 10 * time.Second
	// slowWrite is how long a log write may take before it is worth a warning.
	slowWrite = time.Second
	// transferTimeouts is after how many election time-outs a stop no longer waits for another
	// leader.
	transferTimeouts = 2
)
