package op

import (
	"errors"
	"fmt"
)

// What a node can say of a submission or a read instead of doing it. resp turns each into one Redis error line.
var (
	// ErrUncertain: numbered and sent, and no answer within the deadline. It may take effect later.
	ErrUncertain = errors.New("write outcome unknown: it may or may not have been applied")
	// ErrNoLeader: waited for a leader until the deadline, never proposed.
	ErrNoLeader = errors.New("no leader within the request timeout")
	// ErrBusy: a bounded queue is full, never proposed.
	ErrBusy = errors.New("too many commands are waiting")
	// ErrStopping: the node is shutting down, never proposed.
	ErrStopping = errors.New("node is stopping")
	// ErrTooLarge: the ops exceed what one log entry may hold, never proposed.
	ErrTooLarge = errors.New("command is larger than one log entry may be")
)

// TooStaleError refuses a stale read that may not be as old as it would be.
type TooStaleError struct {
	AgeMs    uint64 // since the node heard of a leader; 0: it has not yet
	MaxAgeMs uint64
}

func (e TooStaleError) Error() string {
	if e.AgeMs == 0 {
		return "this node has not heard of a leader since its start"
	}
	return fmt.Sprintf("this node has not heard of a leader for %d ms, and the read allows %d: "+
		"ask another node, or again", e.AgeMs, e.MaxAgeMs)
}
