package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// A second opinion on invariant 10. The oracle knows the log; porcupine knows nothing but what
// clients asked, were told, and when. Registers that expire and requests by ONCE are left to the
// oracle.

// judgeEvery is how often TestSeeds asks for the second opinion.
const judgeEvery = 25

// thing is what an operation is about: the kind of a key, and the key.
type thing struct {
	kind opCode
	key  uint8
}

func thingOf(op *operation) (thing, bool) {
	kind := op.code
	if kind == opRead {
		kind = op.of
	}
	switch kind {
	case opSet:
		return thing{kind, op.key % registerCount}, op.key%registerCount < firstMortal
	case opAdd:
		return thing{kind, op.key % counterCount}, true
	case opAppend:
		return thing{kind, op.key % listCount}, true
	}
	return thing{}, false
}

// keySemantics is one key as its clients see it. An operation without an answer fits any state.
var keySemantics = porcupine.Model{
	Init: func() any { return list{} }, // of the others, only length is used
	Step: func(state, input, _ any) (bool, any) {
		s, op := state.(list), input.(*operation)
		known := op.state == acked
		switch {
		case op.code == opSet:
			return !known || op.result == s.length, list{length: op.value}
		case op.code == opAdd:
			s.length += op.value
			return !known || op.result == s.length, s
		case op.code == opAppend:
			s.length, s.hash = s.length+1, mix(s.hash, op.value)
			return !known || op.result == s.length, s
		case op.of == opAppend:
			return !known || op.result == mix(s.hash, s.length), s
		}
		return !known || op.result == s.length, s
	},
}

// judge looks at each key of a history by itself. Keys that are too hard to decide are counted.
func judge(history []operation) (wrong error, undecided int) {
	keys := map[thing][]porcupine.Operation{}
	for i := range history {
		op := &history[i]
		about, ok := thingOf(op)
		if !ok || op.state == waiting || op.state == refused {
			continue // it has no effect, and nobody was told anything
		}
		end := int64(op.ended)
		if op.state != acked {
			if op.code == opRead {
				continue
			}
			end = math.MaxInt64
		}
		keys[about] = append(keys[about], porcupine.Operation{
			ClientId: int(op.session), Input: op, Call: int64(op.begun), Return: end,
		})
	}
	for about, ops := range keys {
		switch porcupine.CheckOperationsTimeout(keySemantics, ops, time.Second) {
		case porcupine.Illegal:
			return fmt.Errorf("%d operations on key %d of kind %d are not linearizable", len(ops), about.key,
				about.kind), undecided
		case porcupine.Unknown:
			undecided++
		}
	}
	return nil, undecided
}

// TestTheJudgeFindsWhatIsWrong takes right histories, changes a single answer to one that another
// client was given earlier, and expects the judge to notice nearly always: what it misses must have
// been right, too.
func TestTheJudgeFindsWhatIsWrong(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 1))
	tried, found := 0, 0
	for seed := uint64(1); seed <= 4; seed++ {
		r := Run(Case{Seed: seed, Profile: "calm", History: true,
			Overrides: Overrides{Without: []string{"load"}}})
		if wrong, _ := judge(r.History); r.Failure != nil || wrong != nil {
			t.Fatal(r.Failure, wrong)
		}
		for range 20 {
			changed, ok := withAnOlderAnswer(g, r.History)
			if !ok {
				continue
			}
			tried++
			if wrong, _ := judge(changed); wrong != nil {
				found++
			}
		}
	}
	if tried < 40 || found < tried*9/10 {
		t.Errorf("%d of %d wrong histories were found", found, tried)
	}
}

// withAnOlderAnswer changes one read's answer to that of an earlier read of the same key that ended
// long before it, and was different.
func withAnOlderAnswer(g *rand.Rand, history []operation) (changed []operation, ok bool) {
	changed = append([]operation(nil), history...)
	from := g.IntN(len(changed))
	for i := range changed {
		late := &changed[(from+i)%len(changed)]
		about, mortal := thingOf(late)
		if late.code != opRead || late.state != acked || !mortal {
			continue
		}
		for k := range changed {
			early := &changed[k]
			same, _ := thingOf(early)
			if early.code == opRead && early.state == acked && same == about &&
				early.ended+200*ms < late.begun && early.result != late.result {
				late.result = early.result
				return changed, true
			}
		}
	}
	return nil, false
}
