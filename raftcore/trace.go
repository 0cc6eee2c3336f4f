package raftcore

import (
	"fmt"
	"strings"
)

// EventKind says what an Event is about.
type EventKind uint8

const (
	EventRole     EventKind = 1 + iota // the role, term or leader changed
	EventCampaign                      // a campaign started
	EventDrop                          // a message was dropped; Reason says why
	EventTruncate                      // the log was cut before Pos
	EventCommit                        // the commit index moved to Pos.Index
	EventRead                          // a read round was confirmed; Pos.Index is its index
	EventInstall                       // a snapshot at Pos replaces the log
)

// Event is one line of the trace, recorded when Options.Trace is set. The core never logs: the
// caller prints events, or not.
type Event struct {
	Kind    EventKind
	Role    Role
	Term    Term
	Peer    NodeID
	Message MessageKind
	Pos     Pos
	Reason  string
}

func (e Event) String() string {
	switch e.Kind {
	case EventRole:
		return fmt.Sprintf("⇨ %s@%d leader %x: %s", e.Role, e.Term, e.Peer, e.Reason)
	case EventCampaign:
		return fmt.Sprintf("campaigns as %s for term %d: %s", e.Role, e.Term, e.Reason)
	case EventDrop:
		return fmt.Sprintf("⇥ %s from %x@%d: %s", e.Message, e.Peer, e.Term, e.Reason)
	case EventTruncate:
		return fmt.Sprintf("truncates from %s", e.Pos)
	case EventCommit:
		return fmt.Sprintf("commits up to %s", e.Pos)
	case EventRead:
		return fmt.Sprintf("reads at %d", e.Pos.Index)
	case EventInstall:
		return fmt.Sprintf("installs a snapshot at %s", e.Pos)
	}
	return fmt.Sprintf("event %d", e.Kind)
}

var messageNames = [messageKinds]string{
	PreVote: "PreVote", PreVoteResponse: "PreVoteResponse",
	RequestVote: "RequestVote", RequestVoteResponse: "RequestVoteResponse",
	AppendEntries: "AppendEntries", AppendEntriesResponse: "AppendEntriesResponse",
	ReadIndex: "ReadIndex", ReadIndexResponse: "ReadIndexResponse", TimeoutNow: "TimeoutNow",
	InstallSnapshot: "InstallSnapshot", InstallSnapshotResponse: "InstallSnapshotResponse",
}

func (k MessageKind) String() string {
	if k < messageKinds && messageNames[k] != "" {
		return messageNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// String is the message on one line: who to whom, what, and the fields that are set.
func (m *Message) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%x → %x %s@%d", m.From, m.To, m.Kind, m.Term)
	if m.Prev != (Pos{}) {
		fmt.Fprintf(&b, " prev %s", m.Prev)
	}
	if n := len(m.Entries); n > 0 {
		fmt.Fprintf(&b, " entries %d..%d", m.Entries[0].Index, m.Entries[n-1].Index)
	}
	for _, f := range [...]struct {
		name  string
		value uint64
	}{
		{"commit", uint64(m.Commit)}, {"match", uint64(m.Match)}, {"epoch", uint64(m.Epoch)},
		{"round", m.Round}, {"snapshot", m.Snapshot.ID}, {"at", uint64(m.Snapshot.Pos.Index)},
		{"after", uint64(m.After)},
	} {
		if f.value != 0 {
			fmt.Fprintf(&b, " %s %d", f.name, f.value)
		}
	}
	if m.Reject {
		fmt.Fprintf(&b, " rejected, hint %s", m.Hint)
	}
	if m.Force {
		b.WriteString(" forced")
	}
	return b.String()
}

func (c *Core) trace(e Event) {
	if c.options.Trace {
		c.events = append(c.events, e)
	}
}

// drop records that a message changed nothing.
func (c *Core) drop(m *Message, reason string) {
	c.dropped++
	c.trace(Event{Kind: EventDrop, Peer: m.From, Term: m.Term, Message: m.Kind, Reason: reason})
}
