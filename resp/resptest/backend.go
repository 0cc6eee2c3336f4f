// Package resptest is a node for tests of the RESP face: a map instead of a cluster. It executes
// ops as the store does, one submission after the other, on a goroutine of its own, so that what a
// connection and the node share is shared in tests, too.
//
// It does not replicate, forget expired keys in the background or bound anything, and its ONCE
// table never expires. What it must get right is what clients can tell apart.
package resptest

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"kelek/store/op"
)

// Backend implements resp.Backend.
type Backend struct {
	mu    sync.Mutex
	state state
	fail  error // what submissions and reads get instead
	hold  bool  // keep submissions and reads until Release
	held  []func()
	waits int           // clients whose submissions and reads are held
	now   atomic.Uint64 // a copy of state.now, for Clock: queries ask it while the state is locked

	lastRead struct {
		level    op.ReadLevel
		maxAgeMs uint64
	}
	admin func(op.AdminRequest) (op.AdminReply, error) // nil: every request is refused

	status atomic.Pointer[op.Status]
	work   chan func()
	done   chan struct{}

	Submissions atomic.Uint64
	Reads       atomic.Uint64
	Views       atomic.Uint64
	StableViews atomic.Uint64
	OpenViews   atomic.Int64
}

// queue is how many submissions and reads may wait for the backend's goroutine.
const queue = 1024

// New starts a backend whose clock begins at 1,000,000 ms. Close ends it.
func New() *Backend {
	b := &Backend{work: make(chan func(), queue), done: make(chan struct{})}
	b.state = newState()
	b.now.Store(b.state.now)
	b.status.Store(SingleNode())
	go func() {
		defer close(b.done)
		for f := range b.work {
			f()
		}
	}()
	return b
}

// SingleNode is the status of a cluster of one.
func SingleNode() *op.Status {
	self := op.Member{ID: 1, Name: "n1", PeerAddr: "127.0.0.1:7380", Addr: "127.0.0.1:6380",
		ClusterAddr: "127.0.0.1:9380", Version: "test"}
	return &op.Status{ClusterID: [16]byte{0x7c, 0x1e}, NodeID: 1, Name: "n1", Boot: 3, Role: "leader",
		Term: 2, Leader: 1, FirstIndex: 1, LastIndex: 10, CommitIndex: 10, Applied: 10,
		Members: []op.MemberStatus{{Member: self, Role: op.RoleVoter, Voter: true, Self: true,
			Leader: true, Connected: true, Match: 10, State: "ok"}}}
}

// ThreeNodes is the status of node self in a cluster of three; leader may be 0.
func ThreeNodes(self, leader uint64) *op.Status {
	s := SingleNode()
	s.NodeID, s.Leader, s.Role = self, leader, "follower"
	if self == leader {
		s.Role = "leader"
	}
	s.Members = nil
	for id := uint64(1); id <= 3; id++ {
		digit := string(rune('0' + id))
		s.Members = append(s.Members, op.MemberStatus{Member: op.Member{ID: id, Name: "n" + digit,
			PeerAddr: "127.0.0.1:738" + digit, Addr: "127.0.0.1:638" + digit,
			ClusterAddr: "127.0.0.1:938" + digit}, Role: op.RoleVoter, Voter: true, Self: id == self,
			Leader: id == leader, Connected: true, Match: 10, State: "ok"})
	}
	s.Name = "n" + string(rune('0'+self))
	return s
}

// Close waits for what was submitted.
func (b *Backend) Close() {
	close(b.work)
	<-b.done
}

// SetStatus changes what Status says. It must not be changed afterwards.
func (b *Backend) SetStatus(s *op.Status) { b.status.Store(s) }

// Status implements resp.Backend.
func (b *Backend) Status() *op.Status { return b.status.Load() }

// SetAdmin says what Admin answers. Without it there is no leader.
func (b *Backend) SetAdmin(f func(op.AdminRequest) (op.AdminReply, error)) {
	b.mu.Lock()
	b.admin = f
	b.mu.Unlock()
}

// Admin implements resp.Backend.
func (b *Backend) Admin(ctx context.Context, r op.AdminRequest) (op.AdminReply, error) {
	b.mu.Lock()
	f := b.admin
	b.mu.Unlock()
	if f == nil {
		return op.AdminReply{}, op.NotLeaderError{}
	}
	if err := ctx.Err(); err != nil {
		return op.AdminReply{}, err
	}
	return f(r)
}

// Fail lets every submission and read end with err; nil ends that.
func (b *Backend) Fail(err error) {
	b.mu.Lock()
	b.fail = err
	b.mu.Unlock()
}

// Hold keeps submissions and reads back, as a node without a leader does, until Release.
func (b *Backend) Hold() {
	b.mu.Lock()
	b.hold = true
	b.mu.Unlock()
}

// Held is how many wait.
func (b *Backend) Held() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.held)
}

// Release lets go what was held, in order.
func (b *Backend) Release() {
	b.mu.Lock()
	held := b.held
	b.hold, b.held, b.waits = false, nil, 0
	b.mu.Unlock()
	for _, f := range held {
		b.work <- f
	}
}

// Advance moves log time, as an entry would.
func (b *Backend) Advance(ms uint64) {
	b.mu.Lock()
	b.state.now += ms
	b.now.Store(b.state.now)
	b.mu.Unlock()
}

// Clock is log time, as a clock.
func (b *Backend) Clock() time.Time {
	return time.UnixMilli(int64(b.now.Load()))
}

// HeldClients is how many clients wait for what is held.
func (b *Backend) HeldClients() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waits
}

func (b *Backend) enqueue(clients int, f func()) {
	b.mu.Lock()
	if b.hold {
		b.held = append(b.held, f)
		b.waits += max(clients, 1)
		b.mu.Unlock()
		return
	}
	b.mu.Unlock()
	b.work <- f
}

// Propose implements resp.Backend.
func (b *Backend) Propose(s *op.Submission) {
	b.Submissions.Add(1)
	b.enqueue(s.Clients, func() { b.apply(s) })
}

// Read implements resp.Backend.
func (b *Backend) Read(r *op.ReadRequest) {
	b.Reads.Add(1)
	b.mu.Lock()
	b.lastRead.level, b.lastRead.maxAgeMs = r.Level, r.MaxAgeMs
	b.mu.Unlock()
	b.enqueue(r.Clients, func() {
		b.mu.Lock()
		err := b.fail
		b.mu.Unlock()
		r.Resolve(err)
	})
}

// LastRead is what the newest read has asked for.
func (b *Backend) LastRead() (level op.ReadLevel, maxAgeMs uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lastRead.level, b.lastRead.maxAgeMs
}

func (b *Backend) apply(s *op.Submission) {
	b.mu.Lock()
	if b.fail != nil {
		err := b.fail
		b.mu.Unlock()
		s.Sink.Resolve(err)
		return
	}
	rest, err := s.Ops, error(nil)
	var o op.Op
	for i := range s.Count {
		if rest, err = op.Decode(rest, &o); err != nil {
			panic("resptest: a submission that does not decode: " + err.Error())
		}
		v := &view{state: &b.state}
		var result op.Result
		if o.Code == op.CodeMulti {
			result = b.state.executeMulti(&o, func(done int, r *op.Result) {
				if steps, ok := s.Sink.(op.StepObserver); ok {
					steps.Step(i, done, r, v)
				}
			})
		} else {
			result = b.state.execute(&o)
		}
		s.Sink.Applied(i, &result, v)
	}
	if len(rest) != 0 {
		panic("resptest: a submission with more ops than it counts")
	}
	b.mu.Unlock()
	s.Sink.Resolve(nil)
}

// View implements resp.Backend. Every view is stable: it is a copy.
func (b *Backend) View(stable bool) op.View {
	b.Views.Add(1)
	if stable {
		b.StableViews.Add(1)
	}
	b.OpenViews.Add(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	copied := state{now: b.state.now}
	for i := range b.state.dbs {
		copied.dbs[i] = maps.Clone(b.state.dbs[i])
	}
	return &view{state: &copied, open: &b.OpenViews}
}
