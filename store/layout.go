package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// The data directory, as far as it is the store's:
//
//	log/          the log
//	state/        the state of a node that has never installed a snapshot
//	state-<n>/    the state of one that has installed n of them
//	state.marker  which snapshot was installed last; without it state/ counts
//	snapshots/<id>/      snapshots taken here, of hard links; no longer than the process
//	incoming/plan        the snapshot that is being fetched: its meta and its files
//	incoming/state/      what has arrived of it
//	*.new         what was being created
//
// Exactly one state counts, and one file decides which. Everything else of these names is what a
// crash has left, and goes at the start.
const (
	logDir       = "log"
	stateDir     = "state"
	markerFile   = "state.marker"
	snapshotsDir = "snapshots"
	incomingDir  = "incoming"
	planFile     = "plan"
)

// installed is what the marker says: the state in force came by this snapshot. It stays true while
// entries are applied on top of it.
type installed struct {
	number uint64 // of the install on this node: 1, 2, 3...; 0: there was none
	meta   raftcore.SnapshotMeta
	// hard is the hard state that belongs to the install. The log gets it in the batch that resets
	// it, which a crash may prevent. nil: what the log has is right.
	hard *raftcore.HardState
}

// stateName is the directory of the state.
func (in *installed) stateName() string {
	if in.number == 0 {
		return stateDir
	}
	return fmt.Sprintf("%s-%d", stateDir, in.number)
}

const (
	markerVersion  = 1
	markerSizeMin  = 1 + 8 + 1 + crc32.Size
	markerHasHard  = 1
	markerWithout  = 0
	markerBaseFrom = 1 + 8 + 1
)

// appendMarker appends the content of state.marker, all numbers big-endian:
//
//	0         1        9       10
//	+---------+--------+-------+-- - - - - - - - - -+-- - - - - - - - - - - - -+--------+
//	| version | number | 1 / 0 | if 1: hard state,  | meta, as in appendBase    | CRC32C |
//	| 1 byte  | 8      | 1     | as in package wire | with a link of zeros      | 4      |
//	+---------+--------+-------+-- - - - - - - - - -+-- - - - - - - - - - - - -+--------+
func appendMarker(dst []byte, in *installed) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint64(append(dst, markerVersion), in.number)
	if in.hard != nil {
		dst = wire.AppendHardState(append(dst, markerHasHard), in.hard)
	} else {
		dst = append(dst, markerWithout)
	}
	dst = appendBase(dst, &base{meta: in.meta})
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func decodeMarker(b []byte) (in installed, err error) {
	const what = "the marker of the state"
	if len(b) < markerSizeMin {
		return in, corrupt(what, "%d bytes are too few", len(b))
	}
	covered := b[:len(b)-crc32.Size]
	if crc32.Checksum(covered, castagnoli) != binary.BigEndian.Uint32(b[len(covered):]) {
		return in, corrupt(what, "its checksum does not match")
	}
	if covered[0] != markerVersion {
		return in, fmt.Errorf("%s has version %d, which this version of kelek does not know",
			what, covered[0])
	}
	in.number = binary.BigEndian.Uint64(covered[1:])
	rest := covered[markerBaseFrom:]
	if covered[markerBaseFrom-1] == markerHasHard {
		in.hard = new(raftcore.HardState)
		if rest, err = wire.DecodeHardState(rest, in.hard); err != nil {
			return in, corrupt(what, "%w", err)
		}
	}
	b0, err := decodeBase(rest)
	if err != nil {
		return in, err
	}
	if in.meta = b0.meta; in.number == 0 || in.meta.Pos.Index == 0 {
		return in, corrupt(what, "install %d is of %v", in.number, in.meta.Pos)
	}
	return in, nil
}

// findState reads the marker, and checks that the state it names is there. Nothing is removed
// before that is known.
func findState(fs vfs.FS, dir string) (in installed, err error) {
	content, found, err := readFile(fs, fs.PathJoin(dir, markerFile))
	if err != nil {
		return in, err
	}
	if found {
		if in, err = decodeMarker(content); err != nil {
			return in, err
		}
	}
	path := fs.PathJoin(dir, in.stateName())
	there, err := exists(fs, path)
	if err != nil || there {
		return in, err
	}
	if found {
		return in, corruptFile(path, fmt.Errorf("it is missing, and %s names it", markerFile))
	}
	names, err := fs.List(dir)
	if err != nil {
		return in, fmt.Errorf("list %s: %w", dir, err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, stateDir+"-") {
			return in, corruptFile(fs.PathJoin(dir, markerFile),
				fmt.Errorf("it is missing, and so is %s, but there is %s", stateDir, name))
		}
	}
	return in, nil
}

// removeLeftovers removes what a crash has left beside the state that counts. What is being fetched
// is left to keepIncoming, which knows what it is still good for.
func removeLeftovers(fs vfs.FS, dir string, in *installed) error {
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	for _, name := range names {
		switch {
		case name == in.stateName(), name == markerFile:
			continue
		case name != snapshotsDir && name != stateDir && !strings.HasPrefix(name, stateDir+"-") &&
			!strings.HasPrefix(name, stateDir+".") && !strings.HasPrefix(name, markerFile+"."):
			continue
		}
		path := fs.PathJoin(dir, name)
		if err := fs.RemoveAll(path); err != nil {
			return fmt.Errorf("remove what a crash has left, %s: %w", path, err)
		}
	}
	return nil
}
