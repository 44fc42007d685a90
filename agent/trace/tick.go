package trace

// The clock of a GPU steps by some 32 ns, and the driver scales its stamps to the host's clock, by a
// slope that is not quite 1. So all stamps of a time lie on a grid, each rounded to whole
// nanoseconds: how many steps apart two are, and an error of -1, 0 or 1, says all of them.

const (
	tickFraction = 24             // bits behind the point of a tick
	tickNominal  = int64(32)      // ns
	tickSpan     = int64(1) << 38 // ns of a table at most, so that nothing overflows
	tickRows     = 256            // a shorter table is not worth its errors' columns
)

// ticks are the starts and durations of a table as steps of a clock.
type ticks struct {
	tick   uint64 // 2^-24 ns; 0: the clock has no such steps
	origin uint64 // ns, what the first gap is counted from

	gaps, lengths          []uint64 // steps, from the end before and from the start
	startErrors, endErrors []uint64 // ns
}

// split sets t to the steps of starts and durations, with tick 0 if they have none.
func (t *ticks) split(starts, durations []uint64) {
	t.tick = 0
	n := len(starts)
	if n < tickRows {
		return
	}
	t.origin = starts[0]
	for i, s := range starts {
		s -= t.origin
		for _, ns := range [2]int64{int64(s), int64(s + durations[i])} {
			if ns >= tickSpan || ns <= -tickSpan {
				return
			}
		}
	}
	tick := findTick(starts, durations)
	t.gaps, t.lengths = resize(t.gaps, n), resize(t.lengths, n)
	t.startErrors, t.endErrors = resize(t.startErrors, n), resize(t.endErrors, n)
	at, wide := int64(0), 0
	step := func(ns int64) (uint64, uint64) {
		x := ns<<tickFraction - at + tick/2
		n := x / tick
		if x < 0 && n*tick != x {
			n--
		}
		at += n * tick
		e := ns - at>>tickFraction
		at += e << (tickFraction - 2)
		if e < -1 || e > 1 {
			wide++
		}
		return uint64(n), uint64(e)
	}
	for i, s := range starts {
		s -= t.origin
		t.gaps[i], t.startErrors[i] = step(int64(s))
		t.lengths[i], t.endErrors[i] = step(int64(s + durations[i]))
	}
	if wide*8 < n { // of stamps that are no steps of this clock, most
		t.tick = uint64(tick)
	}
}

// findTick returns the length of a step, 2^-24 ns: by how much stamps that are near each other drift
// against a grid of whole steps. The first guess is rough, but then stamps farther apart can be used.
func findTick(starts, durations []uint64) int64 {
	tick := tickNominal << tickFraction
	for _, near := range [2]int64{50_000, 5_000_000} { // ns
		var drift, steps int64
		last := starts[0]
		for i, s := range starts[:min(len(starts), trialRows)] {
			for _, stamp := range [2]uint64{s, s + durations[i]} {
				d := int64(stamp - last)
				last = stamp
				if d >= 0 && d <= near {
					n := (d<<tickFraction + tick/2) / tick
					drift += d<<tickFraction - n*tick
					steps += n
				}
			}
		}
		if steps > 0 {
			tick += drift / steps
		}
	}
	return tick
}

// join sets gaps and lengths to the starts and durations they stand for: the inverse of split.
func (t *ticks) join() {
	gaps := t.gaps
	lengths, startErrors, endErrors := t.lengths[:len(gaps)], t.startErrors[:len(gaps)], t.endErrors[:len(gaps)]
	at := int64(0)
	for i, gap := range gaps {
		at += int64(gap * t.tick)
		e := int64(startErrors[i])
		start := at>>tickFraction + e
		at += e<<(tickFraction-2) + int64(lengths[i]*t.tick)
		e = int64(endErrors[i])
		gaps[i] = t.origin + uint64(start)
		lengths[i] = uint64(at>>tickFraction + e - start)
		at += e << (tickFraction - 2)
	}
}
