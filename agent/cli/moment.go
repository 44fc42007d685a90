package cli

import (
	"math"
	"strconv"
	"time"

	"github.com/warpscope/warpscope/agent/analyze"
)

// parseMoment reads a time: a duration since the start of the trace ("1.5s", "200ms", or a number
// of seconds), or a moment of the wall clock ("2026-01-31T12:00:00Z", or as reports write it).
func parseMoment(flag, text string) (analyze.Moment, error) {
	if text == "" {
		return analyze.Moment{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return analyze.Moment{Set: true, NS: int64(d)}, nil
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(seconds) < 1e9 {
		return analyze.Moment{Set: true, NS: int64(seconds * 1e9)}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05 MST", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, text); err == nil {
			return analyze.Moment{Set: true, Wall: true, NS: t.UnixNano()}, nil
		}
	}
	return analyze.Moment{}, usagef("%s %q: give a time since the start of the trace like 1.5s or 200ms, or a moment like 2026-01-31T12:00:00Z", flag, text)
}
