package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// How often a node that waits looks around, and how often it says for whom it waits.
const (
	formPoll       = 50 * time.Millisecond
	formFirstWord  = 1 * time.Second
	formWordsEvery = 5 * time.Second
)

// Meeting is what formation needs of a transport.
type Meeting interface {
	// Hellos is the last hello of each node that is connected, whoever dialled.
	Hellos() []wire.Hello
	// Peers reports the connections that we dial.
	Peers() []wire.PeerStatus
	// Invite sends an invitation; false: it was dropped.
	Invite(to raftcore.NodeID, inv wire.Invite) bool
	// Announce tells everybody that our hello has changed.
	Announce()
	// Seek dials these addresses, too, until the next call.
	Seek(addrs []string)
}

// FormOptions are the effects that formation has. All fields but Waiting must be set.
type FormOptions struct {
	Greeter *Greeter
	Meeting Meeting
	// Append writes the first entry of an empty log, and returns when it is durable.
	Append func(first raftcore.Entry) error
	Clock  func() raftcore.LogTime // stamps the first entry
	Random io.Reader               // cluster ids: crypto/rand.Reader
	// Waiting is called after one second and then every five with a line that says for whom and why.
	Waiting func(text string)
}

// FormResult is what the loop starts with.
type FormResult struct {
	ClusterID [16]byte
	// First is the entry that Append wrote just now; nil when the log is as it was at start.
	First *raftcore.Entry
	// Members are the founders and how to reach them, as far as hellos and --peers say. Once the
	// state machine has records of its own, those are newer.
	Members []op.Member
}

// Form returns when this node belongs to a cluster: at once if it did already, or if it was started
// without --peers and --join; otherwise when the cluster was created, here or elsewhere, or when
// one that was there before has let this node in. Errors are terminal, that of ctx included.
//
// The creator's order of effects, and what a crash after each step leaves behind:
//
//	identity: cluster id, creator   an unfinished creator, blank as before; the id is never used
//	log: entry 1                    a member that has invited nobody; Reinvite does it later
//	hello, invitations              some are invited; Reinvite invites the others
//
// Nobody hears of the cluster before entry 1 is durable, so an invitation into it proves that its
// creator had a log.
func Form(ctx context.Context, o FormOptions) (FormResult, error) {
	if err := o.validate(); err != nil {
		return FormResult{}, err
	}
	f := &former{FormOptions: o, nextWord: formFirstWord}
	begin := time.Now()
	poll := time.NewTicker(formPoll)
	defer poll.Stop()
	for {
		done, err := f.step(time.Since(begin))
		if done || err != nil {
			return f.result, err
		}
		select {
		case <-ctx.Done():
			return FormResult{}, ctx.Err()
		case <-o.Greeter.wake:
		case <-poll.C:
		}
	}
}

// former is a formation under way.
type former struct {
	FormOptions
	invites  []invitation  // the last of each sender
	sought   []string      // addresses of members that were met by name only
	nextWord time.Duration // since the begin
	result   FormResult
}

// step looks at the state of things once and does what the rule says.
func (f *former) step(since time.Duration) (done bool, err error) {
	if f.Greeter.cluster.Load() != nil {
		f.finish(nil)
		return true, nil
	}
	f.collectInvites()
	state := formState{self: f.Greeter.Hello(), peers: f.Greeter.peers, join: f.Greeter.join,
		invites: f.invites, hellos: f.Meeting.Hellos(), status: f.Meeting.Peers()}
	d := state.decide()
	f.look(&d)
	switch d.action {
	case formCreate:
		err = f.create(d.cluster)
	case formAdopt:
		err = f.adopt(d.cluster)
	default:
		f.say(since, d.waiting)
		return false, nil
	}
	return err == nil, err
}

func (f *former) collectInvites() {
	for {
		select {
		case inv := <-f.Greeter.invites:
			f.invites = slices.DeleteFunc(f.invites, func(old invitation) bool {
				return old.from == inv.from
			})
			if len(f.invites) == peersMax {
				f.invites = f.invites[1:]
			}
			f.invites = append(f.invites, inv)
		default:
			return
		}
	}
}

// look asks the cluster that was met to let this node in, and dials its members: one of them leads.
func (f *former) look(d *formDecision) {
	if f.Greeter.ask(d.asks) {
		f.Meeting.Announce()
	}
	var addrs []string
	for _, p := range d.seek {
		addrs = append(addrs, p.Addr)
	}
	if !slices.Equal(addrs, f.sought) {
		f.sought = addrs
		f.Meeting.Seek(addrs)
	}
}

func (f *former) say(since time.Duration, waiting []string) {
	if since < f.nextWord || f.Waiting == nil {
		return
	}
	f.nextWord = since + formWordsEvery
	f.Waiting("waiting for " + strings.Join(waiting, ", "))
}

func (f *former) create(cluster wire.Invite) error {
	for cluster.ClusterID == [16]byte{} {
		if _, err := io.ReadFull(f.Random, cluster.ClusterID[:]); err != nil {
			return &ExitError{ExitUnexpected, fmt.Errorf("random cluster id: %w", err)}
		}
	}
	if err := f.saveCluster(cluster, true); err != nil {
		return err
	}
	first := firstEntry(cluster.Members, f.Clock())
	if err := f.Append(first); err != nil {
		return fmt.Errorf("write the first entry: %w", err)
	}
	f.Greeter.enter(cluster)
	f.Meeting.Announce()
	f.Greeter.Reinvite(f.Meeting, raftcore.Config{})
	f.finish(&first)
	return nil
}

func (f *former) adopt(cluster wire.Invite) error {
	id := f.Greeter.identity
	if id.Creator && id.ClusterID == cluster.ClusterID {
		return &ExitError{ExitCorrupt, fmt.Errorf("data directory %s has lost its log: this node "+
			"created cluster %s and has no entry of it; start with an empty directory, which joins "+
			"as a new node", id.dir, ClusterName(id.ClusterID))}
	}
	if err := f.saveCluster(cluster, false); err != nil {
		return err
	}
	f.Greeter.enter(cluster)
	f.Meeting.Announce()
	f.finish(nil)
	return nil
}

// saveCluster records the cluster. A creator that did not finish has told nobody of its former
// one, which is why it may have another now.
func (f *former) saveCluster(cluster wire.Invite, creator bool) error {
	id := f.Greeter.identity
	if f.Greeter.unfinished() {
		return id.ReplaceCluster(cluster.ClusterID, cluster.Members, creator)
	}
	return id.SetCluster(cluster.ClusterID, cluster.Members, creator)
}

// firstEntry is the log of a new cluster: the configuration in which all founders vote.
func firstEntry(founders []wire.Founder, stamp raftcore.LogTime) raftcore.Entry {
	var config raftcore.Config
	for _, founder := range founders {
		config.Voters = append(config.Voters, founder.ID)
	}
	slices.Sort(config.Voters)
	return raftcore.Entry{Pos: raftcore.Pos{Term: 1, Index: 1}, Kind: raftcore.EntryConfig,
		Stamp: stamp, Data: raftcore.EncodeConfig(config)}
}

func (f *former) finish(first *raftcore.Entry) {
	cluster := f.Greeter.cluster.Load()
	if f.sought != nil {
		f.Meeting.Seek(nil) // the members are dialled as such from now on
	}
	f.result = FormResult{ClusterID: cluster.ClusterID, First: first}
	hellos := append(f.Meeting.Hellos(), f.Greeter.Hello())
	for _, founder := range cluster.Members {
		f.result.Members = append(f.result.Members, f.member(founder, hellos))
	}
}

// member is what is known of a member: its own words, or else what others say, or --peers.
func (f *former) member(founder wire.Founder, hellos []wire.Hello) op.Member {
	m := op.Member{ID: uint64(founder.ID), Name: founder.Name}
	known := slices.Clone(f.Greeter.peers)
	for _, h := range hellos {
		known = append(known, parseMembers(h.Members)...)
	}
	for _, p := range known {
		if p.Name == founder.Name {
			m.PeerAddr = p.Addr
		}
	}
	for _, h := range hellos {
		if h.NodeID == founder.ID {
			m.PeerAddr, m.Addr, m.ClusterAddr, m.Version = h.PeerAddr, h.Addr, h.ClusterAddr, h.Build
		}
	}
	return m
}

// validate names the first option that is missing.
func (o *FormOptions) validate() error {
	switch {
	case o.Greeter == nil:
		return errors.New("form: Greeter is not set")
	case o.Meeting == nil:
		return errors.New("form: Meeting is not set")
	case o.Append == nil || o.Clock == nil || o.Random == nil:
		return errors.New("form: Append, Clock or Random is not set")
	}
	return nil
}
