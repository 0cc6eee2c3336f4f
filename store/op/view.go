package op

// Type is what a key holds. The numbers are stored with every value and never change.
type Type uint8

const (
	TypeNone   Type = 0
	TypeString Type = 1
)

// String returns the word of Redis's TYPE command.
func (t Type) String() string {
	if t == TypeString {
		return "string"
	}
	return "none"
}

// Value is one key's content as a View sees it.
type Value struct {
	Type     Type
	Deadline uint64 // log time in ms at which the key is gone; 0: never
	Bytes    []byte // the string; appended to the buffer that the caller passed
	Version  uint64 // names the op that wrote the key last, equal on every replica; 0: not there
}

// View is a read-only state of the store at one log time. Expired keys are not there. Methods that
// return an error do so only when storage cannot be read.
type View interface {
	// LogTime is the stamp of the last applied entry, in ms since the Unix epoch.
	LogTime() uint64
	// Get looks a key up. Value.Bytes is appended to buf, which may be nil. A missing or expired key
	// has Type == TypeNone.
	Get(db uint8, key, buf []byte) (Value, error)
	// Head is Get without the content: type, deadline and the length of the value in bytes.
	Head(db uint8, key []byte) (Value, int, error)
	// Count is the number of keys in a database and how many of them have a deadline. It is exact
	// and may read the whole database.
	Count(db uint8) (keys, expires int64, err error)
	// Close releases the view. A view is not used after Close.
	Close()
}

// Observer is told what each op of a proposal did. The applier calls it on the origin only.
type Observer interface {
	// Applied is called once per op, in order, directly after op i took effect on this node. v sees
	// the state at that very place of the log: after op i and before op i+1. r and v are valid
	// during the call only.
	Applied(i int, r *Result, v View)
}

// StepObserver is an Observer that looks into transactions, for the reads that a client has put
// between its writes: they are no ops, since they change nothing, so the origin alone answers them,
// from the state in between.
type StepObserver interface {
	Observer
	// Step is called during op i of the proposal, a CodeMulti whose conditions hold: with done 0 and
	// no result before its first op, and then with done j and its result directly after the j-th. v
	// sees the state at that place. Applied(i) comes after the last one. r and v are valid during the
	// call only.
	Step(i, done int, r *Result, v View)
}

// Sink receives what happens to one Submission. Its methods run on the node's goroutines: they must
// be short and must not block. In Applied, i counts the ops of the submission from 0, and so it does
// in Step if the Sink is a StepObserver.
type Sink interface {
	Observer
	// Resolve is called exactly once, at the end: nil after the last Applied and after the state is
	// visible to new views, or one of the Err values of this package without any Applied. After it
	// the node keeps no reference to the submission, and the memory may be used again. It may be
	// called before Propose returns, on the goroutine that called it. A node whose storage failed
	// never calls it: what it said could not be trusted.
	Resolve(err error)
	// Gone reports that the client hung up, so that an op which still waits for a leader need not be
	// proposed at all. A submission of several clients drops the ops of those who did, which changes
	// its Ops and Count, and is gone when none is left. It may do a system call.
	Gone() bool
}

// Submission is the ops that one connection wants replicated, in order, as one unit of waiting. The
// node does not change Ops, copies them when it numbers them, and keeps nothing after Resolve.
type Submission struct {
	Ops   []byte // encoded ops, one after the other
	Count int    // how many; at least 1
	Sink  Sink

	Clients int // how many clients wait for it; 0 counts as one

	Node SubmissionState // the node's own fields; the submitter leaves them alone
}

// SubmissionState belongs to the node while it holds the submission, which resets it on arrival.
type SubmissionState struct {
	Deadline uint64 // node's monotonic clock, ns
	Held     bool   // waited without a leader
}

// ReadLevel is what a read promises.
type ReadLevel uint8

const (
	// ReadLinearizable sees every write that was answered before it was asked for.
	ReadLinearizable ReadLevel = 0
	// ReadLease is that as long as clocks are no further apart than the lease drift says; where
	// leases are off it is a linearizable read.
	ReadLease ReadLevel = 1
	// ReadStale sees the state of the node that is asked, whatever others have.
	ReadStale ReadLevel = 2
)

// String is the word of RAFT.READ.
func (l ReadLevel) String() string {
	return [...]string{"linearizable", "lease", "stale"}[l]
}

// ReadRequest asks for permission to read the state of this node.
type ReadRequest struct {
	// Resolve is called exactly once: nil when a View opened from now on keeps the promise of Level
	// with respect to the time at which the request was submitted; otherwise one of the Err values.
	Resolve func(err error)
	Level   ReadLevel
	// MaxAgeMs is for a ReadStale: it is refused with a TooStaleError when the node has heard of no
	// leader for longer.
	MaxAgeMs uint64

	Clients int // how many wait for it; 0 counts as one

	Deadline uint64 // owned by the node
}
