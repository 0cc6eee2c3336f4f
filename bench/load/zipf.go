package load

import "math"

// zipf draws ranks 1..n, rank k with a probability proportional to 1/k^s. It is the
// rejection-inversion method of Hörmann and Derflinger (1996): constant time per draw and no
// table, so that a hundred million keys cost as little to prepare as ten. s may be below 1, which the
// generator of the standard library excludes and which real caches show (0.99 is the usual choice).
type zipf struct {
	n, s     float64
	hFirst   float64 // integral up to 1.5, less the weight of rank 1
	hLast    float64 // integral up to n + 0.5
	shortcut float64
}

func newZipf(n int, s float64) *zipf {
	z := &zipf{n: float64(n), s: s}
	z.hFirst = z.integral(1.5) - 1
	z.hLast = z.integral(z.n + 0.5)
	z.shortcut = 2 - z.inverse(z.integral(2.5)-z.weight(2))
	return z
}

// draw returns a rank from 0 to n-1; 0 is the most frequent.
func (z *zipf) draw(r *source) int {
	for {
		u := z.hLast + r.float()*(z.hFirst-z.hLast)
		x := z.inverse(u)
		k := min(max(math.Floor(x+0.5), 1), z.n)
		if k-x <= z.shortcut || u >= z.integral(k+0.5)-z.weight(k) {
			return int(k) - 1
		}
	}
}

func (z *zipf) weight(x float64) float64 { return math.Exp(-z.s * math.Log(x)) }

// integral of the weight from 1 to x; its limit for s = 1 is the logarithm.
func (z *zipf) integral(x float64) float64 {
	log := math.Log(x)
	return expm1Ratio((1-z.s)*log) * log
}

func (z *zipf) inverse(u float64) float64 {
	t := max(u*(1-z.s), -1) // rounding may leave the range
	return math.Exp(log1pRatio(t) * u)
}

// Below this the series are more exact than the quotients.
const tiny = 1e-8

// expm1Ratio is (e^x - 1) / x.
func expm1Ratio(x float64) float64 {
	if math.Abs(x) > tiny {
		return math.Expm1(x) / x
	}
	return 1 + x/2
}

// log1pRatio is ln(1 + x) / x.
func log1pRatio(x float64) float64 {
	if math.Abs(x) > tiny {
		return math.Log1p(x) / x
	}
	return 1 - x/2
}
