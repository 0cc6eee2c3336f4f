package node

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"kelek/raftcore"
	"kelek/store/op"
)

// roster is the membership as a leader sees it at one moment, and the arithmetic on it. It is pure:
// every change that a person asks for, and every one that the leader makes by itself, is decided
// here, so that a refusal always has the same numbers and says the way out.
type roster struct {
	seats []seat // ascending by node id
	self  raftcore.NodeID
	last  raftcore.Index // of the leader's log
}

// seat is one member.
type seat struct {
	id       raftcore.NodeID
	name     string
	addr     string // peer address
	voter    bool
	alive    bool           // has answered within an election time-out
	present  bool           // alive, or connected at least
	match    raftcore.Index // durable there
	standing bool           // a learner that is never promoted by itself
}

// change is a membership that has been decided on, and what to say once it is committed.
type change struct {
	to   raftcore.ConfigChange
	done string
}

// lagMax is how many entries a learner may lack to become a voter.
const lagMax = 256

func (s *seat) String() string { return cmp.Or(s.name, hexID(s.id)) }

// lag is how many entries of the leader's log s does not hold.
func (r *roster) lag(s *seat) raftcore.Index { return r.last - min(s.match, r.last) }

// find returns the member of that name, or node id.
func (r *roster) find(name string) (*seat, error) {
	var found []*seat
	for i := range r.seats {
		s := &r.seats[i]
		if hexID(s.id) == strings.TrimLeft(name, "0") && name != "" {
			return s, nil
		}
		if s.name == name && name != "" {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("no member is named %q; the members are %s", name, r.names())
	}
	var each []string
	for _, s := range found {
		each = append(each, fmt.Sprintf("%016x (%s)", uint64(s.id), s.describe()))
	}
	return nil, fmt.Errorf("%d members are named %s: say which one by its node id: %s", len(found),
		name, strings.Join(each, ", "))
}

func (s *seat) describe() string {
	kind, state := "learner", "up"
	if s.voter {
		kind = "voter"
	}
	if !s.alive {
		state = "down"
	}
	return kind + ", " + state
}

// names lists everybody by name, those without one by node id.
func (r *roster) names() string {
	var all []string
	for i := range r.seats {
		all = append(all, r.seats[i].String())
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

// named lists the members of a name.
func (r *roster) named(name string) (same []*seat) {
	for i := range r.seats {
		if r.seats[i].name == name && name != "" {
			same = append(same, &r.seats[i])
		}
	}
	return same
}

// with is the membership in which the listed nodes vote or learn, and dropped ones are gone.
func (r *roster) with(voters, learners, dropped []raftcore.NodeID) raftcore.ConfigChange {
	var to raftcore.ConfigChange
	for i := range r.seats {
		s := &r.seats[i]
		switch {
		case slices.Contains(dropped, s.id), slices.Contains(voters, s.id),
			slices.Contains(learners, s.id):
		case s.voter:
			to.Voters = append(to.Voters, s.id)
		default:
			to.Learners = append(to.Learners, s.id)
		}
	}
	to.Voters, to.Learners = append(to.Voters, voters...), append(to.Learners, learners...)
	slices.Sort(to.Voters)
	slices.Sort(to.Learners)
	return to
}

// remove takes a member out for good.
func (r *roster) remove(name string) (change, error) {
	s, err := r.find(name)
	if err != nil {
		return change{}, err
	}
	to := r.with(nil, nil, []raftcore.NodeID{s.id})
	if !s.voter {
		return change{to, fmt.Sprintf("%s, a learner, is removed", s)}, nil
	}
	if err := r.allow("removing "+s.String(), to.Voters); err != nil {
		return change{}, err
	}
	return r.conclude(to, s.String()+" is removed"), nil
}

// demote makes a voter a learner, which it stays until somebody promotes it.
func (r *roster) demote(name string) (change, error) {
	s, err := r.find(name)
	if err != nil {
		return change{}, err
	}
	if !s.voter {
		return change{}, fmt.Errorf("%s is a learner already", s)
	}
	to := r.with(nil, []raftcore.NodeID{s.id}, nil)
	if err := r.allow("demoting "+s.String(), to.Voters); err != nil {
		return change{}, err
	}
	return r.conclude(to, s.String()+" is a learner now"), nil
}

// promote makes a learner a voter.
func (r *roster) promote(name string) (change, error) {
	s, err := r.find(name)
	if err == nil {
		err = r.mayVote(s)
	}
	if err != nil {
		return change{}, err
	}
	if s.voter {
		return change{}, fmt.Errorf("%s is a voter already", s)
	}
	return r.seatVoter(s)
}

// seatVoter makes a learner that has caught up a voter, in the place of its dead namesakes.
func (r *roster) seatVoter(s *seat) (change, error) {
	var dead []raftcore.NodeID
	said := s.String() + " is a voter now"
	for _, same := range r.named(s.name) {
		switch {
		case same.id == s.id:
		case same.present:
			return change{}, fmt.Errorf("two nodes are named %s, at %s and at %s, and both are up: "+
				"stop one of them, or give it another --id", s.name, same.addr, s.addr)
		default:
			dead = append(dead, same.id)
			said = fmt.Sprintf("%s is a voter now, in the place of its former self %016x", s,
				uint64(same.id))
		}
	}
	to := r.with([]raftcore.NodeID{s.id}, nil, dead)
	if err := r.allow("promoting "+s.String(), to.Voters); err != nil {
		return change{}, err
	}
	return r.conclude(to, said), nil
}

// replace swaps a voter for another member, in one change.
func (r *roster) replace(name, with string) (change, error) {
	old, err := r.find(name)
	if err != nil {
		return change{}, err
	}
	next, err := r.find(with)
	if err != nil {
		return change{}, fmt.Errorf("%w; start the new node with --join first", err)
	}
	switch {
	case old == next:
		return change{}, fmt.Errorf("%s cannot replace itself", old)
	case !old.voter:
		return change{}, fmt.Errorf("%s is a learner, which nobody has to replace: remove it", old)
	}
	if err := r.mayVote(next); err != nil {
		return change{}, err
	}
	to := r.with([]raftcore.NodeID{next.id}, nil, []raftcore.NodeID{old.id})
	if err := r.allow("replacing "+old.String(), to.Voters); err != nil {
		return change{}, err
	}
	return r.conclude(to, fmt.Sprintf("%s votes in the place of %s, which is removed", next, old)), nil
}

// mayVote refuses who would hold up every write until it has caught up. In a log that is short, who
// has nothing lacks little; it may not even have been invited, which happens only once what is open
// is committed, for which it would be needed then.
func (r *roster) mayVote(s *seat) error {
	lag := r.lag(s)
	switch {
	case s.voter:
		return nil
	case !s.alive:
		return fmt.Errorf("%s is down: start it, or remove it", s)
	case s.match == 0:
		return fmt.Errorf("%s has not told this leader yet what it holds of the log: try again in a "+
			"second", s)
	case lag >= lagMax:
		return fmt.Errorf("%s lacks %d of %d entries, at most %d are allowed for a new voter: wait "+
			"until it has caught up", s, lag, r.last, lagMax-1)
	}
	return nil
}

// allow refuses a set of voters that could not commit anything: too few of them are up.
func (r *roster) allow(what string, voters []raftcore.NodeID) error {
	if len(voters) == 0 {
		return fmt.Errorf("%s leaves no voter: the last one cannot go; let another node join and "+
			"become a voter first", what)
	}
	if len(voters) > raftcore.VotersMax {
		return fmt.Errorf("%s makes %d voters, more than %d: remove or demote one first", what,
			len(voters), raftcore.VotersMax)
	}
	before, down, alive := 0, []string(nil), 0
	for i := range r.seats {
		s := &r.seats[i]
		if s.voter {
			before++
			if !s.alive {
				down = append(down, s.String())
			}
		}
		if s.alive && slices.Contains(voters, s.id) {
			alive++
		}
	}
	quorum := len(voters)/2 + 1
	if alive >= quorum {
		return nil
	}
	names := strings.Join(down, ", ")
	return fmt.Errorf("%d voters, %d down (%s); %s leaves %d of %d, quorum %d: start %s again, or "+
		"remove what is down first", before, len(down), names, what, alive, len(voters), quorum, names)
}

// conclude adds to what was done what it means.
func (r *roster) conclude(to raftcore.ConfigChange, said string) change {
	n := len(to.Voters)
	said = fmt.Sprintf("%s: %s", said, plural(n, "voter"))
	if n%2 == 0 {
		said += fmt.Sprintf(" (warning: an even number tolerates no more failures than %d: %d)", n-1,
			(n-1)/2)
	}
	return change{to, said}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// admit adds a node as a learner. A dead learner of the same name makes room at once; a dead voter
// stays until the new node has caught up.
func (r *roster) admit(m *op.Member) (change, error) {
	var dead []raftcore.NodeID
	for _, same := range r.named(m.Name) {
		switch {
		case same.present:
			return change{}, fmt.Errorf("a member named %s is up at %s, so the node at %s cannot join "+
				"under this name: give it another --id", m.Name, same.addr, m.PeerAddr)
		case !same.voter:
			dead = append(dead, same.id)
		}
	}
	to := r.with(nil, []raftcore.NodeID{raftcore.NodeID(m.ID)}, dead)
	if len(to.Learners) > raftcore.LearnersMax {
		return change{}, fmt.Errorf("there are %d learners already, the limit: remove one to let %s in",
			raftcore.LearnersMax, m.Name)
	}
	return change{to, m.Name + " is added as a learner"}, nil
}

// transferTo checks who shall lead; 0 is the most caught-up voter.
func (r *roster) transferTo(name string) (raftcore.NodeID, error) {
	if name == "" {
		return 0, r.allowTransfer()
	}
	s, err := r.find(name)
	switch {
	case err != nil:
		return 0, err
	case s.id == r.self:
		return 0, fmt.Errorf("%s leads already", s)
	case !s.voter:
		return 0, fmt.Errorf("%s is a learner, which cannot lead: promote it first", s)
	case !s.alive:
		return 0, fmt.Errorf("%s is down, so it cannot lead: start it, or choose another voter", s)
	}
	return s.id, nil
}

func (r *roster) allowTransfer() error {
	for i := range r.seats {
		if s := &r.seats[i]; s.voter && s.alive && s.id != r.self {
			return nil
		}
	}
	return fmt.Errorf("no other voter is up, so nobody else can lead; the members are %s", r.names())
}
