package daemon

import (
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"

	"kelek/node/config"
	"kelek/resp/client"
)

// timeLayout has milliseconds: an election is over in fewer than a second has.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// NewLogger writes to stderr as the settings say: for people on a terminal, JSON otherwise.
func NewLogger(settings *config.Serve, stderr *os.File) zerolog.Logger {
	level, err := zerolog.ParseLevel(settings.LogLevel)
	if err != nil { // the command line knows the levels, so this is one that zerolog forgot
		level = zerolog.InfoLevel
	}
	var out io.Writer = stderr
	console := settings.LogFormat == "console" ||
		settings.LogFormat == "auto" && client.IsTerminal(stderr)
	if console {
		out = zerolog.ConsoleWriter{Out: stderr, TimeFormat: "15:04:05.000",
			NoColor: !client.IsTerminal(stderr)}
	}
	return zerolog.New(out).Level(level).Hook(stamp{})
}

// stamp adds the time; zerolog's own way of choosing a layout is a global variable.
type stamp struct{}

func (stamp) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
	e.Str(zerolog.TimestampFieldName, time.Now().Format(timeLayout))
}
