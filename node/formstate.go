package node

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// The all-blank rule: the node with the lowest name creates the cluster, and only when every listed
// node answers, is blank and holds the same list. Everybody else waits to be invited. Why so
// strict: counting peers instead of naming them split brains, and a node that waits is easier to
// mend than two clusters.
//
// Scenario without "is blank": A creates with B and C, all write; A's disk is replaced and A starts
// with the same list. It sees B and C, creates again, and there are two clusters of one name.
//
// Scenario without checkFounders: A and, by mistake, A' run with one name and one list. Only A
// answers where the list says. Both see all blank and create; B takes A's invitation and C that of
// A'.

// formAction is what a blank node does next.
type formAction uint8

const (
	formWait formAction = iota
	formCreate
	formAdopt
)

// formState is everything the decision depends on.
type formState struct {
	self    wire.Hello
	peers   []Peer // --peers, sorted by name, ourselves among them; empty: a cluster of one
	join    bool   // --join: never create
	hellos  []wire.Hello
	status  []wire.PeerStatus
	invites []invitation
}

// formDecision is the next action and what it needs.
type formDecision struct {
	action  formAction
	cluster wire.Invite // formAdopt: the one to adopt. formCreate: its members
	waiting []string    // formWait: for whom and why
	asks    bool        // formWait: the members that we meet shall let us in
	seek    []Peer      // formWait: members of that cluster, as those who were met say
}

// decide is the whole rule. It has no effects.
func (s *formState) decide() formDecision {
	var waiting []string
	for i := range s.invites {
		err := s.checkInvite(&s.invites[i])
		if err == nil {
			return formDecision{action: formAdopt, cluster: s.invites[i].Invite}
		}
		waiting = append(waiting, fmt.Sprintf("a usable invitation (that of %s into cluster %s: %v)",
			s.nameOf(s.invites[i].from), ClusterName(s.invites[i].ClusterID), err))
	}
	if met := s.met(); s.join || len(met) > 0 {
		return s.joins(met, waiting)
	}
	founders := []wire.Founder{{ID: s.self.NodeID, Name: s.self.Name}}
	for _, p := range s.peers {
		if p.Name == s.self.Name {
			continue
		}
		h, err := s.ready(p)
		if err != nil {
			waiting = append(waiting, fmt.Sprintf("%s (%s: %v)", p.Name, p.Addr, err))
			continue
		}
		founders = append(founders, wire.Founder{ID: h.NodeID, Name: h.Name})
	}
	switch {
	case len(waiting) > 0:
		return formDecision{waiting: waiting}
	case len(s.peers) > 0 && s.peers[0].Name != s.self.Name:
		first := s.peers[0]
		return formDecision{waiting: []string{fmt.Sprintf("%s (%s: has the lowest name, so it "+
			"creates the cluster, as soon as it has reached every node)", first.Name, first.Addr)}}
	}
	slices.SortFunc(founders, func(a, b wire.Founder) int { return cmp.Compare(a.Name, b.Name) })
	return formDecision{action: formCreate, cluster: wire.Invite{Members: founders}}
}

// met is those who belong to a cluster and answer where we look.
func (s *formState) met() (met []wire.Hello) {
	for i := range s.status {
		for _, h := range s.hellos {
			if s.status[i].Connected && h.NodeID == s.status[i].ID && h.ClusterID != [16]byte{} {
				met = append(met, h)
			}
		}
	}
	return met
}

// joins is the decision of a node that creates nothing: a cluster is there, or it was told to join
// one. It asks every member that it hears of, since one of them leads.
func (s *formState) joins(met []wire.Hello, waiting []string) (d formDecision) {
	for _, at := range s.status {
		if !at.Connected {
			waiting = append(waiting, fmt.Sprintf("%s (%s)", cmp.Or(at.Addr, at.Name),
				cmp.Or(at.LastError, "no connection yet")))
		}
	}
	for _, h := range met {
		if h.ClusterID != met[0].ClusterID {
			d.waiting = append(waiting, fmt.Sprintf("a list of one cluster (%s at %s belongs to %s, %s at "+
				"%s to %s)", met[0].Name, met[0].PeerAddr, ClusterName(met[0].ClusterID), h.Name, h.PeerAddr,
				ClusterName(h.ClusterID)))
			return d
		}
		d.seek = append(d.seek, parseMembers(h.Members)...)
	}
	slices.SortFunc(d.seek, func(a, b Peer) int { return cmp.Compare(a.Addr, b.Addr) })
	d.seek = slices.Compact(d.seek)
	d.asks = true
	if len(met) > 0 {
		waiting = append(waiting, fmt.Sprintf("the leader of cluster %s to let this node in as %s, id %x",
			ClusterName(met[0].ClusterID), s.self.Name, uint64(s.self.NodeID)))
	} else if len(waiting) == 0 {
		waiting = append(waiting, "a member of a cluster: --join names nobody but this node")
	}
	d.waiting = waiting
	return d
}

// ready returns the hello of a listed node when nothing speaks against forming a cluster with it.
func (s *formState) ready(p Peer) (wire.Hello, error) {
	h, err := s.answer(p)
	switch {
	case err != nil:
		return h, err
	case h.Peers != s.self.Peers:
		return h, fmt.Errorf("its --peers differs: here %q, there %q", s.self.Peers, h.Peers)
	}
	return h, nil
}

// answer returns the hello of the node that answers where the list says.
func (s *formState) answer(p Peer) (wire.Hello, error) {
	at := s.dialled(p.Name)
	if at == nil || !at.Connected {
		reason := "no connection yet"
		if at != nil && at.LastError != "" {
			reason = at.LastError
		}
		return wire.Hello{}, errors.New(reason)
	}
	var found wire.Hello
	for _, h := range s.hellos {
		switch {
		case h.Name == p.Name && h.NodeID != at.ID:
			return found, fmt.Errorf("another node has this name, too: id %x at %s",
				uint64(h.NodeID), h.PeerAddr)
		case h.NodeID == at.ID:
			found = h
		}
	}
	if found.NodeID == 0 {
		return found, errors.New("no hello yet")
	}
	return found, nil
}

// checkInvite says why an invitation is not for us.
func (s *formState) checkInvite(inv *invitation) error {
	var listed, invited []string
	for _, p := range s.peers {
		listed = append(listed, p.Name)
	}
	us := false
	for _, f := range inv.Members {
		invited = append(invited, f.Name)
		us = us || f.ID == s.self.NodeID && f.Name == s.self.Name
	}
	slices.Sort(invited)
	switch {
	case inv.ClusterID == [16]byte{}:
		return errors.New("it has no cluster id")
	case !us:
		return fmt.Errorf("it does not list %s with id %x", s.self.Name, uint64(s.self.NodeID))
	case inv.Joining:
		return s.checkJoining(inv)
	case s.join:
		return errors.New("it is to form a cluster, and --join says to join one")
	case !slices.Equal(listed, invited):
		return fmt.Errorf("it lists %s, --peers lists %s", strings.Join(invited, ","),
			strings.Join(listed, ","))
	}
	return s.checkFounders(inv.Members)
}

// checkJoining: a cluster that has committed a configuration with us in it may have us if it is the
// one that answers where we were told to look. A node that was told to join and has met nobody may
// be fetched by whoever is told to add it.
func (s *formState) checkJoining(inv *invitation) error {
	met := s.met()
	for _, h := range met {
		if h.ClusterID != inv.ClusterID {
			return fmt.Errorf("%s at %s belongs to cluster %s", h.Name, h.PeerAddr, ClusterName(h.ClusterID))
		}
	}
	if len(met) == 0 && !s.join {
		return errors.New("nobody whom --peers lists belongs to that cluster")
	}
	return nil
}

// checkFounders: whoever answers where --peers says must be the one that the invitation means.
func (s *formState) checkFounders(founders []wire.Founder) error {
	for _, f := range founders {
		at := s.dialled(f.Name)
		if at != nil && at.Connected && at.ID != f.ID {
			return fmt.Errorf("it says %s has id %x, the node at %s has id %x", f.Name,
				uint64(f.ID), at.Addr, uint64(at.ID))
		}
	}
	return nil
}

// dialled is the state of our connection to the node of that name; nil without one.
func (s *formState) dialled(name string) *wire.PeerStatus {
	for i := range s.status {
		if s.status[i].Name == name {
			return &s.status[i]
		}
	}
	return nil
}

func (s *formState) nameOf(id raftcore.NodeID) string {
	for _, h := range s.hellos {
		if h.NodeID == id {
			return h.Name
		}
	}
	return fmt.Sprintf("node %x", uint64(id))
}
