package sim

import "kelek/raftcore"

// eventKind is what an event does; the table in sim.go says how.
type eventKind uint8

const (
	evTimer      eventKind = 1 + iota // a core's deadline, or the node's coarse ticker
	evDeliver                         // a packet reaches its receiver
	evSynced                          // a disk finished a sync
	evApply                           // an applier reaches the next range
	evLoaded                          // entries read from disk for a slow peer
	evAdvance                         // a gathering loop drains its core
	evStop                            // a node that was told to stops
	evTake                            // a snapshot that the core wants is taken
	evFetch                           // a part of a snapshot is overdue
	evFetched                         // a fetched snapshot is synced
	evResend                          // an origin looks after what got no answer
	evSession                         // a client session does its next thing
	evDisconnect                      // a connection to a peer is found broken
	evFault                           // the next fault of one kind
	evFaultOff                        // the end of one that lasts
	evRestart                         // a crashed process starts again
	evResume                          // a paused process runs again
	evHealed                          // is the healed cluster where it has to be?
	evTend                            // the leader looks after its members
	evGraph                           // does a partly connected cluster make progress?
	eventKinds
)

// event is one thing that will happen. It holds no pointer: the heap moves events by value, and
// the garbage collector need not look at it.
type event struct {
	at    raftcore.Instant // world time
	order uint64           // breaks ties: first scheduled, first done
	arg   uint64           // kind's own
	boot  uint32           // of the node when scheduled; 0: survives a restart
	slot  int32            // packet, see network; -1: none
	node  int8             // -1: the world's
	kind  eventKind
}

func (e *event) before(f *event) bool {
	return e.at < f.at || e.at == f.at && e.order < f.order
}

// heap is a binary heap of events. container/heap would box every event.
type heap struct {
	events []event
	order  uint64
}

func (h *heap) push(e event) {
	h.order++
	e.order = h.order
	h.events = append(h.events, e)
	at := len(h.events) - 1
	for at > 0 {
		parent := (at - 1) / 2
		if !e.before(&h.events[parent]) {
			break
		}
		h.events[at] = h.events[parent]
		at = parent
	}
	h.events[at] = e
}

func (h *heap) pop() event {
	first := h.events[0]
	n := len(h.events) - 1
	last := h.events[n]
	h.events = h.events[:n]
	at := 0
	for {
		child := 2*at + 1
		if child >= n {
			break
		}
		if child+1 < n && h.events[child+1].before(&h.events[child]) {
			child++
		}
		if !h.events[child].before(&last) {
			break
		}
		h.events[at] = h.events[child]
		at = child
	}
	if n > 0 {
		h.events[at] = last
	}
	return first
}
