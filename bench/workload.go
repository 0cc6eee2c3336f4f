package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kelek/resp/client"
)

// Shape of the load. Few clients per key keep the check cheap; many keys keep the load wide.
const (
	groupsDefault    = 8 // sets of shared objects
	perNode          = 2 // clients of a group on each node
	commandTimeout   = 15 * time.Second
	reconnectPause   = 20 * time.Millisecond
	refusedPause     = 50 * time.Millisecond // after an error reply: a sick node is not flooded
	failureTextsKept = 3
)

// Workload is clients on every node, and what they saw.
type Workload struct {
	Prefix string // of all keys
	Groups int
	Seed   uint64
	Think  time.Duration // mean pause of a client between two commands
	// Patient clients take it for normal that a node refuses commands, or does not know how they
	// ended: it may be cut off. A connection that breaks without a fault is a failure all the same.
	Patient bool
	// Ballast adds one writer of large values that nobody judges: logs grow beyond what is kept.
	Ballast bool
	Connect client.Connect // how nodes are reached; nil: by TCP

	places  []*place
	slots   []*slot   // of all groups
	clients []*worker // Start and Visit add to them, on the goroutine of the caller
	begin   time.Time
	stalls  stall
	stop    context.CancelFunc
	done    sync.WaitGroup
	elapsed time.Duration
}

// place is where some clients connect: a node, until Move.
type place struct {
	name   atomic.Pointer[string]
	addr   atomic.Pointer[string]
	faults atomic.Int64 // raised at the begin and at the end of each of our faults
}

// stall measures the longest time in which no write was acknowledged by any node.
type stall struct {
	guard         sync.Mutex
	last, longest int64
	count         int64
}

func (s *stall) note(now int64) {
	s.guard.Lock()
	defer s.guard.Unlock()
	s.count++
	if s.last != 0 {
		s.longest = max(s.longest, now-s.last)
	}
	s.last = max(s.last, now)
}

// restart returns the longest stall since the last call, and how many writes were acknowledged in
// all.
func (s *stall) restart() (time.Duration, int64) {
	s.guard.Lock()
	defer s.guard.Unlock()
	longest := s.longest
	s.longest = 0
	return time.Duration(longest), s.count
}

// Start begins the load on all addresses.
func (w *Workload) Start(ctx context.Context, addrs []string) {
	ctx, w.stop = context.WithCancel(ctx)
	w.begin = time.Now()
	for i, addr := range addrs {
		w.places = append(w.places, &place{})
		w.Move(i, fmt.Sprintf("n%d", i+1), addr)
	}
	if w.Groups == 0 {
		w.Groups = groupsDefault
	}
	if w.Ballast {
		w.done.Add(1)
		go w.ballast(ctx, slices.Clone(w.places))
	}
	for group := range w.Groups {
		slots := newSlots(fmt.Sprintf("%s:%d", w.Prefix, group))
		w.slots = append(w.slots, slots...)
		for i := range len(addrs) * perNode {
			id := len(w.clients)
			c := &worker{load: w, id: id, place: w.places[i%len(addrs)], slots: slots,
				random: rand.New(rand.NewPCG(w.Seed, uint64(id)))}
			w.clients = append(w.clients, c)
			w.done.Add(1)
			go func() {
				defer w.done.Done()
				c.run(ctx)
			}()
		}
	}
}

// Ballast: large values on some keys, again and again.
const (
	ballastBytes    = 64 << 10
	ballastKeys     = 64
	ballastPause    = 15 * time.Millisecond
	ballastPatience = time.Second // then it goes to another node
)

// ballast writes until the load ends. Which of its writes arrive does not matter.
func (w *Workload) ballast(ctx context.Context, places []*place) {
	defer w.done.Done()
	random := rand.New(rand.NewPCG(w.Seed, ^uint64(0)))
	value := strings.Repeat("ballast ", ballastBytes/8)
	var conn *client.Conn
	for ctx.Err() == nil {
		if conn == nil || conn.Err() != nil {
			var err error
			p := places[random.IntN(len(places))]
			if conn, err = w.dial(*p.addr.Load(), ballastPatience); err != nil {
				conn = nil
			}
		}
		if conn != nil {
			conn.Do("SET", fmt.Sprint(w.Prefix, ":ballast:", random.IntN(ballastKeys)), value)
		}
		sleep(ctx, ballastPause) // an ended load ends the loop
	}
	if conn != nil {
		conn.Close() // nothing is under way
	}
}

func (w *Workload) dial(addr string, timeout time.Duration) (*client.Conn, error) {
	return (&client.Dialer{Timeout: timeout, Connect: w.Connect}).DialTo(addr)
}

// Move lets the clients of a place connect to another node from now on.
func (w *Workload) Move(place int, name, addr string) {
	w.places[place].name.Store(&name)
	w.places[place].addr.Store(&addr)
}

// Place is one more node, which is visited and in the end read from. It may not be there yet.
func (w *Workload) Place(name, addr string) int {
	p := &place{}
	p.faults.Store(2) // as after a fault: who connects too early has nothing to complain of
	w.places = append(w.places, p)
	w.Move(len(w.places)-1, name, addr)
	return len(w.places) - 1
}

// Visit lets new clients come to a place, read every shared object once, and go.
func (w *Workload) Visit(place int) {
	for _, s := range w.slots {
		id := len(w.clients)
		c := &worker{load: w, id: id, place: w.places[place],
			random: rand.New(rand.NewPCG(w.Seed, uint64(id)))}
		w.clients = append(w.clients, c)
		w.done.Add(1)
		go func() {
			defer w.done.Done()
			c.visit(s)
		}()
	}
}

// Stop ends the load; every client finishes its command first.
func (w *Workload) Stop() {
	w.stop()
	w.done.Wait()
	if w.elapsed == 0 {
		w.elapsed = time.Since(w.begin)
	}
}

// Clients is how many there are, or were.
func (w *Workload) Clients() int { return len(w.clients) }

// Expect runs a fault of some nodes. What their clients lose meanwhile is no failure: a connection
// that was made before is lost, and one that is made while a process dies may be, too, since its
// port still listens.
func (w *Workload) Expect(fault func() error, places ...int) error {
	defer w.Trouble(places...)()
	return fault()
}

// Trouble is the begin of what Expect does; it is over when the function that it returns is called.
// Two troubles of one place must not overlap.
func (w *Workload) Trouble(places ...int) (over func()) {
	raise := func() {
		for _, i := range places {
			w.places[i].faults.Add(1)
		}
	}
	raise()
	return raise
}

// Acknowledged is how many writes were acknowledged until now.
func (w *Workload) Acknowledged() int64 {
	w.stalls.guard.Lock()
	defer w.stalls.guard.Unlock()
	return w.stalls.count
}

func (w *Workload) now() int64 { return int64(time.Since(w.begin)) }
