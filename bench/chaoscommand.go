package bench

import (
	"cmp"
	"context"
	"math/rand/v2"
	"os"
	"time"
)

// ChaosCommand is `kelek chaos` as a command line: the tags are read by the parser that main uses.
type ChaosCommand struct {
	Nodes   int           `default:"5" help:"How many nodes, 1 to 9."`
	For     time.Duration `default:"60s" help:"How long faults strike; forming and judging come on top."`
	Seed    uint64        `help:"Of the choice of faults and of the clients' choices; 0: another one each time."`
	Faults  []string      `placeholder:"KIND" help:"Only these: kill, pause, stop, partition, reset, wipe, member."`
	Network string        `enum:"forwarders,namespaces" default:"forwarders" help:"How partitions are made. forwarders: in this process, one per link; no root is needed, but /proc is; without it partitions are left out. namespaces: real packets between network namespaces, dropped by iptables; needs Linux, root, ip, ss and iptables."`
	Keep    bool          `help:"Keep logs and data also after a pass."`
}

// Help is the end of `kelek chaos --help`.
func (*ChaosCommand) Help() string {
	return "Exit code 0 PASS, 1 FAIL. It fails when an acknowledged write is lost, a counter is not " +
		"exact, what the clients saw is not linearizable (the smallest history is printed), two " +
		"nodes differ at the end, a node ends by itself, or writes do not go on once everything is " +
		"repaired."
}

// Run returns whether the nodes passed.
func (c *ChaosCommand) Run(ctx context.Context, version string) (passed bool, err error) {
	chaos := Chaos{Out: os.Stdout, Version: version, Nodes: c.Nodes, For: c.For, Faults: c.Faults,
		Seed: cmp.Or(c.Seed, rand.Uint64()), Network: c.Network, Keep: c.Keep}
	return chaos.Run(ctx)
}
