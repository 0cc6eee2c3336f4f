package transport

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// FetchSnapshot brings what a stage lacks of a snapshot of another node, over a connection of its
// own. stage is asked for it once the sender has told the files. It returns nil when every file is
// staged. Any other end leaves the stage as it is, and may be followed by another call, which goes on
// there; an error that is wire.ErrNoSnapshot says that it would be in vain.
func (t *Transport) FetchSnapshot(ctx context.Context, from raftcore.NodeID, id uint64,
	stage func(files []wire.SnapshotFile) (op.Stage, error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.stopped, func() { cancel(errClosed) })()
	c, frames, err := t.dialSnapshot(ctx, from)
	if err != nil {
		return readable(err)
	}
	defer c.end(errClosed)
	defer context.AfterFunc(ctx, func() { c.end(context.Cause(ctx)) })()
	f := fetch{c: c, frames: frames}
	err = f.run(id, stage)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return readable(err)
}

// dialSnapshot connects to the peer, wherever it was last known to be, and shakes hands.
func (t *Transport) dialSnapshot(ctx context.Context, from raftcore.NodeID) (*conn, *frameReader,
	error) {
	p := t.peerOf(from)
	if p == nil {
		return nil, nil, fmt.Errorf("%w of node %x", errNoAddress, uint64(from))
	}
	addr := p.address()
	if addr == "" {
		return nil, nil, errNoAddress
	}
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	socket, err := t.options.Dial(dialing, addr)
	if err != nil {
		return nil, nil, err
	}
	c := t.newConn(socket, true)
	c.snapshot = true
	patient(c)
	defer context.AfterFunc(ctx, func() { c.end(errClosed) })()
	frames, err := t.greetSender(c, from)
	if err != nil {
		c.end(err)
		return nil, nil, err
	}
	return c, frames, nil
}

// greetSender is the receiver's side of the handshake.
func (t *Transport) greetSender(c *conn, from raftcore.NodeID) (*frameReader, error) {
	own := t.handler.Hello()
	if err := c.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return nil, err
	}
	if _, err := c.Write(appendPurpose(appendPreamble(nil), kindSnapshotHello, &own)); err != nil {
		return nil, err
	}
	if err := readPreamble(c); err != nil {
		return nil, err
	}
	frames := &frameReader{src: c, buf: make([]byte, streamBufferBytes),
		maxBytes: helloFrameBytesMax}
	h, err := readHello(frames)
	if err != nil {
		return nil, err
	}
	c.hello.Store(&h)
	if err := t.handler.Accept(h); err != nil {
		return nil, err
	}
	if h.NodeID != from {
		return nil, fmt.Errorf("%w: %s with id %x instead of id %x", errElsewhere, h.Name,
			uint64(h.NodeID), uint64(from))
	}
	return frames, t.sameCluster(&h)
}

// fetch is a snapshot that is being received.
type fetch struct {
	c      *conn
	frames *frameReader
	files  []wire.SnapshotFile
	stage  op.Stage
}

func (f *fetch) run(id uint64, stage func([]wire.SnapshotFile) (op.Stage, error)) error {
	if err := f.say(appendRequest(nil, id)); err != nil {
		return err
	}
	f.frames.maxBytes = snapshotFilesBytesMax
	payload, err := expect(f.frames, kindSnapshotFiles)
	if err != nil {
		return err
	}
	rest, err := wire.DecodeSnapshotFiles(payload, &f.files)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes after a list of files", len(rest))
	}
	if err != nil {
		return err
	}
	if f.stage, err = stage(f.files); err != nil {
		return err
	}
	at, done, err := f.next()
	if err != nil || done {
		return err
	}
	if err := f.say(appendWanted(nil, at)); err != nil {
		return err
	}
	f.frames.maxBytes = chunkHeadBytes + snapshotChunkBytesMax + 1
	return f.receive(at)
}

// receive takes frames until everything is staged. at is what the next one must be about.
func (f *fetch) receive(at place) error {
	for done := false; !done; {
		if err := f.c.SetReadDeadline(time.Now().Add(snapshotTimeout)); err != nil {
			return err
		}
		k, payload, _, err := f.frames.next()
		if err != nil {
			return err
		}
		switch k {
		case kindSnapshotChunk:
			err = f.takeChunk(payload, &at)
		case kindSnapshotSum:
			if err = f.takeSum(payload, at); err == nil {
				at, done, err = f.next()
			}
		default:
			err = fmt.Errorf("%w: %d", errKind, k)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *fetch) takeChunk(payload []byte, at *place) error {
	got, data, err := decodePlace(payload, f.files)
	if err != nil {
		return err
	}
	file := &f.files[at.file]
	if got != *at || len(data) == 0 || int64(len(data)) > file.Bytes-at.offset {
		return fmt.Errorf("%d bytes of file %d at %d, wanted some of file %d at %d, which has %d",
			len(data), got.file, got.offset, at.file, at.offset, file.Bytes)
	}
	if err := f.stage.Write(file.Name, at.offset, data); err != nil {
		return err
	}
	at.offset += int64(len(data))
	return nil
}

func (f *fetch) takeSum(payload []byte, at place) error {
	number, sum, err := decodeSum(payload)
	if err != nil {
		return err
	}
	file := &f.files[at.file]
	if number != at.file || at.offset != file.Bytes {
		return fmt.Errorf("the checksum of file %d, and of file %d there are %d of %d bytes", number,
			at.file, at.offset, file.Bytes)
	}
	return f.stage.FinishFile(file.Name, sum)
}

// next is where the stage goes on.
func (f *fetch) next() (at place, done bool, err error) {
	name, offset, done := f.stage.Next()
	if done {
		return at, true, nil
	}
	i, known := slices.BinarySearchFunc(f.files, name, func(x wire.SnapshotFile, name string) int {
		return cmp.Compare(x.Name, name)
	})
	if !known || offset < 0 || offset > f.files[i].Bytes {
		return at, false, fmt.Errorf("the stage wants %s at %d, which is not in the snapshot", name,
			offset)
	}
	return place{i, offset}, false, nil
}

// say writes a small frame; the deadline is that of its answer, too.
func (f *fetch) say(b []byte) error {
	if err := f.c.SetDeadline(time.Now().Add(snapshotTimeout)); err != nil {
		return err
	}
	_, err := f.c.Write(b)
	return err
}
