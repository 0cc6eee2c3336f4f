package config

import (
	"fmt"

	"github.com/alecthomas/kong"
)

// Description is the first line of --help.
const Description = "A strongly consistent, replicated key-value store that speaks the Redis " +
	"protocol."

// Newcomer is what `kelek` alone prints: the handful of commands of the first five minutes.
const Newcomer = `kelek: a strongly consistent, replicated key-value store that speaks the Redis protocol.

  kelek demo                   three real nodes, load, kill -9, and a proof that nothing was lost
  kelek serve                  one durable node on 127.0.0.1:6380, data in ./kelek-data
  kelek cli SET hello world    send a command (stock redis-cli -p 6380 works as well)
  kelek local up 3             a cluster in the background: kelek local kill leader, status, down
  kelek status                 is it healthy, and how many more failures does it survive

  kelek --help                 all commands; kelek serve --help has every setting
`

const serveExamples = `
Examples:
  One durable node for this machine:
    kelek serve

  Three nodes, the same --peers on each; start them in any order:
    kelek serve --id n1 --listen 10.0.0.1:6380 \
      --peers n1=10.0.0.1:7380,n2=10.0.0.2:7380,n3=10.0.0.3:7380

  One more machine for a cluster that runs: it becomes a voter when it has caught up:
    kelek serve --id n4 --listen 10.0.0.4:6380 --join 10.0.0.1:7380,10.0.0.2:7380

  In a container, where the address to listen on is not the one that others dial:
    kelek serve --listen 0.0.0.0:6380 --advertise db1.example.org:6380 \
      --requirepass-file /run/secrets/kelek

Exit codes: 0 clean stop, 1 unexpected, 2 usage, 3 address in use, 4 directory locked, 5 disk full,
  64 wrong cluster or name, 65 corruption, 66 removed, 67 newer data, 68 configuration invalid.
`

// Help prints kong's help, and whole examples after that of serve.
func Help(options kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	if selected := ctx.Selected(); selected != nil && selected.Name == "serve" {
		_, err := fmt.Fprint(ctx.Stdout, serveExamples)
		return err
	}
	return nil
}
