package bench

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Shape of the load on one key. Few commands per key keep the check cheap.
const (
	keyBudget       = 100 // commands on a shared key before it is retired
	mortalBudget    = 30  // where each deadline is one more event in the history
	keyAfterUnknown = 20  // and after a command without a known outcome
	ttlMin, ttlMax  = 100 * time.Millisecond, 1500 * time.Millisecond
)

// slot is a place for a shared object; the object in it is replaced again and again.
type slot struct {
	name   string
	acts   []action
	budget int

	guard      sync.Mutex
	generation int
	left       int
}

// take returns the object of the moment.
func (s *slot) take() string {
	s.guard.Lock()
	defer s.guard.Unlock()
	if s.left == 0 {
		s.generation, s.left = s.generation+1, s.budget
	}
	s.left--
	return s.key()
}

func (s *slot) key() string { return fmt.Sprintf("%s:%d", s.name, s.generation) }

// readAct is how the object is read.
func (s *slot) readAct() action {
	if slices.Contains(s.acts, actBoth) {
		return actBoth
	}
	return actGet
}

// doubt says that a command on an object has no known outcome.
func (s *slot) doubt(key string) {
	s.guard.Lock()
	defer s.guard.Unlock()
	if s.key() == key {
		s.left = min(s.left, keyAfterUnknown)
	}
}

// newSlots are the objects of one group of clients.
func newSlots(prefix string) []*slot {
	return []*slot{
		{name: prefix + ":register", budget: keyBudget, acts: []action{actSet, actSet, actSet, actGet,
			actGet, actGet, actGet, actSetNX, actSetGet, actDel}},
		{name: prefix + ":counter", budget: keyBudget, acts: []action{actIncr, actIncr, actGet}},
		{name: prefix + ":text", budget: keyBudget, acts: []action{actAppend, actGet}},
		{name: prefix + ":lock", budget: keyBudget, acts: []action{actSetNX, actSetNX, actDel, actGet}},
		{name: prefix + ":mortal", budget: mortalBudget, acts: []action{actSetPX, actGet, actGet,
			actGet, actSet}},
		{name: prefix + ":swap", budget: keyBudget, acts: []action{actSwap, actSwap, actGet, actSet}},
		{name: prefix + ":pair", budget: keyBudget, acts: []action{actPair, actBoth}},
	}
}
