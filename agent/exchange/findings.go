package exchange

import "github.com/warpscope/warpscope/agent/event"

// findings are what the events told beside themselves.
type findings struct {
	executables map[ownerKey]string
	start, end  event.Time // of the time that the profiler was on; 0 unknown

	timed bool  // least is set
	least int64 // the earliest time, as the file has it, ns
	fine  bool  // some times are not whole microseconds

	undated    uint64 // events without a time
	unowned    uint64 // work on GPUs whose process is not known
	uncounted  uint64 // copies without a number of bytes
	unlaunched uint64 // copies whose call is not there

	allocator map[int64]*allocatorPeak // by device
}

// allocatorPeak is the most that PyTorch's allocator held on a device, in bytes.
type allocatorPeak struct{ allocated, reserved uint64 }

func newFindings() findings {
	return findings{executables: make(map[ownerKey]string), allocator: make(map[int64]*allocatorPeak)}
}

// memory takes what PyTorch's allocator said of itself. Its blocks are no allocations of the
// driver's, which the event model is about: only the peaks are kept.
func (f *findings) memory(args []byte) {
	if !isObject(args) {
		return
	}
	device, typ := int64(-1), int64(-1)
	var p allocatorPeak
	for m := object(args); m.next(); {
		switch string(m.key) {
		case "Device Type":
			typ, _ = integer(m.value)
		case "Device Id":
			device, _ = integer(m.value)
		case "Total Allocated":
			p.allocated = amount(m.value)
		case "Total Reserved":
			p.reserved = amount(m.value)
		}
	}
	if typ != 1 || device < 0 || device >= maxDevices { // 1 is CUDA
		return
	}
	peak := f.allocator[device]
	if peak == nil {
		peak = &allocatorPeak{}
		f.allocator[device] = peak
	}
	peak.allocated, peak.reserved = max(peak.allocated, p.allocated), max(peak.reserved, p.reserved)
}
