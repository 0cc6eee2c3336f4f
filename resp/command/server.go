package command

import (
	"fmt"
	"slices"
	"strings"
)

// timeNow is the clock of this node; in a transaction it is the log time that deadlines count from.
func timeNow(c *Call) Outcome {
	if c.inExec {
		return query(queryTime)
	}
	c.Reply.time(c.Host.NowMicros())
	return c.answered()
}

func queryTime(q *Query) error {
	q.Reply.time(int64(q.View.LogTime()) * 1000)
	return nil
}

func (r *Reply) time(micros int64) {
	r.Array(2)
	r.BulkString(fmt.Sprint(micros / 1_000_000))
	r.BulkString(fmt.Sprint(micros % 1_000_000))
}

// role agrees with INFO replication: on the plain listener every node is a master.
func role(c *Call) Outcome {
	t := topologyOf(c)
	s := c.Host.Status()
	if !c.Host.Face().Cluster {
		c.Reply.Array(3)
		c.Reply.BulkString("master")
		c.Reply.Int(int64(s.Applied))
		c.Reply.Array(0)
		return c.answered()
	}
	if !t.leading() {
		master := t.nodes[0]
		c.Reply.Array(5)
		c.Reply.BulkString("slave")
		c.Reply.BulkString(master.host)
		c.Reply.Int(int64(master.port))
		c.Reply.BulkString("connected")
		c.Reply.Int(int64(s.Applied))
		return c.answered()
	}
	c.Reply.Array(3)
	c.Reply.BulkString("master")
	c.Reply.Int(int64(s.LastIndex))
	c.Reply.Array(len(t.nodes) - 1)
	for _, n := range t.nodes[1:] {
		c.Reply.Array(3)
		c.Reply.BulkString(n.host)
		c.Reply.BulkString(fmt.Sprint(n.port))
		c.Reply.BulkString(fmt.Sprint(n.match))
	}
	return c.answered()
}

// help lists the subcommands of a container, from the table.
func help(c *Call) Outcome {
	owner := c.Table.Lookup(c.Args[0])
	c.Reply.Array(1 + 2*len(owner.subs))
	c.Reply.Status(strings.ToUpper(owner.Name) +
		" <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
	for _, sub := range owner.subs {
		c.Reply.Status(strings.ToUpper(sub.Name))
		c.Reply.Status("    " + sub.Summary)
	}
	return c.answered()
}

func configGet(c *Call) Outcome {
	var found []ConfigOption
	for _, o := range c.Host.Config() {
		for _, pattern := range c.Args[2:] {
			if match(pattern, []byte(o.Name), true) {
				found = append(found, o)
				break
			}
		}
	}
	c.Reply.Map(len(found))
	for _, o := range found {
		c.Reply.BulkString(o.Name)
		c.Reply.BulkString(o.Get())
	}
	return c.answered()
}

// configSet checks every name before it changes the first option; what was changed is undone when
// a later one is refused. Setting what is there already is allowed for fixed options, too.
func configSet(c *Call) Outcome {
	args := c.Args[2:]
	if len(args)%2 != 0 {
		return c.fail(errArity("config|set"))
	}
	options := make([]ConfigOption, 0, len(args)/2)
	registry := c.Host.Config()
	for i := 0; i < len(args); i += 2 {
		at := slices.IndexFunc(registry, func(o ConfigOption) bool {
			return strings.EqualFold(o.Name, string(args[i]))
		})
		if at < 0 {
			return c.fail("ERR Unknown option or number of arguments for CONFIG SET - '" +
				string(cut(args[i])) + "'")
		}
		options = append(options, registry[at])
	}
	old := make([]string, len(options))
	for i, o := range options {
		old[i] = o.Get()
		if err := setOption(o, string(args[2*i+1])); err != nil {
			undo(options[:i], old)
			return c.fail(fmt.Sprintf("ERR CONFIG SET failed (possibly related to argument '%s') - %v",
				o.Name, err))
		}
	}
	return c.ok()
}

func setOption(o ConfigOption, value string) error {
	switch {
	case o.Get() == value:
		return nil
	case o.Set == nil:
		return fmt.Errorf("can't set immutable config")
	}
	return o.Set(value)
}

// undo sets options back to values that they had a moment ago, which they take again.
func undo(options []ConfigOption, old []string) {
	for i, o := range options {
		if o.Set != nil {
			_ = o.Set(old[i])
		}
	}
}

func configResetStat(c *Call) Outcome {
	c.Host.ResetStats()
	return c.ok()
}

// functionList: there are no libraries, whatever the filter.
func functionList(c *Call) Outcome {
	c.Reply.Array(0)
	return c.answered()
}

// functionStats: nothing runs, and there is no engine.
func functionStats(c *Call) Outcome {
	c.Reply.Map(2)
	c.Reply.BulkString("running_script")
	c.Reply.Null()
	c.Reply.BulkString("engines")
	c.Reply.Map(0)
	return c.answered()
}

func functionRefused(c *Call) Outcome { return c.fail(errFunctions) }
