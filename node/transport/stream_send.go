package transport

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"time"

	"kelek/raftcore/wire"
	"kelek/store/op"
)

// welcomeSnapshot answers an accepted receiver.
func (t *Transport) welcomeSnapshot(c *conn, h *wire.Hello) error {
	err := t.sameCluster(h)
	if err == nil && t.options.Snapshots == nil {
		err = wire.ErrNoSnapshot
	}
	if err == nil {
		err = t.streams.enter(c)
	}
	if err != nil {
		refuse(c, true, err)
		return err
	}
	patient(c)
	own := t.handler.Hello()
	if _, err = c.Write(appendHello(appendPreamble(nil), &own)); err != nil {
		t.streams.leave(c)
	}
	return err
}

// serveSnapshot is the life of a snapshot connection at its sender, once the handshake is done.
func (t *Transport) serveSnapshot(c *conn, frames *frameReader) {
	defer t.streams.leave(c)
	s, err := t.beginStream(c, frames)
	if err == nil {
		err = s.run()
		t.options.Snapshots.EndSnapshot(c.id(), s.id, s.sentBytes, err)
	}
	c.end(err)
	if why := c.why; why != nil && !errors.Is(why, errClosed) {
		t.handler.PeerError(c.hello.Load().Name, c.RemoteAddr().String(),
			fmt.Errorf("send a snapshot: %w", readable(why)))
	}
}

// stream is a snapshot that is being sent.
type stream struct {
	t         *Transport
	ctx       context.Context // its end is that of the stream
	c         *conn
	frames    *frameReader
	id        uint64
	files     []wire.SnapshotFile
	sentBytes int64 // of files
}

// beginStream reads what is wanted, and asks whether it is there.
func (t *Transport) beginStream(c *conn, frames *frameReader) (*stream, error) {
	payload, err := expect(frames, kindSnapshotRequest)
	if err != nil {
		return nil, err
	}
	id, err := decodeRequest(payload)
	if err == nil {
		s := &stream{t: t, c: c, frames: frames, id: id}
		if s.ctx, s.files, err = t.options.Snapshots.BeginSnapshot(c.id(), id); err == nil {
			return s, nil
		}
	}
	refuse(c, false, err)
	return nil, err
}

// expect reads a frame that has to be of one kind.
func expect(frames *frameReader, want kind) (payload []byte, err error) {
	k, payload, _, err := frames.next()
	if err != nil {
		return nil, err
	}
	if refused := refusal(k, payload); refused != nil {
		return nil, refused
	}
	if k != want {
		return nil, fmt.Errorf("%w: %d instead of %d", errKind, k, want)
	}
	return payload, nil
}

// errStopped: who has the snapshot does not lead any more, or gives it up.
var errStopped = errors.New("the snapshot was given up")

// run sends the files, and everything from the place on that the receiver then names. The end that
// it waits for is that of the connection: the receiver has all, or will come again.
func (s *stream) run() error {
	defer context.AfterFunc(s.ctx, func() { s.c.end(errStopped) })()
	from, err := s.agree()
	if err != nil {
		return err
	}
	for ; from.file < len(s.files); from = (place{from.file + 1, 0}) {
		if err := s.sendFile(from); err != nil {
			return err
		}
	}
	if err := s.c.SetDeadline(time.Now().Add(snapshotTimeout)); err != nil {
		return err
	}
	if k, _, _, err := s.frames.next(); err == nil {
		return fmt.Errorf("%w: %d after the last file", errKind, k)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// agree tells the files and hears where to begin.
func (s *stream) agree() (from place, err error) {
	b, start := beginFrame(nil, kindSnapshotFiles)
	b = wire.AppendSnapshotFiles(b, s.files)
	endFrame(b, start)
	if len(b)-start-frameHeaderBytes > snapshotFilesBytesMax {
		return from, fmt.Errorf("the list of %d files takes %d bytes, limit %d", len(s.files), len(b),
			snapshotFilesBytesMax)
	}
	if err := s.write(b); err != nil {
		return from, err
	}
	payload, err := expect(s.frames, kindSnapshotFrom)
	if err != nil {
		return from, err
	}
	from, rest, err := decodePlace(payload, s.files)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes after a place", len(rest))
	}
	if err != nil {
		refuse(s.c, false, err)
	}
	return from, err
}

// write writes one or more frames, each piece of which has to be taken in time. The deadline is that
// of the answer, too.
func (s *stream) write(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), writeBytesMax)
		if err := s.c.SetDeadline(time.Now().Add(snapshotTimeout)); err != nil {
			return err
		}
		if _, err := s.c.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// streamBuffers are frames of chunks: one is used by each stream.
var streamBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, writeBytesMax)
	return &b
}}

// sendFile sends one file from an offset on. Its checksum is that of the whole file, so what is
// skipped is read as well.
func (s *stream) sendFile(from place) (err error) {
	file := &s.files[from.file]
	r, err := s.t.options.Snapshots.OpenSnapshotFile(s.id, file.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	buffer := streamBuffers.Get().(*[]byte)
	defer streamBuffers.Put(buffer)
	sum := uint32(0)
	for at := (place{file: from.file}); at.offset < file.Bytes; {
		end := file.Bytes
		if at.offset < from.offset {
			end = from.offset
		}
		n, err := s.chunk((*buffer)[:0], r, at, end, at.offset < from.offset, &sum)
		if err != nil {
			return fmt.Errorf("file %s at %d: %w", file.Name, at.offset, err)
		}
		at.offset += int64(n)
	}
	return s.write(appendSum((*buffer)[:0], from.file, sum))
}

// chunk reads a piece of a file that ends at end at the latest, adds it to the checksum of the file
// and sends it, unless the receiver has it. It returns the length of the piece.
func (s *stream) chunk(b []byte, r op.SnapshotReader, at place, end int64, has bool,
	sum *uint32) (int, error) {
	n := int(min(end-at.offset, int64(s.t.throttle.chunkBytes())))
	b, start := beginFrame(b, kindSnapshotChunk)
	b = appendPlace(b, at)
	head := len(b)
	b = b[:head+n]
	if got, err := r.ReadAt(b[head:], at.offset); got < n {
		return 0, noEOF(err)
	}
	*sum = crc32.Update(*sum, castagnoli, b[head:])
	if has {
		return n, s.ended()
	}
	if err := s.pause(n); err != nil {
		return 0, err
	}
	endFrame(b, start)
	s.sentBytes += int64(n)
	return n, s.write(b)
}

// pause waits until the rate limit lets n more bytes through.
func (s *stream) pause(n int) error {
	wait := s.t.throttle.reserve(time.Now(), n)
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-s.c.done:
		return s.c.why
	}
}

// ended is why the connection ended, nil while it has not.
func (s *stream) ended() error {
	select {
	case <-s.c.done:
		return s.c.why
	default:
		return nil
	}
}
