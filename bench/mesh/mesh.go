package mesh

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Link is one direction between two nodes, by their names.
type Link struct{ From, To string }

// Mesh is the doors of all nodes and the links between them. Its methods may be called from any
// goroutine.
type Mesh struct {
	owner func() map[int]string
	done  chan struct{} // closed by Close

	guard  sync.Mutex
	doors  map[string]*door
	gates  map[Link]*gate
	wires  map[*wire]struct{} // connections that are being forwarded
	closed bool
	all    sync.WaitGroup
}

// door accepts the connections for one node.
type door struct {
	name     string
	target   string // where the node itself listens
	listener net.Listener
}

// New makes a mesh without doors. owner tells which process is which node at the moment of the
// call; it must be safe to call from any goroutine.
func New(owner func() map[int]string) *Mesh {
	return &Mesh{owner: owner, done: make(chan struct{}), doors: map[string]*door{},
		gates: map[Link]*gate{}, wires: map[*wire]struct{}{}}
}

// Open puts a door at address before the node that listens at target.
func (m *Mesh) Open(name, address, target string) error {
	m.guard.Lock()
	defer m.guard.Unlock()
	if m.closed {
		return net.ErrClosed
	}
	if old, exists := m.doors[name]; exists {
		return fmt.Errorf("%s has a door at %s already", name, old.listener.Addr())
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	d := &door{name: name, target: target, listener: listener}
	m.doors[name] = d
	m.all.Add(1)
	go m.accept(d)
	return nil
}

// Remove takes a door away: nobody gets in any more, and the connections through it break.
func (m *Mesh) Remove(name string) error {
	m.guard.Lock()
	defer m.guard.Unlock()
	d, exists := m.doors[name]
	if !exists {
		return fmt.Errorf("%s has no door", name)
	}
	delete(m.doors, name)
	m.breakWires(func(l Link) bool { return l.From == name || l.To == name })
	return d.listener.Close()
}

// Cut shuts exactly these links; all others are whole afterwards.
func (m *Mesh) Cut(links []Link) {
	cut := map[Link]bool{}
	for _, l := range links {
		cut[l] = true
		m.gate(l).set(true)
	}
	m.guard.Lock()
	defer m.guard.Unlock()
	for l, g := range m.gates {
		if !cut[l] {
			g.set(false)
		}
	}
}

// Heal makes all links whole. What was held back arrives now.
func (m *Mesh) Heal() { m.Cut(nil) }

// Reset breaks all connections over these links, in either direction.
func (m *Mesh) Reset(links []Link) {
	broken := map[Link]bool{}
	for _, l := range links {
		broken[l], broken[Link{l.To, l.From}] = true, true
	}
	m.guard.Lock()
	defer m.guard.Unlock()
	m.breakWires(func(l Link) bool { return broken[l] })
}

// breakWires ends connections. The caller holds the guard.
func (m *Mesh) breakWires(which func(Link) bool) {
	for w := range m.wires {
		if which(w.link) {
			w.end()
		}
	}
}

// Close ends everything and waits for it.
func (m *Mesh) Close() error {
	m.guard.Lock()
	var failures []error
	if !m.closed {
		m.closed = true
		close(m.done)
		for _, d := range m.doors {
			failures = append(failures, d.listener.Close())
		}
		m.breakWires(func(Link) bool { return true })
	}
	m.guard.Unlock()
	m.all.Wait()
	return errors.Join(failures...)
}

func (m *Mesh) gate(l Link) *gate {
	m.guard.Lock()
	defer m.guard.Unlock()
	if m.gates[l] == nil {
		m.gates[l] = newGate()
	}
	return m.gates[l]
}

// acceptPause is after a failed accept, which is a lack of descriptors.
const acceptPause = 10 * time.Millisecond

func (m *Mesh) accept(d *door) {
	defer m.all.Done()
	for {
		conn, err := d.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(acceptPause)
			continue
		}
		m.all.Add(1)
		go func() {
			defer m.all.Done()
			m.forward(d, conn.(*net.TCPConn))
		}()
	}
}

// forward finds out who dialled, and is the connection from then on.
func (m *Mesh) forward(d *door, near *net.TCPConn) {
	from, err := dialler(near.RemoteAddr().(*net.TCPAddr), near.LocalAddr().(*net.TCPAddr), m.owner())
	if err != nil {
		near.Close() // a stranger, or a process that is gone
		return
	}
	w := &wire{link: Link{from, d.name}, near: near, ended: make(chan struct{})}
	m.guard.Lock()
	if m.closed || m.doors[d.name] != d {
		m.guard.Unlock()
		near.Close() // nothing was forwarded
		return
	}
	m.wires[w] = struct{}{}
	m.guard.Unlock()
	w.run(d.target, m.gate(w.link), m.gate(Link{d.name, from}))
	m.guard.Lock()
	delete(m.wires, w)
	m.guard.Unlock()
}
