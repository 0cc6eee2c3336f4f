package resp

import (
	"errors"
	"math"
	"slices"
	"sort"
	"strconv"
	"time"

	"kelek/resp/command"
	"kelek/store/op"
)

// configOptions is the registry of CONFIG GET: what this package owns, what main adds, and the
// words that tools expect of Redis. The first to give a name wins.
func (s *Server) configOptions() []command.ConfigOption {
	seen := make(map[string]bool)
	var list []command.ConfigOption
	for _, o := range slices.Concat(s.ownOptions(), s.options.Config, redisOptions()) {
		if !seen[o.Name] {
			seen[o.Name] = true
			list = append(list, o)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

func fixed(name, value string) command.ConfigOption {
	return command.ConfigOption{Name: name, Get: func() string { return value }}
}

// redisOptions are true statements about this server in Redis's words.
func redisOptions() []command.ConfigOption {
	return []command.ConfigOption{
		fixed("save", ""),
		fixed("appendonly", "no"),
		fixed("maxmemory", "0"),
		fixed("maxmemory-policy", "noeviction"),
		fixed("databases", strconv.Itoa(op.Databases)),
		fixed("replica-read-only", "no"),
		fixed("slave-read-only", "no"),
		fixed("notify-keyspace-events", ""),
		fixed("latency-tracking", "no"),
		fixed("lua-time-limit", "0"),
	}
}

func (s *Server) ownOptions() []command.ConfigOption {
	l := &s.shared.limits
	password := ""
	if s.face.Password {
		password = "(redacted)"
	}
	clusterEnabled := "no"
	if s.face.Cluster {
		clusterEnabled = "yes"
	}
	return []command.ConfigOption{
		{Name: "maxclients", Get: func() string {
			return strconv.FormatInt(s.shared.maxClients.Load(), 10)
		}, Set: s.setMaxClients},
		{Name: "timeout", Get: func() string {
			return strconv.FormatInt(s.shared.idleTimeout.Load()/int64(time.Second), 10)
		}, Set: s.setTimeout},
		fixed("proto-max-bulk-len", strconv.Itoa(l.BulkBytesMax)),
		fixed("client-query-buffer-limit", strconv.Itoa(l.QueryBytesMax)),
		fixed("proto-inline-max-len", strconv.Itoa(l.InlineBytesMax)),
		fixed("proto-max-elements", strconv.Itoa(l.ElementsMax)),
		fixed("client-reply-limit", strconv.Itoa(l.ReplyBytesMax)),
		fixed("client-write-timeout-ms", strconv.FormatInt(l.WriteTimeout.Milliseconds(), 10)),
		fixed("requirepass", password),
		fixed("cluster-enabled", clusterEnabled),
		{Name: "port", Get: func() string { return strconv.Itoa(s.face.SelfPort) }},
	}
}

var errNoNumber = errors.New("argument couldn't be parsed into an integer")

var errOutOfRange = errors.New("argument must be between 1 and 1000000 inclusive")

func (s *Server) setMaxClients(value string) error {
	n, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err != nil:
		return errNoNumber
	case n < 1 || n > 1_000_000:
		return errOutOfRange
	}
	s.shared.maxClients.Store(n)
	return nil
}

var errBadTimeout = errors.New("argument must be between 0 and 2147483647 inclusive")

func (s *Server) setTimeout(value string) error {
	n, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err != nil:
		return errNoNumber
	case n < 0 || n > math.MaxInt32:
		return errBadTimeout
	}
	s.shared.idleTimeout.Store(n * int64(time.Second))
	return nil
}
