package store

import (
	"bytes"
	"math/big"

	"kelek/store/op"
)

// Redis counts in the 80-bit numbers of one kind of processor: 64 bits of mantissa, 15 of exponent.
// Every replica has to come to the same text, so it is computed in software, to the same 64 bits,
// and written by one function.
const (
	floatBits = 64
	// floatExponentMax is the exponent from which on such a number is infinite.
	floatExponentMax = 1 << 14
	// floatDigits is how many Redis writes behind the point, trailing zeros excepted.
	floatDigits = 17
	// floatTextMax bounds what is taken for a number; the longest that is written has 4951 bytes.
	floatTextMax = 5 << 10
)

// applyAddFloat adds a decimal to the one in a key.
func (m *machine) applyAddFloat(o *op.Op) error {
	p := placeOf(o.DB, o.Key)
	old, err := m.get(p)
	if err != nil {
		return err
	}
	if wrongType(old) {
		return m.answerError(op.ErrWrongType)
	}
	value, ok := newFloat(), true
	if old.exists() {
		value, ok = parseFloat(old.body)
	}
	delta, valid := parseFloat(o.Value)
	if !ok || !valid {
		return m.answerError(op.ErrNotFloat)
	}
	if value.IsInf() || delta.IsInf() {
		return m.answerError(op.ErrNotFinite)
	}
	value.Add(value, delta)
	if value.MantExp(nil) > floatExponentMax {
		return m.answerError(op.ErrNotFinite)
	}
	text := formatFloat(value)
	if err := m.put(p, old.deadline, text, nil); err != nil {
		return err
	}
	m.result = op.Result{Kind: op.ResultBytes, Bytes: text}
	return nil
}

func newFloat() *big.Float { return new(big.Float).SetPrec(floatBits) }

// parseFloat takes a decimal with an optional exponent, or an infinity. What is too large for the
// numbers of Redis is none.
func parseFloat(b []byte) (*big.Float, bool) {
	if len(b) == 0 || len(b) > floatTextMax || !plainFloat(b) {
		return nil, false
	}
	f, _, err := newFloat().Parse(string(b), 10)
	if err != nil || !f.IsInf() && f.MantExp(nil) > floatExponentMax {
		return nil, false
	}
	return f, true
}

// plainFloat keeps from big.Float what Redis does not know (other bases, underscores), and exponents
// that would take for ever to compute.
func plainFloat(b []byte) bool {
	mantissa, exponent, scaled := bytes.Cut(bytes.ToLower(b), []byte("e"))
	unsigned := bytes.TrimLeft(mantissa, "+-")
	switch string(unsigned) {
	case "inf", "infinity":
		return !scaled && len(mantissa) <= len(unsigned)+1
	}
	if len(bytes.Trim(unsigned, "0123456789.")) != 0 {
		return false
	}
	digits := bytes.TrimLeft(exponent, "+-")
	const exponentDigitsMax = 4
	return !scaled || len(digits) > 0 && len(digits) <= exponentDigitsMax &&
		len(bytes.Trim(digits, "0123456789")) == 0
}

// formatFloat writes f as Redis does: no exponent, no zeros at the end, never a negative zero.
func formatFloat(f *big.Float) []byte {
	text := f.Append(nil, 'f', floatDigits)
	text = bytes.TrimRight(text, "0")
	text = bytes.TrimSuffix(text, []byte("."))
	if string(text) == "-0" {
		return text[1:]
	}
	return text
}
