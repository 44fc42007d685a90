package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Dash stands for a figure that there is not.
const dash = "-"

// digits writes v with three significant digits, and no more decimals than make sense.
func digits(v float64) string {
	a := math.Abs(v)
	switch {
	case a >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// Duration writes nanoseconds with three significant digits: "532 ns", "12.4 µs", "1.20 s".
func Duration[T ~int64 | ~float64](ns T) string {
	v := float64(ns)
	a := math.Abs(v)
	switch {
	case a < 999.5:
		return strconv.FormatFloat(v, 'f', 0, 64) + " ns"
	case a < 999.5e3:
		return digits(v/1e3) + " µs"
	case a < 999.5e6:
		return digits(v/1e6) + " ms"
	case a < 600e9:
		return digits(v/1e9) + " s"
	case a < 7200e9:
		return digits(v/60e9) + " min"
	}
	return digits(v/3600e9) + " h"
}

// Offset writes a moment since the start of the trace in seconds, to the microsecond.
func Offset(ns int64) string { return strconv.FormatFloat(float64(ns)/1e9, 'f', 6, 64) + " s" }

// Bytes writes a number of bytes in binary units: "512 B", "1.50 GiB".
func Bytes[T ~uint64 | ~int64 | ~uint32](n T) string {
	v := float64(n)
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	i := 0
	for v >= 1023.5 && i < len(units)-1 {
		v /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%.0f B", v)
	}
	text := digits(v)
	if strings.Contains(text, ".") && v == math.Trunc(v) {
		text = strconv.FormatFloat(v, 'f', 0, 64)
	}
	return text + " " + units[i]
}

// Rate writes bytes a second in decimal units, as the vendors do: "25.3 GB/s".
func Rate(bytesPerSecond float64) string {
	v := bytesPerSecond
	units := []string{"B/s", "kB/s", "MB/s", "GB/s", "TB/s"}
	i := 0
	for v >= 999.5 && i < len(units)-1 {
		v /= 1000
		i++
	}
	return digits(v) + " " + units[i]
}

// Count writes a number with its thousands set apart: "44,123".
func Count[T ~uint64 | ~int | ~int64](n T) string {
	s := fmt.Sprint(n)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	var b strings.Builder
	b.WriteString(sign)
	for i, r := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Share writes a part of 1 as a percentage: "31.2%".
func Share(part float64) string {
	switch {
	case part == 0:
		return "0%"
	case part < 0.0005:
		return "<0.1%"
	}
	return strconv.FormatFloat(part*100, 'f', 1, 64) + "%"
}

// Moment writes a wall-clock time to the second, in UTC so that it reads the same everywhere.
func Moment(unixNS int64) string {
	return time.Unix(0, unixNS).UTC().Format("2006-01-02 15:04:05 UTC")
}

// plural writes a count with its noun.
func plural[T ~uint64 | ~int | ~int64](n T, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(n) + " " + many
}
