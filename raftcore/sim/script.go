package sim

import (
	"fmt"
	"strconv"
	"strings"

	"kelek/raftcore"
)

// A script is a run as text: the seed, what is left of the profile's noise, and every fault with
// its time. People read it, and change it; everything behind a # is for them.
//
//	profile elections
//	seed 42
//	salt 1
//	without drop duplicate
//	window 0.731000000s
//	strike 0.250000000s crash 8c2f

// Script writes a case as text.
func (c *Case) Script() string {
	var b strings.Builder
	o := &c.Overrides
	fmt.Fprintf(&b, "profile %s\nseed %d\n", c.Profile, c.Seed)
	for _, f := range o.numbers() {
		if *f.value != 0 {
			fmt.Fprintf(&b, "%s %d\n", f.name, *f.value)
		}
	}
	if len(o.Without) > 0 {
		fmt.Fprintf(&b, "without %s\n", strings.Join(o.Without, " "))
	}
	if o.Window > 0 {
		fmt.Fprintf(&b, "window %s\n", seconds(o.Window))
	}
	if o.Strikes != nil && len(o.Strikes) == 0 {
		b.WriteString("no strikes\n")
	}
	for _, s := range o.Strikes {
		fmt.Fprintf(&b, "strike %s %s %x\n", seconds(s.At), s.Kind, s.Seed)
	}
	for _, g := range o.Graphs {
		fmt.Fprintf(&b, "graph %x\n", uint32(g))
	}
	return b.String()
}

// numbers are the overrides that are just that.
func (o *Overrides) numbers() []struct {
	name  string
	value *int
} {
	return []struct {
		name  string
		value *int
	}{{"salt", &o.Salt}, {"nodes", &o.Nodes}, {"clock-drift", &o.ClockDrift}}
}

func seconds(t raftcore.Instant) string {
	return fmt.Sprintf("%d.%09ds", t/raftcore.Second, t%raftcore.Second)
}

// ParseScript reads what Script has written, and what people have made of it.
func ParseScript(text string) (c Case, err error) {
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if err := c.parseLine(fields[0], fields[1:]); err != nil {
			return c, fmt.Errorf("sim: script line %d, %q: %w", n+1, line, err)
		}
	}
	if c.Profile == "" {
		return c, fmt.Errorf("sim: the script names no profile")
	}
	return c, nil
}

func (c *Case) parseLine(verb string, args []string) (err error) {
	o := &c.Overrides
	for _, f := range o.numbers() {
		if f.name == verb && len(args) == 1 {
			*f.value, err = strconv.Atoi(args[0])
			return err
		}
	}
	switch {
	case verb == "profile" && len(args) == 1:
		c.Profile = args[0]
	case verb == "seed" && len(args) == 1:
		c.Seed, err = strconv.ParseUint(args[0], 10, 64)
	case verb == "without":
		o.Without = args
	case verb == "window" && len(args) == 1:
		o.Window, err = parseSeconds(args[0])
	case verb == "no" && len(args) == 1 && args[0] == "strikes":
		o.Strikes = []Strike{}
	case verb == "strike" && len(args) == 3:
		var s Strike
		s, err = parseStrike(args)
		o.Strikes = append(o.Strikes, s)
	case verb == "graph" && len(args) == 1:
		var g uint64
		g, err = strconv.ParseUint(args[0], 16, 32)
		o.Graphs = append(o.Graphs, graph(g))
	default:
		err = fmt.Errorf("what is %q with %d words?", verb, len(args))
	}
	return err
}

func parseStrike(args []string) (s Strike, err error) {
	if s.At, err = parseSeconds(args[0]); err != nil {
		return s, err
	}
	if s.Seed, err = strconv.ParseUint(args[2], 16, 64); err != nil {
		return s, err
	}
	for k := range faultKinds {
		if k.String() == args[1] {
			s.Kind = k
			return s, nil
		}
	}
	return s, fmt.Errorf("there is no fault %q", args[1])
}

// parseSeconds reads whole nanoseconds: a float would lose some.
func parseSeconds(text string) (raftcore.Instant, error) {
	whole, fraction, _ := strings.Cut(strings.TrimSuffix(text, "s"), ".")
	if len(fraction) > 9 || !strings.HasSuffix(text, "s") {
		return 0, fmt.Errorf("%q is not a time such as 1.5s", text)
	}
	n, err := strconv.ParseUint(whole+fraction+strings.Repeat("0", 9-len(fraction)), 10, 64)
	return raftcore.Instant(n), err
}
