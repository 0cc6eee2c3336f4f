package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// The plan of a snapshot that is being received: of which it is, and which files it has. It is what
// a stage goes on by after a restart.

// checkPlan refuses what no sender of ours announces. A name that is not one of Pebble's could
// become a file that does harm.
func checkPlan(meta raftcore.SnapshotMeta, files []wire.SnapshotFile) error {
	if meta.ID == 0 || meta.Pos.Index == 0 || meta.Pos.Term == 0 {
		return errors.New("there is no such snapshot")
	}
	if len(files) == 0 || len(files) > wire.SnapshotFilesMax {
		return fmt.Errorf("it has %d files, and 1 to %d are allowed",
			len(files), wire.SnapshotFilesMax)
	}
	room := int64(math.MaxInt64)
	for i := range files {
		f := &files[i]
		switch {
		case !isPebbleName(f.Name):
			return fmt.Errorf("%q is not the name of a file of a state", f.Name)
		case i > 0 && f.Name <= files[i-1].Name:
			return fmt.Errorf("file %q comes after %q", f.Name, files[i-1].Name)
		case f.Bytes < 0 || f.Bytes > room:
			return fmt.Errorf("file %q of %d bytes is too large", f.Name, f.Bytes)
		}
		room -= f.Bytes
	}
	return nil
}

// isPebbleName reports whether a checkpoint may have a file of that name: 000123.sst, MANIFEST-000007,
// OPTIONS-000009, marker.format-version.000001.017, marker.manifest.000002.MANIFEST-000007.
func isPebbleName(name string) bool {
	if len(name) > wire.SnapshotNameBytesMax {
		return false
	}
	if number, ok := strings.CutSuffix(name, ".sst"); ok {
		return isNumber(number)
	}
	for _, kind := range [...]string{"MANIFEST-", "OPTIONS-"} {
		if number, ok := strings.CutPrefix(name, kind); ok {
			return isNumber(number)
		}
	}
	rest, ok := strings.CutPrefix(name, "marker.")
	if !ok {
		return false
	}
	kind, rest, _ := strings.Cut(rest, ".")
	number, value, _ := strings.Cut(rest, ".")
	switch kind {
	case "format-version":
		return isNumber(number) && isNumber(value)
	case "manifest":
		file, ok := strings.CutPrefix(value, "MANIFEST-")
		return isNumber(number) && ok && isNumber(file)
	}
	return false
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

const (
	planVersion = 1
	planSizeMin = 1 + 4 + 4
)

// appendPlan appends the content of incoming/plan:
//
//	0         1          5
//	+---------+----------+----------------------+----------------------------+--------+
//	| version | n,       | meta, as appendBase, | files, as                  | CRC32C |
//	| 1 byte  | 4 bytes  | n bytes              | wire.AppendSnapshotFiles   | 4      |
//	+---------+----------+----------------------+----------------------------+--------+
func appendPlan(dst []byte, meta raftcore.SnapshotMeta, files []wire.SnapshotFile) []byte {
	start := len(dst)
	encoded := appendBase(nil, &base{meta: meta})
	dst = binary.BigEndian.AppendUint32(append(dst, planVersion), uint32(len(encoded)))
	dst = wire.AppendSnapshotFiles(append(dst, encoded...), files)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// planMeta reads of which snapshot a plan is. ok is false for one that a crash has spoilt.
func planMeta(b []byte) (meta raftcore.SnapshotMeta, ok bool) {
	if len(b) < planSizeMin || b[0] != planVersion {
		return meta, false
	}
	covered := b[:len(b)-crc32.Size]
	if crc32.Checksum(covered, castagnoli) != binary.BigEndian.Uint32(b[len(covered):]) {
		return meta, false
	}
	n := binary.BigEndian.Uint32(covered[1:])
	if uint64(n) > uint64(len(covered)-5) {
		return meta, false
	}
	decoded, err := decodeBase(covered[5 : 5+n])
	return decoded.meta, err == nil
}

// keepIncoming leaves what has arrived of a snapshot alone while it may be of use, and removes it
// once the state or the log has come as far without it.
func (s *Store) keepIncoming() error {
	fs := s.options.FS
	plan, found, err := readFile(fs, fs.PathJoin(s.incoming(), planFile))
	if err != nil {
		return err
	}
	meta, ok := planMeta(plan)
	if found && ok && meta.Pos.Index > s.reached.index && !s.holds(meta.Pos) {
		return nil
	}
	if err := fs.RemoveAll(s.incoming()); err != nil {
		return fmt.Errorf("remove what is left of a snapshot: %w", err)
	}
	return nil
}
