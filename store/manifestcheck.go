package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"
)

// A MANIFEST says which tables and write-ahead logs a database consists of: a record for each change
// of that. Its chunks are those of the write-ahead log with a shorter header, in blocks of the same
// size:
//
//	0          4        6      7
//	+----------+--------+------+----------------+
//	| checksum | length | type | payload        |
//	| 4 bytes  | 2      | 1    |                |
//	+----------+--------+------+----------------+
//	                    |<-- the checksum ----->|
const (
	manifestMarker      = "manifest"
	manifestHeaderBytes = 7
	manifestTypeFull    = 1
	manifestTypeFirst   = 2 // 3 and 4 are the middle and the end of a record
	manifestTypeLast    = 4
)

// checkManifest finds damage in the MANIFEST of dir that Pebble takes for a torn tail.
//
// Pebble takes the first invalid chunk for the end. The database then opens as what it was some
// flushes ago, and nothing tells of what is missing: the log would have lost entries that were
// promised. Each record is synced before the next one is written; so where a record begins after an
// invalid chunk, that one had been synced, and is damaged. What remains undecidable is the very last
// record: nothing after it vouches for it.
func checkManifest(fs vfs.FS, dir string) error {
	name, err := atomicfs.ReadMarker(fs, dir, manifestMarker)
	if err != nil {
		return fmt.Errorf("find the MANIFEST of %s: %w", dir, err)
	}
	if name == "" {
		return nil // which Pebble refuses
	}
	path := fs.PathJoin(dir, name)
	f, err := fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer f.Close()
	invalid, found := 0, false
	block := make([]byte, walBlockBytes)
	for start := 0; ; start += walBlockBytes {
		n, err := io.ReadFull(f, block)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("read %s: %w", path, err)
		}
		from := 0
		if !found {
			from, found = invalidManifestChunk(block[:n])
			invalid = start + from
		}
		if later, ok := nextRecord(block[:n], from); found && ok {
			return corruptFile(path, fmt.Errorf(
				"the record at offset %d is invalid, and the one at %d was written after it had been synced",
				invalid, start+later))
		}
		if n < walBlockBytes {
			return nil
		}
	}
}

// invalidManifestChunk finds the first invalid chunk of a block.
func invalidManifestChunk(block []byte) (at int, found bool) {
	for at+manifestHeaderBytes <= len(block) {
		length, ok := validManifestChunk(block[at:])
		if !ok {
			return at, true
		}
		at += length
	}
	return at, false
}

// nextRecord looks for a valid chunk that begins a record. After damage nothing tells where chunks
// begin, so every offset is tried.
func nextRecord(block []byte, from int) (at int, found bool) {
	for at = from; at+manifestHeaderBytes <= len(block); at++ {
		begins := block[at+6] == manifestTypeFull || block[at+6] == manifestTypeFirst
		if _, ok := validManifestChunk(block[at:]); begins && ok {
			return at, true
		}
	}
	return 0, false
}

// validManifestChunk checks the chunk at the front of b, and returns its length with its header.
func validManifestChunk(b []byte) (length int, ok bool) {
	length = manifestHeaderBytes + int(binary.LittleEndian.Uint16(b[4:]))
	if b[6] < manifestTypeFull || b[6] > manifestTypeLast || length > len(b) {
		return 0, false
	}
	return length, chunkSum(b[6:length]) == binary.LittleEndian.Uint32(b)
}
