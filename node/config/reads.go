package config

import (
	"strings"
	"time"
)

// Reads is what reads promise unless a connection says otherwise.
type Reads struct {
	Lease bool          // linearizable while clocks keep within their bound
	Stale time.Duration // 0: not stale; else the node has heard of a leader within this time
}

func (s *Serve) resolveReads() error {
	text, stale := strings.CutPrefix(s.Read, "stale=")
	switch {
	case s.Read == "linearizable", s.Read == "":
		s.Reads = Reads{}
	case s.Read == "lease":
		s.Reads = Reads{Lease: true}
	case stale:
		d, err := time.ParseDuration(text)
		if err != nil || d < time.Millisecond {
			return invalid("--read stale=%s: %q is not a duration of 1ms or more (as in stale=1s)", text,
				text)
		}
		s.Reads = Reads{Stale: d}
	default:
		return invalid("--read %q is none of linearizable, lease, stale=DURATION (as in stale=1s)",
			s.Read)
	}
	return nil
}
