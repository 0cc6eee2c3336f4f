package raftcore

import (
	"fmt"
	"testing"
)

// What the paper's tests and the scripts need besides a cluster: logs made to measure, and single
// messages with their answers.

// give replaces what a node has on disk and starts it anew: entry 1 is the configuration of the
// cluster, entry i has the term terms[i-1].
func (c *cluster) give(id NodeID, hard HardState, terms ...Term) {
	m := c.nodes[id]
	first := m.entries[0]
	m.hard, m.entries = hard, nil
	for i, term := range terms {
		e := Entry{Pos: Pos{term, Index(i + 1)}, Kind: EntryNormal, Stamp: 1000,
			Data: fmt.Appendf(nil, "%d.%d", term, i+1)}
		if i == 0 {
			e.Kind, e.Data = EntryConfig, first.Data
		}
		m.entries = append(m.entries, e)
	}
	c.restart(id)
}

// ask steps one message into its receiver and returns the last answer to its sender: an append has
// two when its entries were not durable at once.
func (c *cluster) ask(m Message) Message {
	c.t.Helper()
	c.wire = nil
	c.step(m)
	answers := c.take(m.To, m.From)
	if len(answers) == 0 {
		c.t.Fatalf("%s is not answered", m.String())
	}
	return answers[len(answers)-1]
}

// terms are those of a node's log, from the first entry on.
func (c *cluster) terms(id NodeID) (terms []Term) {
	l := &c.nodes[id].core.log
	for i := l.base.Index + 1; i <= l.last.Index; i++ {
		terms = append(terms, l.pos(i).Term)
	}
	return terms
}

func entriesOf(first Index, terms ...Term) (es []Entry) {
	for i, term := range terms {
		es = append(es, Entry{Pos: Pos{term, first + Index(i)}, Kind: EntryNormal, Stamp: 1000,
			Data: fmt.Appendf(nil, "%d.%d", term, first+Index(i))})
	}
	return es
}

// appendTo is an AppendEntries of n2, leader of a term, to n1.
func appendTo(term Term, prev Pos, commit Index, terms ...Term) Message {
	return Message{Kind: AppendEntries, From: 2, To: 1, Term: term, Prev: prev, Commit: commit,
		Epoch: 1, Round: 1, Entries: entriesOf(prev.Index+1, terms...)}
}

// voteFor is a RequestVote of a candidate to n1.
func voteFor(candidate NodeID, term Term, last Pos) Message {
	return Message{Kind: RequestVote, From: candidate, To: 1, Term: term, Prev: last, Round: 1}
}

// grantVote answers a candidate's latest request for a vote.
func grantVote(c *Core, from NodeID) {
	c.Step(&Message{Kind: RequestVoteResponse, From: from, To: c.options.ID, Term: c.hard.Term,
		Round: c.campaignRound})
}

// ackAppend tells a leader how much of its log a founding member holds.
func ackAppend(c *Core, from NodeID, match Index) {
	c.Step(&Message{Kind: AppendEntriesResponse, From: from, To: c.options.ID, Term: c.hard.Term,
		Match: match, Epoch: 1})
}

func expect[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// deliver2 delivers what is on the wire from one node to another, once.
func (c *cluster) deliver2(from, to NodeID) {
	for _, m := range c.take(from, to) {
		c.step(m)
	}
}
