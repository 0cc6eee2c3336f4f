package raftcore

import (
	"errors"
	"fmt"
)

// Options of a Core. Every limit is a soft bound that is checked before something is added.
type Options struct {
	ID   NodeID
	Boot uint64 // number of this start; makes the numbers of forwarded reads unique over restarts
	Seed uint64 // of the election time-outs

	ElectionTimeout Instant // a follower campaigns after one to two of these without a leader
	Heartbeat       Instant // between two messages to an idle follower
	FastElection    Instant // after a broken connection to the leader: campaign within this
	LeaseDrift      int     // see lease.go; in parts per thousand, 0: no leases

	MaxAppendBytes        int // entries of one AppendEntries; at least one entry is sent
	MaxInflightMessages   int // AppendEntries with entries, unacknowledged, per peer
	MaxInflightBytes      int // the same in bytes
	MaxUncommittedEntries int // on the leader; Propose answers ErrBusy beyond
	MaxUncommittedBytes   int // the same in bytes
	MaxEntryBytes         int // Data of one entry; Propose answers ErrTooLarge beyond
	MaxApplyBytes         int // entries handed out and not yet Applied
	MaxPendingReads       int // reads waiting on this node; ReadIndex answers ErrBusy beyond
	LogTailBytes          int // entries kept in memory for slow peers, once applied

	Trace bool // record Effects.Trace
}

func (o *Options) validate() error {
	switch {
	case o.ID == 0:
		return errors.New("raft: node id 0 is nobody")
	case o.Heartbeat == 0 || o.ElectionTimeout < 4*o.Heartbeat:
		return fmt.Errorf("raft: election timeout %d ns is less than 4 heartbeats of %d ns",
			o.ElectionTimeout, o.Heartbeat)
	case o.FastElection == 0 || o.FastElection > o.ElectionTimeout:
		return fmt.Errorf("raft: fast election %d ns is not within 1..%d ns",
			o.FastElection, o.ElectionTimeout)
	case o.LeaseDrift < 0 || o.LeaseDrift > leaseDriftMax:
		return fmt.Errorf("raft: a lease drift of %d parts per thousand is not within 0..%d",
			o.LeaseDrift, leaseDriftMax)
	}
	for _, limit := range [...]struct {
		name  string
		value int
	}{
		{"MaxAppendBytes", o.MaxAppendBytes}, {"MaxInflightMessages", o.MaxInflightMessages},
		{"MaxInflightBytes", o.MaxInflightBytes}, {"MaxUncommittedEntries", o.MaxUncommittedEntries},
		{"MaxUncommittedBytes", o.MaxUncommittedBytes}, {"MaxEntryBytes", o.MaxEntryBytes},
		{"MaxApplyBytes", o.MaxApplyBytes}, {"MaxPendingReads", o.MaxPendingReads},
		{"LogTailBytes", o.LogTailBytes},
	} {
		if limit.value <= 0 {
			return fmt.Errorf("raft: %s is %d, must be positive", limit.name, limit.value)
		}
	}
	return nil
}
