package store

import (
	"errors"
	"fmt"

	"kelek/raftcore"
)

// Installing a snapshot replaces the state and empties the log. Neither can be done at once with
// the other, and a crash may come between any two of these steps:
//
//	1. what was fetched, synced by Complete, is moved to where a state stands: incoming/state
//	   becomes state-<n>, and the data directory is synced
//	2. it is opened there, and what is kept in memory is read: it is found to work
//	3. state.marker is replaced, which names it, and says of which snapshot it is
//	4. the log is reset to that position, with the hard state, in one synced batch
//	5. the old state goes, when nobody reads it any more
//
// Before the marker is durable the old state counts, and the log that belongs to it is whole; what
// stands in state-<n> goes at the next start. From then on the new state counts. A start that finds
// it with a log that does not hold its position knows that step 4 is missing, and does that: such a
// log can be nothing else, since the core installs only what its log does not hold, and whatever
// shortens a log later leaves the position in place or has it compacted. The reverse order could not
// tell a log that was reset from one that lost its entries.

// Install puts a snapshot into force that was staged and is complete. See node.Storage.
func (s *Store) Install(meta raftcore.SnapshotMeta, hard *raftcore.HardState) error {
	if err := errors.Join(s.fuse.err(), s.failed); err != nil {
		return err
	}
	next := installed{s.installed.number + 1, meta, hard}
	prepared, err := s.prepare(&next)
	if err != nil {
		return fmt.Errorf("install snapshot %016x of %v: %w", meta.ID, meta.Pos, err)
	}
	if err := s.enforce(&next, prepared); err != nil { // nobody knows which state counts
		return s.fuse.blow(fmt.Errorf("install snapshot %016x of %v: %w", meta.ID, meta.Pos, err))
	}
	return s.fuse.err()
}

// prepare performs steps 1 and 2.
func (s *Store) prepare(next *installed) (*machine, error) {
	if next.meta.Pos.Index <= s.reached.index {
		return nil, fmt.Errorf("%d is applied already", s.reached.index)
	}
	path := s.options.FS.PathJoin(s.dir, next.stateName())
	if err := s.moveStaged(path, &next.meta); err != nil {
		return nil, err
	}
	db, err := openPebble(path, s.stateOptions())
	if err != nil {
		return nil, err
	}
	m := newMachine(newDatabase(db, s.options, path, s.retiring), s.fuse, s.limits)
	if err := m.load(); err != nil {
		return nil, errors.Join(err, m.batch.Close(), db.Close())
	}
	return m, nil
}

// moveStaged moves what was staged to path.
func (s *Store) moveStaged(path string, meta *raftcore.SnapshotMeta) error {
	fs, x := s.options.FS, &s.staging
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.ready || !sameMeta(x.stage.meta, *meta) {
		return errors.New("it is not staged")
	}
	if err := x.stage.shut(); err != nil {
		return err
	}
	x.stage, x.ready = nil, false
	if err := fs.RemoveAll(path); err != nil { // of an install that failed
		return err
	}
	if err := fs.Rename(fs.PathJoin(s.incoming(), stateDir), path); err != nil {
		return err
	}
	if err := syncDir(fs, s.dir); err != nil {
		return err
	}
	return fs.RemoveAll(s.incoming())
}

// enforce performs steps 3 to 5.
func (s *Store) enforce(next *installed, prepared *machine) error {
	marker := appendMarker(nil, next)
	if err := replaceFile(s.options.FS, s.dir, markerFile, marker); err != nil {
		return err
	}
	s.installed = *next
	s.installs.Store(next.number)
	old, batch := s.state, s.batch
	s.adopt(prepared)
	if err := s.reset(next.meta, next.hard); err != nil {
		return err
	}
	defer old.release()
	return batch.Close()
}

// adopt makes the state of another machine that of m. Views that are open keep theirs.
func (m *machine) adopt(from *machine) {
	m.applying = from.applying
	m.observed.m = m
	m.current.Store(m.state)
	m.publish()
}

// reconcile compares where the state stands with what the log holds:
//
//	base <= applied <= last   usual: applied+1..last is applied again, as far as it is committed
//	an install, and the log does not hold its position: it is finished
//	applied < base            entries that the state lacks are gone: damage
//	applied > last, or of another term: the log has lost what was durable in it: damage
func (s *Store) reconcile() error {
	if in := &s.installed; in.number != 0 && !s.holds(in.meta.Pos) {
		return s.finishInstall(in)
	}
	applied, base := s.reached, s.base.meta.Pos
	switch {
	case applied.term > s.restored.HardState.Term:
		return corrupt("the hard state", "its term is %d, and an entry of term %d was applied",
			s.restored.HardState.Term, applied.term)
	case applied.index < base.Index:
		return corrupt("the state", "entries up to %d are applied, and the log begins after %v",
			applied.index, base)
	case applied.index > s.last.Index:
		return corrupt("the log", "it ends with %v, and entries up to %d are applied",
			s.last, applied.index)
	}
	if term := s.termAt(applied.index); term != applied.term {
		return corruptEntry(applied.index, "its term is %d, and one of term %d was applied",
			term, applied.term)
	}
	return nil
}

// finishInstall performs the last step of an install that a crash has cut short. Nothing was applied
// on top of it then.
func (s *Store) finishInstall(in *installed) error {
	got, err := readMeta(s.machine.db)
	if err != nil {
		return err
	}
	if got.ID = in.meta.ID; !sameMeta(got, in.meta) {
		return corrupt("the log", "it ends with %v and does not hold %v, which was installed; "+
			"the state has come to %v since", s.last, in.meta.Pos, got.Pos)
	}
	if hard := s.restored.HardState; in.hard == nil || in.hard.Term < hard.Term {
		in.hard = &hard
	}
	if in.meta.Pos.Term > in.hard.Term {
		return corrupt("the hard state", "its term is %d, and a snapshot of term %d was installed",
			in.hard.Term, in.meta.Pos.Term)
	}
	if err := s.reset(in.meta, in.hard); err != nil {
		return err
	}
	s.restored = raftcore.Restored{}
	return s.raftLog.load()
}
