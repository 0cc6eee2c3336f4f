package node

import (
	"errors"
	"fmt"

	"kelek/raftcore"
	"kelek/store/op"
)

// keeping is what the loop knows of the slow things: how much of the log must stay, and who the
// members are. A goroutine looks at them, about once a second, and reports.
type keeping struct {
	next  raftcore.Instant // when the next chores are due; never while they are done
	flush bool             // the next ones shall make the applied state durable first
	again bool             // those under way are about a state that has gone

	warnedAt raftcore.Instant // 0: never
}

// hurry makes the next chores due at once.
func (k *keeping) hurry() {
	if k.again = k.next == never; !k.again {
		k.next = 0
	}
}

// choreRequest is what shall be done, and report what was found.
type choreRequest struct {
	flush  bool
	config raftcore.Config
}

type report struct {
	durableApplied raftcore.Index
	compactTarget  raftcore.Index // what comes after it is LogKeepBytes, or all of the log
	logBytes       int64
	judged         raftcore.Index // members and retired are at least as of here
	members        []op.Member
	retired        []op.Retired
}

// loaded is the answer to one LoadRequest.
type loaded struct {
	request raftcore.LoadRequest
	entries []raftcore.Entry
}

func (n *Node) maybeStartChores() {
	k := &n.keeping
	if n.now < k.next {
		return
	}
	n.helpers.chores(choreRequest{k.flush, n.config})
	k.next, k.flush = never, false
}

// doChores runs on the goroutine for them: the calls may read the disk.
func (n *Node) doChores(requests []choreRequest) {
	for _, request := range requests {
		r, err := n.chore(request)
		if err != nil {
			n.fail(err)
			return
		}
		n.reports.putWait(r, 1, 0)
	}
}

func (n *Node) chore(request choreRequest) (r report, err error) {
	if n.options.Reinvite != nil {
		n.options.Reinvite(request.config)
	}
	if request.flush {
		if err := n.storage.FlushState(); err != nil {
			return r, fmt.Errorf("flush the state: %w", err)
		}
	}
	if r.durableApplied, err = n.storage.DurableApplied(); err != nil {
		return r, fmt.Errorf("read the durable applied index: %w", err)
	}
	r.logBytes = n.storage.LogBytes()
	r.compactTarget = n.storage.CompactTarget(n.options.LogKeepBytes)
	r.judged, _ = n.storage.Applied()
	if r.members, err = n.storage.Members(); err != nil {
		return r, fmt.Errorf("read the members: %w", err)
	}
	if r.retired, err = n.storage.Retired(); err != nil {
		return r, fmt.Errorf("read the nodes that were removed: %w", err)
	}
	return r, nil
}

func (n *Node) takeReport(r report) {
	n.reports.release(1, 0)
	n.membersReported(&r)
	n.core.Status(&n.seen.core)
	n.tidyShelf(&n.seen.core)
	n.maybeCompact(&r)
	n.maybeFlush(r.durableApplied)
	n.keeping.next = n.now + n.choresAgain()
}

func (n *Node) choresAgain() raftcore.Instant {
	switch {
	case n.keeping.again:
		n.keeping.again = false
		return 0
	case n.joining.complete && n.member():
		return raftcore.Instant(choresInterval)
	}
	return raftcore.Instant(choresSoon)
}

// maybeCompact forgets the part of the log that is durable in the own state and that either every
// member holds on its disk, or that lies before the LogKeepBytes that are kept for members which
// are down or slow. Beyond them a member gets a snapshot, whoever leads by then, so every node may
// judge by its own log.
//
// While a snapshot is on its way, a leader keeps what its receiver needs afterwards: or it would be
// too late again and again. That has a limit too, or one slow receiver would fill the disk.
func (n *Node) maybeCompact(r *report) {
	s := &n.seen.core
	upTo := min(r.durableApplied, max(s.Floor, r.compactTarget))
	if s.Held != 0 && r.logBytes <= n.holdBytes() {
		upTo = min(upTo, s.Held)
	} else if s.Held != 0 && upTo > s.Held {
		n.warnUnheld(r.logBytes)
	}
	if n.worthCompacting(upTo-min(upTo, s.First), r.logBytes) {
		n.core.Compact(upTo)
		n.helpers.compact(upTo)
	}
}

// worthCompacting reports whether a compaction frees enough: many entries, or a fair part of a log
// that is larger than it should be, which a few large entries may make up.
func (n *Node) worthCompacting(entries raftcore.Index, logBytes int64) bool {
	keep := n.options.LogKeepBytes
	return entries >= raftcore.Index(n.options.Limits.CompactEntriesMin) ||
		entries > 0 && logBytes > keep+keep/4
}

// holdBytes is how large the log may grow for the sake of a snapshot on its way: twice what is kept
// anyway, and at least as large as the snapshot, which takes its time.
func (n *Node) holdBytes() int64 {
	_, snapshotBytes := n.shelf.use()
	return max(2*n.options.LogKeepBytes, snapshotBytes)
}

// warnUnheld tells, now and then, that a snapshot on its way will be of no use.
func (n *Node) warnUnheld(logBytes int64) {
	k := &n.keeping
	if k.warnedAt != 0 && n.now < k.warnedAt+raftcore.Instant(warnInterval) {
		return
	}
	k.warnedAt = n.now
	n.logger.Warn().Int64("log_bytes", logBytes).Int64("limit_bytes", n.holdBytes()).
		Msg("the log outgrows a snapshot on its way, which has to be taken again: raise " +
			"--log-keep-bytes or --snapshot-rate")
}

// entriesOf estimates how many entries of the log make up so many bytes.
func entriesOf(bytes, logBytes int64, s *raftcore.Status) raftcore.Index {
	count := int64(s.Last.Index+1) - int64(s.First)
	if logBytes <= 0 || count <= 0 {
		return s.Last.Index
	}
	return raftcore.Index(float64(bytes) / float64(logBytes) * float64(count))
}

// maybeFlush asks for a flush of the state when too much log would have to be replayed after a
// crash, and can therefore not be compacted.
func (n *Node) maybeFlush(durable raftcore.Index) {
	s := &n.seen.core
	if s.Applied <= durable {
		return
	}
	allowed := entriesOf(n.options.FlushLogBytes, n.storage.LogBytes(), s)
	n.keeping.flush = s.Applied-durable > allowed
}

// doLoads runs on the loader's goroutine. What was compacted meanwhile is answered with nothing:
// the core finds that it has to send a snapshot.
func (n *Node) doLoads(requests []raftcore.LoadRequest) {
	for _, request := range requests {
		entries, err := n.storage.Entries(request.Range, request.Bytes)
		if err != nil && !errors.Is(err, op.ErrCompacted) {
			n.fail(fmt.Errorf("read entries %d..%d for a peer: %w",
				request.Range.First, request.Range.Last, err))
			return
		}
		n.loads.putWait(loaded{request, entries}, 1, 0)
	}
}

func (n *Node) takeLoad(x loaded) {
	n.loads.release(1, 0)
	n.core.Loaded(x.request, x.entries)
}
