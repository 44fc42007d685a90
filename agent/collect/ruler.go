package collect

import (
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

// Ruler is told how far programs come and when their timelines are switched, while they run. Its
// methods are called by the goroutine of each process, and must not block.
type Ruler interface {
	// Tick says that by a moment a process, by its PID as the agent sees it, had made count calls of
	// one sort.
	Tick(pid int32, call string, at event.Time, count uint64)
	// Switch says that the timeline of a process was switched.
	Switch(pid int32, s Switch)
}

// Switch is one switching of a timeline, on or off.
type Switch struct {
	On bool
	// Began and Ended are when the library set about it and when it was done; Taken is when it took
	// effect for kernels.
	Began, Taken, Ended event.Time
}

// tick passes on how far the program has come.
func (d *decoder) tick(r *abi.Tick) {
	if d.ruler == nil || r.Time == 0 || r.Time >= 1<<62 {
		return
	}
	name := d.calls.get(r.Name)
	if name == 0 {
		text := d.memory.arena.text(uint64(r.Name), &d.budget)
		if text == "" || len(d.callNames) >= maxCalls {
			return
		}
		d.callNames = append(d.callNames, text)
		name = uint32(len(d.callNames))
		d.calls.set(r.Name, name)
	}
	d.ruler.Tick(d.pid, d.callNames[name-1], event.Time(r.Time), r.Count)
}

// maxCalls bounds the sorts of calls of one process; the library counts fewer.
const maxCalls = 256

// switched passes on a change of state that was a switch.
func (d *decoder) switched(r *abi.StateChange) {
	const latest = 1 << 62
	if d.ruler == nil || r.Began == 0 || r.Began > r.Taken || r.Taken > r.Time || r.Time >= latest {
		return
	}
	d.ruler.Switch(d.pid, Switch{
		On:    r.State == abi.StateArmed,
		Began: event.Time(r.Began), Taken: event.Time(r.Taken), Ended: event.Time(r.Time),
	})
}
