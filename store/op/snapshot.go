package op

import "errors"

// The words of state transfer: what a sender reads from, what a receiver writes to, and what is
// left of nodes that are gone.

var (
	// ErrCompacted: log entries that were asked for are not in the log any more: compacted, cut off
	// by a newer leader, or gone with all others when a snapshot was installed. Nothing is wrong.
	ErrCompacted = errors.New("log entries are compacted")
	// ErrChecksum: a file has arrived with other bytes than were sent. It starts over.
	ErrChecksum = errors.New("checksum mismatch of a snapshot file")
	// ErrSnapshotDamaged: every byte is the one that was sent, and still it is not the snapshot that
	// was offered. The sender's disk is to blame; asking for the same again does not help.
	ErrSnapshotDamaged = errors.New("snapshot is damaged at its sender")
)

// SnapshotReader is one file of a snapshot, which never changes. It is an io.ReaderAt and an
// io.Closer, safe for concurrent use.
type SnapshotReader interface {
	ReadAt(p []byte, offset int64) (n int, err error)
	Close() error
}

// Stage is a snapshot that is being received. The receiver asks it what to fetch next, so it can
// go on wherever it was, after a broken connection and after a restart:
//
//	for name, offset, done := s.Next(); !done; name, offset, done = s.Next() {
//		fetch name from offset on: Write each chunk, and at its end FinishFile
//	}
//	s.Complete()
//
// An error of Write, FinishFile or Complete leaves the state of the node untouched. It is safe for
// concurrent use, so that another goroutine can Abort it.
type Stage interface {
	// Next says which file is wanted, and from which offset on. The offset may be the file's
	// length, 0 included: then all that is missing is its checksum.
	Next() (name string, offset int64, done bool)
	// Write adds bytes to the file that Next names, at the offset that Next names.
	Write(name string, offset int64, p []byte) error
	// FinishFile compares the whole file with the CRC-32C that its sender computed, and makes it
	// durable. With ErrChecksum the file starts over.
	FinishFile(name string, crc32c uint32) error
	// Complete checks that the files make up the state that was offered, and makes it durable as a
	// whole. It is not in force before Install.
	Complete() error
	// Abort gives up, and removes what has arrived.
	Abort() error
	// Close keeps what has arrived, for a later Stage of the same snapshot.
	Close() error
}

// Retired is a node that has left the cluster for good. Its id is never used again.
type Retired struct {
	ID    uint64
	Name  string // as last recorded; empty if it never was
	Index uint64 // of the configuration that it was no longer in
}
