package exchange

import (
	"bytes"
	"encoding/json"
	"math/bits"
	"strings"
)

// members goes through the members of a JSON object that lies in memory as a whole.
type members struct {
	b     []byte
	p     int
	begun bool
	bad   bool // it is not well formed; what was found before counts
	key   []byte
	value []byte
}

// object returns the members of b, which begins with an opening brace.
func object(b []byte) members { return members{b: b, p: 1} }

// next moves on to the next member; false: there is none.
func (m *members) next() bool {
	b := m.b
	p := skipSpace(b, m.p)
	if p >= len(b) {
		return m.fail()
	}
	if b[p] == ',' && m.begun {
		p = skipSpace(b, p+1) // a comma too many before the end harms nobody
	} else if m.begun && b[p] != '}' {
		return m.fail()
	}
	if p >= len(b) {
		return m.fail()
	}
	if b[p] == '}' {
		m.p = p
		return false
	}
	if b[p] != '"' {
		return m.fail()
	}
	end := stringEnd(b, p)
	if end < 0 {
		return m.fail()
	}
	m.key = b[p+1 : end-1]
	p = skipSpace(b, end)
	if p >= len(b) || b[p] != ':' {
		return m.fail()
	}
	p = skipSpace(b, p+1)
	if end = valueEnd(b, p); end < 0 {
		return m.fail()
	}
	m.value, m.p, m.begun = b[p:end], end, true
	return true
}

func (m *members) fail() bool {
	m.bad = true
	return false
}

// elements goes through the elements of a JSON array that lies in memory as a whole.
type elements struct {
	b     []byte
	p     int
	value []byte
}

// array returns the elements of b; none if it is no array.
func array(b []byte) elements {
	if len(b) == 0 || b[0] != '[' {
		return elements{}
	}
	return elements{b: b, p: 1}
}

func (e *elements) next() bool {
	p := skipSpace(e.b, e.p)
	if p < len(e.b) && e.b[p] == ',' {
		p = skipSpace(e.b, p+1)
	}
	if p >= len(e.b) || e.b[p] == ']' {
		return false
	}
	end := valueEnd(e.b, p)
	if end < 0 {
		return false
	}
	e.value, e.p = e.b[p:end], end
	return true
}

// isObject says whether a value is an object.
func isObject(v []byte) bool { return len(v) > 1 && v[0] == '{' }

// inner returns what stands between a string's quotes, escapes as they are; of other values, all.
func inner(v []byte) []byte {
	if len(v) >= 2 && v[0] == '"' {
		return v[1 : len(v)-1]
	}
	return v
}

// plain returns a string's inner part without its escapes, to be compared.
func plain(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	return []byte(text(raw, maxLine))
}

// text returns the text of a string's inner part, at most limit bytes of it.
func text(raw []byte, limit int) string {
	raw = raw[:min(len(raw), limit)]
	for _, c := range raw {
		if c != '\\' {
			continue
		}
		var s string
		quoted := append(append([]byte{'"'}, raw...), '"')
		if json.Unmarshal(quoted, &s) == nil {
			return s
		}
		break // not JSON's escapes, or cut in one: as it is
	}
	return strings.ToValidUTF8(string(raw), "\ufffd")
}

// decimal is a number as it is written: digits · 10^exponent.
type decimal struct {
	digits   uint64
	exponent int
	negative bool
}

// parseDecimal reads a number, or a string that holds one. NaN, infinities and everything else
// are none.
func parseDecimal(v []byte) (d decimal, ok bool) {
	v = inner(v)
	p := 0
	if p < len(v) && (v[p] == '-' || v[p] == '+') {
		d.negative = v[p] == '-'
		p++
	}
	point, seen := false, false
	for ; p < len(v); p++ {
		c := v[p]
		if c == '.' && !point {
			point = true
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		seen = true
		if d.digits < 1e18 {
			d.digits = d.digits*10 + uint64(c-'0')
			if point {
				d.exponent--
			}
		} else if !point {
			d.exponent++ // further digits are beyond what any figure here needs
		}
	}
	if !seen {
		return d, false
	}
	if p < len(v) && (v[p] == 'e' || v[p] == 'E') {
		e, rest := 0, v[p+1:]
		minus := false
		if len(rest) > 0 && (rest[0] == '-' || rest[0] == '+') {
			minus = rest[0] == '-'
			rest = rest[1:]
		}
		if len(rest) == 0 {
			return d, false
		}
		for _, c := range rest {
			if c < '0' || c > '9' {
				return d, false
			}
			e = min(e*10+int(c-'0'), 10000)
		}
		if minus {
			e = -e
		}
		d.exponent += e
		return d, true
	}
	return d, p == len(v)
}

// scaled returns d·10^power, rounded to an integer; false if that does not fit 62 bits.
func (d decimal) scaled(power int) (int64, bool) {
	n, e := d.digits, d.exponent+power
	for ; e > 0 && n != 0; e-- {
		high, low := bits.Mul64(n, 10)
		if high != 0 {
			return 0, false
		}
		n = low
	}
	if e < 0 {
		if e < -19 {
			return 0, true
		}
		divisor := uint64(1)
		for ; e < 0; e++ {
			divisor *= 10
		}
		half := n%divisor >= (divisor+1)/2
		n /= divisor
		if half {
			n++
		}
	}
	if n >= 1<<62 {
		return 0, false
	}
	if d.negative {
		return -int64(n), true
	}
	return int64(n), true
}

// integer returns a number's integer part, rounded.
func integer(v []byte) (int64, bool) {
	// Nearly all are a few plain digits.
	if len(v) > 0 && len(v) < 18 {
		n := int64(0)
		for i := 0; ; i++ {
			if i == len(v) {
				return n, true
			}
			c := v[i] - '0'
			if c > 9 {
				break
			}
			n = n*10 + int64(c)
		}
	}
	d, ok := parseDecimal(v)
	if !ok {
		return 0, false
	}
	return d.scaled(0)
}

// number returns a number that fits 32 bits; otherwise, or if it is none, absent.
func number(v []byte, absent uint32) uint32 {
	n, ok := integer(v)
	if !ok || n < 0 || n >= 1<<32 {
		return absent
	}
	return uint32(n)
}

// amount returns a number that is not negative; 0 if it is none.
func amount(v []byte) uint64 {
	n, ok := integer(v)
	if !ok || n < 0 {
		return 0
	}
	return uint64(n)
}
