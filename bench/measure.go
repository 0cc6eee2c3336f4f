package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"kelek/bench/load"
	"kelek/resp/client"
)

// meter reads what the processes of a system have used before and after a measurement.
type meter struct {
	servers       []server
	targets       []string // addresses that get the load
	password      string
	before, after reading
}

// reading is one look at all of them. A process that cannot be looked at is absent.
type reading struct {
	own     *load.Usage
	servers map[string]load.Usage
	syncs   map[string]float64
}

func (m *meter) read() reading {
	r := reading{servers: map[string]load.Usage{}, syncs: map[string]float64{}}
	for _, s := range m.servers {
		if u, err := load.UsageOf(s.pid); err == nil && s.pid != 0 {
			r.servers[s.name] = u
		}
	}
	if own, err := load.UsageOf(os.Getpid()); err == nil {
		r.own = &own
	}
	return r
}

// readSyncs asks every node for its count of syncs. Rivals do not tell.
func (m *meter) readSyncs(to *reading) {
	for _, s := range m.servers {
		if count, known := fsyncsOf(s.addr, m.password); known {
			to.syncs[s.name] = count
		}
	}
}

func fsyncsOf(addr, password string) (float64, bool) {
	dialer := client.Dialer{Addrs: []string{addr}, Password: password, Timeout: askTimeout}
	conn, err := dialer.Dial()
	if err != nil {
		return 0, false
	}
	defer conn.Close() // only asked
	reply, err := conn.Do("INFO", "raft")
	if err != nil || reply.Err() != nil {
		return 0, false
	}
	count, err := strconv.ParseFloat(client.ParseInfo(reply.Text)["raft_fsync_count"], 64)
	return count, err == nil
}

// begin asks before it looks at the processes, end the other way round: what asking costs is not
// measured.
func (m *meter) begin() {
	asked := reading{syncs: map[string]float64{}}
	m.readSyncs(&asked)
	m.before = m.read()
	m.before.syncs = asked.syncs
}

func (m *meter) end() {
	m.after = m.read()
	m.readSyncs(&m.after)
}

// cost divides what was used by the number of commands.
func (m *meter) cost(commands int64) load.Cost {
	var c load.Cost
	if commands == 0 {
		return c
	}
	if m.before.own != nil && m.after.own != nil {
		c.ClientCPU = ref(micros(m.after.own.CPU-m.before.own.CPU) / float64(commands))
	}
	c.Syncs = m.syncs(float64(commands))
	for _, s := range m.servers {
		p, known := m.process(s, float64(commands))
		if !known {
			c.Processes = nil // a sum without one process would look like a cheap system
			return c
		}
		c.Processes = append(c.Processes, p)
	}
	c.ServerCPU, c.Written = ref(0.0), ref(0.0)
	for _, p := range c.Processes {
		*c.ServerCPU += p.CPU
		if c.Written != nil && p.Written != nil {
			*c.Written += *p.Written
		} else {
			c.Written = nil
		}
	}
	return c
}

func (m *meter) process(s server, commands float64) (load.Process, bool) {
	before, is := m.before.servers[s.name]
	after, still := m.after.servers[s.name]
	p := load.Process{Name: s.name, PID: s.pid, CPU: micros(after.CPU-before.CPU) / commands}
	p.Target = slices.Contains(m.targets, s.addr)
	p.Resident, p.ResidentMax = known(after.Resident), known(after.ResidentMax)
	if bytes, err := diskUse(s.dir); err == nil && s.dir != "" {
		p.Disk = &bytes
	}
	if before.WrittenBytes >= 0 && after.WrittenBytes >= 0 {
		p.Written = ref(float64(after.WrittenBytes-before.WrittenBytes) / commands)
	}
	return p, is && still
}

// syncs is nil unless every node has told its count twice.
func (m *meter) syncs(commands float64) *float64 {
	sum := 0.0
	for _, s := range m.servers {
		before, is := m.before.syncs[s.name]
		after, still := m.after.syncs[s.name]
		if !is || !still {
			return nil
		}
		sum += after - before
	}
	return ref(sum / commands)
}

// known is nil for the -1 of what is not known.
func known(bytes int64) *int64 {
	if bytes < 0 {
		return nil
	}
	return &bytes
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func ref[T any](value T) *T { return &value }

// measure puts one load on a system.
func (s *system) measure(ctx context.Context, o load.Options, round int) (load.Row, error) {
	addrs, err := s.target(ctx)
	if err != nil {
		return load.Row{}, err
	}
	m := &meter{servers: s.servers, targets: addrs, password: s.password}
	o.Addrs, o.Protocol, o.Password = addrs, s.protocol, s.password
	o.Begin, o.End = m.begin, m.end
	row := load.NewRow(s.name, len(s.servers), round, &o)
	result, err := load.Run(ctx, o)
	if err != nil {
		return row, err
	}
	row.Result, row.Cost = *result, m.cost(result.Commands)
	after, err := s.target(ctx)
	if row.Moved = !slices.Equal(addrs, after); err != nil {
		return row, err
	}
	if drift, known := load.DriftOf(result.Series); known {
		row.Drift = &drift
	}
	return row, nil
}

// In what pipelines the keys are written, and how much is under way at most.
const (
	fillDepth = 64
	fillBytes = 8 << 20
)

// fill writes every key once, so that reads find values, and writes replace some.
func (s *system) fill(ctx context.Context, o load.Options) (*load.Result, error) {
	addrs, err := s.target(ctx)
	if err != nil {
		return nil, err
	}
	o.Addrs, o.Protocol, o.Password = addrs, s.protocol, s.password
	o.Command, o.Sequential, o.Every = "set", true, 0
	o.ReadShare, o.Rate, o.Warmup, o.ZipfKeys = 0, 0, 0, false
	o.Depth = max(1, min(fillDepth, fillBytes/(o.Connections*max(1, o.Sizes.Max))))
	if s.protocol == load.EtcdHTTP {
		o.Depth = 1
	}
	result, err := load.Run(ctx, o)
	if err == nil && result.Errors > 0 {
		err = fmt.Errorf("%d of %d were refused, the first: %s", result.Errors, o.Keys, result.Refusal)
	}
	return result, err
}

// residentOf is the memory of each server now; -1: not known.
func residentOf(servers []server) []int64 {
	var all []int64
	for _, s := range servers {
		resident := int64(-1)
		if u, err := load.UsageOf(s.pid); err == nil && s.pid != 0 {
			resident = u.Resident
		}
		all = append(all, resident)
	}
	return all
}

// diskUse is what the files below a directory take on the disk. A file with several names counts
// once: snapshots share files with the state. A file that is removed meanwhile does not count.
func diskUse(dir string) (int64, error) {
	total, seen := int64(0), map[fileID]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil {
			info, err = d.Info()
		}
		if errors.Is(err, fs.ErrNotExist) && path != dir {
			return nil
		}
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		id, bytes := extentOf(path, info)
		if !seen[id] {
			seen[id] = true
			total += bytes
		}
		return nil
	})
	return total, err
}

// fileID is equal for all names of one file; on systems that do not tell, it is the name.
type fileID struct {
	device, inode uint64
	name          string
}
