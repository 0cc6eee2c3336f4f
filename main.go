// Command kelek is a strongly consistent, replicated key-value store that speaks the Redis
// protocol. This file is its command line; package node/daemon wires a serving node.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"kelek/bench"
	"kelek/node"
	"kelek/node/config"
	"kelek/node/daemon"
	"kelek/resp/client"
)

// version is the build version; a release sets it by -ldflags "-X main.version=...".
var version = "0.1.0"

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals // the second signal ends at once
		os.Exit(node.ExitUnexpected)
	}()
	os.Exit(run(ctx, os.Args[1:]))
}

// commands is the command line. Each command's Run gets what run binds.
type commands struct {
	Serve   serve                 `cmd:"" help:"Run one node. Without flags: a durable store on 127.0.0.1:6380."`
	Demo    demo                  `cmd:"" help:"Three real nodes, load, kill -9, and a proof that nothing was lost."`
	Local   bench.LocalCommands   `cmd:"" help:"A cluster on this machine, in the background."`
	Chaos   chaos                 `cmd:"" help:"Kill, pause and cut off nodes under load; PASS or FAIL by linearizability."`
	Bench   bench.BenchCommands   `cmd:"" help:"Throughput, latency and cost; clusters of several sizes, rivals, ceilings."`
	Cli     client.CliCommand     `cmd:"" help:"Send one command, or open a prompt. Output as redis-cli."`
	Status  client.StatusCommand  `cmd:"" help:"Is the cluster healthy? One line, then a table of nodes."`
	Member  client.MemberCommands `cmd:"" help:"Who is in the cluster: list, add, remove, replace, promote, demote."`
	Leader  client.LeaderCommands `cmd:"" help:"Who leads the cluster: show, transfer."`
	Version release               `cmd:"" help:"Print the version."`
}

// exit is an exit code that is no failure to report.
type exit = client.Exit

// run executes a command line and returns the exit code.
func run(ctx context.Context, args []string) int {
	if len(args) == 0 {
		fmt.Print(config.Newcomer)
		return node.ExitOK
	}
	var line commands
	ended := -1 // set by --help, which ends the parsing
	parser, err := kong.New(&line, kong.Name("kelek"), kong.Description(config.Description),
		kong.Exit(func(code int) { ended = code }), kong.Help(config.Help), kong.Bind(&line.Local),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Bind(client.Access(access)), kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		return report(err)
	}
	parsed, err := parser.Parse(args)
	switch {
	case ended >= 0:
		return ended
	case err != nil && isConfig(err):
		return report(err)
	case err != nil:
		report(fmt.Errorf("%w (see kelek --help)", err))
		return node.ExitUsage
	}
	return report(parsed.Run())
}

func isConfig(err error) bool {
	var invalid *config.Error
	return errors.As(err, &invalid)
}

// report prints an error as one line and returns the exit code.
func report(err error) int {
	var code exit
	if err == nil || errors.As(err, &code) {
		return int(code)
	}
	fmt.Fprintln(os.Stderr, "kelek: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	if isConfig(err) {
		return node.ExitConfig
	}
	return node.ExitCode(err)
}

type serve struct{ config.Serve }

func (c *serve) Run(ctx context.Context) error {
	if err := c.Resolve(os.Getenv); err != nil {
		return err
	}
	daemon.CalmRuntime()
	return daemon.Run(ctx, &c.Serve, version, daemon.NewLogger(&c.Serve, os.Stderr))
}

type demo struct {
	Keep bool   `help:"Leave the cluster running and print how to connect."`
	Seed uint64 `help:"Of the choices of the clients; 0: another one each time."`
}

func (c *demo) Run(ctx context.Context) error {
	c.Seed = cmp.Or(c.Seed, rand.Uint64())
	tour := bench.Demo{Out: os.Stdout, Version: version, Keep: c.Keep, Seed: c.Seed}
	passed, err := tour.Run(ctx)
	if err == nil && !passed {
		return exit(node.ExitUnexpected)
	}
	return err
}

type chaos struct{ bench.ChaosCommand }

func (c *chaos) Run(ctx context.Context) error {
	passed, err := c.ChaosCommand.Run(ctx, version)
	if err == nil && !passed {
		return exit(node.ExitUnexpected)
	}
	return err
}

type release struct{}

func (*release) Run() error {
	_, err := fmt.Printf("kelek %s  %s  %s/%s\n", version, runtime.Version(), runtime.GOOS,
		runtime.GOARCH)
	return err
}

// access finds the cluster for the client commands.
func access(n *client.Nodes) (*client.Dialer, error) {
	signal.Reset(os.Interrupt, syscall.SIGTERM) // a client has nothing to finish
	addrs := n.Nodes
	if len(addrs) == 0 {
		addrs = bench.LocalAddrs(bench.LocalDir)
	}
	if len(addrs) == 0 {
		addrs = []string{"127.0.0.1:6380"}
	}
	password, err := config.Password(n.RequirepassFile, os.Getenv)
	return &client.Dialer{Addrs: addrs, Password: password, Timeout: n.Timeout}, err
}
