package command

import "strings"

// The COMMAND family: the table, as clients want to see it.

func commandAll(c *Call) Outcome {
	c.Reply.Array(len(c.Table.specs))
	for _, s := range c.Table.specs {
		writeSpec(c.Reply, s)
	}
	return c.answered()
}

func commandCount(c *Call) Outcome {
	c.Reply.Int(int64(len(c.Table.specs)))
	return c.answered()
}

func commandInfo(c *Call) Outcome {
	if len(c.Args) == 2 {
		return commandAll(c)
	}
	names := c.Args[2:]
	c.Reply.Array(len(names))
	for _, name := range names {
		if s := c.Table.byPath(name); s != nil {
			writeSpec(c.Reply, s)
		} else {
			c.Reply.Null()
		}
	}
	return c.answered()
}

// byPath finds "get" and "config|get".
func (t *Table) byPath(name []byte) *Spec {
	container, sub, divided := strings.Cut(string(name), "|")
	s := t.Lookup([]byte(container))
	if s == nil || !divided {
		return s
	}
	return find(s.subNames, []byte(sub))
}

// writeSpec writes the ten elements of COMMAND INFO.
func writeSpec(r *Reply, s *Spec) {
	r.Array(10)
	r.BulkString(s.Full)
	r.Int(int64(s.Arity))
	writeWords(r, s.flagWords())
	for _, n := range s.Keys {
		r.Int(int64(n))
	}
	writeWords(r, s.categories())
	r.Set(0) // tips
	writeKeySpecs(r, s)
	r.Array(len(s.subs))
	for _, sub := range s.subs {
		writeSpec(r, sub)
	}
}

func writeWords(r *Reply, words []string) {
	r.Set(len(words))
	for _, w := range words {
		r.Status(w)
	}
}

// writeKeySpecs says where the keys are once more, in the form of Redis 7.
func writeKeySpecs(r *Reply, s *Spec) {
	if s.Keys[0] == 0 {
		r.Set(0)
		return
	}
	access := []string{"RO", "access"}
	if s.Class == Write {
		access = []string{"RW", "update"}
	}
	last := int64(s.Keys[1])
	if last > 0 {
		last -= int64(s.Keys[0]) // counted from the first key here
	}
	r.Set(1)
	r.Map(3)
	r.BulkString("flags")
	writeWords(r, access)
	r.BulkString("begin_search")
	r.Map(2)
	r.BulkString("type")
	r.BulkString("index")
	r.BulkString("spec")
	r.Map(1)
	r.BulkString("index")
	r.Int(int64(s.Keys[0]))
	r.BulkString("find_keys")
	r.Map(2)
	r.BulkString("type")
	r.BulkString("range")
	r.BulkString("spec")
	r.Map(3)
	r.BulkString("lastkey")
	r.Int(last)
	r.BulkString("keystep")
	r.Int(int64(s.Keys[2]))
	r.BulkString("limit")
	r.Int(0)
}

func (s *Spec) flagWords() []string {
	words := make([]string, 0, 6)
	switch s.Class {
	case Read:
		words = append(words, "readonly")
	case Write:
		words = append(words, "write")
	case Local:
		if s.Flags&Admin != 0 {
			words = append(words, "admin", "noscript")
		}
		words = append(words, "loading", "stale")
	}
	for _, f := range []struct {
		flag Flag
		word string
	}{{Grows, "denyoom"}, {NoAuth, "no_auth"}, {Fast, "fast"},
		{Wraps, "movablekeys"}} {
		if s.Flags&f.flag != 0 {
			words = append(words, f.word)
		}
	}
	return words
}

// aclCategory is the category of each group that has one.
func aclCategory(group string) string {
	switch group {
	case "generic":
		return "@keyspace"
	case "transactions":
		return "@transaction"
	case "server", "cluster", "raft":
		return ""
	}
	return "@" + group
}

func (s *Spec) categories() []string {
	words := make([]string, 0, 6)
	switch s.Class {
	case Read:
		words = append(words, "@read")
	case Write:
		words = append(words, "@write")
	}
	if c := aclCategory(s.Group); c != "" {
		words = append(words, c)
	}
	if s.Flags&Admin != 0 {
		words = append(words, "@admin")
	}
	if s.Flags&(Admin|Dangerous) != 0 {
		words = append(words, "@dangerous")
	}
	if s.Flags&Fast != 0 {
		return append(words, "@fast")
	}
	return append(words, "@slow")
}

func commandDocs(c *Call) Outcome {
	specs := c.Table.specs
	if len(c.Args) > 2 {
		specs = nil
		for _, name := range c.Args[2:] {
			if s := c.Table.byPath(name); s != nil {
				specs = append(specs, s)
			}
		}
	}
	writeDocs(c.Reply, specs)
	return c.answered()
}

func writeDocs(r *Reply, specs []*Spec) {
	r.Map(len(specs))
	for _, s := range specs {
		r.BulkString(s.Full)
		fields := 2
		if s.subs != nil {
			fields++
		}
		r.Map(fields)
		r.BulkString("summary")
		r.BulkString(s.Summary)
		r.BulkString("group")
		r.BulkString(s.Group)
		if s.subs != nil {
			r.BulkString("subcommands")
			writeDocs(r, s.subs)
		}
	}
}

// commandList has one optional filter.
func commandList(c *Call) Outcome {
	keep := func(*Spec) bool { return true }
	if len(c.Args) > 2 {
		if len(c.Args) != 5 || !is(c.Args[2], "FILTERBY") {
			return c.fail(errSyntax)
		}
		kind, value := c.Args[3], c.Args[4]
		switch {
		case is(kind, "MODULE"):
			keep = func(*Spec) bool { return false }
		case is(kind, "ACLCAT"):
			keep = func(s *Spec) bool { return s.inCategory(value) }
		case is(kind, "PATTERN"):
			keep = func(s *Spec) bool { return match(value, []byte(s.Full), true) }
		default:
			return c.fail(errSyntax)
		}
	}
	var names []string
	for _, s := range c.Table.specs {
		for _, each := range append([]*Spec{s}, s.subs...) {
			if keep(each) && (each == s || len(c.Args) > 2) {
				names = append(names, each.Full)
			}
		}
	}
	c.Reply.Array(len(names))
	for _, name := range names {
		c.Reply.BulkString(name)
	}
	return c.answered()
}

func (s *Spec) inCategory(name []byte) bool {
	for _, category := range s.categories() {
		if strings.EqualFold(category[1:], string(name)) {
			return true
		}
	}
	return false
}

func commandGetKeys(c *Call) Outcome {
	args := c.Args[2:]
	spec, bad := c.Table.Find(args)
	switch {
	case bad != "" && c.Table.Lookup(args[0]) == nil:
		return c.fail("ERR Invalid command specified")
	case bad != "":
		return c.fail("ERR Invalid number of arguments specified for command")
	}
	n := c.Table.KeyCount(spec, args)
	if n == 0 {
		return c.fail("ERR The command has no key arguments")
	}
	c.Reply.Array(n)
	c.Table.EachKey(spec, args, c.Reply.Bulk)
	return c.answered()
}
