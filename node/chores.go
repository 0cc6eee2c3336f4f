package node

import (
	"fmt"
	"time"

	"kelek/raftcore"
	"kelek/store/op"
)

// keeping is what the loop knows of the slow things: how much of the log must stay, and who the
// members are. A goroutine looks at them, about once a second, and reports.
type keeping struct {
	next  raftcore.Instant // when the next chores are due; never while they are done
	flush bool             // the next ones shall make the applied state durable first
	loads int              // reads of the log for slow peers that are out

	warnedAt raftcore.Instant // 0: never
}

// choreRequest is what shall be done, and report what was found.
type choreRequest struct {
	flush  bool
	config raftcore.Config
}

type report struct {
	durableApplied raftcore.Index
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
	n.membersReported(r.members, r.retired)
	n.core.Status(&n.seen.core)
	n.maybeCompact(r.durableApplied)
	n.maybeFlush(r.durableApplied)
	n.keeping.next = n.now + n.choresAgain()
}

func (n *Node) choresAgain() raftcore.Instant {
	if n.joining.complete && n.member() {
		return raftcore.Instant(choresInterval)
	}
	return raftcore.Instant(choresSoon)
}

// maybeCompact forgets the part of the log that nobody needs: it is durable in the own state, and
// on the disk of every member. That holds for followers as for the leader, since each of them may
// lead next, and nothing but a log brings a member up to date. So a member that is down keeps the
// logs of all others from shrinking, which warnLagging tells.
func (n *Node) maybeCompact(durable raftcore.Index) {
	s := &n.seen.core
	n.warnLagging(s)
	upTo := min(durable, s.Floor)
	// A load of an earlier leadership may still read below. It is over in a moment.
	if upTo < s.First+compactStep || n.keeping.loads > 0 {
		return
	}
	n.core.Compact(upTo)
	n.helpers.compact(upTo)
}

// warnLagging names, on the leader, the member for whose sake the log grows past its limit.
func (n *Node) warnLagging(s *raftcore.Status) {
	if !n.leading() {
		return
	}
	logBytes := n.storage.LogBytes()
	slowest := raftcore.PeerState{Match: s.Last.Index}
	for _, p := range s.Peers {
		if p.Match <= slowest.Match {
			slowest = p
		}
		if p.State == "snapshot" {
			n.warnSlowest(p, logBytes, "needs entries that are compacted, and cannot catch up")
		}
	}
	if logBytes > n.options.LogKeepBytes && slowest.Match+compactStep < s.Applied {
		n.warnSlowest(slowest, logBytes, "lags behind, so the log grows past its limit")
	}
}

// entriesOf estimates how many entries of the log make up so many bytes.
func entriesOf(bytes, logBytes int64, s *raftcore.Status) raftcore.Index {
	count := int64(s.Last.Index+1) - int64(s.First)
	if logBytes <= 0 || count <= 0 {
		return s.Last.Index
	}
	return raftcore.Index(float64(bytes) / float64(logBytes) * float64(count))
}

// warnSlowest names the member for whose sake the log is kept, now and then.
func (n *Node) warnSlowest(p raftcore.PeerState, logBytes int64, what string) {
	k := &n.keeping
	if k.warnedAt != 0 && n.now < k.warnedAt+raftcore.Instant(warnInterval) {
		return
	}
	k.warnedAt = n.now
	n.logger.Warn().Str("member", n.nameOf(p.ID)).Uint64("match", uint64(p.Match)).
		Dur("silent", time.Duration(n.now-min(n.now, p.Contact))).
		Int64("log_bytes", logBytes).Int64("limit_bytes", n.options.LogKeepBytes).
		Msg("member " + what)
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

// startLoad asks for entries that are no longer in memory.
func (n *Node) startLoad(request raftcore.LoadRequest) {
	n.keeping.loads++
	n.helpers.load(request)
}

// doLoads runs on the loader's goroutine.
func (n *Node) doLoads(requests []raftcore.LoadRequest) {
	for _, request := range requests {
		entries, err := n.storage.Entries(request.Range, request.Bytes)
		if err != nil {
			n.fail(fmt.Errorf("read entries %d..%d for a peer: %w",
				request.Range.First, request.Range.Last, err))
			return
		}
		n.loads.putWait(loaded{request, entries}, 1, 0)
	}
}

func (n *Node) takeLoad(x loaded) {
	n.loads.release(1, 0)
	n.keeping.loads--
	n.core.Loaded(x.request, x.entries)
}
