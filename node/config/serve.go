package config

import (
	"fmt"
	"time"

	"github.com/alecthomas/kong"
)

// Serve is the settings of one node. The tags name the flag, its environment variable and its
// default; groups order the help.
//
//nolint:lll // a tag cannot be broken
type Serve struct {
	ID  string `group:"Identity" env:"KELEK_ID" placeholder:"NAME" help:"Name of this node; fixed once the data directory has one. Default n1 for a new directory."`
	Dir string `group:"Identity" env:"KELEK_DIR" default:"./kelek-data" help:"Data directory; locked while in use."`

	Listen        string `group:"Network" env:"KELEK_LISTEN" default:"127.0.0.1:6380" help:"Redis clients connect here; any node takes any command."`
	PeerListen    string `group:"Network" env:"KELEK_PEER_LISTEN" placeholder:"HOST:PORT" help:"Other nodes connect here. Default: RESP port + 1000."`
	HTTP          string `group:"Network" name:"http" env:"KELEK_HTTP" placeholder:"HOST:PORT|off" help:"Health, status and metrics. Default: RESP port + 2000."`
	ClusterListen string `group:"Network" env:"KELEK_CLUSTER_LISTEN" placeholder:"HOST:PORT|off" help:"Redis Cluster clients connect here; followers answer MOVED. Default: RESP port + 3000."`
	Advertise     string `group:"Network" env:"KELEK_ADVERTISE" placeholder:"HOST:PORT" help:"How clients reach --listen. Needed when that is every interface (0.0.0.0)."`
	PeerAdvertise string `group:"Network" env:"KELEK_PEER_ADVERTISE" placeholder:"HOST:PORT" help:"How other nodes reach --peer-listen. Default: the own line of --peers, else --peer-listen."`
	Redirect      string `group:"Network" env:"KELEK_REDIRECT" enum:"forward,moved" default:"forward" help:"What a follower does with a command on --listen: forward, or answer MOVED."`

	Peers           string        `group:"Cluster" env:"KELEK_PEERS" placeholder:"n1=HOST:PORT,..." help:"All nodes of a new cluster with their peer addresses, the same list on each. Forms once; then only a hint."`
	Join            string        `group:"Cluster" env:"KELEK_JOIN" placeholder:"HOST:PORT,..." help:"Peer addresses of members of a cluster: a new node asks them to let it in, and never creates one."`
	Role            string        `group:"Cluster" env:"KELEK_ROLE" enum:"voter,learner" default:"voter" help:"What a node that joins becomes: a voter once it has caught up, or a learner for good, a copy for reads."`
	PromoteAfter    time.Duration `group:"Cluster" env:"KELEK_PROMOTE_AFTER" default:"2s" help:"A node that joined becomes a voter when it has kept up with the leader for this long."`
	Read            string        `group:"Cluster" env:"KELEK_READ" default:"linearizable" help:"What reads promise: linearizable; lease (the same while no clock runs off, on all nodes alike); or stale=DURATION (this node's own state if it has heard of a leader so lately)."`
	ElectionTimeout time.Duration `group:"Cluster" env:"KELEK_ELECTION_TIMEOUT" default:"500ms" help:"A silent leader is replaced after one to two of these."`
	Heartbeat       time.Duration `group:"Cluster" env:"KELEK_HEARTBEAT" default:"50ms" help:"An idle leader says that it lives this often."`

	RequestTimeout  time.Duration `group:"Limits" env:"KELEK_REQUEST_TIMEOUT" default:"10s" help:"A command waits this long for a leader or an outcome, then gets an error."`
	ShutdownTimeout time.Duration `group:"Limits" env:"KELEK_SHUTDOWN_TIMEOUT" default:"10s" help:"SIGTERM hands over and finishes what is in flight within this time."`
	LogKeepBytes    Bytes         `group:"Limits" name:"log-keep-bytes" env:"KELEK_LOG_KEEP_BYTES" default:"256mb" help:"Log that each node keeps for nodes that are down or slow; who lags behind it gets a snapshot."`
	SnapshotRate    Bytes         `group:"Limits" env:"KELEK_SNAPSHOT_RATE" default:"0" help:"Bytes per second of all snapshots that this node sends; 0: no limit."`
	MaxClients      int           `group:"Limits" name:"maxclients" env:"KELEK_MAXCLIENTS" default:"10000" help:"Client connections at once."`
	ProtoMaxBulkLen Bytes         `group:"Limits" env:"KELEK_PROTO_MAX_BULK_LEN" default:"64mb" help:"Largest argument of a command; units b, k, kb, m, mb, g, gb."`

	RequirepassFile string `group:"Security" env:"KELEK_REQUIREPASS_FILE" placeholder:"FILE" help:"File with the password that clients must send by AUTH; or set KELEK_REQUIREPASS."`

	LogLevel  string `group:"Logging" env:"KELEK_LOG_LEVEL" enum:"debug,info,warn,error" default:"info" help:"debug, info, warn or error; on standard error."`
	LogFormat string `group:"Logging" env:"KELEK_LOG_FORMAT" enum:"auto,console,json" default:"auto" help:"console, json, or auto: console on a terminal."`
	Config    string `group:"Logging" env:"KELEK_CONFIG" placeholder:"FILE" help:"File of 'name value' lines with any of these settings. A flag beats the environment beats the file."`

	// Addresses is what Resolve made of the settings above.
	Addresses Addresses `kong:"-"`
	// Password is what AUTH wants; empty: none. Set by Resolve.
	Password string `kong:"-"`
	// Reads is what Resolve made of Read.
	Reads Reads `kong:"-"`

	filePassword string // `requirepass` of the file
}

// Error is a setting that cannot work: exit code 68.
type Error struct{ text string }

func (e *Error) Error() string { return e.text }

func invalid(format string, args ...any) error {
	return &Error{"configuration: " + fmt.Sprintf(format, args...)}
}

// BeforeResolve is called by kong between the command line and the configuration file.
func (s *Serve) BeforeResolve(ctx *kong.Context) error {
	path := s.Config // from the environment
	for _, flag := range ctx.Flags() {
		if flag.Name != "config" {
			continue
		}
		if given, ok := ctx.FlagValue(flag).(string); ok && given != "" {
			path = given
		}
	}
	if path == "" {
		return nil
	}
	file, err := readFile(path, ctx.Flags())
	if err != nil {
		return err
	}
	s.filePassword = file.values[keyRequirepass]
	ctx.AddResolver(file)
	return nil
}

// Resolve completes the settings and checks them. getenv is os.Getenv.
func (s *Serve) Resolve(getenv func(string) string) error {
	if err := s.checkLimits(); err != nil {
		return err
	}
	if err := s.resolveReads(); err != nil {
		return err
	}
	if err := s.resolveAddresses(); err != nil {
		return err
	}
	return s.resolvePassword(getenv)
}

// Bounds of settings where a value beyond them would only look like it works.
const (
	heartbeatsPerElection = 4 // a lost packet or two must not start an election
	bulkBytesMin          = 1 << 20
	bulkBytesMax          = 64 << 20 // a value travels the log, and all replicas have this limit
	heartbeatMin          = time.Millisecond
	logKeepBytesMin       = 1 << 20
	snapshotRateMin       = 64 << 10 // slower, and the pauses come near the stream's time-out
)

func (s *Serve) checkLimits() error {
	switch {
	case s.Heartbeat < heartbeatMin:
		return invalid("--heartbeat %s is below %s", s.Heartbeat, heartbeatMin)
	case s.ElectionTimeout < heartbeatsPerElection*s.Heartbeat:
		return invalid("--election-timeout %s is below %d x --heartbeat %s: a lost heartbeat would "+
			"start an election; raise the one to %s or lower the other", s.ElectionTimeout,
			heartbeatsPerElection, s.Heartbeat, heartbeatsPerElection*s.Heartbeat)
	case s.RequestTimeout < 2*s.ElectionTimeout:
		return invalid("--request-timeout %s is below 2 x --election-timeout %s: commands would fail "+
			"whenever a leader is replaced; raise it to at least %s", s.RequestTimeout,
			s.ElectionTimeout, 2*s.ElectionTimeout)
	case s.PromoteAfter < 0:
		return invalid("--promote-after %s is negative", s.PromoteAfter)
	case s.ShutdownTimeout <= 0:
		return invalid("--shutdown-timeout %s must be above 0", s.ShutdownTimeout)
	case s.LogKeepBytes < logKeepBytesMin:
		return invalid("--log-keep-bytes %s is below %s: every pause would end in a snapshot",
			s.LogKeepBytes, Bytes(logKeepBytesMin))
	case s.SnapshotRate != 0 && s.SnapshotRate < snapshotRateMin:
		return invalid("--snapshot-rate %s is below %s; 0 is no limit", s.SnapshotRate,
			Bytes(snapshotRateMin))
	case s.MaxClients < 1:
		return invalid("--maxclients %d must be at least 1", s.MaxClients)
	case s.ProtoMaxBulkLen < bulkBytesMin || s.ProtoMaxBulkLen > bulkBytesMax:
		return invalid("--proto-max-bulk-len %s is outside %s to %s", s.ProtoMaxBulkLen,
			Bytes(bulkBytesMin), Bytes(bulkBytesMax))
	}
	return nil
}
