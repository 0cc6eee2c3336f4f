package bench

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// shrinkLimit bounds the search for a small history; each check of it has shrinkCheck.
const (
	shrinkLimit  = 10 * time.Second
	shrinkCheck  = time.Second
	shrinkTried  = 8 // histories, the shortest ones
	historyShown = 40
)

// smallest is a violation that a person can read: the shortest history that shrinking the shortest
// illegal ones leads to.
func smallest(illegal []history) (best history, of int) {
	deadline := time.Now().Add(shrinkLimit)
	slices.SortStableFunc(illegal, func(a, b history) int {
		return cmp.Compare(len(a.records), len(b.records))
	})
	for _, h := range illegal[:min(len(illegal), shrinkTried)] {
		s := shrinker{deadline: deadline}
		small := s.shrink(h)
		if best.records == nil || len(small.records) < len(best.records) {
			best, of = small, len(h.records)
		}
	}
	return best, of
}

// shrinker leaves records out of an illegal history as long as it stays illegal. A step is taken
// only if no legal history could become illegal by it, so that what is left is a violation of its
// own and no artefact:
//
//   - Ending early: what was called later is left out, what was not answered by then is unknown.
//   - Beginning late: what was answered before a moment is left out and the first state is vague.
//     Writes must not be under way at that moment, since nobody knows on which side they fall.
//   - A read is left out.
//   - A SET, or an unknown write of a text, is left out if nobody reports its text and no answer
//     tells whether the key exists.
type shrinker struct {
	deadline time.Time
	first    cell
}

func (s *shrinker) illegal(h history) bool {
	limit := min(shrinkCheck, time.Until(s.deadline))
	return h.check(s.first, limit) == porcupine.Illegal
}

// readable is how long a history may be whose beginning is kept, because it tells more.
const readable = 4

func (s *shrinker) shrink(h history) history {
	h = s.endEarly(h)
	whole := s.thin(h)
	if len(whole.records) <= readable {
		return whole
	}
	return s.thin(s.beginLate(h))
}

// thin leaves single records out until none can be.
func (s *shrinker) thin(h history) history {
	for {
		before := len(h.records)
		for i := len(h.records) - 1; i >= 0; i-- {
			smaller := h.without(i)
			if h.dispensable(i) && s.illegal(smaller) {
				h = smaller
			}
		}
		if len(h.records) == before {
			break
		}
	}
	slices.SortStableFunc(h.records, func(a, b *record) int { return cmp.Compare(a.call, b.call) })
	return h
}

// until is what was known at a moment.
func (h history) until(moment int64) history {
	early := history{key: h.key}
	for _, r := range h.records {
		switch {
		case r.call >= moment:
		case r.unknown || r.ret <= moment:
			early.records = append(early.records, r)
		case r.act.writes():
			open := *r
			open.unknown, open.out = true, outcome{}
			early.records = append(early.records, &open)
		}
	}
	return early
}

// endEarly finds the first answer that makes the history illegal.
func (s *shrinker) endEarly(h history) history {
	var moments []int64
	for _, r := range h.records {
		if !r.unknown {
			moments = append(moments, r.ret)
		}
	}
	slices.Sort(moments)
	at, _ := slices.BinarySearchFunc(moments, true, func(moment int64, _ bool) int {
		if s.illegal(h.until(moment)) {
			return 1
		}
		return -1
	})
	if at < len(moments) && s.illegal(h.until(moments[at])) {
		return h.until(moments[at])
	}
	return h
}

// since is what was called after a moment; ok: no answered write was under way then.
func (h history) since(moment int64) (late history, ok bool) {
	late = history{key: h.key}
	for _, r := range h.records {
		switch {
		case r.unknown || r.call > moment:
			late.records = append(late.records, r)
		case r.ret > moment && r.act == actExpire:
			open := *r // it passes at some time: so much is true
			open.unknown = true
			late.records = append(late.records, &open)
		case r.ret > moment && r.act.writes():
			return h, false
		}
	}
	return late, true
}

// beginLate leaves out as much of the beginning as it can.
func (s *shrinker) beginLate(h history) history {
	var moments []int64
	for _, r := range h.records {
		if !r.unknown {
			moments = append(moments, r.ret)
		}
	}
	slices.Sort(moments)
	slices.Reverse(moments)
	from := shrinker{deadline: s.deadline, first: vagueCell()}
	for _, moment := range moments {
		late, ok := h.since(moment)
		if ok && len(late.records) < len(h.records) && from.illegal(late) {
			s.first = from.first
			return late
		}
	}
	return h
}

func (h history) without(i int) history {
	return history{key: h.key, records: slices.Delete(slices.Clone(h.records), i, i+1)}
}

// dispensable reports whether the history without this record is legal if the whole one is.
func (h history) dispensable(i int) bool {
	r := h.records[i]
	switch r.act {
	case actGet, actBoth:
		return true
	case actExpire:
		return !h.mentions(r.arg, i)
	case actSet, actSetPX:
		return !h.mentions(r.arg, i) && !h.tellsExistence()
	case actSetNX, actSetGet, actSwap:
		return r.unknown && !h.mentions(r.arg, i) && !h.tellsExistence()
	}
	return false
}

// mentions reports whether anything but the record itself and its deadline depends on a text.
func (h history) mentions(text string, but int) bool {
	for i, r := range h.records {
		if i == but {
			continue
		}
		reads := r.act == actGet || r.act == actBoth || r.act == actSetGet
		if reads && !r.unknown && strings.Contains(r.out.text, text) || r.seen == text ||
			r.arg == text && r.act != actExpire {
			return true
		}
	}
	return false
}

// tellsExistence reports whether some answer depends on whether there was a text, whichever.
func (h history) tellsExistence() bool {
	expires := slices.ContainsFunc(h.records, func(r *record) bool { return r.act == actExpire })
	return slices.ContainsFunc(h.records, func(r *record) bool {
		switch r.act {
		case actIncr, actAppend, actPair:
			return true
		case actDel, actSetNX:
			return !r.unknown
		case actGet, actSetGet:
			return expires && !r.unknown && r.out.null
		}
		return false
	})
}

// write prints a history in the order of the calls. Times are seconds since the load began.
func (h history) write(out io.Writer, who func(client int) string) {
	for i, r := range h.records {
		if i == historyShown {
			fmt.Fprintf(out, "          ... %d more\n", len(h.records)-historyShown)
			return
		}
		end := "?"
		if !r.unknown {
			end = seconds(r.ret)
		}
		fmt.Fprintf(out, "          %-16s %9s .. %-9s %s\n", who(r.client), seconds(r.call), end, r)
	}
}

func seconds(nanos int64) string {
	return fmt.Sprintf("%.4f", time.Duration(nanos).Seconds())
}
