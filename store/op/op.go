package op

// Code is the stable number of a replicated operation. Numbers are a disk and wire format: a code
// is never reused, and its layout changes only together with the proposal version.
type Code uint8

const (
	CodePut     Code = 1  // set a string; see Op for its conditions
	CodeDelete  Code = 2  // delete Args; Result: how many existed
	CodeTake    Code = 3  // delete Key; Result: its string, or nil
	CodeExpire  Code = 4  // change the deadline of Key; Result: 1 changed, 0 not
	CodePersist Code = 5  // remove the deadline of Key; Result: 1 removed, 0 not
	CodeAdd     Code = 6  // add Delta to the decimal integer in Key; Result: the sum
	CodeAppend  Code = 7  // append Value to Key; Result: the new length
	CodePutMany Code = 8  // set Args (key, value, key, value...), clearing deadlines
	CodeFlush   Code = 9  // delete every key of DB, or of all databases when DB == AllDatabases
	CodePurge   Code = 10 // delete what has expired by this entry's stamp, at most Delta keys
	CodeOnce    Code = 11 // execute Inner once per (Client, Request); Result: that of the first time
	CodeMember  Code = 12 // record how a member is reached: Member
	CodeMulti   Code = 13 // execute Inner if Watched holds; Result: OK, or nil if it does not

	CodeCopy     Code = 14 // Key to ToDB and To; Result: 1 done, 0 the target is there, nil no Key
	CodeSetRange Code = 15 // write Value into Key from byte Delta on; Result: the length
	CodeGetEx    Code = 16 // change the deadline of Key; Result: its string, or nil
	CodePutNew   Code = 17 // CodePutMany if none of the keys is there; Result: 1 done, 0 not
	CodeAddFloat Code = 18 // add Value, a decimal, to that in Key; Result: the sum
)

// AllDatabases is the DB of a CodeFlush that empties all of them.
const AllDatabases uint8 = 0xff

// Databases is the number of databases that SELECT knows.
const Databases = 16

// Cond is a condition that is checked when the op is applied.
type Cond uint8

const (
	Always   Cond = 0
	IfAbsent Cond = 1 // NX: Put: the key does not exist. Expire: it has no deadline
	IfExists Cond = 2 // XX: Put: the key exists. Expire: it has a deadline
	IfEqual  Cond = 3 // IFEQ: Put: the string equals Match
	IfLater  Cond = 4 // GT: Expire: the new deadline is later; none counts as infinite
	IfSooner Cond = 5 // LT: Expire: the new deadline is sooner; none counts as infinite
	// XX may be combined with GT or LT in Redis; these two are that.
	IfExistsLater  Cond = 6
	IfExistsSooner Cond = 7
)

// TTL says what a Put or Expire does with the deadline. Times are milliseconds.
type TTL uint8

const (
	TTLClear TTL = 0 // Put: the key lives for ever
	TTLKeep  TTL = 1 // Put: keep the deadline the key has
	TTLAfter TTL = 2 // deadline = the entry's stamp + Time
	TTLAt    TTL = 3 // deadline = Time, milliseconds since the Unix epoch
)

// Op is any operation, as a flat value: which fields a code uses is said at the code. Byte slices of a
// decoded Op point into the proposal.
type Op struct {
	Code   Code
	DB     uint8
	Cond   Cond
	TTL    TTL
	Return bool  // Put: the Result is the old string, or nil (SET ... GET, GETSET)
	Time   int64 // see TTL
	Delta  int64
	Key    []byte
	Value  []byte
	Match  []byte
	Args   [][]byte

	ToDB uint8
	To   []byte
	Move bool // Copy: the source goes

	Client  []byte // Once
	Request uint64 // Once: from 1, growing per client
	Inner   []byte // Once: one encoded op. Multi: Count of them, one after the other

	Watched []Watched // Multi: all of them must be as they were
	Count   uint32    // Multi: at least 1

	Member Member
}

// Watched is the condition that a key was not written since somebody looked: its version is what
// Value.Version was then, 0 if it was not there. A key that has expired is not there. What it does
// not tell apart is a key that was absent then and is absent now, whatever came between.
type Watched struct {
	DB      uint8
	Key     []byte
	Version uint64
}

// Member is what the cluster knows of a node beside its membership: how to reach it. Every node
// proposes its own whenever the recorded one is out of date.
type Member struct {
	ID          uint64
	Name        string
	PeerAddr    string // other nodes dial it
	Addr        string // plain RESP listener, as clients should dial it
	ClusterAddr string // cluster RESP listener; empty when off
	Version     string // build version
	Standing    bool   // a learner that is never promoted by itself; a record that says so keeps it
}

// ResultKind says how an op ended.
type ResultKind uint8

const (
	ResultOK    ResultKind = 1
	ResultNil   ResultKind = 2 // a condition did not hold, or there was no old value
	ResultInt   ResultKind = 3
	ResultBytes ResultKind = 4
	ResultError ResultKind = 5
)

// ErrorCode is a failure that is equal on every replica. The texts are resp's.
type ErrorCode uint8

const (
	ErrWrongType     ErrorCode = 1
	ErrNotInteger    ErrorCode = 2 // value is not an integer or out of range
	ErrOverflow      ErrorCode = 3 // increment or decrement would overflow
	ErrTooLong       ErrorCode = 4 // string exceeds maximum allowed size
	ErrInvalidExpire ErrorCode = 5 // deadline out of range
	ErrOnceExpired   ErrorCode = 6 // the reply of this request id is no longer kept
	ErrOnceMismatch  ErrorCode = 7 // this request id was another command
	ErrNotFloat      ErrorCode = 8 // value is not a valid float
	ErrNotFinite     ErrorCode = 9 // increment would produce NaN or Infinity
)

// Result of one applied op. Bytes is valid during Sink.Applied only.
type Result struct {
	Kind  ResultKind
	Error ErrorCode
	Int   int64
	Bytes []byte
}

// Proposal is a numbered batch of ops of one origin: the Data of a normal log entry.
type Proposal struct {
	Origin uint64 // node id of the proposer
	Boot   uint64 // its boot counter
	Seq    uint64 // 1, 2, 3... per boot
	Count  uint32
	Ops    []byte // Count encoded ops, one after the other
}
