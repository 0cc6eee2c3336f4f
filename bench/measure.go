package bench

import (
	"context"
	"os"
	"strconv"
	"time"

	"kelek/bench/load"
	"kelek/resp/client"
)

// meter reads what the processes of a system have used before and after a measurement.
type meter struct {
	servers       []server
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
	if after.ResidentMax >= 0 {
		p.ResidentMax = ref(after.ResidentMax)
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

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func ref[T any](value T) *T { return &value }

// measure puts one load on a system.
func (s *system) measure(ctx context.Context, o load.Options, round int) (load.Row, error) {
	addrs, err := s.target(ctx)
	if err != nil {
		return load.Row{}, err
	}
	m := &meter{servers: s.servers, password: s.password}
	o.Addrs, o.Protocol, o.Password = addrs, s.protocol, s.password
	o.Begin, o.End = m.begin, m.end
	row := load.NewRow(s.name, len(s.servers), round, &o)
	result, err := load.Run(ctx, o)
	if err != nil {
		return row, err
	}
	row.Result, row.Cost = *result, m.cost(result.Commands)
	return row, nil
}

// fillDepth is the pipeline in which the keys are written before reads are measured.
const fillDepth = 64

// fill writes every key once, so that reads find values.
func (s *system) fill(ctx context.Context, o load.Options) error {
	addrs, err := s.target(ctx)
	if err != nil {
		return err
	}
	o.Addrs, o.Protocol, o.Password = addrs, s.protocol, s.password
	o.Command, o.Sequential = "set", true
	o.Depth, o.ReadShare, o.Rate, o.Warmup, o.ZipfKeys = fillDepth, 0, 0, 0, false
	if s.protocol == load.EtcdHTTP {
		o.Depth = 1
	}
	_, err = load.Run(ctx, o)
	return err
}
