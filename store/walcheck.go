package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Chunks of Pebble's write-ahead log in the format of FormatWALSyncChunks. A file is blocks of 32
// KiB, and no chunk crosses the end of one. All numbers are little-endian:
//
//	0          4        6      7            11               19
//	+----------+--------+------+------------+----------------+------------+
//	| checksum | length | type | log number | synced offset  | payload    |
//	| 4 bytes  | 2      | 1    | 4          | 8              |            |
//	+----------+--------+------+------------+----------------+------------+
//	                    |<----------- the checksum covers this ---------->|
const (
	walBlockBytes  = 32 << 10
	walHeaderBytes = 19
	walTypeFirst   = 9 // full, first, middle and last part of a record
	walTypeLast    = 12
)

// checkWAL finds damage in the last write-ahead log of dir that Pebble takes for a torn tail.
//
// A chunk says up to which offset the file was synced when the chunk was made. When Pebble meets
// an invalid chunk, it looks for a later one that says that the invalid one had been synced: then
// it is damage, otherwise the end. But it looks in later blocks only, and would drop, after damage
// in the last 32 KiB, everything behind it, though it was synced and promised. So the rest of the
// block is searched here. What remains undecidable is the very last sync: nothing after it vouches
// for it.
func checkWAL(fs vfs.FS, dir string) error {
	name, number, err := lastWAL(fs, dir)
	if err != nil || name == "" {
		return err
	}
	path := fs.PathJoin(dir, name)
	f, err := fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer f.Close()
	block := make([]byte, walBlockBytes)
	for start := 0; ; start += walBlockBytes {
		n, err := io.ReadFull(f, block)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("read %s: %w", path, err)
		}
		at, whole := validChunks(block[:n], number)
		if whole {
			if n == walBlockBytes {
				continue
			}
			return nil
		}
		if later, ok := vouching(block[:n], at, start, number); ok {
			return corruptFile(path, fmt.Errorf(
				"the record at offset %d is invalid, and the one at %d says that it had been synced",
				start+at, start+later))
		}
		return nil
	}
}

// lastWAL names the write-ahead log with the greatest number, the only one with a tail that may be
// torn.
func lastWAL(fs vfs.FS, dir string) (name string, number uint32, err error) {
	names, err := fs.List(dir)
	if err != nil {
		return "", 0, fmt.Errorf("list %s: %w", dir, err)
	}
	for _, candidate := range names {
		digits, isLog := strings.CutSuffix(candidate, ".log")
		n, err := strconv.ParseUint(digits, 10, 32)
		if isLog && err == nil && (name == "" || uint32(n) > number) {
			name, number = candidate, uint32(n)
		}
	}
	return name, number, nil
}

// validChunks goes over the chunks of a block. whole: all of them are valid, up to padding that is
// too short for another one; otherwise at is where the first invalid one begins.
func validChunks(block []byte, number uint32) (at int, whole bool) {
	for at+walHeaderBytes <= len(block) {
		length, ok := validChunk(block[at:], number)
		if !ok {
			return at, false
		}
		at += length
	}
	return at, len(bytes.Trim(block[at:], "\x00")) == 0
}

// validChunk checks the chunk at the front of b, and returns its length with its header.
func validChunk(b []byte, number uint32) (length int, ok bool) {
	length = walHeaderBytes + int(binary.LittleEndian.Uint16(b[4:]))
	if b[6] < walTypeFirst || b[6] > walTypeLast || length > len(b) ||
		binary.LittleEndian.Uint32(b[7:]) != number {
		return 0, false
	}
	return length, chunkSum(b[6:length]) == binary.LittleEndian.Uint32(b)
}

// vouching looks for a valid chunk after the invalid one at, that says that the file had been
// synced past the latter. After damage nothing tells where chunks begin, so every offset is tried.
func vouching(block []byte, at, start int, number uint32) (later int, found bool) {
	for later = at + 1; later+walHeaderBytes <= len(block); later++ {
		if _, ok := validChunk(block[later:], number); !ok {
			continue
		}
		if synced := binary.LittleEndian.Uint64(block[later+11:]); synced > uint64(start+at) {
			return later, true
		}
	}
	return 0, false
}

// chunkSum is the checksum of a chunk, masked as LevelDB does.
func chunkSum(b []byte) uint32 {
	sum := crc32.Checksum(b, castagnoli)
	return (sum>>15 | sum<<17) + 0xa282ead8
}
