package daemon

import (
	"kelek/resp"
	"kelek/resp/command"
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
		Logger:        d.logger,
		Shared:        shared,
	}
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
