package trace

import "math"

// chain is what a value is counted from; the numbers are the schema's.
type chain uint32

const (
	chainBase chain = iota
	chainPrevious
	chainEnd
)

// slots is how many predictions a keyed column keeps; the low bits of the key select one.
const slots = 1 << 12

// memory holds what a keyed column remembers: for each key the last three values. Its
// prediction is their median, which neither one outlier nor the clock's steps disturb.
type memory struct {
	seen  [slots / 64]uint64
	three [slots][4]int64 // newest first; the fourth only aligns
}

func (m *memory) forget() { m.seen = [slots / 64]uint64{} }

// predict returns what is expected for the slot of key, 0 if nothing is known.
func (m *memory) predict(key uint64) int64 {
	k := key % slots
	if m.seen[k/64]&(1<<(k%64)) == 0 {
		return 0
	}
	t := &m.three[k]
	return max(min(t[0], t[1]), min(max(t[0], t[1]), t[2]))
}

// learn tells which value came.
func (m *memory) learn(key uint64, v int64) {
	k := key % slots
	t := &m.three[k]
	if m.seen[k/64]&(1<<(k%64)) == 0 {
		m.seen[k/64] |= 1 << (k % 64)
		t[0], t[1], t[2] = v, v, v
		return
	}
	t[0], t[1], t[2] = v, t[0], t[1]
}

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// subtract replaces values by what they differ from the row before, or its end; the first row
// remains 0 and its value is returned as the base.
func subtract(values []uint64, c chain, durations []uint64) uint64 {
	base := values[0]
	before := base
	for i, v := range values {
		values[i] = v - before
		before = v
		if c == chainEnd {
			if d := int64(durations[i]); d > 0 {
				before += uint64(d)
			}
		}
	}
	return base
}

// residuals turns values into the residuals of a coding, in place, and returns the base.
func residuals(values []uint64, c coding, keys, durations []uint64, m *memory) uint64 {
	var base uint64
	switch {
	case c.chain != chainBase:
		base = subtract(values, c.chain, durations)
	case c.key == 0:
		low := int64(math.MaxInt64)
		for _, v := range values {
			low = min(low, int64(v))
		}
		for i := range values {
			values[i] -= uint64(low)
		}
		return uint64(low)
	}
	if c.key == 0 {
		for i, v := range values {
			values[i] = zigzag(int64(v))
		}
		return base
	}
	m.forget()
	for i, v := range values {
		values[i] = zigzag(int64(v) - m.predict(keys[i]))
		m.learn(keys[i], int64(v))
	}
	return base
}

// restore turns residuals into values, in place: the inverse of residuals.
func restore(values []uint64, base uint64, c coding, keys, durations []uint64, m *memory) {
	switch {
	case c.key != 0:
		m.forget()
		for i, r := range values {
			v := unzigzag(r) + m.predict(keys[i])
			m.learn(keys[i], v)
			values[i] = uint64(v)
		}
	case c.chain != chainBase:
		for i, r := range values {
			values[i] = uint64(unzigzag(r))
		}
	}
	switch c.chain {
	case chainBase:
		if base != 0 {
			for i := range values {
				values[i] += base
			}
		}
	case chainPrevious:
		for i, v := range values {
			base += v
			values[i] = base
		}
	case chainEnd:
		for i, v := range values {
			base += v
			values[i] = base
			if d := int64(durations[i]); d > 0 {
				base += uint64(d)
			}
		}
	}
}

// planes appends the residuals to dst: first their lowest `low` bits, one byte a row, then eight
// bits more a plane until nothing is left. All residuals zero: nothing is appended.
func planes(dst []byte, residuals []uint64, low uint) []byte {
	var all uint64
	for _, r := range residuals {
		all |= r
	}
	if all == 0 {
		return dst
	}
	mask := byte(1<<low - 1)
	for _, r := range residuals {
		dst = append(dst, byte(r)&mask)
	}
	for shift := low; shift < 64 && all>>shift != 0; shift += 8 {
		for _, r := range residuals {
			dst = append(dst, byte(r>>shift))
		}
	}
	return dst
}

// join is the inverse of planes: it sets the residuals. There must be a whole number of planes.
func join(residuals []uint64, planes []byte, low uint) {
	n := len(residuals)
	switch len(planes) / n {
	case 0:
		clear(residuals)
		return
	case 1:
		for i, b := range planes[:n] {
			residuals[i] = uint64(b)
		}
		return
	case 2:
		a, b := planes[:n], planes[n:2*n]
		for i := range residuals {
			residuals[i] = uint64(a[i]) | uint64(b[i])<<low
		}
		return
	}
	a, b, c := planes[:n], planes[n:2*n], planes[2*n:3*n]
	for i := range residuals {
		residuals[i] = uint64(a[i]) | uint64(b[i])<<low | uint64(c[i])<<(low+8)
	}
	for p, shift := 3, low+16; (p+1)*n <= len(planes); p, shift = p+1, shift+8 {
		for i, b := range planes[p*n : (p+1)*n] {
			residuals[i] |= uint64(b) << shift
		}
	}
}
