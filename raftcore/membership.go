package raftcore

import (
	"errors"
	"slices"
)

// configVersion is the first byte of an encoded Config. Layout, all numbers big-endian:
//
//	+---------+---------+------------+-------------+------------------------------------+
//	| version | #voters | #oldVoters | #learners   | ids: voters, old voters, learners  |
//	| 1 byte  | 1 byte  | 1 byte     | 1 byte      | 8 bytes each, ascending per group  |
//	+---------+---------+------------+-------------+------------------------------------+
const configVersion = 1

// VotersMax bounds each half of a Config. Quorum arithmetic works in arrays of twice this size.
const VotersMax = 9

// LearnersMax bounds the learners of a Config.
const LearnersMax = 16

var errConfigBytes = errors.New("raft: malformed configuration")

// EncodeConfig returns the Data of a config entry.
func EncodeConfig(c Config) []byte { return AppendConfig(nil, &c) }

// AppendConfig appends the encoded form of c.
func AppendConfig(b []byte, c *Config) []byte {
	b = append(b, configVersion, byte(len(c.Voters)), byte(len(c.OldVoters)), byte(len(c.Learners)))
	for _, ids := range [3][]NodeID{c.Voters, c.OldVoters, c.Learners} {
		for _, id := range ids {
			for shift := 56; shift >= 0; shift -= 8 {
				b = append(b, byte(id>>shift))
			}
		}
	}
	return b
}

// DecodeConfig is the inverse of EncodeConfig. It accepts only what EncodeConfig can produce from
// a valid configuration: sorted ids, none zero, none twice, within the limits.
func DecodeConfig(b []byte) (Config, error) {
	if len(b) < 4 || b[0] != configVersion {
		return Config{}, errConfigBytes
	}
	counts := [3]int{int(b[1]), int(b[2]), int(b[3])}
	if len(b) != 4+8*(counts[0]+counts[1]+counts[2]) {
		return Config{}, errConfigBytes
	}
	b = b[4:]
	var groups [3][]NodeID
	for g, n := range counts {
		for range n {
			var id NodeID
			for _, x := range b[:8] {
				id = id<<8 | NodeID(x)
			}
			groups[g], b = append(groups[g], id), b[8:]
		}
	}
	c := Config{Voters: groups[0], OldVoters: groups[1], Learners: groups[2]}
	return c, c.validate()
}

// validate checks what every configuration that is ever in force must satisfy. A voter that is
// being demoted is in OldVoters and Learners of the joint configuration.
func (c *Config) validate() error {
	if len(c.Voters) == 0 || len(c.Voters) > VotersMax || len(c.OldVoters) > VotersMax ||
		len(c.Learners) > LearnersMax {
		return errConfigBytes
	}
	for _, ids := range [3][]NodeID{c.Voters, c.OldVoters, c.Learners} {
		for i, id := range ids {
			if id == 0 || i > 0 && ids[i-1] >= id {
				return errConfigBytes
			}
		}
	}
	for _, id := range c.Learners {
		if slices.Contains(c.Voters, id) {
			return errConfigBytes
		}
	}
	return nil
}

// Joint reports whether a membership change is half done (section 6).
func (c *Config) Joint() bool { return len(c.OldVoters) > 0 }

// IsVoter reports whether the votes of id count in either half.
func (c *Config) IsVoter(id NodeID) bool {
	return slices.Contains(c.Voters, id) || slices.Contains(c.OldVoters, id)
}

// IsMember reports whether id receives the log.
func (c *Config) IsMember(id NodeID) bool {
	return c.IsVoter(id) || slices.Contains(c.Learners, id)
}

// Members returns every member once, ascending.
func (c *Config) Members() []NodeID {
	all := slices.Concat(c.Voters, c.OldVoters, c.Learners)
	slices.Sort(all)
	return slices.Compact(all)
}

// Equal compares two configurations.
func (c *Config) Equal(d *Config) bool {
	return slices.Equal(c.Voters, d.Voters) && slices.Equal(c.OldVoters, d.OldVoters) &&
		slices.Equal(c.Learners, d.Learners)
}

// configs is the stack of configurations along the log. The bottom is that of the compacted
// prefix; an entry pushes when it is appended and pops when it is truncated, so the one in force is
// always the latest in the log, committed or not (section 6). One function, one source: nothing
// else in kelek stores a membership.
type configs struct{ stack []ConfigAt }

func (s *configs) current() *ConfigAt { return &s.stack[len(s.stack)-1] }

func (s *configs) push(c ConfigAt) { s.stack = append(s.stack, c) }

// truncate forgets the configurations of entries at and after from.
func (s *configs) truncate(from Index) (changed bool) {
	for len(s.stack) > 1 && s.current().Pos.Index >= from {
		s.stack, changed = s.stack[:len(s.stack)-1], true
	}
	return changed
}

// reset makes the configuration of a snapshot the only one.
func (s *configs) reset(m *SnapshotMeta) {
	bottom := ConfigAt{Pos{m.Pos.Term, m.ConfigIndex}, m.Config}
	s.stack = slices.DeleteFunc(s.stack, func(at ConfigAt) bool {
		return at.Pos.Index <= m.Pos.Index || !planted(16)
	})
	s.stack = slices.Insert(s.stack, 0, bottom)
}

// compact makes the configuration in force at upTo the bottom.
func (s *configs) compact(upTo Index) {
	n := 0
	for n+1 < len(s.stack) && s.stack[n+1].Pos.Index <= upTo {
		n++
	}
	s.stack = slices.Delete(s.stack, 0, n)
}

// ConfigChange is a wanted membership. Voters are changed through a joint configuration, however
// many there are; learners alone are changed directly, since no quorum changes with them.
type ConfigChange struct{ Voters, Learners []NodeID }

// PromoteSlack is how far behind the commit index a new voter may be, in entries. A voter further
// behind would make the next commit wait for its catch-up.
const PromoteSlack = 4096

// ProposeConfig appends a configuration, which is in force at once. It is refused while another
// change is open and before this leader has committed an entry of its own term (mistake 37), and
// for a new voter that is not a learner which has told this leader that it has caught up. The
// leader leaves a joint configuration by itself; a leader that is not in the new one steps down
// when that is committed.
func (c *Core) ProposeConfig(change ConfigChange) (Pos, error) {
	at := c.configs.current()
	next := Config{Voters: change.Voters, Learners: change.Learners}
	switch {
	case c.role != Leader, c.lead.leaving:
		return Pos{}, ErrNotLeader
	case c.lead.transferee != 0:
		return Pos{}, ErrTransferring
	case c.commit < c.lead.firstOwn && !planted(14), at.Pos.Index > c.commit, at.Config.Joint():
		return Pos{}, ErrPending
	}
	if err := next.validate(); err != nil {
		return Pos{}, err
	}
	if err := c.mayVote(next.Voters); err != nil {
		return Pos{}, err
	}
	if !slices.Equal(next.Voters, at.Config.Voters) {
		next.OldVoters = at.Config.Voters
	}
	return c.appendConfig(next), nil
}

// mayVote refuses voters that have not caught up as learners. In a log that is shorter than the
// slack nobody is far behind; who has never acknowledged anything may not even be there, and a
// quorum that needs it would commit nothing more.
func (c *Core) mayVote(voters []NodeID) error {
	for _, id := range voters {
		if c.config().IsVoter(id) {
			continue
		}
		p := c.lead.peer(id)
		switch {
		case p == nil, !slices.Contains(c.config().Learners, id),
			p.match == 0, p.match+PromoteSlack < c.commit:
			return ErrNotCaughtUp
		}
	}
	return nil
}

func (c *Core) appendConfig(config Config) Pos {
	pos := c.appendOwn(EntryConfig, c.clock, EncodeConfig(config))
	c.trackMembers()
	return pos
}

// maybeFinishChange runs after every commit of a leader, its first one included, so a new leader
// finishes what an old one began (mistake 39). A joint configuration that is committed, with none
// newer, is left; a leader that is no voter any more steps down once that is committed, after it
// has spread the commit index (mistake 46). While leadership is being transferred nothing is
// appended: the target, which may be campaigning, would be an entry short of the others' votes.
// Then the next leader finishes the change, or this one when it gives the transfer up.
func (c *Core) maybeFinishChange() {
	at := c.configs.current()
	if at.Pos.Index > c.commit || c.commit < c.lead.firstOwn {
		return
	}
	if at.Config.Joint() {
		if c.lead.transferee != 0 || planted(29) && at.Pos.Term != c.hard.Term {
			return
		}
		c.appendConfig(Config{Voters: at.Config.Voters, Learners: at.Config.Learners})
		return
	}
	if !at.Config.IsVoter(c.options.ID) {
		c.lead.leaving = true
	}
}
