package trace

import "math"

// chain is what a value is counted from; the numbers are the schema's.
type chain uint32

const (
	chainBase chain = iota
	chainPrevious
	chainEnd
	chainLaunch
)

// coding says from what a column's residuals are counted.
type coding struct {
	chain chain
	key   int // field number of the column that selects the prediction; 0: no prediction
	depth int // how many of the key's differences select it; 0: its value

	lag   int64 // of chainLaunch, ns
	reach int64 // of chainLaunch, in the units of the table's times
}

const (
	slotBits   = 14
	slots      = 1 << slotBits // predictions that a keyed column keeps
	valueSlots = 1 << 12       // of these, what the key's value alone can select
	maxDepth   = 8

	scatter = 2654435761 // 2^32 divided by the golden ratio
)

// memory holds what a keyed column remembers: in each slot the last three differences. Its
// prediction is their median, which neither one outlier nor the clock's steps disturb.
type memory struct {
	seen  [slots / 64]uint64
	three [slots][4]int64 // newest first; the fourth only aligns
}

// restore returns the difference that a residual in slot k stands for, and learns it.
func (m *memory) restore(k uint32, residual uint64) int64 {
	k %= slots
	t := &m.three[k]
	v := unzigzag(residual)
	if m.seen[k/64]&(1<<(k%64)) == 0 {
		m.seen[k/64] |= 1 << (k % 64)
		t[0], t[1], t[2] = v, v, v
		return v
	}
	x, y, z := t[0], t[1], t[2]
	v += max(min(x, y), min(max(x, y), z))
	t[0], t[1], t[2] = v, x, y
	return v
}

func (m *memory) forget() { m.seen = [slots / 64]uint64{} }

// predict returns what is expected in slot k, 0 if nothing is known.
func (m *memory) predict(k uint32) int64 {
	k %= slots
	if m.seen[k/64]&(1<<(k%64)) == 0 {
		return 0
	}
	t := &m.three[k]
	return max(min(t[0], t[1]), min(max(t[0], t[1]), t[2]))
}

// learn tells which difference came.
func (m *memory) learn(k uint32, v int64) {
	k %= slots
	t := &m.three[k]
	if m.seen[k/64]&(1<<(k%64)) == 0 {
		m.seen[k/64] |= 1 << (k % 64)
		t[0], t[1], t[2] = v, v, v
		return
	}
	t[0], t[1], t[2] = v, t[0], t[1]
}

// contexts sets dst to the slot of each row. keys are the values of the key column, or with a depth
// its differences: the same few in the same order come before the same thing again.
func contexts(dst []uint32, keys []uint64, depth int) {
	if depth == 0 {
		for i, k := range keys {
			dst[i] = uint32(k % valueSlots)
		}
		return
	}
	// Each key's share of the hash is its product with a power of scatter.
	var powers [maxDepth]uint32
	p := uint32(1)
	for j := range powers {
		p *= scatter
		powers[j] = p
	}
	for i := range min(depth-1, len(keys)) {
		dst[i] = hash(keys[:i+1], &powers)
	}
	switch depth {
	case 2:
		for i := 1; i < len(keys); i++ {
			h := uint32(keys[i-1])*powers[1] + uint32(keys[i])*powers[0]
			dst[i] = h >> (32 - slotBits)
		}
	case 3:
		for i := 2; i < len(keys); i++ {
			h := uint32(keys[i-2])*powers[2] + uint32(keys[i-1])*powers[1] + uint32(keys[i])*powers[0]
			dst[i] = h >> (32 - slotBits)
		}
	default:
		for i := depth - 1; i < len(keys); i++ {
			dst[i] = hash(keys[i-depth+1:i+1], &powers)
		}
	}
}

// hash returns the slot that the last of keys selects together with those before it.
func hash(keys []uint64, powers *[maxDepth]uint32) uint32 {
	h := uint32(0)
	for j, k := range keys {
		h += uint32(k) * powers[len(keys)-1-j]
	}
	return h >> (32 - slotBits)
}

// differences turns the values of a column without a key into what they differ from base, or from the
// row before, in place.
func differences(values []uint64, base uint64, c chain) {
	for i, v := range values {
		values[i] = v - base
		if c == chainPrevious {
			base = v
		}
	}
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

// lowest returns the smallest of values, as signed numbers.
func lowest(values []uint64) uint64 {
	low := int64(math.MaxInt64)
	for _, v := range values {
		low = min(low, int64(v))
	}
	return uint64(low)
}

// residuals turns values into the residuals of a coding, in place, and returns the base. slots are
// those of the coding's key.
func residuals(values []uint64, c coding, slots []uint32, durations []uint64, m *memory) uint64 {
	var base uint64
	switch {
	case c.chain != chainBase:
		base = subtract(values, c.chain, durations)
	case c.key == 0:
		base = lowest(values)
		differences(values, base, chainBase)
		return base
	}
	if c.key == 0 {
		for i, v := range values {
			values[i] = zigzag(int64(v))
		}
		return base
	}
	m.forget()
	for i, v := range values {
		values[i] = zigzag(int64(v) - m.predict(slots[i]))
		m.learn(slots[i], int64(v))
	}
	return base
}

// restore turns residuals into values, in place: the inverse of residuals.
func restore(values []uint64, base uint64, c coding, slots []uint32, durations []uint64, m *memory) {
	if c.key == 0 {
		restorePlain(values, base, c.chain, durations)
		return
	}
	m.forget()
	slots = slots[:len(values)]
	switch c.chain {
	case chainBase:
		for i, r := range values {
			values[i] = base + uint64(m.restore(slots[i], r))
		}
	case chainPrevious:
		for i, r := range values {
			base += uint64(m.restore(slots[i], r))
			values[i] = base
		}
	case chainEnd:
		durations = durations[:len(values)]
		for i, r := range values {
			base += uint64(m.restore(slots[i], r))
			values[i] = base
			base += uint64(max(0, int64(durations[i])))
		}
	}
}

// restorePlain is restore without predictions.
func restorePlain(values []uint64, base uint64, c chain, durations []uint64) {
	switch c {
	case chainBase:
		if base != 0 {
			for i := range values {
				values[i] += base
			}
		}
	case chainPrevious:
		for i, r := range values {
			base += uint64(unzigzag(r))
			values[i] = base
		}
	case chainEnd:
		durations = durations[:len(values)]
		for i, r := range values {
			base += uint64(unzigzag(r))
			values[i] = base
			base += uint64(max(0, int64(durations[i])))
		}
	}
}
