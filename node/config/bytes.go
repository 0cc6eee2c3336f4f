package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
)

// Bytes is a size that may be written with Redis's units: k, m, g are powers of 1000; kb, mb, gb
// powers of 1024.
type Bytes int64

var byteUnits = []struct {
	suffix string
	factor int64
}{
	{"kb", 1 << 10}, {"mb", 1 << 20}, {"gb", 1 << 30},
	{"k", 1_000}, {"m", 1_000_000}, {"g", 1_000_000_000},
	{"b", 1},
}

// ParseBytes reads "67108864", "64mb", "64MB" or "64m".
func ParseBytes(text string) (Bytes, error) {
	digits, factor := strings.ToLower(strings.TrimSpace(text)), int64(1)
	for _, unit := range byteUnits {
		if rest, found := strings.CutSuffix(digits, unit.suffix); found {
			digits, factor = rest, unit.factor
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/factor {
		return 0, fmt.Errorf("%q is not a size: write 67108864, 64mb or 64m", text)
	}
	return Bytes(n * factor), nil
}

// String uses the largest unit that divides the size.
func (b Bytes) String() string {
	for _, unit := range []int{2, 1, 0} {
		if f := byteUnits[unit].factor; b > 0 && int64(b)%f == 0 {
			return strconv.FormatInt(int64(b)/f, 10) + byteUnits[unit].suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// Decode makes Bytes a kong value.
func (b *Bytes) Decode(ctx *kong.DecodeContext) error {
	var text string
	if err := ctx.Scan.PopValueInto("size", &text); err != nil {
		return err
	}
	n, err := ParseBytes(text)
	*b = n
	return err
}
