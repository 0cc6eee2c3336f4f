package transport

import "time"

// Every bound of the package: its unit is its last word, and the comment says what happens there.
const (
	// entryBytesMax is the largest proposal that one log entry may hold; the node refuses more.
	entryBytesMax = 130 << 20

	// MaxFrameBytes bounds one frame of an accepted peer: an entry of the largest size, its message
	// and its neighbours. A longer one breaks the connection before a byte of it is allocated.
	MaxFrameBytes = entryBytesMax + 6<<20

	// helloFrameBytesMax bounds a frame of somebody who has not been accepted, and every frame that
	// flows back to the one who dialled. A longer one breaks the connection.
	helloFrameBytesMax = 64 << 10

	// refusalBytesMax bounds the text of a refusal; it is cut there.
	refusalBytesMax = 1 << 10

	// readBufferBytes is the buffer of each inbound connection. Larger frames get memory of their
	// own, which grows with what has arrived: at first growBytes, then twice as much each time.
	readBufferBytes = 64 << 10
	growBytes       = 1 << 20

	// arenaBytes is one piece of memory for the small frames that carry entries or proposals;
	// frames above arenaFrameBytesMax get their own.
	arenaBytes         = 64 << 10
	arenaFrameBytesMax = 16 << 10

	// Pieces of memory for decoded messages and entries. A batch ends at the end of its piece.
	messagesPerPiece = 64
	entriesPerPiece  = 256

	// queueFramesMax and queueBytesMax bound what waits for one peer, or is being written to it. At
	// the limit the newest frame is dropped and counted; one frame is always admitted.
	queueFramesMax = 4096
	queueBytesMax  = 64 << 20
	frameOverhead  = 128 // what a frame without entries is taken to cost, bytes

	// writeBytesMax is how much one system call writes; each has writeTimeout of its own. What
	// keepBytesMax exceeds of the encoding buffer is not kept for the next time.
	writeBytesMax = 256 << 10
	keepBytesMax  = 1 << 20
	writeTimeout  = 5 * time.Second

	// expressBytesMax is what a sender may write itself, of messages as messageCost counts. More costs
	// its goroutine more time than waking another one.
	expressBytesMax = 16 << 10

	// A dial, and then a handshake, that takes longer is given up.
	dialTimeout      = 2 * time.Second
	handshakeTimeout = 3 * time.Second
	// After a refusal the other side has this long to read it and hang up.
	lingerTimeout = 1 * time.Second

	// Between two dials passes a random time, half to all of a delay that doubles from the first
	// to the second of these; none if the peer dialled us in between.
	redialMin = 50 * time.Millisecond
	redialMax = 1 * time.Second

	// greetingsMax is how many accepted sockets may be in their handshake: one more closes the
	// oldest of them. inboundPeersMax is how many nodes may be connected: one more is refused.
	greetingsMax    = 64
	inboundPeersMax = 64

	// acceptPause is the pause after a failed accept, as when the process has no descriptors left.
	acceptPause = 50 * time.Millisecond

	// strangerPeriod is how often sockets that do not speak our protocol are reported, at most.
	strangerPeriod = 1 * time.Second

	// The kernel's part: a silent connection is probed, and one that leaves data unacknowledged
	// for ackTimeout is broken instead of being retried ever more rarely.
	keepAliveIdle     = 5 * time.Second
	keepAliveInterval = 2 * time.Second
	keepAliveCount    = 3
	ackTimeout        = 5 * time.Second

	// A snapshot's data in one frame; less when the rate is limited, so that even the slowest stream
	// shows life. streamBufferBytes is what its receiver reads into: two frames.
	snapshotChunkBytesMax = writeBytesMax - 64
	snapshotChunkBytesMin = 4 << 10
	streamBufferBytes     = 2 * writeBytesMax
	// snapshotFilesBytesMax bounds the frame that lists the files: about a million of them.
	snapshotFilesBytesMax = 64 << 20
	// snapshotStreamsMax is how many snapshots are sent at a time; one more is refused, and its
	// receiver asks again later. A receiver that dials twice keeps the newer connection.
	snapshotStreamsMax = 4
	// snapshotTimeout is how long one end of a stream waits for the other: for a frame, or for one
	// to be taken. The receiver's disk and the sender's rate limit make longer pauses than messages.
	snapshotTimeout = 30 * time.Second
	// SnapshotRateMin is the lowest rate limit: below it the pauses would come near the time-out.
	SnapshotRateMin = 64 << 10
)
