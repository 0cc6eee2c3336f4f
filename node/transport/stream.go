package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// A snapshot travels on a connection of its own, which the receiver dials: it knows what it lacks,
// and so a broken stream goes on where it ended.
//
//	receiver                              sender
//	  preamble, snapshot hello  ------->  acceptable, and of our cluster?
//	                            <-------  preamble, hello         or: preamble, refusal; close
//	  request {snapshot id}     ------->  is it here? is there a place?
//	                            <-------  files                   or: refusal; close
//	  from {file, offset}       ------->
//	                            <-------  chunk {file, offset, data}, ...
//	                            <-------  sum {file, CRC-32C of the whole file}; the next file
//	  close, when it has all
//
// The kind of the hello is the purpose of the connection. Such a connection is no sign that a node
// is there: it takes no part in presence, and its end is told to nobody but who fetches.
//
// Layouts, all integers little endian; every frame has a checksum of its own beside the file's:
//
//	request  id     8        from  file 4, offset 8
//	files    raftcore/wire   sum   file 4, CRC-32C 4
//	chunk    file 4, offset 8, data to the end
const (
	requestBytes   = 8
	fromBytes      = 4 + 8
	chunkHeadBytes = 4 + 8
	sumBytes       = 4 + 4
)

// place is where in a snapshot: byte offset of the file with this number in the list.
type place struct {
	file   int
	offset int64
}

func appendRequest(dst []byte, id uint64) []byte {
	dst, start := beginFrame(dst, kindSnapshotRequest)
	dst = binary.LittleEndian.AppendUint64(dst, id)
	endFrame(dst, start)
	return dst
}

func decodeRequest(payload []byte) (id uint64, err error) {
	if len(payload) != requestBytes {
		return 0, fmt.Errorf("a request of %d bytes, not %d", len(payload), requestBytes)
	}
	return binary.LittleEndian.Uint64(payload), nil
}

func appendWanted(dst []byte, at place) []byte {
	dst, start := beginFrame(dst, kindSnapshotFrom)
	dst = appendPlace(dst, at)
	endFrame(dst, start)
	return dst
}

func appendPlace(dst []byte, at place) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(at.file))
	return binary.LittleEndian.AppendUint64(dst, uint64(at.offset))
}

// decodePlace reads a place that lies within the files.
func decodePlace(payload []byte, files []wire.SnapshotFile) (at place, rest []byte, err error) {
	if len(payload) < fromBytes {
		return at, nil, fmt.Errorf("a place of %d bytes, not %d", len(payload), fromBytes)
	}
	file := binary.LittleEndian.Uint32(payload)
	offset := binary.LittleEndian.Uint64(payload[4:])
	if uint64(file) >= uint64(len(files)) || offset > math.MaxInt64 ||
		int64(offset) > files[file].Bytes {
		return at, nil, fmt.Errorf("place %d of file %d is not within the %d files", offset, file,
			len(files))
	}
	return place{int(file), int64(offset)}, payload[fromBytes:], nil
}

func decodeSum(payload []byte) (file int, sum uint32, err error) {
	if len(payload) != sumBytes {
		return 0, 0, fmt.Errorf("a checksum of %d bytes, not %d", len(payload), sumBytes)
	}
	return int(binary.LittleEndian.Uint32(payload)), binary.LittleEndian.Uint32(payload[4:]), nil
}

func appendSum(dst []byte, file int, sum uint32) []byte {
	dst, start := beginFrame(dst, kindSnapshotSum)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(file))
	dst = binary.LittleEndian.AppendUint32(dst, sum)
	endFrame(dst, start)
	return dst
}

// SnapshotSource has the snapshots that this node may be asked for. Safe for concurrent use.
type SnapshotSource interface {
	// BeginSnapshot is asked when a node wants a snapshot. An error is the refusal that it gets, and
	// one that is wire.ErrNoSnapshot tells it not to ask again. Until EndSnapshot the files stay;
	// when the context ends, the stream does.
	BeginSnapshot(to raftcore.NodeID, id uint64) (context.Context, []wire.SnapshotFile, error)
	OpenSnapshotFile(id uint64, name string) (op.SnapshotReader, error)
	// EndSnapshot says how much was sent, and why it ended; nil: the receiver has all it wanted.
	EndSnapshot(to raftcore.NodeID, id uint64, sentBytes int64, why error)
}

var errNotOurCluster = errors.New("snapshots are for nodes of the own cluster")

// streams are the snapshot connections that this node sends on: one for each receiver.
type streams struct {
	mu    sync.Mutex
	conns map[raftcore.NodeID]*conn
}

// enter takes a place. A receiver that dials again has given up its former connection, whether that
// has been noticed here or not.
func (s *streams) enter(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.conns[c.id()]
	if old == nil && len(s.conns) >= snapshotStreamsMax {
		return fmt.Errorf("%d snapshots are being sent already, the limit", len(s.conns))
	}
	if old != nil {
		old.end(errClosed)
	}
	if s.conns == nil {
		s.conns = make(map[raftcore.NodeID]*conn)
	}
	s.conns[c.id()] = c
	return nil
}

func (s *streams) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns[c.id()] == c {
		delete(s.conns, c.id())
	}
}

func (s *streams) endAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.end(errClosed)
	}
}

// throttle spreads what all streams send over time. Its zero value does not.
type throttle struct {
	bytesPerSecond int64 // 0: no limit

	mu   sync.Mutex
	free time.Time // when everything that was let through so far has had its time
}

// reserve lets n bytes through, and returns for how long whoever sends them has to wait first.
func (h *throttle) reserve(now time.Time, n int) time.Duration {
	if h.bytesPerSecond == 0 {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.free.Before(now) {
		h.free = now
	}
	wait := h.free.Sub(now)
	h.free = h.free.Add(time.Duration(float64(n) / float64(h.bytesPerSecond) * float64(time.Second)))
	return wait
}

// chunkBytes is how much one chunk holds: little enough for a slow stream to show life often.
func (h *throttle) chunkBytes() int {
	if h.bytesPerSecond == 0 {
		return snapshotChunkBytesMax
	}
	return int(min(max(h.bytesPerSecond/8, snapshotChunkBytesMin), snapshotChunkBytesMax))
}

// sameCluster is what both ends of a snapshot connection check beside Accept.
func (t *Transport) sameCluster(h *wire.Hello) error {
	own := t.handler.Hello().ClusterID
	if own == [16]byte{} || own != h.ClusterID {
		return errNotOurCluster
	}
	return nil
}

// patient gives a socket the time-outs of a stream: who installs or throttles pauses for longer
// than who sends heartbeats.
func patient(c net.Conn) {
	if socket := tcpSocket(c); socket != nil {
		setAckTimeout(socket, snapshotTimeout)
	}
}
