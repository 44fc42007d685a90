package trace

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
)

// stamps returns what a GPU's clock of some steps shows of kernels, one after another.
func stamps(rng *rand.Rand, n int, step, slope float64) (starts, durations []uint64) {
	at := 5.1e12
	stamp := func() uint64 { return uint64(float64(int64(at/step))*step*slope + 1234.5) }
	for range n {
		at += 1000 + 2000*rng.Float64()
		if rng.IntN(500) == 0 {
			at += 5e6 * rng.Float64() // the program waits for its data
		}
		start := stamp()
		at += 1000 + 100_000*rng.Float64()
		starts, durations = append(starts, start), append(durations, stamp()-start)
	}
	return starts, durations
}

func TestTicks(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for _, c := range []struct {
		name        string
		step, slope float64
		ticks       bool
	}{
		{"faster", 32, 1 + 15e-6, true},
		{"slower", 32, 1 - 90e-6, true},
		{"equal", 32, 1, true},
		{"every nanosecond", 1, 1 + 15e-6, false},
		{"other steps", 1000, 1, false},
	} {
		starts, durations := stamps(rng, 20_000, c.step, c.slope)
		durations[7] = ^uint64(0) // unknown
		var s ticks
		s.split(starts, durations)
		if got := s.tick != 0; got != c.ticks {
			t.Errorf("%s: has ticks: %v", c.name, got)
		}
		if !c.ticks {
			continue
		}
		zero := 0
		for i := range s.startErrors {
			zero += int(bit(s.startErrors[i] == 0) + bit(s.endErrors[i] == 0))
		}
		if share := float64(zero) / 40_000; share < 0.7 {
			t.Errorf("%s: %.0f%% of the stamps are where they should be", c.name, 100*share)
		}
		if s.join(); !slices.Equal(s.gaps, starts) || !slices.Equal(s.lengths, durations) {
			t.Errorf("%s: stamps differ after a round trip", c.name)
		}
	}
}

// TestTicksOfAnything checks that no time is lost that is none of a clock.
func TestTicksOfAnything(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	e, d := testCodec(t)
	used := 0
	for round := range 200 {
		starts, durations := stamps(rng, tickRows+rng.IntN(1000), 32, 1+(rng.Float64()-0.5)*2e-4)
		for range rng.IntN(4) {
			i := rng.IntN(len(starts))
			starts[i] = []uint64{0, 1, starts[i] + 17, starts[i] - 1e9, starts[i] + 1<<37, 1<<63 - 1, starts[i]}[rng.IntN(7-round%2)]
			durations[i] = []uint64{0, 1, ^uint64(0), 1 << 36, 1<<63 - 1, 1 << 63}[rng.IntN(6-round%3)]
		}
		var s ticks
		if s.split(starts, durations); s.tick != 0 {
			used++
		}
		want := event.Batch{Process: 1}
		for i := range starts {
			want.Sets.Start = append(want.Sets.Start, event.Time(starts[i]))
			want.Sets.Duration = append(want.Sets.Duration, int64(durations[i]))
		}
		for _, c := range e.schema[2].columns {
			if c.cells.rows(&want) == 0 {
				c.cells.fill(&want, len(starts), 0)
			}
		}
		h, payload := frame(t, e, d, &want)
		var got event.Batch
		if err := d.batch(payload, &h, &got); err != nil {
			t.Fatal(err)
		}
		if !same(&want, &got) {
			t.Fatalf("round %d: decoded batch differs", round)
		}
	}
	if used < 20 || used > 180 {
		t.Errorf("ticks were used in %d of 200 tables", used)
	}
}

func TestLayouts(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for low := uint(1); low <= 8; low++ {
		for pack := uint(1); low*pack <= 8; pack++ {
			for _, width := range []int{0, 1, 2, 8, 9, 17, 40, 64} {
				l := layout{low: low, pack: pack}
				want := make([]uint64, 1+rng.IntN(100))
				for i := range want {
					want[i] = rng.Uint64() >> (64 - width)
				}
				b := planes(nil, want, l)
				got := make([]uint64, len(want))
				if !l.valid(len(b), len(want)) || len(b) > 0 && l.valid(len(b)+1, len(want)) && len(want) > 1 {
					t.Fatalf("%+v: %d bytes for %d residuals of %d bits: not what is expected", l, len(b), len(want), width)
				}
				if join(got, b, l); !slices.Equal(got, want) {
					t.Fatalf("%+v: %d residuals of %d bits differ", l, len(want), width)
				}
			}
		}
	}
}
