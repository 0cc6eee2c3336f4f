package command

import (
	"fmt"
	"strings"
)

// CLIENT and its subcommands.

func clientID(c *Call) Outcome {
	c.Reply.Int(int64(c.Session.ID))
	return c.answered()
}

func clientGetName(c *Call) Outcome {
	if c.Session.Name == "" {
		c.Reply.Null()
	} else {
		c.Reply.BulkString(c.Session.Name)
	}
	return c.answered()
}

func clientSetName(c *Call) Outcome {
	if !printable(c.Args[2]) {
		return c.fail(errClientName)
	}
	c.Session.Name = string(c.Args[2])
	return c.ok()
}

func clientSetInfo(c *Call) Outcome {
	name, value := c.Args[2], c.Args[3]
	if !is(name, "LIB-NAME") && !is(name, "LIB-VER") {
		return c.fail("ERR Unrecognized option '" + string(cut(name)) + "'")
	}
	if !printable(value) {
		lower := strings.ToLower(string(name))
		return c.fail("ERR " + lower + " cannot contain spaces, newlines or special characters.")
	}
	if is(name, "LIB-NAME") {
		c.Session.LibName = string(value)
	} else {
		c.Session.LibVer = string(value)
	}
	return c.ok()
}

// infoLine is one line of CLIENT LIST. Fields whose subsystem does not exist have their neutral
// value; sizes of buffers are left out rather than invented.
func infoLine(b *strings.Builder, i *ClientInfo) {
	flags := ""
	if i.Queued >= 0 {
		flags += "x"
	}
	if i.ReadOnly {
		flags += "r"
	}
	if i.NoEvict {
		flags += "e"
	}
	if i.NoTouch {
		flags += "T"
	}
	if flags == "" {
		flags = "N"
	}
	fmt.Fprintf(b, "id=%d addr=%s laddr=%s name=%s age=%d idle=%d flags=%s db=%d sub=0 psub=0 ssub=0 "+
		"multi=%d watch=%d cmd=%s user=default redir=-1 resp=%d lib-name=%s lib-ver=%s\n",
		i.ID, i.Addr, i.LocalAddr, i.Name, i.AgeSec, i.IdleSec, flags, i.DB,
		i.Queued, i.Watching, i.Command, i.Proto, i.LibName, i.LibVer)
}

func clientInfo(c *Call) Outcome {
	clients := c.Host.Clients()
	var b strings.Builder
	for i := range clients {
		if clients[i].ID == c.Session.ID {
			infoLine(&b, &clients[i])
		}
	}
	c.Reply.Verbatim("txt", b.String())
	return c.answered()
}

func clientList(c *Call) Outcome {
	pick, bad := listFilter(c.Args[2:])
	if bad != "" {
		return c.fail(bad)
	}
	clients := c.Host.Clients()
	var b strings.Builder
	for i := range clients {
		if pick(&clients[i]) {
			infoLine(&b, &clients[i])
		}
	}
	c.Reply.Verbatim("txt", b.String())
	return c.answered()
}

// listFilter reads [TYPE t] or [ID id...]. There are normal clients only.
func listFilter(args [][]byte) (func(*ClientInfo) bool, string) {
	switch {
	case len(args) == 0:
		return func(*ClientInfo) bool { return true }, ""
	case len(args) == 2 && is(args[0], "TYPE"):
		normal, ok := clientType(args[1])
		if !ok {
			return nil, "ERR Unknown client type '" + string(cut(args[1])) + "'"
		}
		return func(*ClientInfo) bool { return normal }, ""
	case len(args) > 1 && is(args[0], "ID"):
		ids := make(map[uint64]bool)
		for _, arg := range args[1:] {
			id, ok := parseInt(arg)
			if !ok {
				return nil, "ERR Invalid client ID"
			}
			ids[uint64(id)] = true
		}
		return func(i *ClientInfo) bool { return ids[i.ID] }, ""
	}
	return nil, errSyntax
}

// clientType reports whether a type is the one that all clients have.
func clientType(name []byte) (normal, known bool) {
	switch {
	case is(name, "NORMAL"):
		return true, true
	case is(name, "MASTER"), is(name, "REPLICA"), is(name, "SLAVE"), is(name, "PUBSUB"):
		return false, true
	}
	return false, false
}

// clientKill has the old form, CLIENT KILL addr, and the new one with filters.
func clientKill(c *Call) Outcome {
	if len(c.Args) == 3 {
		addr := string(c.Args[2])
		if c.Host.Kill(func(i *ClientInfo) bool { return i.Addr == addr }) == 0 {
			return c.fail("ERR No such client")
		}
		return c.ok()
	}
	f := killFilter{skipMe: true, normal: true, user: true}
	if bad := f.parse(c.Args[2:]); bad != "" {
		return c.fail(bad)
	}
	self := c.Session.ID
	c.Reply.Int(int64(c.Host.Kill(func(i *ClientInfo) bool { return f.picks(i, self) })))
	return c.answered()
}

type killFilter struct {
	id           uint64
	addr, laddr  string
	skipMe       bool
	normal, user bool // the TYPE and USER asked for are those that clients have
}

func (f *killFilter) parse(args [][]byte) string {
	if len(args)%2 != 0 {
		return errSyntax
	}
	for i := 0; i < len(args); i += 2 {
		name, value := args[i], args[i+1]
		switch {
		case is(name, "ID"):
			id, ok := parseInt(value)
			if !ok || id < 1 {
				return "ERR client-id should be greater than 0"
			}
			f.id = uint64(id)
		case is(name, "ADDR"):
			f.addr = string(value)
		case is(name, "LADDR"):
			f.laddr = string(value)
		case is(name, "TYPE"):
			normal, known := clientType(value)
			if !known {
				return "ERR Unknown client type '" + string(cut(value)) + "'"
			}
			f.normal = normal
		case is(name, "USER"):
			if f.user = string(value) == "default"; !f.user {
				return "ERR No such user '" + string(cut(value)) + "'"
			}
		case is(name, "SKIPME") && is(value, "YES"):
			f.skipMe = true
		case is(name, "SKIPME") && is(value, "NO"):
			f.skipMe = false
		default:
			return errSyntax
		}
	}
	return ""
}

func (f *killFilter) picks(i *ClientInfo, self uint64) bool {
	return f.normal && f.user &&
		(f.id == 0 || f.id == i.ID) &&
		(f.addr == "" || f.addr == i.Addr) &&
		(f.laddr == "" || f.laddr == i.LocalAddr) &&
		!(f.skipMe && i.ID == self)
}

func clientPause(c *Call) Outcome {
	all := true
	if len(c.Args) > 4 {
		return c.fail(errSyntax)
	}
	if len(c.Args) == 4 {
		switch {
		case is(c.Args[3], "ALL"):
		case is(c.Args[3], "WRITE"):
			all = false
		default:
			return c.fail("ERR CLIENT PAUSE mode must be WRITE or ALL")
		}
	}
	ms, ok := parseInt(c.Args[2])
	switch {
	case !ok:
		return c.fail("ERR timeout is not an integer or out of range")
	case ms < 0:
		return c.fail("ERR timeout is negative")
	}
	c.Host.Pause(ms, all)
	return c.ok()
}

func clientUnpause(c *Call) Outcome {
	c.Host.Pause(0, true)
	return c.ok()
}

// clientReply: OFF and SKIP are not answered themselves.
func clientReply(c *Call) Outcome {
	s := c.Session
	switch {
	case is(c.Args[2], "ON"):
		s.Muted, s.SkipThis = false, false
		return c.ok()
	case is(c.Args[2], "OFF"):
		s.Muted = true
	case is(c.Args[2], "SKIP"):
		s.SkipThis, s.SkipNext = true, true
	default:
		return c.fail(errSyntax)
	}
	return c.answered()
}

// clientUnblock finds nobody to wake: no command here blocks.
func clientUnblock(c *Call) Outcome {
	if _, ok := parseInt(c.Args[2]); !ok {
		return c.fail(errNotInteger)
	}
	if len(c.Args) > 4 {
		return c.fail(errSyntax)
	}
	if len(c.Args) == 4 && !is(c.Args[3], "TIMEOUT") && !is(c.Args[3], "ERROR") {
		return c.fail("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
	}
	c.Reply.Int(0)
	return c.answered()
}

func clientNoEvict(c *Call) Outcome { return c.switchFlag(&c.Session.NoEvict) }

func clientNoTouch(c *Call) Outcome { return c.switchFlag(&c.Session.NoTouch) }

func (c *Call) switchFlag(flag *bool) Outcome {
	switch {
	case is(c.Args[2], "ON"):
		*flag = true
	case is(c.Args[2], "OFF"):
		*flag = false
	default:
		return c.fail(errSyntax)
	}
	return c.ok()
}

// clientTracking must not say OK to ON: clients would keep stale values for ever.
func clientTracking(c *Call) Outcome {
	if is(c.Args[2], "OFF") && len(c.Args) == 3 {
		return c.ok()
	}
	if !is(c.Args[2], "ON") {
		return c.fail(errSyntax)
	}
	return c.fail(errTracking)
}

func clientCaching(c *Call) Outcome { return c.fail(errCaching) }

// clientGetRedir is -1 without tracking.
func clientGetRedir(c *Call) Outcome {
	c.Reply.Int(-1)
	return c.answered()
}

func clientTrackingInfo(c *Call) Outcome {
	r := c.Reply
	r.Map(3)
	r.BulkString("flags")
	r.Set(1)
	r.BulkString("off")
	r.BulkString("redirect")
	r.Int(-1)
	r.BulkString("prefixes")
	r.Array(0)
	return c.answered()
}

// clientCapa takes what it knows and ignores the rest, as Valkey does.
func clientCapa(c *Call) Outcome {
	for _, arg := range c.Args[2:] {
		if is(arg, "REDIRECT") {
			c.Session.Redirect = true
		}
	}
	return c.ok()
}
