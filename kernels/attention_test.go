package kernels

import (
	"math"
	"testing"

	"github.com/warpscope/warpscope/cuda"
)

// attends are shapes of every kind: one head and many, fewer tiles than multiprocessors, shared keys, edges.
func attends() []Attend {
	return []Attend{
		{Batch: 1, Heads: 1, KeyHeads: 1, Queries: 16, Keys: 16, D: 64},
		{Batch: 2, Heads: 4, KeyHeads: 2, Queries: 200, Keys: 333, D: 64, Causal: true},
		{Batch: 1, Heads: 16, KeyHeads: 16, Queries: 16384, Keys: 16384, D: 128},
		{Batch: 1, Heads: 16, KeyHeads: 16, Queries: 16384, Keys: 16384, D: 128, Causal: true},
		{Batch: 4, Heads: 32, KeyHeads: 8, Queries: 4096, Keys: 4096, D: 128, Causal: true},
	}
}

func TestHopperOrderHasEveryTileOnce(t *testing.T) {
	const multiprocessors = 132
	for _, a := range attends() {
		h := a.hopper()
		tiles := ceil(a.Queries, 64*h.groups)
		seen := map[uint32]int{}
		order := a.HopperOrder(multiprocessors)
		for _, where := range order {
			if where == nothing {
				continue
			}
			seen[where]++
			tile, head, batch := int(where&0xfff), int(where>>12&0x3ff), int(where>>22)
			if tile >= tiles || head >= a.Heads || batch >= a.Batch {
				t.Fatalf("%+v: tile %d of head %d of %d", a, tile, head, batch)
			}
		}
		if want := tiles * a.Heads * a.Batch; len(seen) != want {
			t.Errorf("%+v: %d tiles, want %d", a, len(seen), want)
		}
		for where, n := range seen {
			if n != 1 {
				t.Errorf("%+v: %x comes %d times", a, where, n)
			}
		}
		// A block stops at the first entry that is nothing: none may come after it.
		blocks := min(multiprocessors, len(order))
		for b := range blocks {
			ended := false
			for i := b; i < len(order); i += blocks {
				if ended && order[i] != nothing {
					t.Fatalf("%+v: block %d stops before its last tile", a, b)
				}
				ended = ended || order[i] == nothing
			}
		}
	}
}

func TestCausalTilesAreDealtOutEvenly(t *testing.T) {
	const multiprocessors = 132
	a := attends()[3]
	h, order := a.hopper(), a.HopperOrder(multiprocessors)
	work := make([]float64, multiprocessors)
	for i, where := range order {
		if where != nothing {
			work[i%multiprocessors] += math.Ceil(float64(int(where&0xfff)+1) * float64(64*h.groups) / float64(h.keys))
		}
	}
	total, most := 0.0, 0.0
	for _, w := range work {
		total, most = total+w, max(most, w)
	}
	if mean := total / multiprocessors; most > 1.03*mean {
		t.Errorf("the block with most work has %.2f times the mean", most/mean)
	}
}

func TestSplitsKeepTheDeviceBusy(t *testing.T) {
	for _, c := range []struct {
		a        Attend
		resident int
		want     int
	}{
		{Attend{Batch: 32, Heads: 32, KeyHeads: 8, Keys: 8192, D: 128}, 264, 1}, // 256 of 264 at once
		{Attend{Batch: 1, Heads: 8, KeyHeads: 8, Keys: 32768, D: 128}, 264, 29}, // 232 of 264 are 88 %
		{Attend{Batch: 1, Heads: 8, KeyHeads: 8, Keys: 128, D: 128}, 264, 2},    // no more blocks of keys
	} {
		if got := c.a.Splits(c.resident); got != c.want {
			t.Errorf("%+v: %d splits, want %d", c.a, got, c.want)
		}
	}
	if n := (Attend{D: 128}).DecodeResident(228 << 10); n != 2 {
		t.Errorf("%d blocks a multiprocessor", n)
	}
}

func TestAttentionCountsAsFlashAttentionDoes(t *testing.T) {
	a := Attend{Batch: 2, Heads: 4, KeyHeads: 2, Queries: 128, Keys: 256, D: 64}
	if got, want := a.Operations(), 4.0*2*4*128*256*64; got != want {
		t.Errorf("%g operations, want %g", got, want)
	}
	if got, want := a.Bytes(), 2.0*(2*2*4*128*64+2*2*2*256*64); got != want {
		t.Errorf("%g bytes, want %g", got, want)
	}
	a.Causal = true
	if got, want := a.Operations(), 2.0*2*4*128*256*64; got != want {
		t.Errorf("causal: %g operations, want %g", got, want)
	}
	if len(a.Decode(1, 0, 0)) != 1 || len(a.Decode(2, 0, 0)) != 2 || len(a.Naive(0, 0)) != 3 {
		t.Error("the steps of decoding, or of the naive way, are others")
	}
}

func TestSeriesRefusesWhatItCannotRepeat(t *testing.T) {
	if _, err := NewSeries(); err == nil {
		t.Error("no call")
	}
	for _, n := range []int{0, 5} {
		if _, err := NewSeries(cuda.Call{Args: make([]uintptr, n)}); err == nil {
			t.Errorf("a call with %d arguments", n)
		}
	}
}
