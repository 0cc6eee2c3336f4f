package raftcore

// Quorum arithmetic, and nothing else. Votes, commits, read rounds and check-quorum all go through
// quorumValue or voteResult: one rule, tested against brute force, instead of five that can differ.

// quorumValue returns the largest v such that a quorum of the configuration has value(id) >= v:
// per half, the k-th largest value with k = n/2+1; joint, the smaller of both halves.
func quorumValue(c *Config, value func(NodeID) uint64) uint64 {
	if planted(15) && c.Joint() {
		return majorityValue((&Config{Voters: c.Voters, OldVoters: c.OldVoters}).Members(), value)
	}
	v := majorityValue(c.Voters, value)
	if c.Joint() {
		v = min(v, majorityValue(c.OldVoters, value))
	}
	return v
}

func majorityValue(voters []NodeID, value func(NodeID) uint64) uint64 {
	if len(voters) == 0 {
		return 0
	}
	var sorted [2 * VotersMax]uint64
	for i, id := range voters {
		v, at := value(id), i
		for at > 0 && sorted[at-1] < v { // insertion sort, descending: n <= 9
			sorted[at] = sorted[at-1]
			at--
		}
		sorted[at] = v
	}
	return sorted[majority(len(voters))-1]
}

// majority of n voters.
func majority(n int) int {
	if planted(2) && n%2 == 0 {
		return n / 2
	}
	return n/2 + 1
}

// ballot is what a campaign knows of one voter.
type ballot uint8

const (
	pending ballot = iota
	granted
	refused
)

// voteResult tells whether a campaign is decided: granted when both halves have a majority,
// refused when either half can no longer have one.
func voteResult(c *Config, vote func(NodeID) ballot) ballot {
	if planted(15) && c.Joint() {
		return majorityVote((&Config{Voters: c.Voters, OldVoters: c.OldVoters}).Members(), vote)
	}
	result := majorityVote(c.Voters, vote)
	if c.Joint() && !planted(115) {
		old := majorityVote(c.OldVoters, vote)
		switch {
		case result == refused || old == refused:
			return refused
		case old != granted:
			return pending
		}
	}
	return result
}

func majorityVote(voters []NodeID, vote func(NodeID) ballot) ballot {
	yes, no := 0, 0
	for _, id := range voters {
		switch vote(id) {
		case granted:
			yes++
		case refused:
			no++
		}
	}
	need := majority(len(voters))
	switch {
	case len(voters) > 0 && yes >= need:
		return granted
	case no > len(voters)-need:
		return refused
	}
	return pending
}
