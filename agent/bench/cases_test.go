package bench

import (
	"math/rand/v2"
	"testing"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/ceilings"
)

func TestStridedSumIsThatOfTheElements(t *testing.T) {
	const words, value = 512, 0xfffffff0
	for _, stride := range []uint64{2, 4, 8, 16, 64, 128} {
		n, want := uint64(4*words)/stride, uint32(0)
		for i := range n {
			v := uint32(value)
			if e := i * stride; e%4 == 0 {
				v += uint32(e / 4)
			}
			want += v
		}
		if got := stridedSum(value, n, stride); got != want {
			t.Errorf("stride %d: %d, want %d", stride, got, want)
		}
	}
}

func TestLinksAreOneCycleThroughDistinctLines(t *testing.T) {
	for _, c := range []chase{{bytes: 32 << 10, steps: 1000}, {bytes: 8 << 20, steps: 1000}} {
		next, end := c.links(rand.New(rand.NewPCG(1, 2)))
		at, seen := uint32(0), map[uint32]bool{}
		for range c.steps {
			seen[at] = true
			to, ok := next[at]
			if !ok || uint64(4*to) >= c.bytes || to%(lineBytes/4) != 0 {
				t.Fatalf("%d leads to %d", at, to)
			}
			at = to
		}
		if at != end {
			t.Errorf("the walk ends at %d, want %d", at, end)
		}
		if want := min(int(c.bytes/lineBytes), c.steps); len(seen) != want {
			t.Errorf("%d lines, want %d", len(seen), want)
		}
	}
}

func TestSmallArraysAreNotJudgedByMemory(t *testing.T) {
	g := &GPU{Info: result.GPU{L2: 50 << 20}}
	if k := g.kind(ceilings.Read, 100<<20); k != "" {
		t.Errorf("100 MiB are judged by %s", k)
	}
	if k := g.kind(ceilings.Read, 1<<30); k != ceilings.Read {
		t.Errorf("1 GiB is judged by %q", k)
	}
}

func TestRowsAreChosenFromAllParts(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct{ all, count int }{{8192, 64}, {16384, 64}, {1040, 1040}, {1040, 64}, {65, 64}, {1, 1}, {2, 2}} {
		rows := chosenRows(c.all, c.count, random)
		if len(rows) != c.count || c.count > 1 && rows[0] != 0 || rows[len(rows)-1] != uint32(c.all-1) {
			t.Errorf("%d of %d: %v", c.count, c.all, rows)
		}
		for i, r := range rows {
			if int(r) < i*c.all/c.count || int(r) >= (i+1)*c.all/c.count {
				t.Errorf("%d of %d: row %d is %d", c.count, c.all, i, r)
			}
		}
	}
}
