package sim

import (
	"math/rand/v2"

	"kelek/raftcore"
)

// How a snapshot travels: on a connection of its own, driven by the receiver, who asks for one part
// after the other and for a lost one again. What is staged may survive a restart, and goes on where
// it was. Parts make up files; a file whose checksum does not match starts over.

// stage is what a receiver has of a snapshot. It is on its disk, and counts for nothing before the
// whole is verified and synced.
type stage struct {
	meta  raftcore.SnapshotMeta
	parts []uint64 // received, in order
	whole *snapshot
}

// crash leaves all that was staged, none of it, a part, or in the file that was being written
// something older: its checksum has to tell.
func (s *stage) crash(g *rand.Rand) {
	n := len(s.parts)
	switch unfinished := n%partsPerFile > 0 && s.whole == nil; g.IntN(5) {
	case 0:
		*s = stage{}
	case 1:
		s.parts, s.whole = s.parts[:g.IntN(n+1)], nil
	case 2:
		if unfinished {
			s.parts[n-1] ^= 1
		}
	}
}

// fetch is a transfer that the core wants.
type fetch struct {
	raftcore.Fetch
	number uint64 // tells answers to this one from answers to an earlier one
	tries  int    // without an answer
	whole  bool   // being synced, or reported
	// syncEnds is the world time at which the whole is synced; 0: it is not here yet.
	syncEnds raftcore.Instant
}

// streamPart is a request for a part of a snapshot, or the answer.
type streamPart struct {
	answer   bool
	number   uint64 // of the fetch
	id       uint64 // of the snapshot
	offset   int
	data     uint64
	snapshot *snapshot // of the answer; nil: the sender does not have it
}

const (
	partsPerFile    = 3
	streamTriesMax  = 6
	streamTimeoutOf = 4 // an election time-out is this many retries
)

// part is the content of one part; a changed bit of the snapshot changes all of them.
func (s *snapshot) part(offset int) uint64 {
	return mix(mix(s.state.hash, s.base), uint64(offset))
}

// fetchChanged starts, replaces or aborts a transfer.
func (p *process) fetchChanged(f *raftcore.Fetch) {
	if p.w.tracing() {
		p.w.tracef(p, "fetches %d at %v from n%d", f.Meta.ID, f.Meta.Pos, p.w.indexOf(f.From)+1)
	}
	if f.Meta.ID == 0 {
		p.fetch = fetch{}
		p.w.stats.Aborted++
		return
	}
	p.w.fetches++
	p.fetch = fetch{Fetch: *f, number: p.w.fetches}
	p.fetch.Meta.Config = cloneConfig(&f.Meta.Config)
	s := &p.disk.stage
	switch {
	case s.meta.ID != f.Meta.ID:
		*s = stage{meta: p.fetch.Meta}
	case len(s.parts) > 0:
		p.w.stats.Resumed++
	}
	p.fetchNext()
}

func cloneConfig(c *raftcore.Config) raftcore.Config {
	clone := func(ids []raftcore.NodeID) []raftcore.NodeID {
		return append([]raftcore.NodeID(nil), ids...)
	}
	return raftcore.Config{
		Voters: clone(c.Voters), OldVoters: clone(c.OldVoters), Learners: clone(c.Learners),
	}
}

// fetchNext asks for the next part, or reports the whole.
func (p *process) fetchNext() {
	f, s := &p.fetch, &p.disk.stage
	if s.whole != nil {
		f.whole = true
		p.fetchTakes(p.w.syncLatency(&p.disk))
		return
	}
	to := p.w.indexOf(f.From)
	p.w.network.stream(p, to, streamPart{number: f.number, id: f.Meta.ID, offset: len(s.parts)})
	p.w.schedule(p, p.w.knobs.election/streamTimeoutOf, evFetch, f.number<<16|uint64(len(s.parts)))
}

// fetchTakes says when the sync of the whole ends, whatever was said before.
func (p *process) fetchTakes(latency raftcore.Instant) {
	p.fetch.syncEnds = p.w.now + latency
	p.w.schedule(p, latency, evFetched, p.fetch.number)
}

// fetchTimedOut asks again, and gives up in the end: the connection cannot be made.
func (p *process) fetchTimedOut(number, offset uint64) {
	f := &p.fetch
	if f.number != number || f.whole || uint64(len(p.disk.stage.parts)) != offset {
		return
	}
	if f.tries++; f.tries < streamTriesMax {
		p.fetchNext()
		return
	}
	p.giveUpFetch()
}

func (p *process) giveUpFetch() {
	from := p.fetch.From
	p.fetch = fetch{}
	p.w.stats.GivenUp++
	p.core.SnapshotFailed(from)
	p.inputTaken()
}

// fetched: everything is here and synced. The core may have lost interest meanwhile.
func (p *process) fetched(e *event) {
	f := &p.fetch
	if f.number == e.arg && f.syncEnds == e.at && !p.at(afterSnapshot) {
		p.core.SnapshotFetched(p.fetch.Meta)
		p.inputTaken()
	}
}

// takePart is either side of a transfer: a request, or an answer to one.
func (p *process) takePart(from *process, part streamPart) {
	if !part.answer {
		p.servePart(from, part)
		return
	}
	f, s := &p.fetch, &p.disk.stage
	if f.number != part.number || f.whole || part.offset != len(s.parts) {
		return // of an earlier transfer, or repeated
	}
	if part.snapshot == nil {
		p.giveUpFetch()
		return
	}
	if p.disk.full {
		p.stop("the disk is full")
		return
	}
	f.tries = 0
	// Who has staged all of it before a crash, and does not know that it is sound, asks for what
	// comes after the end, and gets the checksum.
	if part.offset < p.w.knobs.snapshotParts {
		s.parts = append(s.parts, part.data)
		p.w.stats.Parts++
	}
	if last := len(s.parts) == p.w.knobs.snapshotParts; last || len(s.parts)%partsPerFile == 0 {
		p.finishFile(part.snapshot, last)
	}
	p.fetchNext()
}

// finishFile verifies the checksum over the parts of a file.
func (p *process) finishFile(sent *snapshot, last bool) {
	s := &p.disk.stage
	start := (len(s.parts) - 1) / partsPerFile * partsPerFile
	for i := start; i < len(s.parts); i++ {
		if s.parts[i] != sent.part(i) {
			s.parts = s.parts[:start]
			p.w.stats.Mismatches++
			return
		}
	}
	if last {
		s.whole = sent
	}
}

// servePart answers a request. A snapshot that is gone is gone for good: the leader must know that
// it cannot be had, or it would offer it for ever.
func (p *process) servePart(from *process, part streamPart) {
	part.answer = true
	part.snapshot = p.snapshot(part.id)
	if part.snapshot == nil {
		p.core.SnapshotFailed(from.id)
	} else {
		part.data = part.snapshot.part(part.offset)
		if p.w.phase == faulty && chance(p.w.rng.network, p.w.knobs.partFlipPermille) {
			part.data ^= 1
		}
	}
	p.w.network.stream(p, from.index, part)
	p.inputTaken()
}
