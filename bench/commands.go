package bench

import (
	"context"
	"os"
)

// LocalCommands is `kelek local` as a command line: the tags are read by the parser that main uses.
type LocalCommands struct {
	Dir string `default:"./kelek-local" help:"Where the cluster keeps its data, logs and process ids."`

	Up     localUp     `cmd:"" help:"Start N nodes, or an existing cluster again."`
	Status localStatus `cmd:"" help:"The table of nodes."`
	Kill   localKill   `cmd:"" help:"kill -9 a node (n1, n2, ... or leader)."`
	Start  localStart  `cmd:"" help:"Start a node that was killed or stopped."`
	Stop   localStop   `cmd:"" help:"Stop a node in order: it hands leadership over first."`
	Pause  localPause  `cmd:"" help:"Freeze a node (SIGSTOP), as a stalled machine would."`
	Resume localResume `cmd:"" help:"Let a frozen node go on."`
	Add    localAdd    `cmd:"" help:"Start N more nodes, which join and become voters."`
	Remove localRemove `cmd:"" help:"Remove a node from the cluster for good, and end it."`
	Down   localDown   `cmd:"" help:"Stop all nodes."`
}

func (c *LocalCommands) local() *Local { return &Local{Dir: c.Dir, Out: os.Stdout} }

type localUp struct {
	N int `arg:"" optional:"" default:"3" help:"How many nodes, 1 to 9."`
}

// Run starts the cluster. parent is bound by the parser, as in the methods below.
func (c *localUp) Run(ctx context.Context, parent *LocalCommands) error {
	return parent.local().Up(ctx, c.N)
}

type localStatus struct{}

func (*localStatus) Run(ctx context.Context, parent *LocalCommands) error {
	return parent.local().Status(ctx)
}

// oneNode is the argument of most commands.
type oneNode struct {
	Node string `arg:"" help:"n1, n2, ... or leader."`
}

type localKill struct{ oneNode }

func (c *localKill) Run(ctx context.Context, parent *LocalCommands) error {
	return parent.local().Kill(ctx, c.Node)
}

type localStart struct{ oneNode }

func (c *localStart) Run(ctx context.Context, parent *LocalCommands) error {
	return parent.local().Start(ctx, c.Node)
}

type localStop struct{ oneNode }

func (c *localStop) Run(ctx context.Context, parent *LocalCommands) error {
	return parent.local().Stop(ctx, c.Node)
}

type localPause struct{ oneNode }

func (c *localPause) Run(ctx context.Context, parent *LocalCommands) error {
	return parent.local().Pause(ctx, c.Node)
}

type localResume struct{ oneNode }

func (c *localResume) Run(ctx context.Context, parent *LocalCommands) error {
	return parent.local().Resume(ctx, c.Node)
}

type localAdd struct {
	N int `arg:"" optional:"" default:"1" help:"How many more nodes."`
}

func (c *localAdd) Run(ctx context.Context, parent *LocalCommands) error {
	return parent.local().Add(ctx, c.N)
}

type localRemove struct {
	Node string `arg:"" help:"n1, n2, ..."`
}

func (c *localRemove) Run(ctx context.Context, parent *LocalCommands) error {
	return parent.local().Remove(ctx, c.Node)
}

type localDown struct {
	Wipe bool `help:"Delete the data, too."`
}

func (c *localDown) Run(ctx context.Context, parent *LocalCommands) error {
	return parent.local().Down(ctx, c.Wipe)
}
