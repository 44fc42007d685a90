package budget

import "math"

// student returns the quantile of Student's distribution with n degrees of freedom for the
// probability p, 0.5 < p < 1.
func student(p float64, n int) float64 {
	switch {
	case n < 1:
		return math.Inf(1)
	case n == 1:
		return math.Tan(math.Pi * (p - 0.5))
	case n == 2:
		a := 4 * p * (1 - p)
		return 2 * (p - 0.5) * math.Sqrt(2/a)
	}
	// The expansion of Cornish and Fisher, within 0.5 % from 3 degrees of freedom on at the
	// probabilities used here.
	z := math.Sqrt2 * math.Erfinv(2*p-1)
	v := float64(n)
	z2 := z * z
	g1 := (z2 + 1) * z / 4
	g2 := ((5*z2+16)*z2 + 3) * z / 96
	g3 := (((3*z2+19)*z2+17)*z2 - 15) * z / 384
	g4 := ((((79*z2+776)*z2+1482)*z2-1920)*z2 - 945) * z / 92160
	return z + g1/v + g2/(v*v) + g3/(v*v*v) + g4/(v*v*v*v)
}
