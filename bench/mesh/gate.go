package mesh

import "sync"

// gate is one directed link. Bytes pass while it is open; closed, they wait.
type gate struct {
	guard sync.Mutex
	open  chan struct{} // closed channel: the gate is open
	shut  bool
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

// set shuts or opens the gate; doing so twice is doing so once.
func (g *gate) set(shut bool) {
	g.guard.Lock()
	defer g.guard.Unlock()
	if shut == g.shut {
		return
	}
	if g.shut = shut; shut {
		g.open = make(chan struct{})
	} else {
		close(g.open)
	}
}

// isOpen reports whether bytes pass at this moment.
func (g *gate) isOpen() bool {
	g.guard.Lock()
	defer g.guard.Unlock()
	return !g.shut
}

// wait returns when the gate is open; false: done was closed before.
func (g *gate) wait(done <-chan struct{}) bool {
	for {
		g.guard.Lock()
		open := g.open
		g.guard.Unlock()
		select {
		case <-open:
		case <-done:
			return false
		}
		if g.isOpen() {
			return true
		}
	}
}
