package load

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"strings"
)

// source is the randomness of one connection: equal seeds give equal loads.
type source struct{ pcg rand.PCG }

func newSource(seed, stream uint64) *source {
	r := &source{}
	r.pcg.Seed(seed, stream)
	return r
}

// below returns a number from 0 to n-1.
func (r *source) below(n int) int {
	high, _ := bits.Mul64(r.pcg.Uint64(), uint64(n)) // the bias is below n / 2^64
	return int(high)
}

// float returns a number from 0 to 1, without 1.
func (r *source) float() float64 { return float64(r.pcg.Uint64()>>11) / (1 << 53) }

// appendBytes appends n random bytes. They do not compress: a store that compresses its log or its
// tables would look better than it is with the constant values that other generators send.
func (r *source) appendBytes(b []byte, n int) []byte {
	for ; n >= 8; n -= 8 {
		b = binary.LittleEndian.AppendUint64(b, r.pcg.Uint64())
	}
	if n > 0 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], r.pcg.Uint64())
		b = append(b, word[:n]...)
	}
	return b
}

// valueBytesMax is the largest value: above it a single command takes longer than a measurement.
const valueBytesMax = 64 << 20

// zipfExponent is the usual skew of keys and sizes (YCSB's).
const zipfExponent = 0.99

// Sizes is a distribution of value sizes. The zero value means values of no bytes.
type Sizes struct {
	Min, Max int
	Zipf     bool // small sizes are frequent; else all are equally frequent
}

// ParseSizes reads 64, 16-1024, uniform:16-1024 or zipf:16-65536; k and m stand for KiB and MiB.
func ParseSizes(text string) (Sizes, error) {
	kind, sizes, found := strings.Cut(text, ":")
	if !found {
		kind, sizes = "uniform", text
	}
	low, high, isRange := strings.Cut(sizes, "-")
	if !isRange {
		high = low
	}
	smallest, errLow := parseBytes(low)
	largest, errHigh := parseBytes(high)
	if errLow != nil || errHigh != nil || smallest > largest || largest > valueBytesMax ||
		kind != "uniform" && kind != "zipf" {
		return Sizes{}, fmt.Errorf("value size %q: write 64, 16-1024 or zipf:16-64k, up to %dm", text,
			valueBytesMax>>20)
	}
	return Sizes{Min: smallest, Max: largest, Zipf: kind == "zipf"}, nil
}

func parseBytes(text string) (int, error) {
	digits, unit := text, 1
	if number, found := strings.CutSuffix(text, "k"); found {
		digits, unit = number, 1<<10
	} else if number, found := strings.CutSuffix(text, "m"); found {
		digits, unit = number, 1<<20
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	return int(n) * unit, err
}

// String is what ParseSizes reads.
func (s Sizes) String() string {
	switch {
	case s.Min == s.Max:
		return strconv.Itoa(s.Min)
	case s.Zipf:
		return fmt.Sprintf("zipf:%d-%d", s.Min, s.Max)
	}
	return fmt.Sprintf("uniform:%d-%d", s.Min, s.Max)
}

// Mean is the expected size, from draws that are always the same.
func (s Sizes) Mean() float64 {
	const draws = 10_000
	sum, sizes, random := 0, newSizer(s), newSource(1, 1)
	for range draws {
		sum += sizes.draw(random)
	}
	return float64(sum) / draws
}

// sizer draws sizes.
type sizer struct {
	Sizes
	skew *zipf
}

func newSizer(s Sizes) sizer {
	z := sizer{Sizes: s}
	if s.Zipf {
		z.skew = newZipf(s.Max-s.Min+1, zipfExponent)
	}
	return z
}

func (s *sizer) draw(r *source) int {
	switch {
	case s.Min == s.Max:
		return s.Min
	case s.Zipf:
		return s.Min + s.skew.draw(r)
	}
	return s.Min + r.below(s.Max-s.Min+1)
}
