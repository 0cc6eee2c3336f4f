package raftcore

import (
	"testing"
)

// TestQuorumsAgainstBruteForce compares both functions with the definition, over every pair of
// halves with up to five voters of seven nodes and many assignments of values.
func TestQuorumsAgainstBruteForce(t *testing.T) {
	random := newRandom(1)
	subset := func(max int) (ids []NodeID) {
		for id := NodeID(1); id <= 7 && len(ids) < max; id++ {
			if random.next()%2 == 0 {
				ids = append(ids, id)
			}
		}
		return ids
	}
	for range 20_000 {
		c := Config{Voters: subset(5), OldVoters: subset(5)}
		if len(c.Voters) == 0 {
			continue
		}
		if random.next()%3 == 0 {
			c.OldVoters = nil
		}
		var values [8]uint64
		var ballots [8]ballot
		for id := range values {
			values[id] = uint64(random.next() % 6)
			ballots[id] = ballot(random.next() % 3)
		}
		got := quorumValue(&c, func(id NodeID) uint64 { return values[id] })
		if want := naiveQuorumValue(&c, values); got != want {
			t.Fatalf("%v %v: quorum value %d, want %d", c, values, got, want)
		}
		result := voteResult(&c, func(id NodeID) ballot { return ballots[id] })
		if want := naiveVoteResult(&c, ballots); result != want {
			t.Fatalf("%v %v: vote result %d, want %d", c, ballots, result, want)
		}
	}
}

// naiveQuorumValue tries every value from high to low.
func naiveQuorumValue(c *Config, values [8]uint64) uint64 {
	for v := uint64(6); v > 0; v-- {
		if naiveQuorum(c, func(id NodeID) bool { return values[id] >= v }) {
			return v
		}
	}
	return 0
}

// naiveVoteResult: won now, or lost even if everybody who has not answered said yes.
func naiveVoteResult(c *Config, ballots [8]ballot) ballot {
	if naiveQuorum(c, func(id NodeID) bool { return ballots[id] == granted }) {
		return granted
	}
	if !naiveQuorum(c, func(id NodeID) bool { return ballots[id] != refused }) {
		return refused
	}
	return pending
}

func naiveQuorum(c *Config, in func(NodeID) bool) bool {
	for _, half := range [2][]NodeID{c.Voters, c.OldVoters} {
		n := 0
		for _, id := range half {
			if in(id) {
				n++
			}
		}
		if len(half) > 0 && 2*n <= len(half) {
			return false
		}
	}
	return true
}

func TestConfigBytes(t *testing.T) {
	good := Config{Voters: []NodeID{1, 1 << 60}, OldVoters: []NodeID{3}, Learners: []NodeID{4, 5}}
	b := EncodeConfig(good)
	got, err := DecodeConfig(b)
	if err != nil || !got.Equal(&good) {
		t.Fatal(got, err)
	}
	for n := range b {
		if _, err := DecodeConfig(b[:n]); err == nil {
			t.Errorf("accepts the first %d bytes", n)
		}
	}
	for _, bad := range []Config{
		{}, {Voters: []NodeID{0}}, {Voters: []NodeID{2, 1}}, {Voters: []NodeID{1, 1}},
		{Voters: []NodeID{1}, Learners: []NodeID{1}}, {Voters: make([]NodeID, VotersMax+1)},
	} {
		if _, err := DecodeConfig(EncodeConfig(bad)); err == nil {
			t.Errorf("accepts %v", bad)
		}
	}
}
