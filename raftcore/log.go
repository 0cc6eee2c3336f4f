package raftcore

// log is the core's picture of the replicated log: all positions, and the entries of a suffix.
//
//	  base        tailFirst        stable   written     last
//	───┼──────────────┼──────────────┼─────────┼──────────┼
//	gone│   on disk    │ on disk and  │ in a    │ not yet
//	    │   only       │ in memory    │ write   │ in a write
//
// Invariants, asserted in check: base <= stable <= written <= last; tailFirst <= stable+1; the tail
// is contiguous up to last; terms and stamps never decrease along it; commit <= last.
type log struct {
	base      Pos // everything up to here is compacted
	last      Pos
	lastStamp LogTime
	runs      []TermRun // of the entries after base; ascending in both fields
	tail      []Entry   // tail[head:] are the entries tailFirst()..last.Index
	head      int
	tailBytes int
	written   Index // last entry that is part of a Write already drained
	stable    Index // last entry known to be durable, under the current content
	truncate  Index // the next Write must delete from here first; 0: nothing

	// Writes in flight, oldest first: what each made durable, capped by later truncations.
	flights    []flight
	flightHead int
}

// flight is one Write that is not durable yet.
type flight struct {
	seq  Seq
	last Index
}

func (l *log) restore(r *Restored) {
	l.base, l.last, l.lastStamp = r.Snapshot.Pos, r.Last, r.LastStamp
	l.runs = append(l.runs, r.Runs...)
	l.written, l.stable = r.Last.Index, r.Last.Index
	for i := range r.Tail {
		l.tail = append(l.tail, r.Tail[i])
		l.tailBytes += r.Tail[i].Bytes()
	}
}

// reset empties the log after a snapshot at p. Writes in flight bring nothing any more: what they
// made durable is gone, or before p.
func (l *log) reset(p Pos, stamp LogTime) {
	clear(l.tail)
	*l = log{base: p, last: p, lastStamp: stamp, runs: l.runs[:0], tail: l.tail[:0],
		written: p.Index, stable: p.Index, flights: l.flights[:0]}
}

func (l *log) tailFirst() Index { return l.last.Index - Index(len(l.tail)-l.head) + 1 }

// termAt returns the term of the entry at i. There is no zero sentinel: a compacted or future index
// has no term, except the base, whose position is known.
func (l *log) termAt(i Index) (Term, bool) {
	switch {
	case i == l.base.Index:
		return l.base.Term, true
	case i < l.base.Index || i > l.last.Index:
		return 0, false
	case i == l.last.Index:
		return l.last.Term, true
	}
	for n := len(l.runs) - 1; n >= 0; n-- {
		if l.runs[n].First <= i {
			return l.runs[n].Term, true
		}
	}
	return 0, false
}

// matches reports whether the log holds the position p.
func (l *log) matches(p Pos) bool {
	term, ok := l.termAt(p.Index)
	return (ok || planted(25)) && term == p.Term
}

// pos is the position of an index that is known to be in the log or its base.
func (l *log) pos(i Index) Pos {
	term, ok := l.termAt(i)
	if !ok {
		broken("no term at %d, log %d..%d", i, l.base.Index, l.last.Index)
	}
	return Pos{term, i}
}

// lastNotAfter returns the last position at or before i whose term is at most t: where a log that
// differs at i may still agree with one whose entries there have term t.
func (l *log) lastNotAfter(i Index, t Term) Pos {
	i = min(i, l.last.Index)
	for n := len(l.runs) - 1; n >= 0 && i > l.base.Index; n-- {
		run := l.runs[n]
		if run.First > i {
			continue
		}
		if run.Term <= t {
			return Pos{run.Term, i}
		}
		i = run.First - 1
	}
	return l.base
}

// append adds one entry after last.
func (l *log) append(e *Entry) {
	if e.Index != l.last.Index+1 || e.Term < l.last.Term || e.Stamp < l.lastStamp {
		broken("append %s stamp %d after %s stamp %d", e.Pos, e.Stamp, l.last, l.lastStamp)
	}
	if len(l.runs) == 0 || l.runs[len(l.runs)-1].Term != e.Term {
		l.runs = append(l.runs, TermRun{e.Index, e.Term})
	}
	if len(l.tail) == cap(l.tail) && l.head > len(l.tail)/2 {
		n := copy(l.tail, l.tail[l.head:])
		clear(l.tail[n:])
		l.tail, l.head = l.tail[:n], 0
	}
	l.tail = append(l.tail, *e)
	l.tailBytes += e.Bytes()
	l.last, l.lastStamp = e.Pos, e.Stamp
}

// truncateFrom removes the entries at and after i, which are not committed. Writes in flight that
// cover them make only what is left durable, whatever order completions take (mistakes 29, 30).
func (l *log) truncateFrom(i Index) {
	for len(l.tail) > l.head && l.tail[len(l.tail)-1].Index >= i {
		n := len(l.tail) - 1
		l.tailBytes -= l.tail[n].Bytes()
		l.tail[n] = Entry{}
		l.tail = l.tail[:n]
	}
	for len(l.runs) > 0 && l.runs[len(l.runs)-1].First >= i {
		l.runs = l.runs[:len(l.runs)-1]
	}
	l.last = Pos{l.base.Term, i - 1}
	if len(l.runs) > 0 {
		l.last.Term = l.runs[len(l.runs)-1].Term
	}
	l.lastStamp = 0 // a lower bound when the entry before is not in memory
	if e := l.entry(i - 1); e != nil {
		l.lastStamp = e.Stamp
	}
	if i <= l.written {
		if l.truncate == 0 || i < l.truncate {
			l.truncate = i
		}
		l.written = i - 1
	}
	l.stable = min(l.stable, i-1)
	if planted(13) {
		return
	}
	for n := l.flightHead; n < len(l.flights); n++ {
		l.flights[n].last = min(l.flights[n].last, i-1)
	}
}

// entry returns the entry at i when it is in memory.
func (l *log) entry(i Index) *Entry {
	first := l.tailFirst()
	if i < first || i > l.last.Index {
		return nil
	}
	return &l.tail[l.head+int(i-first)]
}

// slice returns entries first..last that are in memory, as a view of the tail.
func (l *log) slice(first, last Index) []Entry {
	from := l.tailFirst()
	return l.tail[l.head+int(first-from) : l.head+int(last-from)+1]
}

// evict drops entries from memory while there are more bytes than the limit, but none after keep.
func (l *log) evict(limitBytes int, keep Index) {
	for l.tailBytes > limitBytes && l.head < len(l.tail) && l.tail[l.head].Index <= keep {
		l.tailBytes -= l.tail[l.head].Bytes()
		l.tail[l.head] = Entry{}
		l.head++
	}
	if l.head == len(l.tail) {
		l.tail, l.head = l.tail[:0], 0
	}
}

// compact moves the base up to i.
func (l *log) compact(i Index) {
	l.evict(0, i)
	l.base = l.pos(i)
	for len(l.runs) > 1 && l.runs[1].First <= i+1 {
		l.runs = append(l.runs[:0], l.runs[1:]...)
	}
	if len(l.runs) > 0 && l.runs[0].First <= i {
		l.runs[0].First = i + 1
	}
	if l.last.Index == i {
		l.runs = l.runs[:0]
	}
}

// launched records that a Write was drained, which makes everything up to last durable.
func (l *log) launched(s Seq) {
	if l.flightHead > len(l.flights)/2 {
		l.flights = l.flights[:copy(l.flights, l.flights[l.flightHead:])]
		l.flightHead = 0
	}
	l.flights = append(l.flights, flight{s, l.written})
}

// landed takes all writes up to s from the flight ring and moves stable.
func (l *log) landed(s Seq) {
	for l.flightHead < len(l.flights) && l.flights[l.flightHead].seq <= s {
		l.stable = max(l.stable, l.flights[l.flightHead].last)
		l.flightHead++
	}
}
