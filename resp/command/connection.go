package command

func ping(c *Call) Outcome {
	switch len(c.Args) {
	case 1:
		c.Reply.Status("PONG")
	case 2:
		c.Reply.Bulk(c.Args[1])
	default:
		return c.fail(errArity("ping"))
	}
	return c.answered()
}

func echo(c *Call) Outcome {
	c.Reply.Bulk(c.Args[1])
	return c.answered()
}

func quit(c *Call) Outcome {
	c.Session.Closing = true
	return c.ok()
}

func reset(c *Call) Outcome {
	c.Session.Reset(c.Host.Face())
	c.Reply.Proto = c.Session.Proto
	c.Reply.Status("RESET")
	return c.answered()
}

func selectDB(c *Call) Outcome {
	db, bad := parseDB(c.Args[1])
	switch {
	case bad != "":
		return c.fail(bad)
	case db != 0 && c.Host.Face().Cluster:
		return c.fail(errSelectCluster)
	}
	c.Session.DB = db
	return c.ok()
}

func auth(c *Call) Outcome {
	switch {
	case len(c.Args) > 3:
		return c.fail(errSyntax)
	case len(c.Args) == 2 && !c.Host.Face().Password:
		return c.fail(errNoPassword)
	}
	user, password := []byte("default"), c.Args[1]
	if len(c.Args) == 3 {
		user, password = c.Args[1], c.Args[2]
	}
	if !c.authenticate(user, password) {
		return c.fail(errWrongPass)
	}
	return c.ok()
}

// authenticate knows one user. Without a password everyone is it.
func (c *Call) authenticate(user, password []byte) bool {
	if string(user) != "default" {
		return false
	}
	if c.Host.Face().Password && !c.Host.CheckPassword(password) {
		return false
	}
	c.Session.Authenticated = true
	return true
}

// hello checks everything before it changes anything. The protocol changes for this very reply.
func hello(c *Call) Outcome {
	proto := c.Session.Proto
	if len(c.Args) > 1 {
		n, ok := parseInt(c.Args[1])
		switch {
		case !ok:
			return c.fail(errProtoNotInteger)
		case n < 2 || n > 3:
			return c.fail(errNoProto)
		}
		proto = uint8(n)
	}
	options, bad := parseHello(c.Args[min(2, len(c.Args)):])
	switch {
	case bad != "":
		return c.fail(bad)
	case options.user != nil && !c.authenticate(options.user, options.password):
		return c.fail(errWrongPass)
	case !c.Session.Authenticated:
		return c.fail(errHelloNoAuth)
	}
	if options.named {
		c.Session.Name = options.name
	}
	c.Session.Proto, c.Reply.Proto = proto, proto
	c.helloReply()
	return c.answered()
}

type helloOptions struct {
	user, password []byte
	name           string
	named          bool
}

func parseHello(args [][]byte) (o helloOptions, bad string) {
	for i := 0; i < len(args); i++ {
		switch {
		case is(args[i], "AUTH") && i+2 < len(args):
			o.user, o.password = args[i+1], args[i+2]
			i += 2
		case is(args[i], "SETNAME") && i+1 < len(args):
			i++
			if !printable(args[i]) {
				return o, errClientName
			}
			o.name, o.named = string(args[i]), true
		default:
			return o, "ERR Syntax error in HELLO option '" + string(cut(args[i])) + "'"
		}
	}
	return o, ""
}

// RedisVersion is the compatibility level that clients are told.
const RedisVersion = "7.2.4"

func (c *Call) helloReply() {
	r, face := c.Reply, c.Host.Face()
	mode, role := "standalone", "master"
	if face.Cluster {
		mode = "cluster"
		if t := topologyOf(c); !t.leading() {
			role = "replica"
		}
	}
	r.Map(7)
	r.BulkString("server")
	r.BulkString("redis")
	r.BulkString("version")
	r.BulkString(RedisVersion)
	r.BulkString("proto")
	r.Int(int64(r.Proto))
	r.BulkString("id")
	r.Int(int64(c.Session.ID))
	r.BulkString("mode")
	r.BulkString(mode)
	r.BulkString("role")
	r.BulkString(role)
	r.BulkString("modules")
	r.Array(0)
}

// printable is what Redis allows in a client name: no blank, no control character.
func printable(name []byte) bool {
	for _, b := range name {
		if b < '!' || b > '~' {
			return false
		}
	}
	return true
}
