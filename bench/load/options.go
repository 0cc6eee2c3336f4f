package load

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Commands are the kinds of load. "get" and "set" work on the same keys, the others on their own,
// because INCR needs numbers and APPEND lets values grow.
var commandNames = []string{"set", "get", "incr", "append", "mset", "multi", "ping"}

// Limits of what one generator does; all far above what one machine answers.
const (
	connectionsMax = 10_000
	depthMax       = 10_000
	msetKeysMax    = 10_000
	multiSetsMax   = 10_000
	keysMax        = 1_000_000_000_000 // keys are written with 12 digits
	threadsMax     = 64
)

// Options is one load. The zero value of a field that says so means its default.
type Options struct {
	Addrs       []string      // connections are spread over them
	Protocol    Protocol      // RESP or EtcdHTTP
	Password    string        // sent by AUTH when not empty; RESP only
	Connections int           // at least 1
	Depth       int           // commands of a pipeline; at least 1
	Command     string        // set, get, incr, append, mset, multi, ping
	ReadShare   float64       // of GETs among the commands, 0 to 1
	MsetKeys    int           // pairs of one MSET; 0: 10
	MultiSets   int           // SETs between MULTI and EXEC; 0: 10
	Keys        int           // number of different keys; at least 1
	ZipfKeys    bool          // low numbers are frequent; else all equally
	Sequential  bool          // keys in order, each once: Keys commands in all, however long it takes
	Sizes       Sizes         // of values
	Rate        float64       // commands per second, all connections together; 0: closed loop
	Warmup      time.Duration // before anything is measured
	For         time.Duration // measured
	Timeout     time.Duration // of a connect and of the wait for one reply; 0: 15 s
	Seed        uint64        // equal seeds give equal commands
	Threads     int           // event loops; 0: 1

	// Begin and End are called when the measured time begins and ends; nil: nothing to do.
	Begin, End func()
	// Progress is called after each interval of the measured time, and may add to what is kept of it;
	// nil: nobody watches.
	Progress func(*Interval)
	Every    time.Duration // length of an interval; 0: 1 s
}

func (o *Options) validate() error {
	o.MsetKeys = orDefault(o.MsetKeys, 10)
	o.MultiSets = orDefault(o.MultiSets, 10)
	o.Every = orDefault(o.Every, time.Second)
	o.Threads = orDefault(o.Threads, 1)
	o.Timeout = orDefault(o.Timeout, 15*time.Second)
	o.Command = strings.ToLower(o.Command)
	if !slices.Contains(commandNames, o.Command) {
		return fmt.Errorf("command %q is not one of %s", o.Command, strings.Join(commandNames, ", "))
	}
	for _, limit := range []struct {
		name           string
		value, low, up int
	}{
		{"connections", o.Connections, 1, connectionsMax},
		{"pipeline", o.Depth, 1, depthMax},
		{"keys of an MSET", o.MsetKeys, 1, msetKeysMax},
		{"SETs of a MULTI", o.MultiSets, 1, multiSetsMax},
		{"keys", o.Keys, 1, keysMax},
		{"threads", o.Threads, 1, min(threadsMax, 4*runtime.NumCPU())},
		{"addresses", len(o.Addrs), 1, connectionsMax},
	} {
		if limit.value < limit.low || limit.value > limit.up {
			return fmt.Errorf("%s: %d is not between %d and %d", limit.name, limit.value, limit.low,
				limit.up)
		}
	}
	if o.ReadShare < 0 || o.ReadShare > 1 {
		return fmt.Errorf("read share: %g is not between 0 and 1", o.ReadShare)
	}
	if o.Every < 0 {
		return fmt.Errorf("interval %s: it may not be negative", o.Every)
	}
	if o.Rate < 0 || o.For <= 0 && !o.Sequential || o.Warmup < 0 {
		return fmt.Errorf("rate %g, warm-up %s and duration %s: none may be negative, and the "+
			"duration not zero", o.Rate, o.Warmup, o.For)
	}
	return o.Protocol.supports(o)
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// batch is how many SETs one command stands for; 0: it is a single command by its nature.
func (o *Options) batch() int {
	switch o.Command {
	case "mset":
		return o.MsetKeys
	case "multi":
		return o.MultiSets
	}
	return 0
}

// kind is that of the commands which are not a share of reads.
func (o *Options) kind() int {
	if o.Command == "get" || o.Command == "ping" {
		return reads
	}
	return writes
}

// Check says what is wrong with a load before it is started. Addrs may still be missing.
func (o Options) Check() error {
	o.Addrs = []string{"later"}
	return o.validate()
}
