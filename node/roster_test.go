package node

import (
	"slices"
	"strings"
	"testing"

	"kelek/raftcore"
	"kelek/store/op"
)

// rosterOf builds a roster from words: "n1 n2! n3- n4/ n5/300": a voter, one that is down, one that
// is down and not even connected, a learner, a learner that lacks 300 entries. "n6/new" is one that
// has nothing of a log that is short. The leader is the first.
func rosterOf(words string) *roster {
	r := &roster{self: 1, last: 1000}
	for i, word := range strings.Fields(words) {
		s := seat{id: raftcore.NodeID(i + 1), voter: true, alive: true, present: true, match: 1000}
		name, rest, learner := strings.Cut(word, "/")
		s.voter = !learner
		if rest == "300" {
			s.match = 700
		}
		if rest == "new" {
			s.match, r.last = 0, 100
		}
		s.alive = !strings.ContainsAny(name, "!-")
		s.present = !strings.Contains(name, "-")
		s.name = strings.TrimRight(name, "!-")
		s.addr = s.name + ":7380"
		r.seats = append(r.seats, s)
	}
	return r
}

func TestWhatAdministratorsMayDo(t *testing.T) {
	remove := func(name string) func(r *roster) (change, error) {
		return func(r *roster) (change, error) { return r.remove(name) }
	}
	demote := func(name string) func(r *roster) (change, error) {
		return func(r *roster) (change, error) { return r.demote(name) }
	}
	promote := func(name string) func(r *roster) (change, error) {
		return func(r *roster) (change, error) { return r.promote(name) }
	}
	replace := func(name, with string) func(r *roster) (change, error) {
		return func(r *roster) (change, error) { return r.replace(name, with) }
	}
	for _, test := range []struct {
		members  string
		do       func(r *roster) (change, error)
		voters   []raftcore.NodeID // nil: refused
		learners []raftcore.NodeID
		say      []string
	}{
		{"n1 n2 n3", remove("n3"), ids(1, 2), nil, []string{"n3 is removed: 2 voters", "warning", "1"}},
		{"n1 n2 n3", remove("n1"), ids(2, 3), nil, []string{"n1 is removed"}},
		{"n1 n2 n3 n4", remove("n4"), ids(1, 2, 3), nil, []string{"n4 is removed: 3 voters"}},
		{"n1 n2 n3 n4/", remove("n4"), ids(1, 2, 3), nil, []string{"n4, a learner, is removed"}},
		{"n1 n2 n3 n4/", remove("000000000000000004"), ids(1, 2, 3), nil, []string{"n4, a learner"}},
		{"n1 n2 n3!", remove("n3"), ids(1, 2), nil, []string{"n3 is removed"}},
		{"n1 n2 n3!", remove("n2"), nil, nil, []string{"3 voters, 1 down (n3)",
			"removing n2 leaves 1 of 2, quorum 2", "start n3 again"}},
		{"n1 n2 n3 n4! n5!", remove("n3"), nil, nil, []string{"5 voters, 2 down (n4, n5)",
			"leaves 2 of 4, quorum 3"}},
		{"n1", remove("n1"), nil, nil, []string{"no voter", "last one"}},
		{"n1 n4/", remove("n1"), nil, nil, []string{"no voter"}},
		{"n1 n2 n3", remove("n9"), nil, nil, []string{`"n9"`, "n1, n2, n3"}},
		{"n1 n2 n3", remove(""), nil, nil, []string{"n1, n2, n3"}},
		{"n1 n2 n3- n3/", remove("n3"), nil, nil, []string{"2 members are named n3",
			"0000000000000003 (voter, down)", "0000000000000004 (learner, up)"}},

		{"n1 n2 n3", demote("n2"), ids(1, 3), ids(2), []string{"n2 is a learner now: 2 voters"}},
		{"n1 n2 n3", demote("n1"), ids(2, 3), ids(1), []string{"n1 is a learner"}},
		{"n1 n2 n3 n4/", demote("n4"), nil, nil, []string{"n4 is a learner already"}},
		{"n1 n2 n3!", demote("n2"), nil, nil, []string{"demoting n2 leaves 1 of 2, quorum 2"}},
		{"n1", demote("n1"), nil, nil, []string{"no voter"}},

		{"n1 n2 n3 n4/", promote("n4"), ids(1, 2, 3, 4), nil, []string{"n4 is a voter now: 4 voters",
			"warning"}},
		{"n1 n2 n3", promote("n3"), nil, nil, []string{"n3 is a voter already"}},
		{"n1 n2 n3 n4!/", promote("n4"), nil, nil, []string{"n4 is down"}},
		{"n1 n2 n3 n4/300", promote("n4"), nil, nil, []string{"300 of 1000", "255"}},
		{"n1 n2 n3 n4/new", promote("n4"), nil, nil, []string{"n4 has not told this leader yet"}},
		{"n1 n2 n3- n3/", promote("4"), ids(1, 2, 4), nil, []string{"n3 is a voter now",
			"0000000000000003", "3 voters"}},
		{"n1 n2 n3 n3/", promote("4"), nil, nil, []string{"two nodes are named n3", "both are up"}},
		{"n1 n2 n3! n3/", promote("4"), nil, nil, []string{"two nodes are named n3"}},
		{"a b c d e f g h i j/", promote("j"), nil, nil, []string{"10 voters, more than 9"}},

		{"n1 n2 n3- n6/", replace("n3", "n6"), ids(1, 2, 4), nil, []string{
			"n6 votes in the place of n3", "3 voters"}},
		{"n1 n2 n3 n6", replace("n3", "n6"), ids(1, 2, 4), nil, []string{"n6 votes"}},
		{"n1 n2 n3 n6/", replace("n1", "n6"), ids(2, 3, 4), nil, []string{"n6 votes"}},
		{"n1 n2 n3 n6/300", replace("n3", "n6"), nil, nil, []string{"lacks 300"}},
		{"n1 n2 n3 n6/", replace("n6", "n3"), nil, nil, []string{"n6 is a learner", "remove it"}},
		{"n1 n2 n3", replace("n3", "n3"), nil, nil, []string{"itself"}},
		{"n1 n2 n3", replace("n3", "n7"), nil, nil, []string{`"n7"`, "--join"}},
		{"n1 n2! n3- n6/", replace("n1", "n6"), nil, nil, []string{"2 down", "leaves 1 of 3"}},
	} {
		r := rosterOf(test.members)
		got, err := test.do(r)
		text := got.done
		if err != nil {
			text = err.Error()
		}
		if (err != nil) != (test.voters == nil) ||
			!slices.Equal(got.to.Voters, test.voters) || !slices.Equal(got.to.Learners, test.learners) {
			t.Errorf("%s: %+v, %v", test.members, got, err)
		}
		for _, word := range test.say {
			if !strings.Contains(text, word) {
				t.Errorf("%s: %q does not say %q", test.members, text, word)
			}
		}
	}
}

func TestWhoIsLetIn(t *testing.T) {
	full := "n1" + strings.Repeat(" x/", raftcore.LearnersMax)
	for _, test := range []struct {
		members, name string
		learners      []raftcore.NodeID // nil: refused
		say           string
	}{
		{"n1 n2 n3", "n4", ids(99), "n4 is added"},
		{"n1 n2 n3-", "n3", ids(99), "n3 is added"},
		{"n1 n2 n3 n4-/", "n4", ids(99), "n4 is added"},
		{"n1 n2 n3 n4-/ n5/", "n4", ids(5, 99), "n4 is added"},
		{"n1 n2 n3!", "n3", nil, "up at n3:7380, so the node at new:1"},
		{"n1 n2 n3 n4/", "n4", nil, "up at n4:7380"},
		{full, "n9", nil, "16 learners"},
	} {
		r := rosterOf(test.members)
		got, err := r.admit(&op.Member{ID: 99, Name: test.name, PeerAddr: "new:1"})
		text := got.done
		if err != nil {
			text = err.Error()
		}
		if !slices.Equal(got.to.Learners, test.learners) || !strings.Contains(text, test.say) {
			t.Errorf("%s: %+v %q", test.members, got.to, text)
		}
	}
}

func TestWhoMayLeadNext(t *testing.T) {
	for _, test := range []struct {
		members, name string
		to            raftcore.NodeID
		refused       string
	}{
		{"n1 n2 n3", "n2", 2, ""},
		{"n1 n2 n3", "", 0, ""},
		{"n1 n2! n3!", "", 0, "no other voter is up"},
		{"n1 n4/", "", 0, "no other voter is up"},
		{"n1 n2 n3", "n1", 0, "leads already"},
		{"n1 n2! n3", "n2", 0, "n2 is down"},
		{"n1 n2 n3 n4/", "n4", 0, "learner"},
		{"n1 n2 n3", "n9", 0, "n1, n2, n3"},
	} {
		to, err := rosterOf(test.members).transferTo(test.name)
		if to != test.to || (err != nil) != (test.refused != "") ||
			err != nil && !strings.Contains(err.Error(), test.refused) {
			t.Errorf("%s to %q: %d, %v", test.members, test.name, to, err)
		}
	}
}
