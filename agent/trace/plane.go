package trace

// layout is how residuals are split into planes.
type layout struct {
	low  uint // bits in the first plane
	pack uint // residuals in a byte of the first plane
}

func plain() layout { return layout{low: 8, pack: 1} }

// first returns the size of the first plane of n residuals.
func (l layout) first(n int) int { return (n + int(l.pack) - 1) / int(l.pack) }

// valid tells whether size bytes are whole planes of n residuals.
func (l layout) valid(size, n int) bool {
	if l.low < 1 || l.pack < 1 || l.low*l.pack > 8 {
		return false
	}
	if size == 0 {
		return true
	}
	rest := size - l.first(n)
	return n > 0 && rest >= 0 && rest%n == 0 && rest/n <= 8
}

// planes appends the residuals to dst: first their lowest bits, then eight bits more a plane until
// nothing is left. All residuals zero: nothing is appended.
func planes(dst []byte, residuals []uint64, l layout) []byte {
	var all uint64
	for _, r := range residuals {
		all |= r
	}
	if all == 0 {
		return dst
	}
	mask := byte(1<<l.low - 1)
	if l.pack == 1 {
		for _, r := range residuals {
			dst = append(dst, byte(r)&mask)
		}
	} else {
		for i := 0; i < len(residuals); i += int(l.pack) {
			var b byte
			for j, r := range residuals[i:min(i+int(l.pack), len(residuals))] {
				b |= byte(r) & mask << (uint(j) * l.low)
			}
			dst = append(dst, b)
		}
	}
	for shift := l.low; shift < 64 && all>>shift != 0; shift += 8 {
		for _, r := range residuals {
			dst = append(dst, byte(r>>shift))
		}
	}
	return dst
}

// join is the inverse of planes: it sets the residuals. There must be whole planes.
func join(residuals []uint64, planes []byte, l layout) {
	n := len(residuals)
	if len(planes) == 0 {
		clear(residuals)
		return
	}
	if l.pack > 1 {
		first := l.first(n)
		unpack(residuals, planes[:first], l)
		higher(residuals, planes[first:], l.low)
		return
	}
	low := l.low
	switch len(planes) / n {
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
	if len(planes) == 4*n {
		d := planes[3*n:][:n]
		for i := range residuals {
			residuals[i] = uint64(a[i]) | (uint64(b[i])|uint64(c[i])<<8|uint64(d[i])<<16)<<low
		}
		return
	}
	for i := range residuals {
		residuals[i] = uint64(a[i]) | uint64(b[i])<<low | uint64(c[i])<<(low+8)
	}
	higher(residuals, planes[3*n:], low+16)
}

// unpack sets the residuals to what a packed first plane holds.
func unpack(residuals []uint64, plane []byte, l layout) {
	mask := byte(1<<l.low - 1)
	if l == (layout{low: 2, pack: 4}) { // as errors of ticks are
		for len(residuals) >= 4 {
			b, row := uint64(plane[0]), residuals[:4]
			row[0], row[1], row[2], row[3] = b&3, b>>2&3, b>>4&3, b>>6
			residuals, plane = residuals[4:], plane[1:]
		}
	}
	for _, b := range plane {
		row := residuals[:min(int(l.pack), len(residuals))]
		for i := range row {
			row[i] = uint64(b & mask)
			b >>= l.low
		}
		residuals = residuals[len(row):]
	}
}

// higher adds planes of which the first begins at bit shift.
func higher(residuals []uint64, planes []byte, shift uint) {
	n := len(residuals)
	for ; len(planes) >= n; planes, shift = planes[n:], shift+8 {
		for i, b := range planes[:n] {
			residuals[i] |= uint64(b) << shift
		}
	}
}
