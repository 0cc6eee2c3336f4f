package mesh

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// chunkBytes is how much is forwarded at once, and how much a pump holds at a closed gate.
const chunkBytes = 64 << 10

// dialTimeout bounds the connection from a door to its node.
const dialTimeout = 2 * time.Second

// wire is one connection from a node, over a door, to another node. There is one pump per
// direction. A pump tells its side of the end only after its gate has let it: silence crosses a
// cut, and so does nothing else.
type wire struct {
	link  Link // near dialled: it is From
	near  *net.TCPConn
	ended chan struct{}
	early []byte // what near sent while it waited for a cut to end

	guard sync.Mutex
	far   *net.TCPConn
	over  bool
}

// run dials the node behind the door and pumps until the connection has ended on both sides.
func (w *wire) run(target string, there, back *gate) {
	defer w.end()
	// A connection is made by packets in both directions.
	waits := !there.isOpen() || !back.isOpen()
	if !there.wait(w.ended) || !back.wait(w.ended) || waits && !w.stillThere() || !w.dial(target) {
		return
	}
	if _, err := w.far.Write(w.early); err != nil {
		return
	}
	var pumps sync.WaitGroup
	pumps.Add(2)
	go func() {
		defer pumps.Done()
		w.pump(w.near, w.far, there, back)
	}()
	go func() {
		defer pumps.Done()
		w.pump(w.far, w.near, back, there)
	}()
	pumps.Wait()
}

// stillThere reports whether the one who dialled has not given up meanwhile. A dial that was given up
// before the cut ended leaves no trace: the other node must not take its hello for a fresh one.
func (w *wire) stillThere() bool {
	const glance = 2 * time.Millisecond
	chunk := make([]byte, chunkBytes)
	for {
		if w.near.SetReadDeadline(time.Now().Add(glance)) != nil {
			return false
		}
		n, err := w.near.Read(chunk)
		w.early = append(w.early, chunk[:n]...)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return w.near.SetReadDeadline(time.Time{}) == nil
		}
		if err != nil {
			return false
		}
	}
}

func (w *wire) dial(target string) bool {
	conn, err := net.DialTimeout("tcp", target, dialTimeout)
	if err != nil {
		return false // the node is down: closing says so to the one who dialled
	}
	w.guard.Lock()
	defer w.guard.Unlock()
	if w.over {
		conn.Close() // nothing was written
		return false
	}
	w.far = conn.(*net.TCPConn)
	return true
}

// pump moves bytes from src to dst through the gate. The end of src is told to dst through the
// gate, and a dst that takes no more is told to src through the gate back.
func (w *wire) pump(src, dst *net.TCPConn, gate, back *gate) {
	chunk := make([]byte, chunkBytes)
	for {
		n, readErr := src.Read(chunk)
		if !gate.wait(w.ended) {
			return
		}
		if n > 0 {
			if _, err := dst.Write(chunk[:n]); err != nil {
				if back.wait(w.ended) {
					src.Close() // what it did not send is lost, as after a reset
				}
				return
			}
		}
		if readErr != nil {
			dst.Close() // all that was read was written
			return
		}
	}
}

// end breaks both sides at once, as a reset does.
func (w *wire) end() {
	w.guard.Lock()
	defer w.guard.Unlock()
	if w.over {
		return
	}
	w.over = true
	close(w.ended)
	for _, conn := range []*net.TCPConn{w.near, w.far} {
		if conn != nil {
			conn.SetLinger(0) // a reset, at once: the other side must not wait for a time-out
			conn.Close()      // what is not delivered is lost
		}
	}
}
