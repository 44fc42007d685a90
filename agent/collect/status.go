package collect

import (
	"github.com/warpscope/warpscope/agent/event"
)

// Status is what is known of one traced process now.
type Status struct {
	ID            event.ProcessID // 0: nothing of it is in the trace yet
	PID           int32           // as the agent sees it
	InnerPID      int32           // as the program sees it
	Rank          int32           // -1: none known
	Executable    string
	Command       []string
	State         event.State
	Reason        uint32 // set of 1 << event.Reason
	Running       bool
	Simulated     bool
	Start         event.Time
	CUPTIVersion  uint32 // 0 unknown
	CUPTIPath     string // "" unknown
	DriverVersion uint32 // 0 unknown
	Recorded      map[event.Kind]uint64
	Losses        []event.Loss
	DeviceMost    uint64 // of each context's memory, in bytes, that CUPTI may take for the timeline; 0: unknown
	BufferBytes   uint64 // host memory that the library holds for CUPTI's buffers
	Trigger       Trigger
	Openings      uint32 // how often the trigger let the timeline be on
	Steps         uint64 // that the program has counted
}

// Total returns how many records were read.
func (s *Status) Total() uint64 {
	var n uint64
	for _, c := range s.Recorded {
		n += c
	}
	return n
}

// Lost returns how many records were lost or are incomplete.
func (s *Status) Lost() uint64 {
	var n uint64
	for _, l := range s.Losses {
		n += l.Count
	}
	return n
}
