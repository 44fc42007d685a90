package cli

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// parseLength reads a length of time above zero: "1.5s", "200ms", "2m", or a number of seconds.
func parseLength(flag, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || !(math.Abs(seconds) < 1e9) {
			return 0, usagef("%s %q: give a length of time like 90s, 1.5s or 2m", flag, text)
		}
		d = time.Duration(seconds * float64(time.Second))
	}
	if d <= 0 {
		return 0, usagef("%s %s: give a length of time above zero", flag, text)
	}
	return d, nil
}

// parseSize reads a number of bytes above zero: "500M" and "500MiB" are binary, "500MB" decimal.
func parseSize(flag, text string) (int64, error) {
	digits := strings.TrimRight(text, "KMGTiBkmgtb")
	unit := strings.ToUpper(text[len(digits):])
	number, err := strconv.ParseFloat(digits, 64)
	factor, known := map[string]float64{
		"": 1, "B": 1,
		"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40,
		"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
		"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	}[unit]
	bytes := number * factor
	if err != nil || !known || !(bytes >= 1 && bytes < math.MaxInt64/2) {
		return 0, usagef("%s %q: give a number of bytes like 500M or 2G", flag, text)
	}
	return int64(bytes), nil
}

// leastPercent and mostPercent bound what a budget can be kept to: below, no run is long enough to tell; above,
// there is nothing to keep.
const (
	leastPercent = 0.05
	mostPercent  = 50
)

// parsePercent reads a share of a hundred, "1%" or "0.5", and returns it as a share of one.
func parsePercent(flag, text string) (float64, error) {
	number := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "%"))
	percent, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(percent) {
		return 0, usagef("%s %q: give a percentage like 1%%", flag, text)
	}
	if percent < leastPercent || percent > mostPercent {
		return 0, usagef("%s %s: give a percentage from %g%% to %d%%", flag, text, leastPercent, mostPercent)
	}
	return percent / 100, nil
}
