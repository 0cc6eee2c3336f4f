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
	hellos  []wire.Hello
	status  []wire.PeerStatus
	invites []invitation
}

// formDecision is the next action and what it needs.
type formDecision struct {
	action  formAction
	cluster wire.Invite // formAdopt: the one to adopt. formCreate: its members
	waiting []string    // formWait: for whom and why
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

// ready returns the hello of a listed node when nothing speaks against forming a cluster with it.
func (s *formState) ready(p Peer) (wire.Hello, error) {
	h, err := s.answer(p)
	switch {
	case err != nil:
		return h, err
	case h.ClusterID != [16]byte{}:
		return h, fmt.Errorf("it belongs to cluster %s already, which has not invited this node, "+
			"id %x", ClusterName(h.ClusterID), uint64(s.self.NodeID))
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
	case !slices.Equal(listed, invited):
		return fmt.Errorf("it lists %s, --peers lists %s", strings.Join(invited, ","),
			strings.Join(listed, ","))
	}
	return s.checkFounders(inv.Members)
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
