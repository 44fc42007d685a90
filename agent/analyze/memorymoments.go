package analyze

import (
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

// MemoryMoment is a moment at which memory is worth an account.
type MemoryMoment struct {
	What   string `json:"what"`    // "failure", "peak"
	TimeNS int64  `json:"time_ns"` // since the start of the trace: of a reading by NVML, where there is one
	// FailureNS is the failed call's own time.
	FailureNS int64 `json:"failure_ns,omitempty"`
}

// MemoryTimeline is how a GPU's used memory changed.
type MemoryTimeline struct {
	GPU     string `json:"gpu"`
	Total   uint64 `json:"total_bytes"`
	Source  string `json:"source"`   // "nvml", or "driver": what traced processes allocated
	BeginNS int64  `json:"begin_ns"` // since the start of the trace
	StepNS  int64  `json:"step_ns"`
	// Used is the highest in each step.
	Used     []uint64 `json:"used_bytes"`
	Failures []int64  `json:"failures_ns"`
}

// resultOutOfMemory is CUDA_ERROR_OUT_OF_MEMORY.
const resultOutOfMemory = 2

// failureTime returns when a call last failed for want of memory, on which device; 0: none did.
func (a *Analysis) failureTime() (at event.Time, d *device) {
	for _, p := range a.processes {
		if p.account == nil {
			continue
		}
		for _, f := range p.account.failing {
			if f.Result == resultOutOfMemory && f.last > at {
				at, d = f.last, nil
				if f.Device >= 0 {
					d = a.devices.of(p, uint32(f.Device))
				}
			}
		}
	}
	return at, d
}

// memoryMoments returns what is worth an account, the most telling first.
func (a *Analysis) memoryMoments() []MemoryMoment {
	out := []MemoryMoment{}
	if at, d := a.failureTime(); at != 0 {
		if d == nil {
			d = a.fullest()
		}
		moment := at
		if d != nil {
			moment = d.looks.near(at)
		}
		out = append(out, MemoryMoment{What: "failure", TimeNS: a.offset(moment), FailureNS: a.offset(at)})
	}
	if d := a.fullest(); d != nil {
		if _, at := d.looks.highest(); at != 0 {
			return append(out, MemoryMoment{What: "peak", TimeNS: a.offset(at)})
		}
	}
	// Without NVML: when traced processes had allocated most.
	var most *sum
	for _, p := range a.processes {
		if p.account == nil {
			continue
		}
		for _, t := range p.account.totals {
			if t.kind == DeviceMemory && (most == nil || t.all.peak > most.peak) {
				most = &t.all
			}
		}
	}
	if most != nil && most.peak > 0 {
		out = append(out, MemoryMoment{What: "peak", TimeNS: a.offset(most.peakTime)})
	}
	return out
}

// fullest returns the GPU of which most was used, of those that traced processes were on if NVML names any; nil: there are no
// readings.
func (a *Analysis) fullest() *device {
	var best *device
	most := int64(0)
	for _, d := range a.devices.list {
		used, _ := d.looks.highest()
		own := d.looks.ownAt != 0
		if d.looks.last.time != 0 && (best == nil || own && best.looks.ownAt == 0 || own == (best.looks.ownAt != 0) && used > most) {
			best, most = d, used
		}
	}
	return best
}

const (
	// lookSoon is how long after a failure a reading may come and still be of that moment, and lookLate how
	// long before, where what came after shows that the program had let go.
	lookSoon = event.Time(2e9)
	lookLate = event.Time(5e9)
)

// near returns the time of the reading that is of a failure: the first one after it, made while memory was still
// held; else the last one before.
func (l *looks) near(at event.Time) event.Time {
	i, _ := slices.BinarySearch(l.times, at)
	before, after := i-1, i
	switch {
	case after < len(l.times) && l.times[after]-at < lookSoon && (before < 0 || l.used[after] >= l.used[before]-l.used[before]/50):
		return l.times[after]
	case before >= 0 && at-l.times[before] < lookLate:
		return l.times[before]
	}
	return at
}

// memoryTimelines returns how the memory of each GPU changed.
func (a *Analysis) memoryTimelines() []MemoryTimeline {
	out := []MemoryTimeline{}
	for i, d := range a.devices.list {
		s, source := &d.looks.series, "nvml"
		if s.step == 0 {
			s, source = &d.allocated, "driver"
		}
		if s.step == 0 {
			continue
		}
		t := MemoryTimeline{
			GPU: a.deviceKey(i).GPU, Total: a.tables.GPU(d.gpu).Memory, Source: source, BeginNS: a.offset(s.origin), StepNS: int64(s.step), Used: s.points(), Failures: []int64{},
		}
		for _, p := range a.processes {
			if p.account == nil {
				continue
			}
			for _, f := range p.account.failing {
				if f.Result == resultOutOfMemory && (f.Device < 0 || a.devices.of(p, uint32(f.Device)) == d) && len(t.Failures) < maxFailures {
					t.Failures = append(t.Failures, a.offset(f.last))
				}
			}
		}
		slices.Sort(t.Failures)
		out = append(out, t)
	}
	return out
}
