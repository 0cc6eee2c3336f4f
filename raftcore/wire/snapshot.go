package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
)

// SnapshotFile is one file of a snapshot, as its sender announces it.
type SnapshotFile struct {
	Name  string // of the file in its directory; never a path
	Bytes int64
}

const (
	snapshotFilesVersion = 1
	snapshotFileSizeMin  = 8 + 4

	// SnapshotFilesMax and SnapshotNameBytesMax bound a list of files. A state of 4 TB has about as
	// many, at the 4 MB that the smallest tables have.
	SnapshotFilesMax     = 1_000_000
	SnapshotNameBytesMax = 255
)

// AppendSnapshotFiles appends the encoded form of files, which are in ascending order of name.
//
//	0         1         5
//	+---------+---------+-- - - - - - - - - - - - - - - - - - - +
//	| version | count   | count times: length of file, name     |
//	| 1 byte  | 4 bytes |              8 bytes,        4 + n    |
//	+---------+---------+-- - - - - - - - - - - - - - - - - - - +
func AppendSnapshotFiles(dst []byte, files []SnapshotFile) []byte {
	dst = append(dst, snapshotFilesVersion)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(files)))
	for i := range files {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(files[i].Bytes))
		dst = appendString(dst, files[i].Name)
	}
	return dst
}

// DecodeSnapshotFiles reads the list at the front of b; the memory of files is reused. What it
// returns is safe to create in a directory: names are base names, and none is there twice.
func DecodeSnapshotFiles(b []byte, files *[]SnapshotFile) (rest []byte, err error) {
	r := reader{b: b}
	if err := r.version("snapshot files", snapshotFilesVersion); err != nil {
		return nil, err
	}
	count := r.uint32()
	if count > SnapshotFilesMax {
		return nil, fmt.Errorf("snapshot files: %w: %d files, and %d are allowed",
			ErrUnknown, count, SnapshotFilesMax)
	}
	if uint64(count) > uint64(len(r.b)/snapshotFileSizeMin) {
		return nil, fmt.Errorf("snapshot files: %w: %d files in %d bytes", ErrShort, count, len(r.b))
	}
	list := slices.Grow((*files)[:0], int(count))
	for range count {
		size, name := r.uint64(), r.bytes()
		if r.short {
			return nil, fmt.Errorf("snapshot files: %w of %d bytes", ErrShort, len(b))
		}
		f, err := snapshotFile(size, name, list)
		if err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	if r.short {
		return nil, fmt.Errorf("snapshot files: %w of %d bytes", ErrShort, len(b))
	}
	*files = list
	return r.b, nil
}

// snapshotFile checks one file, which comes after those in before.
func snapshotFile(size uint64, name []byte, before []SnapshotFile) (f SnapshotFile, err error) {
	f.Name = string(name)
	if len(name) > SnapshotNameBytesMax {
		return f, fmt.Errorf("snapshot files: %w: a name of %d bytes, and %d are allowed",
			ErrUnknown, len(name), SnapshotNameBytesMax)
	}
	if f.Name == "" || f.Name == "." || f.Name == ".." || strings.ContainsAny(f.Name, "/\\\x00") {
		return f, fmt.Errorf("snapshot files: %w: %q is not the name of a file", ErrUnknown, f.Name)
	}
	if len(before) > 0 && f.Name <= before[len(before)-1].Name {
		return f, fmt.Errorf("snapshot files: %w: %q comes after %q",
			ErrUnknown, f.Name, before[len(before)-1].Name)
	}
	if size > math.MaxInt64 {
		return f, fmt.Errorf("snapshot files: %w: %q of %d bytes", ErrUnknown, f.Name, size)
	}
	f.Bytes = int64(size)
	return f, nil
}
