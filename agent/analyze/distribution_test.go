package analyze

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// rank is the definition that Quantile documents.
func rank(values []int64, q float64) int64 {
	s := slices.Sorted(slices.Values(values))
	at := int(math.Ceil(q * float64(len(s))))
	return s[min(max(at, 1), len(s))-1]
}

func TestDistributionExact(t *testing.T) {
	var d Distribution
	if s := d.Spread(); s != (Spread{}) {
		t.Errorf("no values give %+v", s)
	}
	for _, v := range []int64{40, 10, 30, 20} {
		d.Add(v)
	}
	want := Spread{Count: 4, TotalNS: 100, MeanNS: 25, MinNS: 10, MedianNS: 20, P99NS: 40, MaxNS: 40}
	if got := d.Spread(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Up to the limit percentiles are exact; beyond it they are within the stated error.
func TestDistributionError(t *testing.T) {
	shapes := map[string]func(r *rand.Rand) int64{
		"constant":      func(*rand.Rand) int64 { return 123_457 },
		"small numbers": func(r *rand.Rand) int64 { return r.Int64N(300) },
		"exponential":   func(r *rand.Rand) int64 { return int64(r.ExpFloat64() * 20_000) },
		"seven decades": func(r *rand.Rand) int64 { return int64(math.Pow(10, r.Float64()*7)) },
		"up to the end": func(r *rand.Rand) int64 { return r.Int64N(maxDuration) },
		"two clusters":  func(r *rand.Rand) int64 { return 1000 + r.Int64N(2)*5_000_000 + r.Int64N(10) },
	}
	for name, shape := range shapes {
		for _, n := range []int{1, 2, 100, exactLimit, exactLimit + 1, 50_000} {
			random := rand.New(rand.NewPCG(5, uint64(n)))
			var d Distribution
			values := make([]int64, n)
			for i := range values {
				values[i] = shape(random)
				d.Add(values[i])
			}
			if exact := n <= exactLimit; d.Exact() != exact {
				t.Errorf("%s, %d values: exact is %v", name, n, d.Exact())
			}
			for _, q := range []float64{0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1} {
				got, want := d.Quantile(q), rank(values, q)
				allowed := PercentileError * float64(want)
				if d.Exact() {
					allowed = 0
				}
				if math.Abs(float64(got-want)) > allowed {
					t.Errorf("%s, %d values: quantile %v is %d, want %d ± %.0f", name, n, q, got, want, allowed)
				}
			}
			s := d.Spread()
			if s.MinNS != slices.Min(values) || s.MaxNS != slices.Max(values) || s.Count != uint64(n) {
				t.Errorf("%s, %d values: %+v", name, n, s)
			}
		}
	}
}

// Merging must give what adding all values to one would have.
func TestDistributionMerge(t *testing.T) {
	for _, sizes := range [][2]int{{0, 0}, {0, 5}, {5, 0}, {5, 7}, {600, 600}, {5000, 3}, {3, 5000}, {4000, 4000}} {
		random := rand.New(rand.NewPCG(9, 9))
		var all, a, b Distribution
		for i, d := range []*Distribution{&a, &b} {
			for range sizes[i] {
				v := int64(random.ExpFloat64() * 1e5)
				all.Add(v)
				d.Add(v)
			}
		}
		a.Merge(&b)
		if got, want := a.Spread(), all.Spread(); got != want {
			t.Errorf("%v: got %+v, want %+v", sizes, got, want)
		}
	}
}
