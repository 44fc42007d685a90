package analyze

import (
	"math"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
)

func TestWindows(t *testing.T) {
	type change struct {
		time  event.Time
		state event.State
	}
	for _, test := range []struct {
		name    string
		changes []change
		end     event.Time
		count   int
		total   int64
		paused  bool
	}{
		{"nothing", nil, 100, 0, 0, false},
		{"all the time", []change{{10, event.StateArmed}, {90, event.StateFinished}}, 100, 1, 80, false},
		{"two", []change{{10, event.StatePaused}, {20, event.StateArmed}, {30, event.StatePaused}, {50, event.StateArmed}, {90, event.StateFinished}}, 90, 2, 50, true},
		{"still open", []change{{10, event.StatePaused}, {20, event.StateArmed}}, 100, 1, 80, true},
		{"armed twice", []change{{10, event.StateArmed}, {20, event.StateArmed}, {30, event.StateKilled}}, 30, 1, 20, false},
		{"backwards", []change{{10, event.StateArmed}, {5, event.StatePaused}}, 5, 1, 0, true},
		{"hostile", []change{{1, event.StateArmed}, {math.MaxInt64, event.StatePaused}, {math.MinInt64, event.StateArmed}}, math.MaxInt64, 1, 0, true},
	} {
		var w windows
		for _, c := range test.changes {
			w.add(c.time, c.state)
		}
		if w.count != test.count || w.until(test.end) != test.total || w.paused != test.paused {
			t.Errorf("%s: %+v, %d ns", test.name, w, w.until(test.end))
		}
	}
}
