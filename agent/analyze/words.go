package analyze

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/event"
)

// word returns words[i], or what and the number if i is none of them.
func word[T ~uint8 | ~uint32](words []string, what string, i T) string {
	if uint64(i) < uint64(len(words)) && words[i] != "" {
		return words[i]
	}
	return fmt.Sprintf("%s %d", what, i)
}

// KindName names a kind of record in the plural, as losses and counts show it.
func KindName(k event.Kind) string {
	return word([]string{
		"records of unknown kind", "kernels", "copies", "sets", "syncs", "calls", "markers", "graph launches",
		"overheads", "allocations", "contexts", "modules", "clock readings", "devices", "pool readings",
		"state changes", "GPU samples", "memory usages", "windows", "facts", "GPU activities",
	}, "kind", k)
}

// CauseName says in a few words why records were lost or are incomplete.
func CauseName(c event.LossCause) string {
	return word([]string{
		"ring full: reader too slow, or file at its limit",
		"dropped inside CUPTI",
		"no activity buffer was free",
		"a record kind this version does not decode",
		"kept, but without name or stack: the arena was full",
		"kept, but without times: CUPTI gave none",
		"kept, but not in the live table: it was full",
		"torn: the writer died while writing",
		"the trace reached --max-size",
		"the trace could not be written",
		"held by CUPTI when the process ended without flushing",
		"dropped, older than --keep",
	}, "cause", c)
}

// Kept says whether records with this loss are in the trace, incomplete, rather than missing.
func Kept(c event.LossCause) bool {
	return c == event.LossArenaFull || c == event.LossNoTime || c == event.LossLiveTable
}

// CopyKindName names a direction, like "host to device".
func CopyKindName(k event.CopyKind) string {
	return word([]string{
		"unknown", "host to device", "device to host", "host to array", "array to host", "array to array",
		"array to device", "device to array", "device to device", "host to host", "peer to peer",
	}, "kind", k)
}

// MemoryKindName names what a copy reads or writes.
func MemoryKindName(k event.MemoryKind) string {
	return word([]string{
		"unknown", "pageable", "pinned", "device", "array", "managed", "device static", "managed static",
	}, "memory", k)
}

// SyncTypeName names what was waited for.
func SyncTypeName(t event.SyncType) string {
	return word([]string{"unknown", "event", "stream waits for event", "stream", "context"}, "type", t)
}

// SpaceName names where memory lies.
func SpaceName(s event.Space) string {
	return word([]string{
		"unknown", "device", "pool", "managed", "host", "registered", "physical", "virtual", "array", "ipc", "graph",
	}, "space", s)
}

// OpName names what an allocation record did.
func OpName(o event.AllocOp) string {
	return word([]string{
		"failed", "alloc", "free", "map", "unmap", "reserve", "unreserve", "import", "retain", "pool create",
		"pool destroy", "pool trim",
	}, "op", o)
}

// OverheadName names what took the time of an overhead record.
func OverheadName(k event.OverheadKind) string {
	if k == 1 {
		return "driver compiler"
	}
	if k&0xffff != 0 {
		return fmt.Sprintf("kind %d", k)
	}
	return word([]string{
		"unknown", "CUPTI buffer flush", "CUPTI instrumentation", "CUPTI resource", "module loading",
		"lazy function loading", "command buffer full", "activity buffer request", "UVM activity init",
	}, "kind", k>>16)
}

// StateName names a state of a capture.
func StateName(s event.State) string {
	return word([]string{"empty", "recording", "paused", "finished", "refused", "killed"}, "state", s)
}

// ReasonNames says why a capture was refused or reduced: one text for each member of the set.
func ReasonNames(set uint32) []string {
	texts := []string{
		"", "no libcupti was found", "libcupti is too old", "another tool holds CUPTI's callbacks",
		"activity records could not be enabled", "the driver restricts profiling to administrators",
		"CUDA_INJECTION64_PATH names another tool", "not all driver calls could be watched",
		"CUPTI refused some kinds of records", "CUPTI did not hand over all that it had",
		"CUPTI's clock could not be read", "no thread could be started",
		"the capture began when CUDA was in use already: what was allocated or launched before is unknown",
		"another tool in the program took CUPTI's records for itself: the timeline is missing from then on",
	}
	names := []string{}
	for i, text := range texts {
		if text != "" && set&(1<<i) != 0 {
			names = append(names, text)
			set &^= 1 << i
		}
	}
	if set != 0 {
		names = append(names, fmt.Sprintf("reasons that only a newer warpscope knows (%#x)", set))
	}
	return names
}

// MarkerKindName names an NVTX record.
func MarkerKindName(k event.MarkerKind) string {
	return word([]string{"", "mark", "start", "", "end", "", "", "", "data"}, "kind", k)
}

// DomainName tells driver calls from runtime calls.
func DomainName(d event.Domain) string {
	return word([]string{"", "driver", "runtime"}, "domain", d)
}

// ResultName names a CUresult that allocation calls give.
func ResultName(r int32) string {
	switch r {
	case 0:
		return "success"
	case 1:
		return "invalid value"
	case 2:
		return "out of memory"
	case 3:
		return "not initialized"
	case 4:
		return "deinitialized"
	case 100:
		return "no device"
	case 101:
		return "invalid device"
	case 201:
		return "invalid context"
	case 400:
		return "invalid handle"
	case 600:
		return "not ready"
	case 700:
		return "illegal address"
	case 709:
		return "context is destroyed"
	case 712:
		return "host memory already registered"
	case 713:
		return "host memory not registered"
	case 719:
		return "launch failed"
	case 800:
		return "not permitted"
	case 801:
		return "not supported"
	case 900:
		return "stream capture unsupported"
	case 999:
		return "unknown error"
	}
	return fmt.Sprintf("error %d", r)
}

// CUPTIVersionName writes a cuptiGetVersion number as the CUDA release it came with.
func CUPTIVersionName(v uint32) string {
	switch {
	case v == 0:
		return ""
	case v >= 100000: // 130001 is 13.0, second update
		return fmt.Sprintf("%d.%d", v/10000, v%10000/100)
	case v == 18:
		return "11.8"
	}
	return fmt.Sprintf("API %d", v)
}

// CUDAVersionName writes a cuDriverGetVersion number: 13000 is "13.0".
func CUDAVersionName(v uint32) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%d.%d", v/1000, v%1000/10)
}
