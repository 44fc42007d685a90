package collect

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/warpscope/warpscope/cupti/abi"
)

// TriggerKind is what lets the timeline of a program be recorded.
type TriggerKind uint32

// Values of TriggerKind.
const (
	TriggerAlways   TriggerKind = abi.TriggerAlways
	TriggerProfiler TriggerKind = abi.TriggerProfiler // between cudaProfilerStart and cudaProfilerStop
	TriggerRange    TriggerKind = abi.TriggerRange    // inside NVTX ranges of one name
	TriggerSteps    TriggerKind = abi.TriggerSteps    // in some of the steps that the program counts
	TriggerCall     TriggerKind = abi.TriggerCall     // between warpscope_start and warpscope_stop
)

// Trigger is when the timeline is recorded, in so far as the program decides: in each process of its
// own. Its zero value is always.
type Trigger struct {
	Kind        TriggerKind
	Range       string // of TriggerRange: NAME, NAME@DOMAIN, or NAME@ for what is in no domain
	First, Last uint64 // of TriggerSteps, from 1, both included
}

var (
	errTriggerSteps = errors.New("steps count from 1: give steps:A-B with A not above B")
	errTriggerRange = fmt.Errorf("an NVTX range has a name of 1 to %d bytes: give nvtx:NAME or nvtx:NAME@DOMAIN", abi.RangeName-1)
)

// ParseTrigger reads "always", "cuda-profiler-api", "nvtx:NAME", "steps:A-B", "steps:A" or "call".
func ParseTrigger(s string) (Trigger, error) {
	kind, rest, _ := strings.Cut(s, ":")
	switch {
	case s == "always":
		return Trigger{}, nil
	case s == "cuda-profiler-api":
		return Trigger{Kind: TriggerProfiler}, nil
	case s == "call":
		return Trigger{Kind: TriggerCall}, nil
	case kind == "nvtx":
		if rest == "" || len(rest) >= abi.RangeName || strings.ContainsRune(rest, 0) {
			return Trigger{}, errTriggerRange
		}
		return Trigger{Kind: TriggerRange, Range: rest}, nil
	case kind == "steps":
		from, to, span := strings.Cut(rest, "-")
		if !span {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 63)
		last, err2 := strconv.ParseUint(to, 10, 63)
		if err != nil || err2 != nil || first == 0 || last < first {
			return Trigger{}, errTriggerSteps
		}
		return Trigger{Kind: TriggerSteps, First: first, Last: last}, nil
	}
	return Trigger{}, errors.New("give cuda-profiler-api, nvtx:NAME, steps:A-B or call")
}

// String is the inverse of ParseTrigger.
func (t Trigger) String() string {
	switch t.Kind {
	case TriggerAlways:
		return "always"
	case TriggerProfiler:
		return "cuda-profiler-api"
	case TriggerRange:
		return "nvtx:" + t.Range
	case TriggerSteps:
		return fmt.Sprintf("steps:%d-%d", t.First, t.Last)
	case TriggerCall:
		return "call"
	}
	return fmt.Sprintf("unknown(%d)", uint32(t.Kind))
}

// welcome puts t into what a process is told.
func (t Trigger) welcome(w *abi.Welcome) {
	w.Trigger = uint32(t.Kind)
	w.First_step, w.Last_step = t.First, t.Last
	for i := range min(len(t.Range), len(w.Range)-1) {
		w.Range[i] = int8(t.Range[i])
	}
}
