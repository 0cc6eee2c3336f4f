package daemon

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"kelek/node"
	"kelek/node/admin"
	"kelek/node/config"
	"kelek/node/transport"
	"kelek/raftcore"
	"kelek/resp"
	"kelek/store"
	"kelek/store/op"
)

// Daemon is one node with everything around it. Its fields are set by the steps, in order.
type Daemon struct {
	settings *config.Serve
	version  string
	logger   zerolog.Logger
	started  time.Time

	identity  *node.Identity
	peers     []node.Peer
	join      []string // addresses
	store     *store.Store
	sockets   sockets
	node      *node.Node
	greeter   *node.Greeter
	transport *transport.Transport
	doorman   *doorman

	processors *processors

	stopping atomic.Bool
	failed   chan error // first failure of a part that runs on its own; one slot
	closers  []closer
}

// closer undoes one step.
type closer struct {
	what  string
	close func(ctx context.Context) error
}

// Run serves until ctx ends, and then stops in order. An error is why the node could not go on;
// node.ExitCode tells the exit code.
func Run(ctx context.Context, settings *config.Serve, version string, logger zerolog.Logger) error {
	boundMemory()
	return newDaemon(settings, version, logger).serve(ctx)
}

func newDaemon(settings *config.Serve, version string, logger zerolog.Logger) *Daemon {
	return &Daemon{settings: settings, version: version, logger: logger, started: time.Now(),
		processors: newProcessors(), failed: make(chan error, 1)}
}

// serve is the whole life of a Daemon.
func (d *Daemon) serve(ctx context.Context) error {
	err := plantBug()
	if err == nil {
		err = d.start(ctx)
	}
	if err == nil {
		err = d.wait(ctx)
	}
	if interrupted(ctx, err) {
		err = nil // told to stop while it was starting
	}
	if d.identity != nil && d.identity.Removed == "" && node.ExitCode(err) == node.ExitRemoved {
		// The next start shall say the same at once, without asking anybody.
		err = errors.Join(err, d.identity.SetRemoved(err.Error()))
	}
	return errors.Join(err, d.stop())
}

// interrupted tells a stop that was asked for from a failure.
func interrupted(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, ctx.Err())
}

func (d *Daemon) start(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		d.openIdentity, d.openStore, d.listen, d.buildNode, d.connectPeers, d.serveAdmin,
		d.serveClients, d.form, d.adaptProcessors,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// onStop pushes how to undo a step.
func (d *Daemon) onStop(what string, f func(ctx context.Context) error) {
	d.closers = append(d.closers, closer{what, f})
}

// run runs a part that ends by itself only when it fails.
func (d *Daemon) run(what string, f func() error) {
	go func() {
		if err := f(); err != nil {
			d.fail(fmt.Errorf("%s: %w", what, err))
		}
	}()
}

// fail makes wait return; later failures are consequences and only logged.
func (d *Daemon) fail(err error) {
	select {
	case d.failed <- err:
	default:
		d.logger.Error().Err(err).Msg("one more failure")
	}
}

// stop closes everything, newest first, within the shutdown time-out.
func (d *Daemon) stop() error {
	d.stopping.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), d.settings.ShutdownTimeout)
	defer cancel()
	var failures []error
	for i := len(d.closers) - 1; i >= 0; i-- {
		if err := d.closers[i].close(ctx); err != nil {
			failures = append(failures, fmt.Errorf("close %s: %w", d.closers[i].what, err))
		}
	}
	if len(failures) == 0 && d.identity != nil {
		d.logger.Info().Str("node", d.identity.Name).Msg("stopped")
	}
	return errors.Join(failures...)
}

func (d *Daemon) openIdentity(context.Context) error {
	id, err := node.OpenIdentity(d.settings.Dir, d.settings.ID)
	if err != nil {
		return err
	}
	d.identity = id
	d.onStop("data directory", func(context.Context) error { return id.Close() })
	if d.peers, err = node.ParsePeers(d.settings.Peers, id.Name); err != nil {
		return err
	}
	d.join, err = node.ParseJoin(d.settings.Join)
	return err
}

func (d *Daemon) openStore(context.Context) error {
	s, err := store.Open(d.settings.Dir, store.Options{Logger: d.logger,
		Tables: d.processors.tablesWorked})
	if err != nil {
		return storageError(err)
	}
	d.store = s
	d.onStop("store", func(context.Context) error { return s.Close() })
	return nil
}

// self is this node as others shall know it.
func (d *Daemon) self() op.Member {
	return op.Member{
		ID: uint64(d.identity.NodeID), Name: d.identity.Name, Version: d.version,
		PeerAddr:    d.sockets.peer.advertised,
		Addr:        d.sockets.plain.advertised,
		ClusterAddr: d.sockets.cluster.advertised,
		Standing:    d.settings.Role == "learner",
	}
}

// leaseDrift is the bound on how much faster one clock may run than another, for --read lease: 5 %,
// which no clock of a working machine comes near.
const leaseDrift = 50

func (d *Daemon) buildNode(context.Context) error {
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return fmt.Errorf("random seed: %w", err)
	}
	self, restored := d.self(), d.store.Restored()
	d.greeter = node.NewGreeter(node.GreeterOptions{
		Identity: d.identity, PeerAddr: self.PeerAddr, Addr: self.Addr,
		ClusterAddr: self.ClusterAddr, Build: d.version, Peers: d.peers,
		Join: len(d.join) > 0, Learner: self.Standing,
		LogEmpty: restored.Last == raftcore.Pos{} && restored.Snapshot.Pos == raftcore.Pos{},
	})
	drift := 0
	if d.settings.Reads.Lease {
		drift = leaseDrift
	}
	n, err := node.New(node.Options{
		Greeter:    d.greeter,
		Reinvite:   func(c raftcore.Config) { d.greeter.Reinvite(d.transport, c) },
		LeaseDrift: drift, PromoteAfter: d.settings.PromoteAfter,
		Self: d.self(), Boot: d.identity.Boot, Seed: binary.BigEndian.Uint64(seed[:]),
		ElectionTimeout: d.settings.ElectionTimeout, Heartbeat: d.settings.Heartbeat,
		RequestTimeout: d.settings.RequestTimeout, LogKeepBytes: int64(d.settings.LogKeepBytes),
		Logger: d.logger,
	}, d.store)
	if err != nil {
		return err
	}
	d.node = n
	return nil
}

func (d *Daemon) connectPeers(context.Context) error {
	d.doorman = newDoorman(d.node, d.otherAddresses(), d.settings.Dir, d.fail)
	d.greeter.Attach(d.doorman)
	var hints []transport.Hint
	for _, p := range d.peers {
		hints = append(hints, transport.Hint(p))
	}
	for _, addr := range d.join {
		hints = append(hints, transport.Hint{Addr: addr})
	}
	t, err := transport.New(transport.Options{Listener: d.sockets.peer.take(), Hints: hints,
		Snapshots: d.node, SnapshotRate: int64(d.settings.SnapshotRate), Now: d.node.Now}, d.greeter)
	if err != nil {
		return err
	}
	d.transport = t
	d.onStop("peer connections", func(context.Context) error { return t.Close() })
	// The loop stops before its connections: it hands leadership over through them.
	d.onStop("node", d.node.Stop)
	return nil
}

func (d *Daemon) serveClients(context.Context) error {
	shared := resp.NewShared(d.limits())
	for _, face := range []struct {
		mode   resp.Mode
		socket *socket
	}{{resp.Plain, &d.sockets.plain}, {resp.Cluster, &d.sockets.cluster}} {
		if face.socket.listener == nil {
			continue
		}
		options := d.respOptions(face.mode, face.socket, shared)
		if err := options.Validate(); err != nil {
			return &node.ExitError{Code: node.ExitConfig, Err: err}
		}
		server := resp.New(options, d.node)
		listener := face.socket.take()
		d.onStop("clients", func(ctx context.Context) error { return drain(ctx, server) })
		d.run("clients", func() error { return server.Serve(listener) })
	}
	return nil
}

// drain gives clients half of what is left of the time to take their last replies; the node needs
// the rest. That some were cut off is no failure of the stop.
func drain(ctx context.Context, server *resp.Server) error {
	if deadline, is := ctx.Deadline(); is {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	if err := server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func (d *Daemon) serveAdmin(context.Context) error {
	if d.sockets.http.listener == nil {
		return nil
	}
	server, err := admin.New(admin.Options{Source: d, Version: d.version, StartedAt: d.started})
	if err != nil {
		return err
	}
	listener := d.sockets.http.take()
	d.onStop("http", server.Shutdown)
	d.run("http", func() error { return server.Serve(listener) })
	return nil
}

// Status makes Daemon an admin.Source: the node's, which says "stopping" from the first moment.
func (d *Daemon) Status() *op.Status {
	status := d.node.Status()
	if !d.stopping.Load() || status.Stopping {
		return status
	}
	changed := *status
	changed.Stopping = true
	return &changed
}

// otherAddresses is where --peers and --join say that other nodes are.
func (d *Daemon) otherAddresses() (addrs []string) {
	for _, p := range d.peers {
		if p.Name != d.identity.Name {
			addrs = append(addrs, p.Addr)
		}
	}
	for _, addr := range d.join {
		if addr != d.sockets.peer.advertised {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// form waits until this node belongs to a cluster, and starts the loop.
func (d *Daemon) form(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // a node of another cluster, or one that is out, would wait for ever
		select {
		case err := <-d.failed:
			cancel(err)
		case <-d.node.Removed():
			cancel(d.removal())
		case <-ctx.Done():
		}
	}()
	formed, err := node.Form(ctx, node.FormOptions{
		Greeter: d.greeter, Meeting: d.transport, Random: rand.Reader,
		Append: func(first raftcore.Entry) error { return node.AppendFirst(d.store, first) },
		Clock:  func() raftcore.LogTime { return raftcore.LogTime(time.Now().UnixMilli()) },
		Waiting: func(text string) {
			d.logger.Info().Str("node", d.identity.Name).Msg(text)
		},
	})
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return cause
	}
	if err != nil {
		return err
	}
	return d.node.Start(d.transport, formed)
}

// readyPoll is how often the state is looked at until it is worth a line in the log.
const readyPoll = 5 * time.Millisecond

// wait returns when ctx ends, or with the reason why the node cannot go on.
func (d *Daemon) wait(ctx context.Context) error {
	poll := time.NewTicker(readyPoll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			d.stopping.Store(true)
			d.logger.Info().Str("node", d.identity.Name).Msg("stopping: a second signal ends at once")
			return nil
		case err := <-d.failed:
			return err
		case <-d.node.Done():
			return storageError(d.node.Err())
		case <-d.node.Removed():
			return d.removal()
		case <-poll.C:
			if status := d.node.Status(); status.Leader != 0 && status.Applied != 0 {
				d.announce(status)
				poll.Stop()
			}
		}
	}
}

// removal is why a node ends that the cluster has removed.
func (d *Daemon) removal() error {
	return &node.ExitError{Code: node.ExitRemoved, Err: d.node.Removal()}
}

// announce is the line that people wait for.
func (d *Daemon) announce(status *op.Status) {
	line := d.logger.Info().Str("node", d.identity.Name).
		Str("cluster", node.ClusterName(status.ClusterID)).Str("resp", d.sockets.plain.addr)
	if d.sockets.cluster.addr != "" {
		line = line.Str("resp_cluster", d.sockets.cluster.addr)
	}
	if d.sockets.http.addr != "" {
		line = line.Str("http", d.sockets.http.addr)
	}
	line.Str("dir", filepath.Clean(d.settings.Dir)).Msg("ready")
	if !d.settings.Addresses.OnLoopback() && d.settings.Password == "" {
		d.logger.Warn().Str("resp", d.sockets.plain.addr).Msg("everybody who reaches this address " +
			"can read and write: set a password by --requirepass-file or KELEK_REQUIREPASS")
	}
}

// address is where a listener really is: port 0 was a wish.
func address(ln net.Listener) string { return ln.Addr().String() }
