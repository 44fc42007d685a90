package analyze

import (
	"math/rand/v2"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
)

// covered counts covered moments one by one.
func covered(list []interval, size int) int64 {
	line := make([]bool, size)
	for _, i := range list {
		for t := i.start; t < i.end; t++ {
			line[t] = true
		}
	}
	n := int64(0)
	for _, on := range line {
		if on {
			n++
		}
	}
	return n
}

func TestUnion(t *testing.T) {
	tests := []struct {
		name string
		list []interval
		want int64
	}{
		{"nothing", nil, 0},
		{"empty and turned intervals", []interval{{5, 5}, {9, 3}}, 0},
		{"apart", []interval{{1, 3}, {5, 8}}, 5},
		{"touching", []interval{{1, 3}, {3, 8}}, 7},
		{"one inside another", []interval{{1, 10}, {3, 4}}, 9},
		{"the same twice", []interval{{1, 4}, {1, 4}}, 3},
		{"late one before all", []interval{{10, 12}, {1, 3}}, 4},
		{"late one between", []interval{{1, 2}, {10, 12}, {5, 6}}, 4},
		{"late one joins two", []interval{{1, 4}, {6, 9}, {12, 13}, {3, 7}}, 9},
		{"late one swallows many", []interval{{1, 2}, {4, 5}, {7, 8}, {10, 11}, {3, 20}}, 18},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var u Union
			for _, i := range test.list {
				u.Add(i.start, i.end)
			}
			if got := u.Total(); got != test.want {
				t.Errorf("covers %d, want %d", got, test.want)
			}
		})
	}
}

func TestUnionEqualsCounting(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 3))
		const size = 4000
		n, far := 1+random.IntN(400), 1+random.IntN(2000)
		var list []interval
		var u Union
		for i := range n {
			start := max(0, i*size/n-random.IntN(far))
			end := min(size, start+random.IntN(1+size/n*3))
			list = append(list, interval{event.Time(start), event.Time(end)})
			u.Add(event.Time(start), event.Time(end))
		}
		if got, want := u.Total(), covered(list, size); got != want {
			t.Fatalf("seed %d: covers %d, want %d", seed, got, want)
		}
		if u.Late() != 0 {
			t.Fatalf("seed %d: %d ns called late", seed, u.Late())
		}
	}
}

// A bound on memory must cost no more than it says it does.
func TestUnionBounded(t *testing.T) {
	u := Union{limit: 100}
	for i := range event.Time(10_000) {
		u.Add(i*10, i*10+4)
		if len(u.runs) > 100 {
			t.Fatalf("%d runs are kept, the bound is 100", len(u.runs))
		}
	}
	u.Add(99_990-300, 99_990-297) // late, but within what is kept
	if got := u.Total(); got != 40_000 {
		t.Errorf("covers %d, want 40000", got)
	}
	u.Add(6, 9) // too late: it may or may not have been covered
	if got, late := u.Total(), u.Late(); got != 40_000 || late != 3 {
		t.Errorf("covers %d with %d uncertain, want 40000 with 3", got, late)
	}
}
