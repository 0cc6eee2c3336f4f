package load

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Row is one measurement with all that is needed to repeat it.
type Row struct {
	System      string  `json:"system"`
	Nodes       int     `json:"nodes"`
	Round       int     `json:"round"`
	Command     string  `json:"command"`
	ReadShare   float64 `json:"read_share"`
	Connections int     `json:"connections"`
	Depth       int     `json:"pipeline"`
	Batch       int     `json:"batch,omitempty"` // SETs of one MSET or MULTI
	Keys        int     `json:"keys"`
	ZipfKeys    bool    `json:"zipf_keys"`
	Sizes       string  `json:"value_bytes"`
	Rate        float64 `json:"rate"` // wanted, of an open loop; 0: closed
	Seed        uint64  `json:"seed"`
	Result      `json:"result"`
	Cost        `json:"cost"`
	// Moved says that other servers would have got the load when it ended: the leader had changed.
	Moved    bool      `json:"leader_changed,omitempty"`
	Drift    *Drift    `json:"drift,omitempty"`    // of a run of many intervals; nil: too few
	Possible *Possible `json:"possible,omitempty"` // what the ceilings allow; nil: not measured
}

// Cost is what the commands of a measurement have cost. What could not be found out is nil.
type Cost struct {
	ClientCPU *float64  `json:"client_cpu_us_per_op"`
	ServerCPU *float64  `json:"server_cpu_us_per_op"` // of all processes together
	Written   *float64  `json:"written_bytes_per_op"` // to the disks, by all processes together
	Syncs     *float64  `json:"syncs_per_op"`         // by all nodes together
	Processes []Process `json:"processes,omitempty"`
}

// Process is one process of a server.
type Process struct {
	Name        string   `json:"name"`
	PID         int      `json:"pid"`
	Target      bool     `json:"target"` // it got the load
	CPU         float64  `json:"cpu_us_per_op"`
	Written     *float64 `json:"written_bytes_per_op"`
	Resident    *int64   `json:"resident_bytes"` // when the load ended
	ResidentMax *int64   `json:"resident_bytes_max"`
	Disk        *int64   `json:"disk_bytes,omitempty"` // of its data directory when the load ended
}

// Possible is what a machine allows at most for a load, measured beside it. Zero: not measured, or it
// does not bound this load.
type Possible struct {
	// Front is what a server does that parses the commands and only answers.
	Front float64 `json:"front_ops_per_sec,omitempty"`
	// Log is what a synced log takes in batches of Group commands, on one node.
	Log float64 `json:"log_ops_per_sec,omitempty"`
	// Disk is how many commands are durable when every Group of them costs one fdatasync.
	Disk float64 `json:"disk_ops_per_sec,omitempty"`
	// Group is how many commands shared one sync of one node in the load itself.
	Group float64 `json:"commands_per_sync,omitempty"`
}

// NewRow describes a measurement that is about to be made.
func NewRow(system string, nodes, round int, o *Options) Row {
	return Row{System: system, Nodes: nodes, Round: round, Command: o.Command, ReadShare: o.ReadShare,
		Connections: o.Connections, Depth: o.Depth, Batch: o.batch(), Keys: o.Keys, ZipfKeys: o.ZipfKeys,
		Sizes: o.Sizes.String(), Rate: o.Rate, Seed: o.Seed}
}

// Workload names what was asked, equal for all systems and rounds.
func (r *Row) Workload() string {
	text := r.Command
	if r.Batch > 0 {
		text += fmt.Sprintf("/%d", r.Batch)
	}
	if r.ReadShare > 0 {
		text += fmt.Sprintf("+%g%%get", 100*r.ReadShare)
	}
	text += fmt.Sprintf(" c%d P%d", r.Connections, r.Depth)
	if r.Rate > 0 {
		text += fmt.Sprintf(" %g/s", r.Rate)
	}
	return text
}

// Footprint is what a store takes, and how long it needs to come back.
type Footprint struct {
	System        string  `json:"system"`
	Keys          int     `json:"keys"`
	DataBytes     int64   `json:"data_bytes"` // of all keys and values
	FillRate      float64 `json:"fill_ops_per_sec"`
	Resident      []int64 `json:"resident_bytes"`      // of each node after the load; -1: not known
	DiskLoaded    []int64 `json:"disk_bytes_loaded"`   // of each node when the load had ended
	DiskSettled   []int64 `json:"disk_bytes_settled"`  // when it did not change any more
	LogSettled    []int64 `json:"log_bytes_settled"`   // of that, what is kept of the replicated log
	SettleSeconds float64 `json:"settle_seconds"`      // between the two
	IdleCores     float64 `json:"idle_cores"`          // CPU of all nodes without load; -1: not known
	RestartOne    float64 `json:"restart_one_seconds"` // a follower, from its start to a read through it
	RestartAll    float64 `json:"restart_all_seconds"` // all nodes, to a write through each of them
}

// Report is a file of measurements. Fields are added, never renamed.
type Report struct {
	Program string    `json:"program"`
	Machine string    `json:"machine"`
	CPUs    int       `json:"cpus"`
	Begin   time.Time `json:"begin"`
	Rows    []Row     `json:"rows"`
	Ratios  []Ratio   `json:"ratios,omitempty"`

	Footprints []Footprint `json:"footprints,omitempty"`
}

// WriteJSON writes everything.
func (r *Report) WriteJSON(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(r)
}

// columns of the CSV form, which leaves out the series and the single processes.
var columns = []struct {
	name string
	text func(r *Row) string
}{
	{"system", func(r *Row) string { return r.System }},
	{"nodes", func(r *Row) string { return strconv.Itoa(r.Nodes) }},
	{"round", func(r *Row) string { return strconv.Itoa(r.Round) }},
	{"command", func(r *Row) string { return r.Command }},
	{"read_share", func(r *Row) string { return number(r.ReadShare) }},
	{"connections", func(r *Row) string { return strconv.Itoa(r.Connections) }},
	{"pipeline", func(r *Row) string { return strconv.Itoa(r.Depth) }},
	{"batch", func(r *Row) string { return strconv.Itoa(r.Batch) }},
	{"keys", func(r *Row) string { return strconv.Itoa(r.Keys) }},
	{"zipf_keys", func(r *Row) string { return strconv.FormatBool(r.ZipfKeys) }},
	{"value_bytes", func(r *Row) string { return r.Sizes }},
	{"rate", func(r *Row) string { return number(r.Rate) }},
	{"ops_per_sec", func(r *Row) string { return fixed(r.PerSecond, 1) }},
	{"commands", func(r *Row) string { return strconv.FormatInt(r.Commands, 10) }},
	{"errors", func(r *Row) string { return strconv.FormatInt(r.Errors, 10) }},
	{"missed", func(r *Row) string { return strconv.FormatInt(r.Missed, 10) }},
	{"mean_us", func(r *Row) string { return micros(r.Latency.Mean) }},
	{"p50_us", func(r *Row) string { return micros(r.Latency.P50) }},
	{"p90_us", func(r *Row) string { return micros(r.Latency.P90) }},
	{"p99_us", func(r *Row) string { return micros(r.Latency.P99) }},
	{"p999_us", func(r *Row) string { return micros(r.Latency.P999) }},
	{"p9999_us", func(r *Row) string { return micros(r.Latency.P9999) }},
	{"max_us", func(r *Row) string { return micros(r.Latency.Max) }},
	{"client_cpu_us_per_op", func(r *Row) string { return optional(r.ClientCPU) }},
	{"server_cpu_us_per_op", func(r *Row) string { return optional(r.ServerCPU) }},
	{"written_bytes_per_op", func(r *Row) string { return optional(r.Written) }},
	{"syncs_per_op", func(r *Row) string { return optional(r.Syncs) }},
	{"resident_bytes", func(r *Row) string { return sum(r, Process.resident) }},
	{"disk_bytes", func(r *Row) string { return sum(r, Process.disk) }},
	{"possible_front_ops_per_sec", func(r *Row) string { return possible(r, 0) }},
	{"possible_log_ops_per_sec", func(r *Row) string { return possible(r, 1) }},
	{"possible_disk_ops_per_sec", func(r *Row) string { return possible(r, 2) }},
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func fixed(f float64, digits int) string { return strconv.FormatFloat(f, 'f', digits, 64) }

func micros(d time.Duration) string { return fixed(float64(d)/1e3, 1) }

func optional(f *float64) string {
	if f == nil {
		return ""
	}
	return fixed(*f, 4)
}

func (p Process) resident() *int64 { return p.Resident }
func (p Process) disk() *int64     { return p.Disk }

// sum adds up a figure of all processes; it is empty when one of them is not known.
func sum(r *Row, figure func(Process) *int64) string {
	total := int64(0)
	for _, p := range r.Processes {
		value := figure(p)
		if value == nil {
			return ""
		}
		total += *value
	}
	if len(r.Processes) == 0 {
		return ""
	}
	return strconv.FormatInt(total, 10)
}

// possible is one of the bounds; it is empty when it was not measured.
func possible(r *Row, which int) string {
	if r.Possible == nil {
		return ""
	}
	bound := [...]float64{r.Possible.Front, r.Possible.Log, r.Possible.Disk}[which]
	if bound == 0 {
		return ""
	}
	return fixed(bound, 1)
}

// WriteCSV writes one line per measurement.
func (r *Report) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	line := make([]string, len(columns))
	for i, column := range columns {
		line[i] = column.name
	}
	if err := out.Write(line); err != nil {
		return err
	}
	for row := range r.Rows {
		for i, column := range columns {
			line[i] = column.text(&r.Rows[row])
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
