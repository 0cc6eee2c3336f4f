package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"kelek/bench/load"
	"kelek/resp/client"
)

// system is something that answers commands: a cluster, a rival, or a ceiling.
type system struct {
	name     string
	protocol load.Protocol
	password string // of a running one
	servers  []server
	// target is where the load goes; it is asked before each measurement, since leaders change.
	target func(ctx context.Context) ([]string, error)
	stop   func() error // nil: it was running before, or an earlier system with its servers stops them
	shared bool         // an earlier system has the same servers, and the same keys
	keys   int          // instead of what was asked for; 0: as asked
	sizes  *load.Sizes  // instead of what was asked for; nil: as asked
	filled float64      // keys per second when they were written; 0: they were not
}

// adapt is a load as this system gets it.
func (s *system) adapt(o load.Options) load.Options {
	o.Keys = cmp.Or(s.keys, o.Keys)
	if s.sizes != nil {
		o.Sizes = *s.sizes
	}
	return o
}

// ceilingName is the rival that is no rival, but what is possible at most.
const ceilingName = "ceiling"

// server is one process of a system.
type server struct {
	name, addr string
	pid        int    // 0: not on this machine, or of another user
	dir        string // of its data; empty: not known
}

// roles of --to.
const (
	toLeader    = "leader"
	toFollower  = "follower" // one of them
	toFollowers = "followers"
	toAll       = "all"
)

func needsFollower(to string) bool { return to == toFollower || to == toFollowers }

// runningSystem is servers that somebody else has started.
func runningSystem(addrs []string, password string) *system {
	s := &system{name: strings.Join(addrs, ","), protocol: load.RESP, password: password}
	for i, addr := range addrs {
		s.servers = append(s.servers, server{name: fmt.Sprintf("node%d", i+1), addr: addr,
			pid: load.Listener(addr)})
	}
	return s
}

// each is one system for each role that gets the load, all with the same servers.
func (s *system) each(roles []string) []*system {
	var all []*system
	var addrs []string
	for _, server := range s.servers {
		addrs = append(addrs, server.addr)
	}
	for i, to := range roles {
		c := *s
		if to != toLeader {
			c.name += " via " + to
		}
		if c.shared = i > 0; c.shared {
			c.stop = nil
		}
		c.target = func(ctx context.Context) ([]string, error) {
			return kelekTarget(ctx, addrs, s.password, to)
		}
		all = append(all, &c)
	}
	return all
}

// kelekTarget finds the nodes with a role. Servers that are not of kelek have none: all are used.
func kelekTarget(ctx context.Context, addrs []string, password, to string) ([]string, error) {
	if to == toAll {
		return addrs, nil
	}
	for begin := time.Now(); ; {
		var leaders, followers []string
		dialer := client.Dialer{Password: password, Timeout: askTimeout}
		for _, addr := range addrs {
			info, err := dialer.AskInfo(addr)
			switch {
			case err != nil:
			case info.Leading():
				leaders = append(leaders, addr)
			default:
				followers = append(followers, addr)
			}
		}
		switch {
		case to == toLeader && len(leaders) == 1:
			return leaders, nil
		case to == toFollowers && len(leaders) == 1 && len(followers) > 0:
			return followers, nil
		case to == toFollower && len(leaders) == 1 && len(followers) > 0:
			return followers[:1], nil
		case len(leaders)+len(followers) == 0 && to == toLeader, to == toLeader && len(addrs) == 1:
			return addrs, nil // some other server, or a part of a cluster
		case time.Since(begin) > startLimit:
			return nil, fmt.Errorf("no %s among %s within %s; --to all uses every address", to,
				strings.Join(addrs, " "), startLimit)
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// startKelek starts a cluster of n nodes for a measurement.
func startKelek(ctx context.Context, dir, name string, n int) (*system, *Cluster, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	c, err := NewCluster(filepath.Join(dir, name), binary, n)
	if err != nil {
		return nil, nil, err
	}
	if err = c.StartAll(); err == nil {
		_, _, err = c.WaitLeader(ctx, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(err, c.KillAll())
	}
	return &system{name: name, protocol: load.RESP, stop: c.KillAll, servers: serversOf(c)}, c, nil
}

func serversOf(c *Cluster) []server {
	var servers []server
	for _, n := range c.Nodes {
		servers = append(servers, server{n.Name, n.Addr(), n.Process.PID, c.dataPath(n)})
	}
	return servers
}

// rival is a system of --against, and the program and the Debian package it needs.
type rival struct {
	name, program, pkg string
	start              func(ctx context.Context, dir string) (*system, error)
}

var rivals = []rival{
	{"redis-aof", "redis-server", "redis-server",
		func(ctx context.Context, dir string) (*system, error) {
			return startRedis(ctx, dir, "redis-aof", "--appendonly", "yes", "--appendfsync", "always")
		}},
	{"redis-memory", "redis-server", "redis-server",
		func(ctx context.Context, dir string) (*system, error) {
			return startRedis(ctx, dir, "redis-memory", "--appendonly", "no")
		}},
	{"etcd", "etcd", "etcd-server", startEtcd},
	{ceilingName, "", "", startAnswerer},
}

// everyRival replaces "redis", which means both of its forms, and leaves each name once.
func everyRival(names []string) []string {
	var all []string
	for _, name := range names {
		forms := []string{name}
		if name == "redis" {
			forms = []string{"redis-aof", "redis-memory"}
		}
		for _, form := range forms {
			if !slices.Contains(all, form) {
				all = append(all, form)
			}
		}
	}
	return all
}

func findRival(name string) (*rival, error) {
	names := []string{"redis"}
	for i := range rivals {
		if rivals[i].name == name {
			return &rivals[i], nil
		}
		names = append(names, rivals[i].name)
	}
	return nil, fmt.Errorf("--against %s: not one of %s", name, strings.Join(names, ", "))
}

// checkRivals says what is missing, before anything is started.
func checkRivals(names []string) error {
	var failures []error
	for _, name := range everyRival(names) {
		r, err := findRival(name)
		if err == nil && r.program != "" {
			if _, missing := exec.LookPath(r.program); missing != nil {
				err = fmt.Errorf("--against %s: %s is not installed; on Debian: apt-get install %s", name,
					r.program, r.pkg)
			}
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// startRivals starts what was named.
func startRivals(ctx context.Context, dir string, names []string) ([]*system, error) {
	var systems []*system
	for _, name := range everyRival(names) {
		r, err := findRival(name)
		var s *system
		if err == nil {
			s, err = r.start(ctx, dir)
		}
		if err != nil {
			return nil, errors.Join(err, stopSystems(systems))
		}
		systems = append(systems, s)
	}
	return systems, nil
}

func stopSystems(systems []*system) error {
	var failures []error
	for _, s := range systems {
		if s.stop != nil {
			failures = append(failures, s.stop())
		}
	}
	return errors.Join(failures...)
}

// systemPorts finds n free ports. Somebody else may take one before the server does, which then
// ends, and its log says so.
func systemPorts(n int) ([]int, error) {
	var ports []int
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close() // after all were found, so that they differ
		ports = append(ports, ln.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// launch is the processes of a rival.
type launch struct {
	system
	logs      string
	processes []process
}

func newLaunch(dir, name string) (*launch, error) {
	l := &launch{logs: filepath.Join(dir, name)}
	l.name = name
	l.stop = l.kill
	return l, os.MkdirAll(l.logs, 0o700)
}

// add starts one process, which keeps its data in dir.
func (l *launch) add(name, addr, dir, program string, args ...string) error {
	p, err := spawn(program, args, nil, filepath.Join(l.logs, name+".log"))
	if err != nil {
		return err
	}
	l.processes = append(l.processes, p)
	l.servers = append(l.servers, server{name, addr, p.PID, dir})
	return nil
}

func (l *launch) kill() error {
	var failures []error
	for _, p := range l.processes {
		if err := p.signal(sigKill); err != nil && !errors.Is(err, os.ErrProcessDone) {
			failures = append(failures, err)
		} else if !p.waitGone(killTimeout) {
			failures = append(failures, fmt.Errorf("process %d still runs %s after SIGKILL", p.PID,
				killTimeout))
		}
	}
	return errors.Join(failures...)
}

// await waits until a condition holds, while all processes live.
func (l *launch) await(ctx context.Context, ready func() error) error {
	for begin := time.Now(); ; {
		err := ready()
		if err == nil {
			return nil
		}
		for i, p := range l.processes {
			if !p.alive() {
				return fmt.Errorf("%s has ended: %s", l.name,
					lastLine(filepath.Join(l.logs, l.servers[i].name+".log")))
			}
		}
		if time.Since(begin) > startLimit {
			return fmt.Errorf("%s is not ready after %s: %w", l.name, startLimit, err)
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// finish waits and returns the system, or ends what was started.
func (l *launch) finish(ctx context.Context, ready func() error) (*system, error) {
	if err := l.await(ctx, ready); err != nil {
		return nil, errors.Join(err, l.kill())
	}
	return &l.system, nil
}

// single starts a server of one process that speaks RESP.
func single(ctx context.Context, dir, name, program string, args func(port int) []string) (*system,
	error) {
	ports, err := systemPorts(1)
	if err != nil {
		return nil, err
	}
	l, err := newLaunch(dir, name)
	if err != nil {
		return nil, err
	}
	addr := loopback(ports[0])
	l.target = func(context.Context) ([]string, error) { return []string{addr}, nil }
	if err := l.add(name, addr, l.logs, program, args(ports[0])...); err != nil {
		return nil, err
	}
	return l.finish(ctx, func() error {
		conn, err := client.Dial(addr, askTimeout)
		if err != nil {
			return err
		}
		defer conn.Close() // only asked
		reply, err := conn.Do("PING")
		return errors.Join(err, reply.Err())
	})
}

func startRedis(ctx context.Context, dir, name string, durability ...string) (*system, error) {
	data, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	return single(ctx, dir, name, "redis-server", func(port int) []string {
		return append([]string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "",
			"--dir", data}, durability...)
	})
}

// startAnswerer starts this program as a server that does nothing but answer.
func startAnswerer(ctx context.Context, dir string) (*system, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return single(ctx, dir, ceilingName, binary, func(port int) []string {
		return []string{"bench", "answer", "--listen", loopback(port)}
	})
}
