package raftcore

// progressState is what the leader thinks of one peer's log (figure 2, nextIndex and matchIndex).
type progressState uint8

const (
	// probing: where the logs agree is not known; one message is out at a time.
	probing progressState = iota
	// replicating: next runs ahead of the acknowledgements, within the inflight limits.
	replicating
	// snapshotting: what the peer needs is compacted. It gets offers of a snapshot, and no entries.
	snapshotting
)

func (s progressState) String() string {
	return [...]string{"probing", "replicating", "snapshot"}[s]
}

// progress of one peer. What happens next follows from a few questions, and every combination of
// answers has a line (mistake 54):
//
//	position before next known | match known | message in flight ->
//	yes                        | no          | no                   probe: entries after next-1, once
//	yes                        | no          | yes                  wait for a response or heartbeat
//	yes                        | yes         | below the limits     send, next moves on
//	yes                        | yes         | at the limits        wait; a response frees
//	no                                                              snapshotting:
//
//	usable snapshot there | offered in this heartbeat ->
//	no                    | no                           have one taken, if the peer is there
//	yes                   | no                           offer it; the one offered before, if usable
//	-                     | yes                          wait; read rounds go out empty
//
// A snapshot is usable when the log goes on after it. The state ends with any response after
// whose Match the log goes on, whatever was offered: then replicating from there.
type progress struct {
	id      NodeID
	state   progressState
	match   Index  // durable there, under this leader's log
	moved   uint64 // newest round when match moved: who rejects match in a later one has lost it
	next    Index  // first entry not yet sent
	epoch   Index  // config entry that was in force when this progress began; echoed by responses
	probed  bool   // probing: the one message is out
	loading bool   // a LoadRequest is out
	loaded  []Entry
	commit  Index   // newest commit index sent
	told    uint64  // newest round sent
	round   uint64  // newest round echoed
	contact Instant // last response
	flights inflights
	// acked is how many messages were acknowledged since the last probe, up to the limit: the window
	// opens with them, see windowMin.
	acked int
	// reopened: a slot was freed in this heartbeat without an acknowledgement. Once is enough to
	// find out that a message is lost; once per response would let late and repeated responses
	// each send another message, whose responses are repeated, too.
	reopened bool

	snapshot SnapshotMeta // what was offered; ID 0: nothing
	offered  bool         // this heartbeat's offer, or wish for a snapshot, is out
	// catchUp is the end of the log when a snapshot was done: until match is there, the log is
	// held, or compaction could overtake the peer and it would need the next snapshot at once.
	catchUp Index

	leaseRound uint64  // an echo of this round or a newer one renews the lease; 0: none is out
	leaseSent  Instant // when that round was first sent to the peer
	leased     Instant // latest such instant of a round that was echoed with a promise; 0: none
}

// becomeSnapshotting waits for a response after whose Match the log goes on.
func (p *progress) becomeSnapshotting() {
	p.state, p.probed, p.offered, p.catchUp = snapshotting, false, false, 0
	p.flights.clear()
	p.loaded, p.snapshot = nil, SnapshotMeta{}
}

// becomeProbing starts over after next-1.
func (p *progress) becomeProbing(next Index) {
	p.state, p.probed, p.next, p.acked = probing, false, max(next, p.match+1), 0
	p.flights.clear()
	p.loaded = nil
}

func (p *progress) becomeReplicating() {
	p.state, p.probed = replicating, false
	p.next = max(p.next, p.match+1)
	p.flights.clear()
}

// windowMin is how many messages may be in flight after a probe. Each acknowledged one lets one
// more follow, so the window doubles in a round trip, up to the limit.
//
// Scenario: a link that changes the order. Of 256 messages that are sent at once, twenty are
// overtaken and rejected by a peer that then has all of them. Each rejection ends in a probe, and
// the probe in 256 messages more, of which twenty are overtaken: the link carries nothing else any
// more, and no fault has to last for that. With few messages after a probe fewer than one is
// overtaken.
const windowMin = 4

// windowFull reports whether a response has to come before the next message.
func (p *progress) windowFull(o *Options) bool {
	return p.flights.full(min(o.MaxInflightMessages, windowMin+p.acked), o.MaxInflightBytes)
}

// acknowledged takes a durable index from a response. It reports whether match moved.
func (p *progress) acknowledged(match Index, o *Options) bool {
	inFlight := p.flights.count
	p.flights.freeUpTo(match)
	p.acked = min(p.acked+inFlight-p.flights.count, max(0, o.MaxInflightMessages-windowMin))
	if match <= p.match {
		return false
	}
	p.match = match
	p.next = max(p.next, match+1)
	return true
}

// inflights is a ring of the messages with entries that are sent and not acknowledged.
type inflights struct {
	ring  []inflight // power of two, grown on demand up to the limit
	start int
	count int
	bytes int
}

type inflight struct {
	last  Index
	bytes int
}

func (f *inflights) full(countMax, bytesMax int) bool {
	return f.count >= countMax || f.bytes >= bytesMax
}

func (f *inflights) add(last Index, bytes int) {
	if f.count == len(f.ring) {
		grown := make([]inflight, max(8, 2*len(f.ring)))
		for i := range f.count {
			grown[i] = f.ring[(f.start+i)&(len(f.ring)-1)]
		}
		f.ring, f.start = grown, 0
	}
	f.ring[(f.start+f.count)&(len(f.ring)-1)] = inflight{last, bytes}
	f.count++
	f.bytes += bytes
}

func (f *inflights) freeUpTo(match Index) {
	for f.count > 0 && f.ring[f.start].last <= match {
		f.freeFirst()
	}
}

// freeFirst re-opens one slot: when a peer answers and the limit is reached, the oldest message may
// be lost (mistake 68). The caller does so once per heartbeat.
func (f *inflights) freeFirst() {
	f.bytes -= f.ring[f.start].bytes
	f.start = (f.start + 1) & (len(f.ring) - 1)
	f.count--
}

func (f *inflights) clear() { f.start, f.count, f.bytes = 0, 0, 0 }
