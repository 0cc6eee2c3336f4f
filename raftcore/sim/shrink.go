package sim

import "slices"

// Shrinking: a run that fails is long, and most of what happens in it has nothing to do with the
// failure. What can be left out is left out, as long as the same invariant breaks: noises, whole
// kinds of faults, half of the time, and then fault by fault (delta debugging). What remains is
// written as a script, see script.go.

// shrinker holds the smallest failing run so far.
type shrinker struct {
	best  Result
	runs  int // left
	fails func(Result) bool
}

// salts is how often a smaller run is tried with other random numbers for all that is not a fault:
// leaving something out shifts what comes after it, and may lose the failure by bad luck alone.
const salts = 3

// Shrink makes a failing run smaller, within so many runs. The result fails as r does.
func Shrink(r Result, runs int) Result {
	return shrink(r, runs, func(x Result) bool {
		return x.Failure != nil && x.Failure.Invariant == r.Failure.Invariant
	})
}

// shrink makes a run smaller that fails in the eyes of fails.
func shrink(r Result, runs int, fails func(Result) bool) Result {
	s := &shrinker{best: r, runs: runs, fails: fails}
	c := r.Case
	c.Trace, c.History = nil, false
	c.Overrides.Strikes = append([]Strike{}, r.Strikes...)
	if !s.try(c) {
		return r
	}
	for s.pass() {
	}
	return s.best
}

// pass tries everything once. It reports whether something could be left out, and is worth another
// pass.
func (s *shrinker) pass() bool {
	before := s.size()
	s.halveWindow()
	s.dropNoises()
	s.dropKinds()
	s.dropStrikes()
	return s.runs > 0 && s.size() < before
}

// size orders runs: fewer faults, then fewer noises, then fewer events.
func (s *shrinker) size() int {
	o := &s.best.Case.Overrides
	return len(o.Strikes)*1_000_000 + (len(noises)-len(o.Without))*100_000 + int(s.best.Events/1000)
}

// try runs a candidate, and keeps it when the same invariant breaks, without faults that come
// later.
func (s *shrinker) try(c Case) bool {
	for range salts {
		if s.runs--; s.runs < 0 {
			return false
		}
		r := Run(c)
		if s.fails(r) {
			r.Case.Overrides.Strikes = append([]Strike{}, r.Strikes...) // those before the end
			s.best = r
			return true
		}
		c.Overrides.Salt++
	}
	return false
}

// with is the best run with other overrides.
func (s *shrinker) with(change func(o *Overrides)) Case {
	c := s.best.Case
	c.Overrides.Without = slices.Clone(c.Overrides.Without)
	change(&c.Overrides)
	return c
}

// halveWindow ends the faults as soon as the failure, and then earlier and earlier.
func (s *shrinker) halveWindow() {
	at := s.best.Virtual
	if window := s.best.Case.Overrides.Window; window == 0 || at < window {
		s.try(s.with(func(o *Overrides) { o.Window = at }))
	}
	for s.runs > 0 {
		half := s.best.Case.Overrides.Window / 2
		if half == 0 || !s.try(s.with(func(o *Overrides) { o.Window = half })) {
			return
		}
	}
}

func (s *shrinker) dropNoises() {
	for i := range noises {
		name := noises[i].name
		if !slices.Contains(s.best.Case.Overrides.Without, name) {
			s.try(s.with(func(o *Overrides) { o.Without = append(o.Without, name) }))
		}
	}
}

func (s *shrinker) dropKinds() {
	for k := range faultKinds {
		of := func(x Strike) bool { return x.Kind == k }
		if slices.ContainsFunc(s.best.Case.Overrides.Strikes, of) {
			s.try(s.with(func(o *Overrides) {
				o.Strikes = slices.DeleteFunc(slices.Clone(o.Strikes), of)
			}))
		}
	}
}

// dropStrikes is ddmin: it leaves out ever smaller parts of the schedule, until none of its faults
// can be spared.
func (s *shrinker) dropStrikes() {
	for part := len(s.best.Case.Overrides.Strikes) / 2; part > 0 && s.runs > 0; part /= 2 {
		for from := 0; from < len(s.best.Case.Overrides.Strikes) && s.runs > 0; {
			to := min(from+part, len(s.best.Case.Overrides.Strikes))
			left := len(s.best.Case.Overrides.Strikes)
			s.try(s.with(func(o *Overrides) {
				o.Strikes = slices.Delete(slices.Clone(o.Strikes), from, to)
			}))
			if len(s.best.Case.Overrides.Strikes) == left {
				from = to
			}
		}
	}
}
