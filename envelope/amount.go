package envelope

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Amount is a sum of one currency: "USD:0.5" on the wire (open dialect 3.8).
type Amount struct {
	Currency string // any non-empty text, compared exactly
	Value    Decimal
}

var errAmount = errors.New("amount must be currency:decimal, such as USD:0.50")

// ParseAmount reads an amount, split at the first colon.
func ParseAmount(s string) (Amount, error) {
	currency, value, ok := strings.Cut(s, ":")
	if !ok || currency == "" {
		return Amount{}, errAmount
	}
	d, err := ParseDecimal(value)
	if err != nil {
		return Amount{}, err
	}
	return Amount{Currency: currency, Value: d}, nil
}

// String is the normalised form: USD:5.00 comes back as USD:5.
func (a Amount) String() string { return a.Currency + ":" + a.Value.String() }

// MarshalText is the normalised form. It fails for a currency that could not
// be read back.
func (a Amount) MarshalText() ([]byte, error) {
	if a.Currency == "" || strings.Contains(a.Currency, ":") {
		return nil, errAmount
	}
	return []byte(a.String()), nil
}

// UnmarshalText is [ParseAmount].
func (a *Amount) UnmarshalText(text []byte) error { return a.fromWire(string(text)) }

func (a *Amount) fromWire(s string) (err error) { *a, err = ParseAmount(s); return }

// Decimal is an exact decimal number that is not negative. The zero value is
// 0. Equal numbers compare equal with ==.
type Decimal struct {
	text string // shortest plain form; "" is 0
}

const (
	// maxDecimalInput bounds the text read. A 64-bit float in plain decimal
	// has at most 309 digits before and 1074 after the point.
	maxDecimalInput = 1400
	// maxDecimalScale bounds the digits after the point, so that 1e-9999999
	// cannot be written out.
	maxDecimalScale = 1074
)

var (
	errDecimal      = errors.New("amount must be a plain or scientific decimal without sign or spaces, such as 0.50")
	errDecimalRange = errors.New("amount is beyond the range of a 64-bit float")
)

// ParseDecimal reads a decimal as budgets allow it: an optional +, digits with
// an optional point at any place (5. and .5 are fine), an optional exponent.
// Negative, infinite and not-a-number are refused, and so is what lies beyond
// the range of a 64-bit float. Nothing is rounded.
func ParseDecimal(s string) (Decimal, error) {
	if len(s) > maxDecimalInput {
		return Decimal{}, fmt.Errorf("amount is longer than %d characters", maxDecimalInput)
	}
	s = strings.TrimPrefix(s, "+")
	mantissa, exponent, err := splitExponent(s)
	if err != nil {
		return Decimal{}, err
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	if whole+fraction == "" || !allDigits(whole) || !allDigits(fraction) {
		return Decimal{}, errDecimal
	}
	digits := strings.TrimLeft(whole+fraction, "0")
	point := exponent - len(fraction) // value = digits * 10^point
	trimmed := strings.TrimRight(digits, "0")
	point += len(digits) - len(trimmed)
	if trimmed == "" {
		return Decimal{}, nil
	}
	if len(trimmed)+point > 309 || -point > maxDecimalScale {
		return Decimal{}, errDecimalRange
	}
	text := plain(trimmed, point)
	if f, err := strconv.ParseFloat(text, 64); err != nil || f == 0 {
		return Decimal{}, errDecimalRange
	}
	return Decimal{text: text}, nil
}

// splitExponent clamps the exponent to what no mantissa of legal length can
// bring back into range, so that sums with it cannot overflow.
func splitExponent(s string) (mantissa string, exponent int, err error) {
	i := strings.IndexAny(s, "eE")
	if i < 0 {
		return s, 0, nil
	}
	mantissa, text := s[:i], s[i+1:]
	negative := strings.HasPrefix(text, "-")
	if negative || strings.HasPrefix(text, "+") {
		text = text[1:]
	}
	if text == "" || !allDigits(text) {
		return "", 0, errDecimal
	}
	const beyond = 1_000_000
	exponent, err = strconv.Atoi(text)
	if err != nil || exponent > beyond {
		exponent = beyond
	}
	if negative {
		exponent = -exponent
	}
	return mantissa, exponent, nil
}

// plain writes digits * 10^point. digits has neither leading nor trailing
// zeros.
func plain(digits string, point int) string {
	switch {
	case point >= 0:
		return digits + strings.Repeat("0", point)
	case -point < len(digits):
		return digits[:len(digits)+point] + "." + digits[len(digits)+point:]
	default:
		return "0." + strings.Repeat("0", -point-len(digits)) + digits
	}
}

func allDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

// String is the shortest plain decimal: no sign, no exponent, no idle zeros.
func (d Decimal) String() string {
	if d.text == "" {
		return "0"
	}
	return d.text
}

// Float64 is the nearest 64-bit float.
func (d Decimal) Float64() float64 {
	f, _ := strconv.ParseFloat(d.String(), 64)
	return f
}

// Cmp is -1, 0 or 1 as d is less than, equal to or greater than other.
func (d Decimal) Cmp(other Decimal) int {
	aWhole, aFraction, _ := strings.Cut(d.String(), ".")
	bWhole, bFraction, _ := strings.Cut(other.String(), ".")
	if len(aWhole) != len(bWhole) {
		if len(aWhole) < len(bWhole) {
			return -1
		}
		return 1
	}
	// Without idle zeros, digits compare as text.
	if c := strings.Compare(aWhole, bWhole); c != 0 {
		return c
	}
	return strings.Compare(aFraction, bFraction)
}

// Millionths is the number in millionths, rounded half up: the unit in which
// budgets are counted (BG-1). It is false when that is no int64.
func (d Decimal) Millionths() (int64, bool) {
	whole, fraction, _ := strings.Cut(d.String(), ".")
	up := len(fraction) > 6 && fraction[6] >= '5'
	if len(fraction) > 6 {
		fraction = fraction[:6]
	}
	fraction += strings.Repeat("0", 6-len(fraction))
	n, err := strconv.ParseInt(whole+fraction, 10, 64)
	if err != nil || (up && n == math.MaxInt64) {
		return 0, false
	}
	if up {
		n++
	}
	return n, true
}

// DecimalFromMillionths is n/1000000. A negative n gives 0: no budget is owed.
func DecimalFromMillionths(n int64) Decimal {
	if n <= 0 {
		return Decimal{}
	}
	digits := strconv.FormatInt(n, 10)
	trimmed := strings.TrimRight(digits, "0")
	return Decimal{text: plain(trimmed, len(digits)-len(trimmed)-6)}
}

// Sub is d minus other, and false when other is greater.
func (d Decimal) Sub(other Decimal) (Decimal, bool) {
	if d.Cmp(other) < 0 {
		return Decimal{}, false
	}
	scale := max(d.scale(), other.scale())
	var a, b big.Int
	a.SetString(d.scaled(scale), 10)
	b.SetString(other.scaled(scale), 10)
	digits := a.Sub(&a, &b).String()
	trimmed := strings.TrimRight(digits, "0")
	if trimmed == "" {
		return Decimal{}, true
	}
	return Decimal{text: plain(trimmed, len(digits)-len(trimmed)-scale)}, true
}

func (d Decimal) scale() int {
	_, fraction, _ := strings.Cut(d.text, ".")
	return len(fraction)
}

func (d Decimal) scaled(scale int) string {
	whole, fraction, _ := strings.Cut(d.String(), ".")
	return whole + fraction + strings.Repeat("0", scale-len(fraction))
}
