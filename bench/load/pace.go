package load

import "sync/atomic"

// pace says when commands are due. All times of this package are nanoseconds since the begin of the
// load.
//
// In an open loop command k is due at k / rate, whatever the server does: if it stalls, the
// commands that fall due meanwhile go out late, and the time they waited for a connection counts as
// latency. A closed loop sends its next command when the last was answered, so one stall delays one
// command per connection, and the many that a real user would have sent are not in the statistics:
// the coordinated omission.
type pace struct {
	interval float64 // nanoseconds between two commands; 0: closed loop
	phase    float64 // of the first command, so that several loops do not send at the same moments
	next     atomic.Int64
}

func newPace(rate, phase float64) *pace {
	p := &pace{}
	if rate > 0 {
		p.interval, p.phase = 1e9/rate, phase*1e9/rate
	}
	return p
}

func (p *pace) open() bool { return p.interval > 0 }

func (p *pace) due(k int64) int64 { return int64(p.phase + float64(k)*p.interval) }

// claim takes the next command, due or not, and returns when it is due.
func (p *pace) claim(now int64) int64 {
	if !p.open() {
		return now
	}
	return p.due(p.next.Add(1) - 1)
}

// claimDue takes the next command if it is due. In a closed loop one always is.
func (p *pace) claimDue(now int64) (int64, bool) {
	if !p.open() {
		return now, true
	}
	for {
		k := p.next.Load()
		due := p.due(k)
		if due > now {
			return 0, false
		}
		if p.next.CompareAndSwap(k, k+1) {
			return due, true
		}
	}
}

// upcoming is when the next command is due that nobody has taken.
func (p *pace) upcoming() int64 { return p.due(p.next.Load()) }

// missed calls record with how long each command had waited that fell due before the end and was
// never sent. It is the least latency that a user would have seen.
func (p *pace) missed(end int64, record func(waited int64)) int64 {
	if !p.open() {
		return 0
	}
	count := int64(0)
	for {
		due, ok := p.claimDue(end - 1)
		if !ok {
			return count
		}
		record(end - due)
		count++
	}
}
