package transport

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// library is a SnapshotSource in memory.
type library struct {
	files map[string][]byte
	gate  chan struct{} // not nil: reading waits for its end
	ctx   context.Context
	stop  context.CancelFunc

	lock  sync.Mutex
	begun int
	ends  []error
	sent  int64
}

const testSnapshot = 77

func newLibrary(sizes ...int) *library {
	l := &library{files: map[string][]byte{}}
	l.ctx, l.stop = context.WithCancel(context.Background())
	random := rand.New(rand.NewPCG(1, 2))
	for i, size := range sizes {
		data := make([]byte, size)
		for j := range data {
			data[j] = byte(random.Uint32())
		}
		l.files[fmt.Sprintf("%03d.sst", i)] = data
	}
	return l
}

func (l *library) list() (files []wire.SnapshotFile) {
	for name, data := range l.files {
		files = append(files, wire.SnapshotFile{Name: name, Bytes: int64(len(data))})
	}
	slices.SortFunc(files, func(a, b wire.SnapshotFile) int { return cmp.Compare(a.Name, b.Name) })
	return files
}

func (l *library) BeginSnapshot(_ raftcore.NodeID, id uint64) (context.Context,
	[]wire.SnapshotFile, error) {
	if id != testSnapshot {
		return nil, nil, fmt.Errorf("%w: number %d", wire.ErrNoSnapshot, id)
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	l.begun++
	return l.ctx, l.list(), nil
}

func (l *library) OpenSnapshotFile(_ uint64, name string) (op.SnapshotReader, error) {
	if l.gate != nil {
		<-l.gate
	}
	return libraryFile{bytes.NewReader(l.files[name])}, nil
}

func (l *library) EndSnapshot(_ raftcore.NodeID, _ uint64, sentBytes int64, why error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.ends = append(l.ends, why)
	l.sent += sentBytes
}

// ended waits for the end of n streams, and returns the last reason.
func (l *library) ended(t *testing.T, n int) error {
	t.Helper()
	var why error
	eventually(t, fmt.Sprintf("the end of %d streams", n), func() bool {
		l.lock.Lock()
		defer l.lock.Unlock()
		if len(l.ends) > 0 {
			why = l.ends[len(l.ends)-1]
		}
		return len(l.ends) >= n
	})
	return why
}

func (l *library) begins() int {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.begun
}

type libraryFile struct{ *bytes.Reader }

func (libraryFile) Close() error { return nil }

// shelfStage is an op.Stage in memory that insists on what op.Stage says.
type shelfStage struct {
	t     *testing.T
	files []wire.SnapshotFile
	have  map[string][]byte
	done  map[string]bool
	flip  bool // the next Write goes wrong on its way to the disk
	fail  error
	wrote atomic.Int64
}

func (s *shelfStage) begin(files []wire.SnapshotFile) (op.Stage, error) {
	if s.have == nil {
		s.have, s.done = map[string][]byte{}, map[string]bool{}
	}
	s.files = slices.Clone(files)
	return s, s.fail
}

func (s *shelfStage) Next() (name string, offset int64, done bool) {
	for _, f := range s.files {
		if !s.done[f.Name] {
			return f.Name, int64(len(s.have[f.Name])), false
		}
	}
	return "", 0, true
}

func (s *shelfStage) Write(name string, offset int64, p []byte) error {
	if want, at, _ := s.Next(); want != name || at != offset {
		s.t.Errorf("%s at %d arrives, wanted %s at %d", name, offset, want, at)
	}
	s.have[name] = append(s.have[name], p...)
	if s.flip {
		s.flip = false
		s.have[name][offset] ^= 1
	}
	s.wrote.Add(int64(len(p)))
	return nil
}

func (s *shelfStage) FinishFile(name string, sum uint32) error {
	if crc32.Checksum(s.have[name], castagnoli) != sum {
		delete(s.have, name)
		return op.ErrChecksum
	}
	s.done[name] = true
	return nil
}

func (s *shelfStage) Complete() error { return nil }
func (s *shelfStage) Abort() error    { return nil }
func (s *shelfStage) Close() error    { return nil }

func (s *shelfStage) equals(l *library) {
	s.t.Helper()
	for name, data := range l.files {
		if !s.done[name] || !bytes.Equal(s.have[name], data) {
			s.t.Errorf("%s: %d of %d bytes, or others", name, len(s.have[name]), len(data))
		}
	}
}

// snapshotPair is n1, which has a library, and n2, which wants what is in it.
func snapshotPair(t *testing.T, l *library, rate int64,
	dial func(context.Context, string) (net.Conn, error)) (a, b *testNode) {
	t.Helper()
	la, lb := listen(t), listen(t)
	build := func(id int, l net.Listener, o Options) *testNode {
		r := &recorder{hello: wire.Hello{Protocol: 1, ClusterID: testCluster, Boot: 1,
			NodeID: raftcore.NodeID(id), Name: fmt.Sprintf("n%d", id), PeerAddr: l.Addr().String()}}
		o.Listener = l
		tr, err := New(o, r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tr.Close() })
		return &testNode{r, tr, l.Addr().String()}
	}
	a = build(1, la, Options{Snapshots: l, SnapshotRate: rate})
	b = build(2, lb, Options{Dial: dial})
	b.SetPeers([]op.Member{memberAt(1, a.addr)})
	return a, b
}

func fetchInTime(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestSnapshotArrivesWhole(t *testing.T) {
	l := newLibrary(0, 1, snapshotChunkBytesMax, snapshotChunkBytesMax+1,
		3*snapshotChunkBytesMax+17, 0)
	a, b := snapshotPair(t, l, 0, nil)
	b.seen(t, "connections", 1, func() int { return count(b.heard, "+n1") })
	s := &shelfStage{t: t}
	if err := b.FetchSnapshot(fetchInTime(t), 1, testSnapshot, s.begin); err != nil {
		t.Fatal(err)
	}
	s.equals(l)
	if why := l.ended(t, 1); why != nil {
		t.Errorf("the sender says %v", why)
	}
	if l.sent != s.wrote.Load() {
		t.Errorf("sent %d bytes, written %d", l.sent, s.wrote.Load())
	}
	// A stream is no sign of presence, and its end is none of absence.
	if count(b.heard, "-1") != 0 || count(a.heard, "+n2") > 1 || count(a.heard, "-2") != 0 {
		t.Errorf("heard %q and %q", a.heard, b.heard)
	}
	if failures := len(a.failures) + len(b.failures); failures != 0 {
		t.Errorf("reports %q %q", a.failures, b.failures)
	}
	// What is complete is not sent again.
	if err := b.FetchSnapshot(fetchInTime(t), 1, testSnapshot, s.begin); err != nil {
		t.Fatal(err)
	}
	l.ended(t, 2)
	if l.sent != s.wrote.Load() {
		t.Errorf("sent %d bytes in all, wanted %d", l.sent, s.wrote.Load())
	}
}

// brittle breaks after so many bytes were read from it.
type brittle struct {
	net.Conn
	left *atomic.Int64
}

func (c brittle) Read(p []byte) (int, error) {
	left := c.left.Load()
	if left <= 0 {
		c.Conn.Close()
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), left)])
	c.left.Add(-int64(n))
	return n, err
}

// The stage refuses bytes that it has, so going on means at the byte where it ended.
func TestBrokenStreamGoesOnWhereItEnded(t *testing.T) {
	l := newLibrary(700_000, 0, 500_000, 1_300_000)
	var left atomic.Int64
	var fragile atomic.Bool
	_, b := snapshotPair(t, l, 0, func(ctx context.Context, addr string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil && fragile.Load() {
			c = brittle{c, &left}
		}
		return c, err
	})
	eventually(t, "a connection", func() bool { return b.connected(1) })
	fragile.Store(true)
	s := &shelfStage{t: t}
	broken := 0
	for {
		left.Store(300_000 + int64(broken)*7777)
		err := b.FetchSnapshot(fetchInTime(t), 1, testSnapshot, s.begin)
		if err == nil {
			break
		}
		if broken++; broken > 20 {
			t.Fatalf("no progress: %v", err)
		}
	}
	s.equals(l)
	if broken < 5 {
		t.Errorf("broken only %d times", broken)
	}
	if s.wrote.Load() != 2_500_000 {
		t.Errorf("%d bytes were staged for 2500000", s.wrote.Load())
	}
}

// A bit that flips between the wire and the disk costs one file, not the snapshot.
func TestFileWithAWrongChecksumStartsOver(t *testing.T) {
	l := newLibrary(100_000, 400_000)
	_, b := snapshotPair(t, l, 0, nil)
	s := &shelfStage{t: t, flip: true}
	err := b.FetchSnapshot(fetchInTime(t), 1, testSnapshot, s.begin)
	if !errors.Is(err, op.ErrChecksum) {
		t.Fatalf("error %v", err)
	}
	if err := b.FetchSnapshot(fetchInTime(t), 1, testSnapshot, s.begin); err != nil {
		t.Fatal(err)
	}
	s.equals(l)
	if s.wrote.Load() != 600_000 {
		t.Errorf("%d bytes were staged, wanted the first file twice", s.wrote.Load())
	}
}

func TestReceiverGivesUp(t *testing.T) {
	l := newLibrary(1000, 1000)
	l.gate = make(chan struct{})
	_, b := snapshotPair(t, l, 0, nil)
	ctx, cancel := context.WithCancelCause(context.Background())
	over := errors.New("another term")
	result := make(chan error, 1)
	go func() { result <- b.FetchSnapshot(ctx, 1, testSnapshot, (&shelfStage{t: t}).begin) }()
	eventually(t, "the stream", func() bool { return l.begins() == 1 })
	cancel(over)
	if err := <-result; !errors.Is(err, over) {
		t.Errorf("error %v", err)
	}
	close(l.gate)
	l.ended(t, 1)
}

func TestSenderGivesUp(t *testing.T) {
	l := newLibrary(1000, 1000)
	l.gate = make(chan struct{})
	a, b := snapshotPair(t, l, 0, nil)
	result := make(chan error, 1)
	go func() {
		result <- b.FetchSnapshot(fetchInTime(t), 1, testSnapshot, (&shelfStage{t: t}).begin)
	}()
	eventually(t, "the stream", func() bool { return l.begins() == 1 })
	l.stop()
	if err := <-result; err == nil || errors.Is(err, wire.ErrNoSnapshot) {
		t.Errorf("error %v: it may come again", err)
	}
	close(l.gate)
	if why := l.ended(t, 1); why == nil {
		t.Error("the sender takes it for complete")
	}
	a.seen(t, "reports", 1, func() int { return count(a.failures, "send a snapshot: the snapshot was given up") })
}

// Close ends streams on both sides, and waits for them.
func TestCloseEndsStreams(t *testing.T) {
	l := newLibrary(1 << 20)
	a, b := snapshotPair(t, l, SnapshotRateMin, nil) // 16 s
	result := make(chan error, 1)
	s := &shelfStage{t: t}
	go func() { result <- b.FetchSnapshot(context.Background(), 1, testSnapshot, s.begin) }()
	eventually(t, "some bytes", func() bool { return s.wrote.Load() > 0 })
	a.Close()
	if err := <-result; err == nil {
		t.Error("a snapshot is complete that was not sent")
	}
	l.ended(t, 1)
	a.streams.mu.Lock()
	defer a.streams.mu.Unlock()
	if len(a.streams.conns) != 0 {
		t.Errorf("streams %v", a.streams.conns)
	}
}

func TestSnapshotRefusals(t *testing.T) {
	l := newLibrary(10)
	_, b := snapshotPair(t, l, 0, nil)
	s := &shelfStage{t: t}
	err := b.FetchSnapshot(fetchInTime(t), 1, 5, s.begin)
	if !errors.Is(err, wire.ErrNoSnapshot) || !strings.Contains(err.Error(), "number 5") {
		t.Errorf("an unknown snapshot: %v", err)
	}
	if err := b.FetchSnapshot(fetchInTime(t), 9, 5, s.begin); !errors.Is(err, errNoAddress) {
		t.Errorf("an unknown node: %v", err)
	}
	s.fail = errors.New("disk full")
	if err := b.FetchSnapshot(fetchInTime(t), 1, testSnapshot, s.begin); err != s.fail {
		t.Errorf("a stage that fails: %v", err)
	}
	b.lock.Lock()
	b.hello.ClusterID = [16]byte{}
	b.lock.Unlock()
	err = b.FetchSnapshot(fetchInTime(t), 1, testSnapshot, s.begin)
	if err == nil || !strings.Contains(err.Error(), errNotOurCluster.Error()) {
		t.Errorf("a node without a cluster: %v", err)
	}
	if _, err := New(Options{Listener: listen(t), SnapshotRate: 1000}, &recorder{}); err == nil {
		t.Error("a rate at which a chunk takes longer than the time-out")
	}
}

// wants is a bare receiver, n<id>, whose handshake is done.
func wants(t *testing.T, n *testNode, id int) *visitor {
	t.Helper()
	v := visit(t, n)
	h := wire.Hello{Protocol: 1, NodeID: raftcore.NodeID(id), Name: fmt.Sprint("n", id), Boot: 1,
		ClusterID: testCluster, PeerAddr: fmt.Sprint("x:", id)}
	v.say(appendPurpose(appendPreamble(nil), kindSnapshotHello, &h))
	return v
}

func (v *visitor) entered() error {
	if err := readPreamble(v); err != nil {
		return err
	}
	_, err := readHello(newFrameReader(v, helloFrameBytesMax))
	return err
}

// One receiver has one stream, the newer one; and all together there are not many.
func TestStreamsAreBounded(t *testing.T) {
	a, _ := snapshotPair(t, newLibrary(10), 0, nil)
	var first *visitor
	for i := range snapshotStreamsMax {
		v := wants(t, a, 100+i)
		if err := v.entered(); err != nil {
			t.Fatal(err)
		}
		v.say(appendRequest(nil, testSnapshot))
		if i == 0 {
			first = v
		}
	}
	err := wants(t, a, 200).entered()
	if err == nil || !strings.Contains(err.Error(), "4 snapshots are being sent already") {
		t.Errorf("one too many: %v", err)
	}
	if err := wants(t, a, 100).entered(); err != nil {
		t.Errorf("the same receiver again: %v", err)
	}
	first.rest() // it got the files, and then an end
}

// What a receiver may not say ends its stream, with a reason.
func TestMisbehaviourOfAReceiver(t *testing.T) {
	a, _ := snapshotPair(t, newLibrary(10, 20), 0, nil)
	request := appendRequest(nil, testSnapshot)
	for name, c := range map[string]struct {
		say  []byte
		want string
	}{
		"request kind":   {frame(kindMessage, "x"), "no place here: 3 instead of 17"},
		"request length": {frame(kindSnapshotRequest, "x"), "a request of 1 bytes"},
		"too long":       {frame(kindSnapshotRequest, strings.Repeat("x", helloFrameBytesMax+1)), "out of bounds"},
		"from kind":      {append(request, request...), "no place here: 17 instead of 19"},
		"from length":    {append(request, frame(kindSnapshotFrom, "x")...), "a place of 1 bytes"},
		"from trailing": {append(request, frame(kindSnapshotFrom, strings.Repeat("\x00", 13))...),
			"1 bytes after a place"},
		"from no file": {append(request, appendWanted(nil, place{file: 2})...),
			"place 0 of file 2 is not within the 2 files"},
		"from behind":   {append(request, appendWanted(nil, place{0, 11})...), "place 11 of file 0"},
		"from negative": {append(request, appendWanted(nil, place{0, -1})...), "not within"},
	} {
		t.Run(name, func(t *testing.T) {
			v := wants(t, a, 9)
			if err := v.entered(); err != nil {
				t.Fatal(err)
			}
			v.say(c.say)
			v.rest()
			a.seen(t, "reports", 1, func() int { return count(a.failures, "n9: send a snapshot: ") })
			a.seen(t, "reports "+c.want, 1, func() int { return count(a.failures, c.want) })
		})
	}
}

// sender is a bare node n1 that says what it is told once it was asked for a snapshot.
func badSender(t *testing.T, id int, answers ...[]byte) string {
	t.Helper()
	l := listen(t)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				frames := newFrameReader(c, helloFrameBytesMax)
				if readPreamble(c) != nil {
					return
				}
				h := wire.Hello{Protocol: 1, NodeID: raftcore.NodeID(id), Name: "n1", Boot: 1,
					ClusterID: testCluster}
				if _, purpose, err := readPurpose(frames); err != nil || purpose != kindSnapshotHello {
					return
				}
				c.Write(appendHello(appendPreamble(nil), &h))
				for _, answer := range answers {
					if _, _, _, err := frames.next(); err != nil {
						return
					}
					c.Write(answer)
				}
				io.Copy(io.Discard, c)
			}()
		}
	}()
	return l.Addr().String()
}

func TestMisbehaviourOfASender(t *testing.T) {
	list := []wire.SnapshotFile{{Name: "a", Bytes: 10}, {Name: "b", Bytes: 20}}
	encode := func(files []wire.SnapshotFile, tail string) []byte {
		return frame(kindSnapshotFiles, string(wire.AppendSnapshotFiles(nil, files))+tail)
	}
	files := encode(list, "")
	chunk := func(at place, data string) []byte {
		return frame(kindSnapshotChunk, string(appendPlace(nil, at))+data)
	}
	claim := func(length uint32) []byte {
		return []byte{byte(length), byte(length >> 8), byte(length >> 16), byte(length >> 24), 0, 0, 0, 0}
	}
	for name, c := range map[string]struct {
		id      int
		answers [][]byte
		want    string
	}{
		"another node":  {3, nil, "another node answers there"},
		"refusal":       {1, [][]byte{frame(kindRefusal, "no\n")}, "refused by the peer: no?"},
		"list kind":     {1, [][]byte{frame(kindHello, "x")}, "no place here: 1 instead of 18"},
		"list rubbish":  {1, [][]byte{frame(kindSnapshotFiles, "rubbish")}, "snapshot files: "},
		"list trailing": {1, [][]byte{encode(list, "x")}, "1 bytes after a list"},
		"list path":     {1, [][]byte{encode([]wire.SnapshotFile{{Name: "../x"}}, "")}, "not the name of a file"},
		"list huge":     {1, [][]byte{claim(snapshotFilesBytesMax + 1)}, "out of bounds"},
		"chunk huge":    {1, [][]byte{files, claim(1 << 20)}, "out of bounds"},
		"chunk kind":    {1, [][]byte{files, frame(kindMessage, "x")}, "no place here: 3"},
		"chunk short":   {1, [][]byte{files, frame(kindSnapshotChunk, "x")}, "a place of 1 bytes"},
		"chunk empty":   {1, [][]byte{files, chunk(place{0, 0}, "")}, "0 bytes of file 0"},
		"chunk of b":    {1, [][]byte{files, chunk(place{1, 0}, "x")}, "1 bytes of file 1 at 0, wanted"},
		"chunk later":   {1, [][]byte{files, chunk(place{0, 1}, "x")}, "1 bytes of file 0 at 1, wanted"},
		"chunk beyond":  {1, [][]byte{files, chunk(place{0, 0}, "12345678901")}, "which has 10"},
		"sum short":     {1, [][]byte{files, frame(kindSnapshotSum, "x")}, "a checksum of 1 bytes"},
		"sum early":     {1, [][]byte{files, appendSum(nil, 0, 0)}, "there are 0 of 10 bytes"},
		"sum of b":      {1, [][]byte{files, append(chunk(place{0, 0}, "1234567890"), appendSum(nil, 1, 0)...)}, "the checksum of file 1"},
		"damaged":       {1, [][]byte{files, append(chunk(place{0, 0}, "1234567890"), appendSum(nil, 0, 1)...)}, op.ErrChecksum.Error()},
		"cut":           {1, [][]byte{files, chunk(place{0, 0}, "12345")[:12]}, "no answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newNode(t, 2, listen(t))
			b.SetPeers([]op.Member{memberAt(1, badSender(t, c.id, c.answers...))})
			ctx, cancel := context.WithCancelCause(fetchInTime(t))
			defer cancel(nil)
			begin := (&shelfStage{t: t}).begin
			if name == "cut" { // the sender stays silent: only the context ends that soon
				begin = func(files []wire.SnapshotFile) (op.Stage, error) {
					time.AfterFunc(50*time.Millisecond, func() { cancel(errors.New(c.want)) })
					return (&shelfStage{t: t}).begin(files)
				}
			}
			err := b.FetchSnapshot(ctx, 1, testSnapshot, begin)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestThrottle(t *testing.T) {
	now := time.Unix(1000, 0)
	h := throttle{bytesPerSecond: 1 << 20}
	if wait := h.reserve(now, 1<<20); wait != 0 {
		t.Errorf("the first chunk waits %s", wait)
	}
	if wait := h.reserve(now, 1<<19); wait != time.Second {
		t.Errorf("the second waits %s for the first", wait)
	}
	if wait := h.reserve(now.Add(time.Second), 1); wait != 500*time.Millisecond {
		t.Errorf("the third waits %s for the rest of the second", wait)
	}
	later := now.Add(time.Hour) // an idle hour is not saved up
	if first, second := h.reserve(later, 1<<20), h.reserve(later, 1); first != 0 || second != time.Second {
		t.Errorf("after an idle hour %s, %s", first, second)
	}
	for rate, want := range map[int64]int{0: snapshotChunkBytesMax, SnapshotRateMin: 8 << 10,
		1: snapshotChunkBytesMin, 1 << 20: 128 << 10, 1 << 30: snapshotChunkBytesMax} {
		if got := (&throttle{bytesPerSecond: rate}).chunkBytes(); got != want {
			t.Errorf("chunks of %d bytes at %d bytes/s, want %d", got, rate, want)
		}
	}
	if wait := (&throttle{}).reserve(now, 1<<40); wait != 0 {
		t.Errorf("without a limit %s", wait)
	}
}

// Every byte that is sent has reserved its time.
func TestSnapshotRateHolds(t *testing.T) {
	l := newLibrary(60_000)
	a, b := snapshotPair(t, l, 128<<10, nil)
	s := &shelfStage{t: t}
	begin := time.Now()
	if err := b.FetchSnapshot(fetchInTime(t), 1, testSnapshot, s.begin); err != nil {
		t.Fatal(err)
	}
	l.ended(t, 1)
	if reserved := a.throttle.free.Sub(begin); reserved < 457*time.Millisecond {
		t.Errorf("60000 bytes at 128 KiB/s have reserved %s", reserved)
	}
	s.equals(l)
}
