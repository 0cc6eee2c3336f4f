package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// snapshotting is the loop's part of state transfer. The core says who needs a snapshot, and when
// one is installed; what takes time is done by two goroutines: one takes and drops snapshots, one
// fetches. The transport streams what is on the shelf.
//
//	leader                                        follower
//	TakeSnapshot -> take -> shelf, SnapshotTaken
//	(the core offers it)                          Fetch -> fetch: stage, verify -> SnapshotFetched
//	BeginSnapshot ... EndSnapshot        <------- (transport)
//	                                              Write.Snapshot -> log writer: Install -> installed
//	no peer needs it: dropped
type snapshotting struct {
	ids       *rand.Rand       // of snapshots; see nextSnapshotID
	wanted    bool             // the core wants one: see maybeTake
	lookAt    raftcore.Instant // when to take it; never without one
	taking    uint64           // ID of the one that is being taken; 0: none
	idleSince raftcore.Instant // since when no peer needs what is on the shelf; 0: one does
	newest    raftcore.Index   // the last that was taken or installed here

	fetching *fetchTask // under way, or staged and not installed; nil: none
	staged   op.Stage   // of fetching, once it is complete

	installing raftcore.Seq                  // the write that installs one; 0: none
	installed  atomic.Pointer[installResult] // of it, set by the log writer before the write lands

	created, takesFailed, received, fetchesFailed uint64
}

// streamed is counted by the transport's goroutines.
type streamed struct {
	sent, sendsFailed, bytesSent, bytesReceived atomic.Uint64
}

// snapshotTask is work for the goroutine that takes and drops: one of its fields is set.
type snapshotTask struct {
	take    uint64   // take a snapshot under this ID
	drop    uint64   // forget this one
	discard op.Stage // remove what was fetched
}

// fetchTask is a snapshot to be fetched.
type fetchTask struct {
	raftcore.Fetch
	sender string          // name of From, for the log
	ctx    context.Context // its end means: nobody wants it any more
	cancel context.CancelFunc
}

// snapshotNews is what a helper or the transport tells the loop.
type snapshotNews struct {
	what newsKind
	meta raftcore.SnapshotMeta // taken
	file []wire.SnapshotFile   // taken
	peer raftcore.NodeID       // streamRefused
	task *fetchTask            // fetchEnded
	all  op.Stage              // fetchEnded: complete
	err  error                 // takeEnded, fetchEnded
}

type newsKind uint8

const (
	takeEnded     newsKind = iota // a snapshot was taken, or err says why not
	fetchEnded                    // a snapshot is staged, or err says why not
	streamRefused                 // a peer wanted what is not on the shelf
)

// installResult is what the log writer found after an install.
type installResult struct {
	meta      raftcore.SnapshotMeta
	boot, seq uint64 // our own origin record in the new state
	known     bool
}

// nextSnapshotID is a number that no other snapshot of any node has: a receiver goes on with what
// it has of a snapshot by its number alone.
func (n *Node) nextSnapshotID() uint64 {
	for {
		if id := n.snapshotting.ids.Uint64(); id != 0 {
			return id
		}
	}
}

// carrySnapshots carries out what the core wants done about snapshots.
func (n *Node) carrySnapshots(e *raftcore.Effects) {
	if e.TakeSnapshot {
		n.snapshotting.wanted, n.snapshotting.lookAt = true, n.now
	}
	if e.Fetch != nil {
		n.fetchSnapshot(e.Fetch)
	}
}

// maybeTake begins to take the snapshot that the core wants, at once or some time after one that
// failed. The one that is being taken already will do.
func (n *Node) maybeTake() {
	s := &n.snapshotting
	if n.now < s.lookAt {
		return
	}
	s.lookAt = never
	if !n.leading() {
		s.wanted = false
		n.core.SnapshotFailed(raftcore.NodeID(n.options.Self.ID))
	}
	if !s.wanted || s.taking != 0 {
		return
	}
	s.wanted, s.taking = false, n.nextSnapshotID()
	n.helpers.snapshot(snapshotTask{take: s.taking})
}

// needsSnapshot reports whether a peer can be brought up to date by nothing else.
func needsSnapshot(p raftcore.PeerState) bool { return p.State == "snapshot" }

// present reports whether a peer needs a snapshot and was heard of lately.
func (n *Node) present(p raftcore.PeerState) bool {
	return needsSnapshot(p) && n.now < p.Contact+n.electionTimeout
}

// fetchSnapshot begins to fetch one, and gives up the one before. While one waits to be installed,
// what is staged belongs to the log writer, and there is no place for another: see maybeInstalled.
func (n *Node) fetchSnapshot(f *raftcore.Fetch) {
	s := &n.snapshotting
	n.endFetch()
	if f.Meta.ID == 0 {
		return
	}
	t := &fetchTask{Fetch: *f, sender: n.nameOf(f.From)}
	n.logger.Info().Str("from", t.sender).Uint64("index", uint64(f.Meta.Pos.Index)).
		Uint64("applied", uint64(n.appliedIndex)).Msg("fetches a snapshot: the log begins later")
	t.Meta.Config = cloneConfig(&f.Meta.Config)
	t.ctx, t.cancel = context.WithCancel(n.lifecycle.fetches)
	s.fetching = t
	if s.installing == 0 {
		n.helpers.fetch(t)
	}
}

// endFetch gives up what is being fetched, or was fetched and is not installed.
func (n *Node) endFetch() {
	s := &n.snapshotting
	if s.fetching != nil {
		s.fetching.cancel()
	}
	if s.staged != nil {
		n.helpers.snapshot(snapshotTask{discard: s.staged})
	}
	s.fetching, s.staged = nil, nil
	n.seen.stale = true
}

// takeNews takes what has become of a snapshot.
func (n *Node) takeNews(x snapshotNews) {
	n.snapshots.release(1, 0)
	n.seen.stale = true
	switch x.what {
	case takeEnded:
		n.snapshotTaken(&x)
	case fetchEnded:
		n.snapshotFetched(&x)
	case streamRefused:
		n.core.SnapshotFailed(x.peer)
	}
}

// snapshotTaken puts a snapshot on the shelf. Without leadership nobody will ask for it.
func (n *Node) snapshotTaken(x *snapshotNews) {
	s := &n.snapshotting
	s.taking, s.wanted = 0, false
	switch {
	case x.err != nil:
		s.takesFailed++
		s.wanted, s.lookAt = true, n.now+raftcore.Instant(snapshotRetry)
		n.logger.Error().Err(x.err).Msg("a snapshot could not be taken: it is tried again")
	case !n.leading():
		n.helpers.snapshot(snapshotTask{drop: x.meta.ID})
		n.core.SnapshotFailed(raftcore.NodeID(n.options.Self.ID))
	default:
		s.created++
		s.newest, s.idleSince = x.meta.Pos.Index, 0
		n.shelf.put(x.meta, x.file)
		n.core.SnapshotTaken(x.meta)
		n.logger.Info().Uint64("index", uint64(x.meta.Pos.Index)).Int("files", len(x.file)).
			Msg("a snapshot is taken for a member that the log cannot bring up to date")
	}
}

// snapshotFetched tells the core that a snapshot may be installed, unless it is one that was given
// up while the news was on its way.
func (n *Node) snapshotFetched(x *snapshotNews) {
	s := &n.snapshotting
	switch {
	case x.task != s.fetching:
		if x.all != nil {
			n.helpers.snapshot(snapshotTask{discard: x.all})
		}
	case x.err != nil:
		s.fetchesFailed++
		s.fetching = nil
		x.task.cancel()
		n.core.SnapshotFailed(x.task.From)
	default:
		s.staged = x.all
		x.task.cancel()
		n.core.SnapshotFetched(x.task.Meta)
	}
}

// installBegun notes that a write installs a snapshot. From here on it belongs to the log writer.
func (n *Node) installBegun(w *raftcore.Write) {
	s := &n.snapshotting
	s.fetching, s.staged = nil, nil
	s.installing = w.Seq
	n.passConfig(&w.Snapshot.Config)
}

// maybeInstalled follows an install once it is durable: everything that this node knew of the state
// before is of another one.
func (n *Node) maybeInstalled() {
	s := &n.snapshotting
	if s.installing == 0 || n.durableSeq < s.installing {
		return
	}
	s.installing = 0
	x := s.installed.Swap(nil)
	n.logger.Info().Uint64("index", uint64(x.meta.Pos.Index)).
		Uint64("applied", uint64(n.appliedIndex)).Msg("a snapshot is installed")
	s.received++
	s.newest = x.meta.Pos.Index
	n.appliedIndex = x.meta.Pos.Index
	n.restored.Last.Index = min(n.restored.Last.Index, x.meta.Pos.Index)
	n.purging.last = 0
	n.keeping.hurry()
	n.seen.stale = true
	n.answerJumped(x)
	if s.fetching != nil { // a newer one was offered meanwhile
		n.helpers.fetch(s.fetching)
	}
}

// answerJumped answers the own proposals that the installed state knows: they were executed or not
// within entries that this node never saw, so nobody knows their results. Those after them stay,
// and are sent again.
func (n *Node) answerJumped(x *installResult) {
	o := &n.origin
	if !x.known || x.boot < n.options.Boot {
		return
	}
	if x.boot > n.options.Boot || x.seq >= o.next {
		n.fail(fmt.Errorf("node: the installed state has seen proposal %d/%d of this node, which has "+
			"numbered up to %d/%d: another process runs with its node id", x.boot, x.seq,
			n.options.Boot, o.next-1))
		return
	}
	for o.window.len() > 0 && (*o.window.at(0)).seq <= x.seq {
		p := n.popOldest()
		n.counters.uncertain += uint64(len(p.parts) - p.told)
		p.resolve(n.uncertain(p))
		p.data = nil
		n.proposals.Put(p)
	}
	n.resend()
}

// forgetSnapshots gives up what was taken, and every stream of it. Who leads next takes its own.
func (n *Node) forgetSnapshots() {
	n.dropSnapshots(func(*shelved) bool { return true })
	n.core.SnapshotTaken(raftcore.SnapshotMeta{})
}

func (n *Node) dropSnapshots(unwanted func(*shelved) bool) {
	for _, id := range n.shelf.clear(unwanted) {
		n.helpers.snapshot(snapshotTask{drop: id})
	}
}

// tidyShelf drops the snapshots that no peer needs: an older one, which nobody goes on from, and
// all of them once nobody who is there has needed any for a while. The files of a snapshot are
// shared with the state at first, and the longer it stays, the fewer.
func (n *Node) tidyShelf(c *raftcore.Status) {
	s := &n.snapshotting
	if c.Snapshot.ID == 0 {
		return
	}
	n.dropSnapshots(func(x *shelved) bool {
		return x.meta.ID != c.Snapshot.ID && x.streams == 0 &&
			(c.Held == 0 || x.meta.Pos.Index < c.Held)
	})
	streams, _ := n.shelf.use()
	switch {
	case streams > 0 || slices.ContainsFunc(c.Peers, n.present):
		s.idleSince = 0
	case s.idleSince == 0:
		s.idleSince = n.now
	case n.now >= s.idleSince+raftcore.Instant(snapshotIdle):
		n.forgetSnapshots()
		for i := range c.Peers {
			if needsSnapshot(c.Peers[i]) {
				n.core.SnapshotFailed(c.Peers[i].ID) // it gets a fresh one when it is back
			}
		}
	}
}

func (n *Node) snapshotStatus() op.SnapshotStatus {
	s := &n.snapshotting
	streams, _ := n.shelf.use()
	return op.SnapshotStatus{
		Index: uint64(s.newest), Taking: s.taking != 0, Sending: uint64(streams),
		Receiving: s.fetching != nil || s.installing != 0,
		Created:   s.created, CreatesFailed: s.takesFailed,
		Sent: n.streamed.sent.Load(), SendsFailed: n.streamed.sendsFailed.Load(),
		Installed: s.received, ReceivesFailed: s.fetchesFailed,
		BytesSent: n.streamed.bytesSent.Load(), BytesReceived: n.streamed.bytesReceived.Load(),
	}
}

// doSnapshots runs on the goroutine that takes snapshots and drops them.
func (n *Node) doSnapshots(tasks []snapshotTask) {
	for _, t := range tasks {
		var err error
		switch {
		case t.take != 0:
			n.doTake(t.take)
		case t.drop != 0:
			err = n.storage.DropSnapshot(t.drop)
		case t.discard != nil:
			err = t.discard.Abort()
		}
		if err != nil {
			n.logger.Error().Err(err).Msg("files of a snapshot stay on the disk until the next start")
		}
	}
}

func (n *Node) doTake(id uint64) {
	x := snapshotNews{what: takeEnded}
	x.meta, x.err = n.storage.TakeSnapshot(id)
	if x.err == nil {
		x.file, x.err = n.storage.SnapshotFiles(id)
	}
	n.snapshots.putWait(x, 1, 0)
}
