package resp

import (
	"errors"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"kelek/resp/command"
)

// Mode is which clients a listener is for.
type Mode uint8

const (
	// Plain is for clients that know one address: commands are forwarded, and held without a leader.
	Plain Mode = iota
	// Cluster is for clients of Redis Cluster: followers answer MOVED.
	Cluster
)

// Options of one Server.
type Options struct {
	Mode Mode
	// RedirectMoved lets a Plain listener behave as a Cluster one that names main addresses. It has
	// to be the same on all nodes.
	RedirectMoved bool
	// Advertise is host:port under which clients reach this listener; empty: its own address. It is
	// used until the cluster has a record of this node.
	Advertise string
	// Limits are used when Shared is nil.
	Limits   Limits
	Password string // empty: none is needed
	// Read is what reads promise on a connection that has not said otherwise.
	Read    command.ReadPromise
	Version string // of kelek
	Fsync   string // for INFO: always, never; empty: always
	// ConfigFile is the path that INFO names; may be empty.
	ConfigFile string
	// Config are the options of the other packages, for CONFIG GET and SET. It is not changed.
	Config []command.ConfigOption
	// StoreFacts asks the storage for what INFO says of it; nil: nothing is known of it.
	StoreFacts func() StoreFacts
	Logger     zerolog.Logger
	// Clock is for tests; nil: time.Now.
	Clock func() time.Time
	// Shared is given when several listeners of one node count together; nil: this one is alone.
	Shared *Shared
}

// StoreFacts is what INFO says of the storage, and the node's Status does not know.
type StoreFacts struct {
	BlockCacheBytes uint64
	MemtableBytes   uint64
	DiskFreeBytes   uint64
	ExpiredKeys     uint64
	OnceEntries     uint64
}

// Validate tells what is wrong with the options, naming the way out.
func (o *Options) Validate() error {
	if strings.ContainsAny(o.Password, "\r\n") {
		return errors.New("the password holds a line end: keep it on one line")
	}
	if o.Mode == Cluster && o.RedirectMoved {
		return errors.New("redirect moved is for the main listener: the cluster one redirects anyway")
	}
	if o.Shared != nil {
		return o.Shared.limits.Validate()
	}
	return o.Limits.withDefaults().Validate()
}
