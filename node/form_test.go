package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// town is a set of nodes that form on one goroutine: each step of each node is one call.
type town struct {
	t    *testing.T
	list string // --peers of those who do not say otherwise
	all  []*townNode
}

// townNode is one process after the other on one data directory. It is its own Meeting.
type townNode struct {
	town   *town
	dir    string
	name   string
	addr   string
	list   string
	log    []raftcore.Entry // what its log holds durably
	up     bool
	disk   *tracedDisk
	former *former
	done   bool
	words  []string
	sought []string
	fail   map[string]error // Append: fails before writing. Appended: after it
	crash  string           // Announce, or the name of the node whose invitation is not sent any more
}

var errCrash = errors.New("crash")

func newTown(t *testing.T, n int) *town {
	w := &town{t: t}
	for i := 1; i <= n; i++ {
		node := &townNode{town: w, dir: t.TempDir(), name: fmt.Sprintf("n%d", i),
			addr: fmt.Sprintf("host%d:7380", i)}
		w.all = append(w.all, node)
		w.list += fmt.Sprintf(",%s=%s", node.name, node.addr)
	}
	w.list = w.list[1:]
	return w
}

// start is one start of the process, up to the moment at which it begins to form.
func (n *townNode) start() {
	t := n.town.t
	t.Helper()
	list := n.town.list
	if n.list != "" {
		list = n.list
	}
	peers, err := ParsePeers(list, n.name)
	if err != nil {
		t.Fatal(err)
	}
	n.disk = &tracedDisk{err: errCrash}
	id, err := openIdentity(n.dir, n.name, n.disk)
	if err != nil {
		t.Fatal(err)
	}
	n.disk.steps = nil
	g := NewGreeter(GreeterOptions{Identity: id, PeerAddr: n.addr, Addr: "resp-" + n.addr,
		Peers: peers, LogEmpty: len(n.log) == 0})
	n.former = &former{nextWord: formFirstWord, FormOptions: FormOptions{
		Greeter: g, Meeting: n, Append: n.append, Random: rand.Reader,
		Clock:   func() raftcore.LogTime { return 1234 },
		Waiting: func(text string) { n.words = append(n.words, text) },
	}}
	n.up, n.done = true, false
}

func (n *townNode) stop() {
	n.up = false
	n.former.Greeter.identity.Close()
}

func (n *townNode) append(first raftcore.Entry) error {
	if err := n.fail["Append"]; err != nil {
		return err
	}
	n.log = append(n.log, first)
	return n.fail["Appended"]
}

// hears reports whether the two processes would talk to each other.
func (n *townNode) hears(other *townNode) error {
	if !other.up {
		return errors.New("connection refused")
	}
	if err := other.former.Greeter.Accept(n.former.Greeter.Hello()); err != nil {
		return err
	}
	return n.former.Greeter.Accept(other.former.Greeter.Hello())
}

func (n *townNode) Hellos() (hellos []wire.Hello) {
	for _, other := range n.town.all {
		if other != n && n.hears(other) == nil {
			hellos = append(hellos, other.former.Greeter.Hello())
		}
	}
	return hellos
}

func (n *townNode) Peers() (peers []wire.PeerStatus) {
	for _, p := range n.former.Greeter.peers {
		s := wire.PeerStatus{Name: p.Name, Addr: p.Addr, LastError: "no such host"}
		for _, other := range n.town.all {
			if p.Name == n.name || other.addr != p.Addr {
				continue
			}
			if err := n.hears(other); err != nil {
				s.LastError = err.Error()
			} else {
				s.ID, s.Connected = other.former.Greeter.Hello().NodeID, true
			}
		}
		peers = append(peers, s)
	}
	return peers
}

func (n *townNode) Invite(to raftcore.NodeID, inv wire.Invite) bool {
	for _, other := range n.town.all {
		if other.up && other.former.Greeter.Hello().NodeID == to && n.hears(other) == nil {
			if other.name == n.crash {
				panic(errCrash)
			}
			other.former.Greeter.Invited(n.former.Greeter.Hello().NodeID, inv)
			return true
		}
	}
	return false
}

func (n *townNode) Seek(addrs []string) { n.sought = addrs }

func (n *townNode) Announce() {
	if n.crash == "Announce" {
		panic(errCrash)
	}
}

// step lets a node do one thing; a crash in the middle stops it.
func (n *townNode) step(since time.Duration) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = r.(error)
			n.stop()
		}
	}()
	if n.done {
		n.former.Greeter.Reinvite(n, raftcore.Config{})
		return nil
	}
	n.done, err = n.former.step(since)
	return err
}

// settle gives every running node a few turns.
func (w *town) settle() {
	w.t.Helper()
	for range 4 {
		for _, n := range w.all {
			if !n.up {
				continue
			}
			if err := n.step(0); err != nil {
				w.t.Fatalf("%s: %v", n.name, err)
			}
		}
	}
}

// wantNobody checks that no cluster exists.
func (w *town) wantNobody() {
	w.t.Helper()
	for _, n := range w.all {
		if n.up && n.done || len(n.log) > 0 {
			w.t.Fatalf("%s formed: %+v", n.name, n.former.result)
		}
	}
}

// wantOne checks that all are in one cluster with one first entry, that of n1.
func (w *town) wantOne() {
	w.t.Helper()
	cluster := w.all[0].former.result.ClusterID
	var ids []raftcore.NodeID
	for _, n := range w.all {
		r := n.former.result
		if !n.done || r.ClusterID != cluster || cluster == [16]byte{} || len(r.Members) != len(w.all) {
			w.t.Fatalf("%s: done %t, %+v", n.name, n.done, r)
		}
		for i, m := range r.Members {
			if other := w.all[i]; m.Name != other.name || m.PeerAddr != other.addr {
				w.t.Fatalf("%s believes that member %d is %+v", n.name, i, m)
			}
		}
		if wantLog := n.name == "n1"; (len(n.log) == 1) != wantLog {
			w.t.Fatalf("the log of %s: %+v", n.name, n.log)
		}
		if got := n.former.Greeter.identity; got.ClusterID != cluster || n.disk.failAt != 0 {
			w.t.Fatalf("%s has not saved its cluster: %+v", n.name, got)
		}
		ids = append(ids, n.former.Greeter.identity.NodeID)
	}
	slices.Sort(ids)
	first := w.all[0].log[0]
	want := raftcore.EncodeConfig(raftcore.Config{Voters: ids})
	if first.Pos != (raftcore.Pos{Term: 1, Index: 1}) || first.Kind != raftcore.EntryConfig ||
		first.Stamp != 1234 || string(first.Data) != string(want) {
		w.t.Fatalf("first entry %+v, want data %x", first, want)
	}
}

// permutations of 0..n-1.
func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{{}}
	}
	var all [][]int
	for _, p := range permutations(n - 1) {
		for i := range n {
			all = append(all, slices.Insert(slices.Clone(p), i, n-1))
		}
	}
	return all
}

func TestFormInEveryOrderOfStart(t *testing.T) {
	for n := 1; n <= 4; n++ {
		for _, order := range permutations(n) {
			w := newTown(t, n)
			for _, i := range order {
				w.wantNobody()
				w.all[i].start()
				w.settle()
			}
			w.wantOne()
			if first := w.all[0].former.result.First; first == nil {
				t.Fatal("the creator was not given its first entry")
			}
			for _, i := range order { // and everybody starts again, in a cluster
				w.all[i].stop()
				w.all[i].start()
				w.settle()
				if w.all[i].former.result.First != nil {
					t.Fatal("a first entry was written twice")
				}
			}
			w.wantOne()
			if t.Failed() {
				t.Fatalf("in order %v", order)
			}
			w.stopAll()
		}
	}
}

func (w *town) stopAll() {
	for _, n := range w.all {
		if n.up {
			n.stop()
		}
	}
}

// The creator crashes once at each step of its work, and starts again. Whatever it left behind,
// there is one cluster in the end.
func TestFormSurvivesTheCreator(t *testing.T) {
	cases := map[string]func(n *townNode){
		"write":            func(n *townNode) { n.disk.failAt = 1 },
		"rename":           func(n *townNode) { n.disk.failAt = 2 },
		"sync":             func(n *townNode) { n.disk.failAt = 3 },
		"before append":    func(n *townNode) { n.fail = map[string]error{"Append": errCrash} },
		"after append":     func(n *townNode) { n.fail = map[string]error{"Appended": errCrash} },
		"before announce":  func(n *townNode) { n.crash = "Announce" },
		"before inviting":  func(n *townNode) { n.crash = "n2" },
		"between invites":  func(n *townNode) { n.crash = "n3" },
		"with n2 inviting": func(n *townNode) { n.crash = "n3" },
	}
	for name, plan := range cases {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, 3)
			defer w.stopAll()
			for _, n := range w.all {
				n.start()
			}
			creator := w.all[0]
			plan(creator)
			if err := creator.step(0); !errors.Is(err, errCrash) {
				t.Fatalf("it did not crash: %v", err)
			}
			if creator.up {
				creator.stop()
			}
			creator.fail, creator.crash = nil, ""
			if name == "with n2 inviting" {
				w.settle()
				if !w.all[1].done || !w.all[2].done {
					t.Fatal("n2, which was invited, has not invited n3")
				}
			}
			creator.start()
			w.settle()
			w.wantOne()
		})
	}
}

// wantWords lets a node wait, and checks what it says and when.
func wantWords(t *testing.T, n *townNode, want ...string) {
	t.Helper()
	n.words = nil
	n.former.nextWord = formFirstWord
	for since := time.Duration(0); since <= 7*time.Second; since += formPoll {
		if err := n.step(since); err != nil {
			t.Fatal(err)
		}
	}
	if len(n.words) != 2 || n.words[0] != n.words[1] {
		t.Fatalf("in 7 s it said %q", n.words)
	}
	for _, part := range want {
		if !strings.Contains(n.words[0], part) {
			t.Errorf("%q does not contain %q", n.words[0], part)
		}
	}
}

func TestFormNamesWhoIsMissing(t *testing.T) {
	w := newTown(t, 3)
	defer w.stopAll()
	w.all[0].start()
	w.all[1].start()
	wantWords(t, w.all[0], "waiting for n3 (host3:7380: connection refused)")
	wantWords(t, w.all[1], "waiting for n3 (host3:7380: connection refused)")
	w.all[2].start()
	wantWords(t, w.all[2], "waiting for n1 (host1:7380: has the lowest name, so it creates")
	w.settle()
	w.wantOne()
}

func TestFormNamesListsThatDiffer(t *testing.T) {
	w := newTown(t, 2)
	defer w.stopAll()
	w.all[1].list = "n1=host1:7380,n2=elsewhere:7380"
	for _, n := range w.all {
		n.start()
	}
	w.settle()
	w.wantNobody()
	wantWords(t, w.all[0], "n2 (host2:7380: its --peers differs",
		`here "n1=host1:7380,n2=host2:7380", there "n1=host1:7380,n2=elsewhere:7380"`)
	w.all[1].stop()
	w.all[1].list = ""
	w.all[1].start()
	w.settle()
	w.wantOne()
}

// The creator's disk is replaced after the cluster formed: it must not create a second one.
func TestFormNeverCreatesBesideACluster(t *testing.T) {
	w := newTown(t, 3)
	defer w.stopAll()
	for _, n := range w.all {
		n.start()
	}
	w.settle()
	w.wantOne()
	old := w.all[0].former.result.ClusterID
	w.all[0].stop()
	w.all[0].dir, w.all[0].log = t.TempDir(), nil
	w.all[0].start()
	w.settle()
	if w.all[0].done {
		t.Fatalf("a blank node formed %+v beside cluster %x", w.all[0].former.result, old)
	}
	wantWords(t, w.all[0], "the leader of cluster "+ClusterName(old)+" to let this node in as n1",
		fmt.Sprintf("%x", uint64(w.all[0].former.Greeter.identity.NodeID)))
}

// A second n1 with the same list runs where the list does not say. Both may create, but nobody
// follows the wrong one.
func TestFormFollowsTheCreatorThatTheListNames(t *testing.T) {
	w := newTown(t, 3)
	defer w.stopAll()
	wrong := &townNode{town: w, dir: t.TempDir(), name: "n1", addr: "elsewhere:7380"}
	w.all = append(w.all, wrong)
	for _, n := range w.all {
		n.start()
	}
	id := wrong.former.Greeter.identity
	for _, n := range w.all[1:3] {
		inv := wire.Invite{ClusterID: [16]byte{9}, Members: []wire.Founder{{ID: id.NodeID, Name: "n1"},
			{ID: w.all[1].former.Greeter.identity.NodeID, Name: "n2"},
			{ID: w.all[2].former.Greeter.identity.NodeID, Name: "n3"}}}
		n.former.Greeter.Invited(id.NodeID, inv)
		if err := n.step(0); err != nil || n.done {
			t.Fatalf("%s followed the wrong n1: %v", n.name, err)
		}
		wantWords(t, n, "that of n1 into cluster 0900-0000: it says n1 has id", "at host1:7380")
	}
}

func TestFormChecksInvitations(t *testing.T) {
	self := wire.Founder{ID: 2, Name: "n2"}
	n1, n3 := wire.Founder{ID: 1, Name: "n1"}, wire.Founder{ID: 3, Name: "n3"}
	s := formState{
		self:   wire.Hello{NodeID: 2, Name: "n2"},
		peers:  []Peer{{"n1", "a:1"}, {"n2", "b:1"}, {"n3", "c:1"}},
		status: []wire.PeerStatus{{ID: 1, Name: "n1", Addr: "a:1", Connected: true}, {ID: 7, Name: "n3"}},
	}
	for _, c := range []struct {
		cluster byte
		members []wire.Founder
		want    string // empty: adopt
	}{
		{1, []wire.Founder{n3, self, n1}, ""},
		{0, []wire.Founder{n1, self, n3}, "it has no cluster id"},
		{1, []wire.Founder{n1, n3}, "it does not list n2 with id 2"},
		{1, []wire.Founder{n1, {ID: 9, Name: "n2"}, n3}, "it does not list n2 with id 2"},
		{1, []wire.Founder{n1, {ID: 2, Name: "n3"}}, "it does not list n2 with id 2"},
		{1, []wire.Founder{n1, self}, "it lists n1,n2, --peers lists n1,n2,n3"},
		{1, []wire.Founder{n1, self, n3, {ID: 4, Name: "n4"}}, "it lists n1,n2,n3,n4"},
		{1, []wire.Founder{n1, self, self}, "it lists n1,n2,n2"},
		{1, []wire.Founder{{ID: 8, Name: "n1"}, self, n3}, "n1 has id 8, the node at a:1 has id 1"},
	} {
		s.invites = []invitation{{1, wire.Invite{ClusterID: [16]byte{c.cluster}, Members: c.members}}}
		d := s.decide()
		adopted := d.action == formAdopt
		if adopted != (c.want == "") || !adopted && !strings.Contains(d.waiting[0], c.want) {
			t.Errorf("%+v: %+v, want %q", c.members, d, c.want)
		}
	}
}

// An invitation into the cluster that this node itself created, and an empty log: the log is lost,
// and with it the memory of votes.
func TestFormNoticesALostLog(t *testing.T) {
	w := newTown(t, 2)
	defer w.stopAll()
	for _, n := range w.all {
		n.start()
	}
	w.settle()
	w.wantOne()
	w.all[0].stop()
	w.all[0].log = nil
	w.all[0].start()
	w.all[1].former.Greeter.Reinvite(w.all[1], raftcore.Config{})
	wantExit(t, w.all[0].step(0), ExitCorrupt, "lost its log", w.all[0].dir)
}

func TestFormAloneAtOnce(t *testing.T) {
	id := mustOpen(t, t.TempDir(), "n1")
	n := &townNode{town: &town{t: t}, name: "n1"}
	g := NewGreeter(GreeterOptions{Identity: id, PeerAddr: "a:1", LogEmpty: true})
	n.former = &former{FormOptions: FormOptions{Greeter: g}}
	r, err := Form(context.Background(), FormOptions{Greeter: g, Meeting: n, Append: n.append,
		Clock: func() raftcore.LogTime { return 5 }, Random: rand.Reader})
	if err != nil || r.First == nil || len(n.log) != 1 || len(r.Members) != 1 ||
		r.Members[0].PeerAddr != "a:1" || r.ClusterID == [16]byte{} {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestFormEndsWithItsContext(t *testing.T) {
	w := newTown(t, 2)
	w.all[0].start()
	defer w.stopAll()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Form(ctx, w.all[0].former.FormOptions); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := Form(ctx, FormOptions{}); err == nil {
		t.Fatal("missing options were accepted")
	}
}

func TestFormRandomFailure(t *testing.T) {
	w := newTown(t, 1)
	w.all[0].start()
	defer w.stopAll()
	w.all[0].former.Random = strings.NewReader("short")
	wantExit(t, w.all[0].step(0), ExitUnexpected, "random cluster id")
	w.wantNobody()
}
