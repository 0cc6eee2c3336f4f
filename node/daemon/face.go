package daemon

import (
	"time"

	"kelek/resp"
	"kelek/resp/command"
	"kelek/store/op"
)

func (d *Daemon) limits() resp.Limits {
	limits := resp.DefaultLimits()
	limits.MaxClients = d.settings.MaxClients
	limits.BulkBytesMax = int(d.settings.ProtoMaxBulkLen)
	return limits
}

func (d *Daemon) respOptions(mode resp.Mode, s *socket, shared *resp.Shared) resp.Options {
	return resp.Options{
		Mode:          mode,
		RedirectMoved: mode == resp.Plain && d.settings.Redirect == "moved",
		Advertise:     s.advertised,
		Password:      d.settings.Password,
		Version:       d.version,
		Fsync:         "always",
		ConfigFile:    d.settings.Config,
		Config:        d.configOptions(),
		StoreFacts:    d.storeFacts,
		Read:          d.reads(),
		Logger:        d.logger,
		Shared:        shared,
	}
}

// reads is what reads promise on a connection that does not say otherwise.
func (d *Daemon) reads() command.ReadPromise {
	switch r := d.settings.Reads; {
	case r.Lease:
		return command.ReadPromise{Level: op.ReadLease}
	case r.Stale > 0:
		return command.ReadPromise{Level: op.ReadStale, MaxAgeMs: uint64(r.Stale / time.Millisecond)}
	}
	return command.ReadPromise{}
}

// configOptions are the settings for CONFIG GET. None can be changed while the node runs.
func (d *Daemon) configOptions() []command.ConfigOption {
	var options []command.ConfigOption
	for _, s := range d.settings.Settings() {
		options = append(options, command.ConfigOption{
			Name: s.Name, Get: func() string { return s.Value },
		})
	}
	return options
}
