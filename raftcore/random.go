package raftcore

// random is the core's only source of randomness: a PCG-XSH-RR generator (O'Neill, 2014) with 64
// bits of state, seeded by Options.Seed. Same seed, same election time-outs.
type random struct{ state uint64 }

const (
	pcgMultiplier = 6364136223846793005
	pcgIncrement  = 1442695040888963407
)

func newRandom(seed uint64) random {
	r := random{state: seed + pcgIncrement}
	r.next()
	return r
}

func (r *random) next() uint32 {
	old := r.state
	r.state = old*pcgMultiplier + pcgIncrement
	x := uint32(((old >> 18) ^ old) >> 27)
	turn := uint32(old >> 59)
	return x>>turn | x<<(-turn&31)
}

// between returns a value in [low, high). low when the interval is empty.
func (r *random) between(low, high Instant) Instant {
	if high <= low {
		return low
	}
	wide := uint64(r.next())<<32 | uint64(r.next())
	return low + Instant(wide%uint64(high-low))
}
