package device

import (
	"os"
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

// Held is what a GPU's memory holds at a moment, in bytes; -1: not available.
type Held struct {
	Used     int64 // everybody's
	Reserved int64 // beside it, by driver and firmware
	Unowned  int64 // used, and by no process
	Own      int64 // this process's; -1 also where NVML numbers processes of another namespace
}

// Held reads what the memory of the GPU with the UUID holds; false: there is no such GPU.
func (s *System) Held(uuid string) (Held, bool) {
	at := slices.IndexFunc(s.defined, func(g event.GPU) bool { return g.UUID == uuid })
	if at < 0 {
		return Held{}, false
	}
	r := s.gpus[at].read()
	h := Held{Used: r.used, Reserved: r.reserved, Own: notAvailable, Unowned: r.used}
	for _, u := range s.gpus[at].processes(nil) {
		if int(u.pid) == os.Getpid() {
			h.Own = u.bytes
		}
		if u.bytes < 0 || h.Unowned < u.bytes {
			h.Unowned = notAvailable
			continue
		}
		h.Unowned -= u.bytes
	}
	return h, true
}

// Used says of each of System.GPUs whether a process that is picked was seen on it. Only after Close.
func (p *Sampler) Used(pick func(pid int32) bool) []bool {
	used := make([]bool, len(p.system.gpus))
	for i := range used {
		for pid := range p.seen[i] {
			used[i] = used[i] || pick(pid)
		}
	}
	return used
}
