package node

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// Node is one member of the cluster. It implements resp.Backend for clients and Receiver for the
// transport. See doc.go for who may touch what.
type Node struct {
	// Set by New or Start and never changed.
	options            Options
	storage            Storage
	logger             zerolog.Logger
	transport          Transport
	clusterID          [16]byte
	founders           []op.Member // how members could be reached when the cluster was formed
	requestTimeout     raftcore.Instant
	pipelineDelay      raftcore.Instant
	electionTimeout    raftcore.Instant
	submissionBytesMax int
	restored           raftcore.Restored
	helpers            helpers

	// Safe for every goroutine.
	//
	// The inputs of the loop: each is an arm of its select.
	inbox         *mailbox[letter]
	submissions   *mailbox[*op.Submission]
	reads         *mailbox[*op.ReadRequest]
	forwarded     *mailbox[[]byte]
	tasks         *mailbox[*task]
	snapshots     *mailbox[snapshotNews]
	events        *mailbox[event]
	loads         *mailbox[loaded]
	reports       *mailbox[report]
	postedDurable latest        // last write that is on disk; posted by the log writer
	postedApplied latest        // last index that is applied; posted by the applier
	wake          chan struct{} // one token: Stop was called, or an errand has ended

	writerBytes     atomic.Int64 // handed to the log writer and not durable
	forwardsDropped atomic.Uint64
	status          atomic.Pointer[op.Status]
	lifecycle       lifecycle
	peerErrors      peerErrors
	shelf           shelf
	streamed        streamed
	fsync           fsyncCounters
	proposals       sync.Pool // of *proposal
	applyTasks      sync.Pool // of *applyTask
	writeTasks      sync.Pool // of *writeTask

	// The loop's, from here to the end: no other goroutine touches them while it runs.
	core    *raftcore.Core
	effects raftcore.Effects
	alarm   alarm            // of run
	now     raftcore.Instant // of this turn
	clock   raftcore.LogTime

	role   raftcore.Role
	term   raftcore.Term
	leader raftcore.NodeID // 0: unknown
	config raftcore.Config

	durableSeq   raftcore.Seq
	appliedIndex raftcore.Index
	held         fifo[raftcore.Message] // wait for a write, in order
	one          [1]raftcore.Entry      // scratch
	batch        []raftcore.Message     // scratch: what goes to one peer
	hints        hints

	origin   origin
	intake   intake
	reading  reading
	purging  purging
	joining  joining  // members, and how to reach them
	managing managing // the membership, as a leader changes it
	keeping  keeping  // the chores: log size, members

	snapshotting snapshotting

	winding winding // the way down

	stopping bool
	counters counters
	seen     statusSeen
}

var (
	_ Receiver       = (*Node)(nil)
	_ SnapshotSource = (*Node)(nil)
)

// letter is what one read of a peer's connection brought.
type letter struct {
	from     raftcore.NodeID
	messages []raftcore.Message
	bytes    int // of entries
}

// event is a connection that came (hello is set) or went.
type event struct {
	peer  raftcore.NodeID
	hello *wire.Hello
}

// counters are counted by the loop and shown by Status.
type counters struct {
	leaderChanges uint64
	numbered      uint64 // own proposals
	resent        uint64
	uncertain     uint64 // submissions
	readRounds    uint64
	misdirected   uint64 // messages that claim another sender than the connection's
	heldDropped   uint64 // messages, since too many waited for the disk
	longestHeld   raftcore.Instant
}

// helpers are the goroutines around the loop, each reached by one function that returns at once. A
// test sets functions of its own, and completes a write or a batch when it likes.
type helpers struct {
	write   func(*writeTask)
	apply   func(*applyTask)
	load    func(raftcore.LoadRequest)
	chores  func(choreRequest)
	compact func(raftcore.Index)

	snapshot func(snapshotTask) // called by streams, too
	fetch    func(*fetchTask)
}

// proposalOverhead is what an encoded proposal has beside its ops, rounded up.
const proposalOverhead = 64

// New builds a node on opened storage. It does nothing until Start: submissions and reads are held
// as they are without a leader, messages of peers are dropped, and Status says "forming".
func New(o Options, s Storage) (*Node, error) {
	o.setDefaults()
	if err := errors.Join(o.validate(), o.setClock()); err != nil {
		return nil, err
	}
	if s == nil {
		return nil, errors.New("node: there is no storage")
	}
	n := &Node{
		options:            o,
		storage:            s,
		logger:             o.Logger,
		requestTimeout:     raftcore.Instant(o.RequestTimeout),
		pipelineDelay:      raftcore.Instant(o.PipelineDelay),
		electionTimeout:    raftcore.Instant(o.ElectionTimeout),
		submissionBytesMax: o.Limits.EntryBytesMax - proposalOverhead,
		restored:           s.Restored(),
	}
	n.lifecycle.init()
	n.proposals.New = func() any { return new(proposal) }
	n.applyTasks.New = func() any { return new(applyTask) }
	n.writeTasks.New = func() any { return new(writeTask) }
	n.makeInputs()
	n.origin.next = 1
	n.origin.retryAt, n.reading.retryAt, n.reading.deadline = never, never, never
	n.snapshotting.lookAt = never
	n.snapshotting.ids = rand.New(rand.NewPCG(o.Seed, o.Self.ID))
	n.intake.origins = make(map[uint64]appended)
	n.publishForming()
	return n, nil
}

func (n *Node) makeInputs() {
	l := &n.options.Limits
	n.inbox = newMailbox[letter](l.InboxMessagesMax, l.InboxBytesMax)
	n.submissions = newMailbox[*op.Submission](l.SubmissionsMax, l.SubmissionsBytesMax)
	n.reads = newMailbox[*op.ReadRequest](l.ReadsMax, unlimited)
	n.forwarded = newMailbox[[]byte](l.ForwardedMax, l.ForwardedBytesMax)
	n.snapshots = newMailbox[snapshotNews](snapshotNewsMax, unlimited)
	n.events = newMailbox[event](l.EventsMax, unlimited)
	n.tasks = newMailbox[*task](tasksMax, unlimited)
	n.loads = newMailbox[loaded](loadsMax, unlimited)
	n.reports = newMailbox[report](reportsMax, unlimited)
	n.postedDurable, n.postedApplied = newLatest(), newLatest()
	n.wake = make(chan struct{}, 1)
}

// closeInputs runs when the loop has ended: nobody need wait for space in an input any longer. What
// clients handed over is for answerRest.
func (n *Node) closeInputs() {
	n.inbox.close()
	n.forwarded.close()
	n.tasks.close()
	n.snapshots.close()
	n.events.close()
	n.loads.close()
	n.reports.close()
}

// wakeUp makes the loop take a turn, for what has no channel of its own. It never blocks.
func (n *Node) wakeUp() { signal(n.wake) }

// View implements resp.Backend.
func (n *Node) View(stable bool) op.View { return n.storage.View(stable) }

// Now is the node's monotonic clock. The transport has to stamp what it receives with it.
func (n *Node) Now() raftcore.Instant {
	now, _ := n.options.Clock()
	return now
}

// Messages implements Receiver. It waits while the inbox is full, so that TCP slows the peer down;
// the loop never waits for a reader.
func (n *Node) Messages(from raftcore.NodeID, messages []raftcore.Message) {
	if len(messages) == 0 || !n.started() {
		return
	}
	bytes := 0
	for i := range messages {
		for j := range messages[i].Entries {
			bytes += messages[i].Entries[j].Bytes()
		}
	}
	n.inbox.putWait(letter{from, messages, bytes}, len(messages), bytes)
}

// Connected implements Receiver.
func (n *Node) Connected(peer wire.Hello) {
	n.events.put(event{peer.NodeID, &peer}, 1, 0)
}

// Disconnected implements Receiver.
func (n *Node) Disconnected(peer raftcore.NodeID) {
	n.events.put(event{peer: peer}, 1, 0)
}

func (n *Node) leading() bool { return n.role == raftcore.Leader }

func (n *Node) retryTime() raftcore.Instant { return n.now + raftcore.Instant(retryInterval) }
