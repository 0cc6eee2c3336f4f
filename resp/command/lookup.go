package command

// Spec is a row of the table with what NewTable derives from its place.
type Spec struct {
	Row
	Group string
	Full  string // "config|get"; equal to Name for a command
	Index int    // 0, 1, 2...: every command and subcommand has its own
	Owner string // the container's name; equal to Name for a command

	subs     []*Spec
	subNames map[string]*Spec
}

// Table finds commands. It is immutable and safe for concurrent use.
type Table struct {
	specs  []*Spec // commands in order of the table, without subcommands
	byName map[string]*Spec
	all    []*Spec // by Index
}

// NewTable builds the index over the command table.
func NewTable() *Table {
	t := &Table{byName: make(map[string]*Spec)}
	for _, s := range commands {
		for _, row := range s.commands {
			spec := t.add(row, s.group, "")
			t.specs = append(t.specs, spec)
			t.byName[spec.Name] = spec
		}
	}
	return t
}

func (t *Table) add(row Row, group, container string) *Spec {
	spec := &Spec{Row: row, Group: group, Full: row.Name, Owner: row.Name, Index: len(t.all)}
	if container != "" {
		spec.Full, spec.Owner = container+"|"+row.Name, container
	}
	t.all = append(t.all, spec)
	if row.Subs != nil {
		spec.subNames = make(map[string]*Spec)
		for _, sub := range row.Subs {
			child := t.add(sub, group, row.Name)
			spec.subs = append(spec.subs, child)
			spec.subNames[sub.Name] = child
		}
	}
	return spec
}

// Specs returns every command and subcommand; Spec.Index is the place in it.
func (t *Table) Specs() []*Spec { return t.all }

// longestName bounds what Lookup lowers on the stack; no command is as long.
const longestName = 32

// find looks a name up without regard to case and without allocating.
func find(names map[string]*Spec, name []byte) *Spec {
	var lower [longestName]byte
	if len(name) > len(lower) {
		return nil
	}
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	return names[string(lower[:len(name)])]
}

// Lookup returns the command of that name, or nil.
func (t *Table) Lookup(name []byte) *Spec { return find(t.byName, name) }

// Find returns the command or subcommand that args call, when their number is right. Otherwise it
// returns the error line.
func (t *Table) Find(args [][]byte) (*Spec, string) {
	spec := t.Lookup(args[0])
	switch {
	case spec == nil:
		return nil, ErrUnknownCommand(args)
	case spec.subs != nil && len(args) > 1:
		sub := find(spec.subNames, args[1])
		if sub == nil {
			return nil, errUnknownSubcommand(spec.Name, args[1])
		}
		spec = sub
	case spec.Handler == nil:
		return nil, errArity(spec.Name)
	}
	if !spec.arityFits(len(args)) {
		return nil, errArity(spec.Full)
	}
	return spec, ""
}

func (s *Spec) arityFits(n int) bool {
	if s.Arity < 0 {
		return n >= -s.Arity
	}
	return n == s.Arity
}

// EachKey calls visit with every key among the arguments.
func (t *Table) EachKey(s *Spec, args [][]byte, visit func(key []byte)) {
	first, last, step, ok := t.keyRange(s, args)
	for i := first; ok && i <= last; i += step {
		visit(args[i])
	}
}

// KeyCount is the number of keys among the arguments.
func (t *Table) KeyCount(s *Spec, args [][]byte) int {
	first, last, step, ok := t.keyRange(s, args)
	if !ok || last < first {
		return 0
	}
	return (last-first)/step + 1
}

// FirstKey returns the key that decides the slot, or nil.
func (t *Table) FirstKey(s *Spec, args [][]byte) []byte {
	if first, last, _, ok := t.keyRange(s, args); ok && first <= last {
		return args[first]
	}
	return nil
}

// keyRange resolves the Keys of a row against a number of arguments.
func (t *Table) keyRange(s *Spec, args [][]byte) (first, last, step int, ok bool) {
	if s.Flags&Wraps != 0 {
		const inner = 3 // ONCE client request command...
		if len(args) <= inner {
			return 0, 0, 0, false
		}
		spec := t.Lookup(args[inner])
		if spec == nil || spec.Flags&Wraps != 0 {
			return 0, 0, 0, false
		}
		first, last, step, ok = t.keyRange(spec, args[inner:])
		return first + inner, last + inner, step, ok
	}
	first, last, step = s.Keys[0], s.Keys[1], s.Keys[2]
	if last < 0 {
		last += len(args)
	}
	if first == 0 || last >= len(args) {
		return 0, 0, 0, false
	}
	return first, last, step, true
}
