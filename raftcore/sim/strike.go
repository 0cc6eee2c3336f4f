package sim

import "kelek/raftcore"

// Strike is one fault of a run: when it struck, of which kind it was, and the seed of everything
// else that was decided about it. Faults do not share a generator, so leaving one out of a run does
// not change what the others do: that is what makes failing runs shrink.
type Strike struct {
	At   raftcore.Instant
	Kind faultKind
	Seed uint64
}

// Overrides change the run that seed and profile stand for.
type Overrides struct {
	Without []string         // noises that are switched off, by name
	Window  raftcore.Instant // length of the faulty phase; 0: as drawn
	// Strikes are the faults of the run; nil: they are drawn, none: an empty slice.
	Strikes []Strike
	Graphs  []graph // the links of partial partitions, in order; empty: drawn
	Nodes   int     // founders; 0: as drawn
	// Salt changes what is drawn for the network, the disks and the clients, and leaves the faults.
	Salt int
	// ClockDrift, when not 0, is how much faster than others clocks may run, in parts per thousand,
	// whatever leases allow.
	ClockDrift int
}

// noises are what goes wrong, or is made difficult, between the faults. Switched off one by one,
// they leave the simplest run that still fails.
var noises = []struct {
	name string
	off  func(k *knobs)
}{
	{"drop", func(k *knobs) { k.dropPermille = 0 }},
	{"duplicate", func(k *knobs) { k.dupPermille = 0 }},
	{"delay", func(k *knobs) { k.tailPermille = 0 }},
	{"disorder", func(k *knobs) { k.fifo = true }},
	{"flips", func(k *knobs) { k.flipPermille = 0 }},
	{"bandwidth", func(k *knobs) { k.perByte = 0 }},
	{"slow-sync", func(k *knobs) { k.syncTailPermille = 0 }},
	{"uneven", func(k *knobs) { k.uneven = false }},
	{"blank", func(k *knobs) { k.blank = false }},
	{"codec", func(k *knobs) { k.codec = false }},
	{"coarse-ticks", func(k *knobs) { k.tickEvery, k.newer.tickEvery = 0, 0 }},
	{"gather", func(k *knobs) { k.gather, k.newer.gather = 0, 0 }},
	{"newer-options", func(k *knobs) { k.newer = k.build }},
	{"newer-frames", func(k *knobs) { k.newerPermille = 0 }},
	{"large", func(k *knobs) { k.largePermille = 0 }},
	{"reads", func(k *knobs) { k.readPermille = 0 }},
	{"load", func(k *knobs) { k.sessions, k.think = 1, 2*k.election }},
	{"batches", func(k *knobs) { k.batch = 1 }},
}

// adjust applies the overrides to what was drawn.
func (o *Overrides) adjust(k *knobs) {
	for _, name := range o.Without {
		for i := range noises {
			if noises[i].name == name {
				noises[i].off(k)
			}
		}
	}
	if o.ClockDrift > 0 {
		k.clockDrift = o.ClockDrift
	}
	if o.Nodes > 0 {
		k.nodes = o.Nodes
	}
	if n := len(o.Graphs); n > 0 { // time for all of them: one takes at most 1.5 times its mean
		k.duration = raftcore.Instant(n+1) * k.every[graphFault] * 3 / 2
	}
	if o.Window > 0 {
		k.duration = min(k.duration, o.Window)
	}
}

// startFaults schedules the first fault of each kind, or all faults of a script.
func (w *World) startFaults() {
	if script := w.run.Overrides.Strikes; script != nil {
		for _, s := range script {
			w.scheduleWorld(nil, s.At, evFault, uint64(s.Kind))
		}
		return
	}
	for k := range faultKinds {
		w.drawStrike(k)
	}
}

// drawStrike schedules the next fault of one kind.
func (w *World) drawStrike(k faultKind) {
	if every := w.knobs.every[k]; every > 0 && w.phase == faulty {
		w.scheduleWorld(nil, around(w.rng.faults, every), evFault, uint64(k))
	}
}

// nextStrike lets a fault strike and schedules the next of its kind.
func (w *World) nextStrike(k faultKind) {
	seed := uint64(0)
	if script := w.run.Overrides.Strikes; script != nil {
		seed = script[w.struck].Seed
		w.struck++
	} else {
		seed = w.rng.faults.Uint64()
	}
	w.strikes = append(w.strikes, Strike{At: w.now, Kind: k, Seed: seed})
	w.rng.strikePCG.Seed(seed, uint64(k))
	w.strike(k)
	if w.run.Overrides.Strikes == nil {
		w.drawStrike(k)
	}
}
