package op

import "errors"

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
