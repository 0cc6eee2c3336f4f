package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"kelek/raftcore"
	"kelek/store/op"
)

// CorruptError says that the disk returned something else than what was written and synced to it.
// A torn tail, which a power cut may leave, is none: Pebble cuts it off. The node must not go on
// (exit 65): what it would answer or vote on the strength of the rest is not what it promised.
type CorruptError struct {
	What   string         // which record or file
	Index  raftcore.Index // of the log entry, when it is one; otherwise 0
	Reason error
}

func (e *CorruptError) Error() string {
	if e.Index != 0 {
		return fmt.Sprintf("%s %d is damaged: %v; replace this node, or restore its disk",
			e.What, e.Index, e.Reason)
	}
	return fmt.Sprintf("%s is damaged: %v; replace this node, or restore its disk",
		e.What, e.Reason)
}

func (e *CorruptError) Unwrap() error { return e.Reason }

func corrupt(what string, reason string, args ...any) error {
	return &CorruptError{What: what, Reason: fmt.Errorf(reason, args...)}
}

func corruptEntry(index raftcore.Index, reason string, args ...any) error {
	return &CorruptError{What: "log entry", Index: index, Reason: fmt.Errorf(reason, args...)}
}

func corruptFile(path string, reason error) error {
	return &CorruptError{What: "file " + path, Reason: reason}
}

// MissingError says that an entry is not in the log. It is op.ErrCompacted when that is no damage:
// the entry is compacted, or was cut off.
type MissingError struct {
	Index     raftcore.Index
	Compacted bool
}

func (e *MissingError) Error() string {
	if e.Compacted {
		return fmt.Sprintf("log entry %d is not there any more", e.Index)
	}
	return fmt.Sprintf("log entry %d is not there", e.Index)
}

func (e *MissingError) Is(target error) bool { return e.Compacted && target == op.ErrCompacted }

// UnknownKindError is an entry that this build does not know, written by a newer one. It is never
// skipped: others apply it, and the state would fork (exit 67).
type UnknownKindError struct {
	Pos  raftcore.Pos
	Kind raftcore.EntryKind
}

func (e *UnknownKindError) Error() string {
	return fmt.Sprintf("log entry %v: kind %d is unknown to this version of kelek; start a newer one",
		e.Pos, e.Kind)
}

// readError gives an error of Pebble's its class.
func readError(what string, err error) error {
	if pebble.IsCorruptionError(err) {
		return &CorruptError{What: what, Reason: err}
	}
	return fmt.Errorf("read %s: %w", what, err)
}

// get reads one key. found is false when it is not there. visit is called with the value, which is
// valid during the call only.
func get(
	r pebble.Reader, key []byte, what string, visit func(value []byte) error,
) (found bool, err error) {
	value, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, readError(what, err)
	}
	err = visit(value)
	if e := closer.Close(); err == nil && e != nil {
		err = readError(what, e)
	}
	return true, err
}
