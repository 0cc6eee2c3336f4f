package resp

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kelek/resp/command"
)

// Shared is what the listeners of one node have in common: the limit of clients, the counters,
// CLIENT LIST and KILL, CLIENT PAUSE. A Server that is given none makes its own.
type Shared struct {
	Stats *Stats

	limits      Limits
	maxClients  atomic.Int64
	idleTimeout atomic.Int64 // ns; 0: never
	table       *command.Table
	started     time.Time
	runID       string
	sampling    sync.Once
	stop        chan struct{}
	stopOnce    sync.Once
	nextID      atomic.Uint64
	keyspace    keyspaceCache
	peakBytes   atomic.Uint64

	mu     sync.Mutex
	guards map[*guard]*conn // nil: admitted, and not yet known to redcon

	pause struct {
		sync.Mutex
		until   time.Time
		all     bool
		changed chan struct{} // closed when the pause is changed
	}
	pausing atomic.Bool // cheap: is there a pause at all
}

// NewShared makes what several Servers may share. Zero limits get their defaults.
func NewShared(l Limits) *Shared {
	l = l.withDefaults()
	var id [20]byte
	rand.Read(id[:]) // never fails since Go 1.24
	s := &Shared{limits: l, table: command.NewTable(), started: time.Now(),
		runID: hex.EncodeToString(id[:]), stop: make(chan struct{}), guards: make(map[*guard]*conn)}
	s.Stats = newStats(len(s.table.Specs()))
	s.maxClients.Store(int64(l.MaxClients))
	s.idleTimeout.Store(int64(l.IdleTimeout))
	s.pause.changed = make(chan struct{})
	return s
}

// sampleRates runs until the first of the sharing Servers stops: the node stops as a whole.
func (s *Shared) sampleRates() {
	s.sampling.Do(func() {
		go func() {
			ticker := time.NewTicker(rateEvery)
			defer ticker.Stop()
			for {
				select {
				case now := <-ticker.C:
					s.Stats.sample(now)
				case <-s.stop:
					return
				}
			}
		}()
	})
}

// admit registers a connection, unless there are too many.
func (s *Shared) admit(g *guard) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if int64(len(s.guards)) >= s.maxClients.Load() {
		s.Stats.Rejected.Add(1)
		return false
	}
	s.guards[g] = nil
	s.Stats.Connections.Add(1)
	return true
}

func (s *Shared) setConn(g *guard, c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, admitted := s.guards[g]; admitted {
		s.guards[g] = c
	}
}

func (s *Shared) forget(g *guard) {
	s.mu.Lock()
	_, admitted := s.guards[g]
	delete(s.guards, g)
	s.mu.Unlock()
	if admitted {
		select {
		case g.server.left <- struct{}{}:
		default: // it will look anyway
		}
	}
}

// Clients is the number of open connections.
func (s *Shared) Clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.guards)
}

// of returns the connections of one server.
func (s *Shared) of(server *Server) []*guard {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*guard
	for g := range s.guards {
		if g.server == server {
			list = append(list, g)
		}
	}
	return list
}

// infos lists the connections in order of their numbers.
func (s *Shared) infos(now time.Time) []command.ClientInfo {
	s.mu.Lock()
	list := make([]command.ClientInfo, 0, len(s.guards))
	for _, c := range s.guards {
		if c != nil {
			list = append(list, c.info(now))
		}
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b command.ClientInfo) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// watching counts the connections that watch keys, and the keys.
func (s *Shared) watching(now time.Time) (clients, keys int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.guards {
		if c == nil {
			continue
		}
		if n := c.info(now).Watching; n > 0 {
			clients, keys = clients+1, keys+n
		}
	}
	return clients, keys
}

// kill ends what pick chooses: a connection that is carrying out a batch answers it first.
func (s *Shared) kill(now time.Time, pick func(*command.ClientInfo) bool) int {
	s.mu.Lock()
	var chosen []*guard
	for g, c := range s.guards {
		if c == nil {
			continue
		}
		if info := c.info(now); pick(&info) {
			chosen = append(chosen, g)
		}
	}
	s.mu.Unlock()
	for _, g := range chosen {
		g.interrupt()
	}
	return len(chosen)
}

// setPause holds writes, or all data commands, until a moment; a past one ends the pause.
func (s *Shared) setPause(until time.Time, all bool) {
	p := &s.pause
	p.Lock()
	defer p.Unlock()
	p.until, p.all = until, all
	close(p.changed)
	p.changed = make(chan struct{})
	s.pausing.Store(time.Now().Before(until))
}

// waitPause blocks while a pause covers the batch, or until the server stops.
func (s *Shared) waitPause(writes bool, stopping <-chan struct{}) {
	for s.pausing.Load() {
		p := &s.pause
		p.Lock()
		left, covered, changed := time.Until(p.until), p.all || writes, p.changed
		if left <= 0 {
			s.pausing.Store(false)
		}
		p.Unlock()
		if left <= 0 || !covered {
			return
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-changed:
		case <-stopping:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}
