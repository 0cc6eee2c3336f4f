package client

import (
	"fmt"
	"os"
	"time"
)

// This file is the client part of the command line. The tags are read by the parser that main uses,
// which also binds Access.

// Nodes is how a command finds the cluster.
type Nodes struct {
	Nodes           []string      `env:"KELEK_NODES" placeholder:"HOST:PORT" help:"RESP addresses, tried in order. Default: those in ./kelek-local, else 127.0.0.1:6380."`
	RequirepassFile string        `env:"KELEK_REQUIREPASS_FILE" placeholder:"FILE" help:"File with the password; or set KELEK_REQUIREPASS."`
	Timeout         time.Duration `default:"15s" help:"For the connection and for each reply."`
}

// Access makes a Dialer from what was given: main knows the default addresses, and where passwords
// are.
type Access func(n *Nodes) (*Dialer, error)

// Exit is an exit code that is no failure to report.
type Exit int

func (e Exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// StatusCommand is `kelek status`.
type StatusCommand struct {
	Nodes `embed:""`
	JSON  bool `name:"json" help:"For programs; fields are added, never renamed."`
	Check bool `help:"Exit 0 healthy, 1 no answer, 10 degraded, 11 no leader, 13 stopping."`
}

// Run prints the table of nodes.
func (c *StatusCommand) Run(access Access) error {
	dialer, err := access(&c.Nodes)
	if err != nil {
		return err
	}
	code, err := Report(dialer, os.Stdout, c.JSON, c.Check)
	if err == nil && code != 0 {
		return Exit(code)
	}
	return err
}

// CliCommand is `kelek cli`.
type CliCommand struct {
	Nodes   `embed:""`
	DB      int      `name:"db" short:"n" help:"Database, 0 to 15."`
	Raw     bool     `help:"Bare text, as when the output is no terminal." xor:"raw"`
	NoRaw   bool     `help:"Types and quotes, as on a terminal." xor:"raw"`
	Resp3   bool     `name:"resp3" short:"3" help:"Speak RESP3."`
	Command []string `arg:"" optional:"" passthrough:"" help:"One command; without it, a prompt, or the lines of standard input."`
}

// Run sends one command, or many.
func (c *CliCommand) Run(access Access) error {
	dialer, err := access(&c.Nodes)
	if err != nil {
		return err
	}
	dialer.DB, dialer.Resp3 = c.DB, c.Resp3
	shell := Shell{Dialer: *dialer, In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Raw: c.Raw || !c.NoRaw && !IsTerminal(os.Stdout)}
	switch {
	case len(c.Command) > 0:
		return Exit(shell.Run(c.Command))
	case IsTerminal(os.Stdin):
		return Exit(shell.Prompt(os.Stdin))
	}
	return Exit(shell.Script())
}

// MemberCommands is `kelek member`.
type MemberCommands struct {
	List    memberList    `cmd:"" help:"Who is in the cluster, as its leader sees them."`
	Add     memberAdd     `cmd:"" help:"Let a waiting node join; it votes once it has caught up."`
	Remove  memberRemove  `cmd:"" help:"Remove a member for good: its node ends with exit code 66."`
	Replace memberReplace `cmd:"" help:"Let one vote in the place of another, in one change."`
	Promote memberPromote `cmd:"" help:"Make a learner a voter."`
	Demote  memberDemote  `cmd:"" help:"Make a voter a learner."`
}

// LeaderCommands is `kelek leader`.
type LeaderCommands struct {
	Show     leaderShow     `cmd:"" help:"Who leads."`
	Transfer leaderTransfer `cmd:"" help:"Let another voter lead: the most caught-up one unless named."`
}

type memberList struct {
	Nodes `embed:""`
	JSON  bool `name:"json" help:"For programs; fields are added, never renamed."`
}

func (c *memberList) Run(access Access) error {
	dialer, err := access(&c.Nodes)
	if err != nil {
		return err
	}
	roster, err := TakeRoster(dialer)
	if err != nil {
		return err
	}
	if c.JSON {
		return roster.WriteJSON(os.Stdout)
	}
	return roster.WriteTable(os.Stdout)
}

type memberAdd struct {
	Nodes   `embed:""`
	Addr    string `arg:"" placeholder:"HOST:PORT" help:"Peer address of the node; it runs with --join and waits."`
	Name    string `help:"Refuse if the node there has another name."`
	Learner bool   `help:"It stays a learner: it has all data and no vote."`
}

func (c *memberAdd) Run(access Access) error {
	words := []string{"RAFT.MEMBER", "ADD", c.Addr}
	if c.Name != "" {
		words = append(words, "NAME", c.Name)
	}
	if c.Learner {
		words = append(words, "LEARNER")
	}
	return c.change(access, seeMembers, words...)
}

// oneMember is the argument of most commands.
type oneMember struct {
	Nodes `embed:""`
	Name  string `arg:"" help:"Name of the member, or its node id."`
}

type memberRemove struct{ oneMember }

func (c *memberRemove) Run(access Access) error {
	return c.change(access, seeMembers, "RAFT.MEMBER", "REMOVE", c.Name)
}

type memberPromote struct{ oneMember }

func (c *memberPromote) Run(access Access) error {
	return c.change(access, seeMembers, "RAFT.MEMBER", "PROMOTE", c.Name)
}

type memberDemote struct{ oneMember }

func (c *memberDemote) Run(access Access) error {
	return c.change(access, seeMembers, "RAFT.MEMBER", "DEMOTE", c.Name)
}

type memberReplace struct {
	oneMember
	With string `required:"" placeholder:"NAME" help:"The learner that votes in its place."`
}

func (c *memberReplace) Run(access Access) error {
	return c.change(access, seeMembers, "RAFT.MEMBER", "REPLACE", c.Name, "WITH", c.With)
}

type leaderShow struct {
	Nodes `embed:""`
	JSON  bool `name:"json" help:"For programs; fields are added, never renamed."`
}

func (c *leaderShow) Run(access Access) error {
	dialer, err := access(&c.Nodes)
	if err != nil {
		return err
	}
	leader, err := TakeLeader(dialer)
	if err != nil {
		return err
	}
	if c.JSON {
		return leader.WriteJSON(os.Stdout)
	}
	return leader.WriteLine(os.Stdout)
}

type leaderTransfer struct {
	Nodes `embed:""`
	Name  string `arg:"" optional:"" help:"Name of a voter, or its node id."`
}

func (c *leaderTransfer) Run(access Access) error {
	words := []string{"RAFT.LEADER", "TRANSFER"}
	if c.Name != "" {
		words = append(words, c.Name)
	}
	return c.change(access, seeLeader, words...)
}

// What a line that changes something points at.
const (
	seeMembers = "kelek member list"
	seeLeader  = "kelek leader show"
)

// change has the cluster do something and prints what it says of it.
func (n *Nodes) change(access Access, see string, words ...string) error {
	dialer, err := access(n)
	if err != nil {
		return err
	}
	text, err := Administer(dialer, words...)
	if err != nil {
		return err
	}
	_, err = fmt.Printf("%s   see: %s\n", text, see)
	return err
}
