package explore

import "kelek/raftcore"

// Budget names what a path may do only so often.
type Budget uint8

const (
	Timeouts   Budget = iota // election time-outs
	Heartbeats               // of any leader; with leases, looks at the clock that nothing else causes
	Proposals
	Crashes    // with an immediate restart; being down is not being reached
	Changes    // of the configuration
	Duplicates // messages that are delivered and stay on the wire
	Delays     // events whose writes stay in flight
	Reads
	Transfers
	Snapshots // taken, with compaction up to there
	Lapses    // a follower forgets that it hears a leader, without campaigning
	Passes    // steps of the common clock
	budgets   // and their number
)

func (b Budget) String() string {
	return [...]string{"timeouts", "heartbeats", "proposals", "crashes", "changes", "duplicates",
		"delays", "reads", "transfers", "snapshots", "lapses", "passes"}[b]
}

// Bounds of a search. Within them it is exhaustive.
type Bounds [budgets]uint8

// Setup is where a search begins. Each is reached by a run of ordinary events, printed in a trace
// like the others.
type Setup uint8

const (
	// Formed: three voters with the first configuration, and nobody has campaigned.
	Formed Setup = iota
	// Led: n1 leads term 2, its no-op is committed and known everywhere, nothing is on the wire.
	Led
	// Lagging: as Led, then n3 is cut off, n1 commits an entry, takes a snapshot and compacts its
	// log.
	Lagging
	// Deposed: n3 leads term 2, is cut off, and appends an entry and a configuration without n1; n1
	// leads term 3, commits, takes a snapshot and compacts its log.
	Deposed
	// Divergent: n3 leads term 2, is cut off, and appends two entries; n1 leads term 3 and commits.
	Divergent
	// Awaited: as Led; n2 has heard a round of n1, and its answer is under way for an election
	// time-out.
	Awaited
)

// Scope is a search: where it begins, how far it goes, and how time goes by.
type Scope struct {
	Name   string
	Setup  Setup
	Terms  raftcore.Term // above the first
	Bounds Bounds
	// Leases are judged by one clock, that all nodes share and that advances in steps. Without them
	// time-outs come whenever they like.
	Leases bool
}

// Scopes are the searches that are made, from quickest to widest. Small bounds in different
// places find more than large bounds in one: the number of states grows tenfold with each.
func Scopes() []Scope {
	return []Scope{
		{Name: "a deposed leader gets a snapshot", Setup: Deposed, Terms: 3,
			Bounds: Bounds{Heartbeats: 2, Snapshots: 1, Crashes: 1, Delays: 1}},
		{Name: "a divergent log", Setup: Divergent, Terms: 3,
			Bounds: Bounds{Heartbeats: 1, Reads: 1, Proposals: 1, Crashes: 1, Delays: 1}},
		{Name: "elections", Setup: Formed, Terms: 3,
			Bounds: Bounds{Timeouts: 2, Crashes: 1, Delays: 1}},
		{Name: "a leader is replaced", Setup: Led, Terms: 3,
			Bounds: Bounds{Timeouts: 1, Lapses: 1, Proposals: 1, Crashes: 1, Delays: 2}},
		{Name: "reads", Setup: Led, Terms: 3,
			Bounds: Bounds{Timeouts: 1, Lapses: 1, Proposals: 1, Reads: 1, Duplicates: 1}},
		{Name: "a change of members", Setup: Led, Terms: 3,
			Bounds: Bounds{Timeouts: 1, Lapses: 1, Changes: 1, Transfers: 1}},
		{Name: "a laggard gets a snapshot", Setup: Lagging, Terms: 3,
			Bounds: Bounds{Timeouts: 1, Lapses: 1, Heartbeats: 2, Snapshots: 1, Crashes: 1}},
		{Name: "a lease and a late answer", Setup: Awaited, Terms: 3, Leases: true,
			Bounds: Bounds{Passes: 1, Heartbeats: 1, Reads: 1}},
		{Name: "a lease and a transfer", Setup: Led, Terms: 3, Leases: true,
			Bounds: Bounds{Passes: 1, Reads: 1, Transfers: 1}},
		{Name: "everything", Setup: Formed, Terms: 3,
			Bounds: Bounds{Timeouts: 3, Lapses: 2, Heartbeats: 1, Proposals: 3, Crashes: 1, Changes: 1,
				Duplicates: 2, Delays: 2, Reads: 1, Transfers: 1, Snapshots: 1}},
	}
}

// Spans of time. Without leases no number of heartbeats within the bounds adds up to an election
// time-out: time-outs are events of their own (doc.go).
const (
	heartbeatFree  = raftcore.Instant(1) << 20
	timeoutFree    = raftcore.Instant(1) << 50
	heartbeatTimed = 100 * raftcore.Millisecond
	timeoutTimed   = 4 * heartbeatTimed
	passTimed      = timeoutTimed / 2
	wallClock      = raftcore.LogTime(1000)
)

func (s *Scope) options(id raftcore.NodeID, boot uint64) raftcore.Options {
	o := raftcore.Options{
		ID: id, Boot: boot, Seed: uint64(id)*31 + boot,
		ElectionTimeout: timeoutFree, Heartbeat: heartbeatFree, FastElection: 1,
		MaxAppendBytes: 1 << 12, MaxInflightMessages: 4, MaxInflightBytes: 1 << 16,
		MaxUncommittedEntries: 100, MaxUncommittedBytes: 1 << 16, MaxEntryBytes: 1 << 10,
		MaxApplyBytes: 1 << 16, MaxPendingReads: 10, LogTailBytes: 1 << 20,
	}
	if s.Leases {
		o.ElectionTimeout, o.Heartbeat, o.LeaseDrift = timeoutTimed, heartbeatTimed, 1
	}
	return o
}
