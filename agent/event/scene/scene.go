// Package scene makes up the events of a program that never ran: threads that launch, wait, copy and
// allocate, and GPU streams that work them off in order, with the times that follow from it.
//
// It owns a simple model of time, good enough to say beforehand what an analysis must find. Tests of
// the packages above use it, and nothing else does.
package scene

import "github.com/warpscope/warpscope/agent/event"

// Times of the model, in ns.
const (
	CallNS    = 4_000 // inside a launching call
	LatencyNS = 3_000 // from the end of the call to the start on an idle stream
	TurnNS    = 1_000 // between two pieces of work on a stream
)

// Program is a process with one GPU.
type Program struct {
	Info   event.Process
	GPU    event.GPU
	Events event.Batch
	// Silent leaves out the calls, as --api=none does.
	Silent bool

	strings  map[string]event.StringID
	texts    []string
	launches map[launch]event.LaunchID
	configs  []event.Launch
	streams  map[uint32]event.Time // when what is queued will be done
	threads  uint32
	last     uint32 // correlation
	marker   uint32
	machine  event.Batch
}

type launch struct {
	name   string
	blocks uint32
}

// New returns a program that starts at 1 s.
func New() *Program {
	return &Program{
		Info:    event.Process{PID: 4242, StartTime: 1e9, Command: []string{"python3", "train.py"}, Mode: "timeline", API: "launch", Graphs: "graph", Devices: []event.GPUID{1}, Rank: -1},
		GPU:     event.GPU{UUID: "GPU-00000000-scene", Name: "made-up GPU", Multiprocessors: 132, Index: 0},
		strings: make(map[string]event.StringID), launches: make(map[launch]event.LaunchID), streams: make(map[uint32]event.Time),
		Events: event.Batch{Process: 1},
	}
}

func (p *Program) text(s string) event.StringID {
	if s == "" {
		return 0
	}
	id, ok := p.strings[s]
	if !ok {
		p.texts = append(p.texts, s)
		id = event.StringID(len(p.texts))
		p.strings[s] = id
	}
	return id
}

func (p *Program) launch(name string, blocks uint32) event.LaunchID {
	key := launch{name, blocks}
	id, ok := p.launches[key]
	if !ok {
		p.configs = append(p.configs, event.Launch{Name: p.text(name), Grid: [3]uint32{blocks, 1, 1}, Block: [3]uint32{128, 1, 1}})
		id = event.LaunchID(len(p.configs))
		p.launches[key] = id
	}
	return id
}

// Sample adds a reading of NVML.
func (p *Program) Sample(at event.Time, clockMHz int32, throttle int64) {
	g := &p.machine.GPUSamples
	g.Time, g.GPU = append(g.Time, at), append(g.GPU, 1)
	g.UsedMemory, g.ReservedMemory = append(g.UsedMemory, 1<<30), append(g.ReservedMemory, -1)
	g.Utilization, g.MemoryActivity = append(g.Utilization, 90), append(g.MemoryActivity, -1)
	g.SMClock, g.MemoryClock = append(g.SMClock, clockMHz), append(g.MemoryClock, -1)
	g.Power, g.Temperature, g.Throttle = append(g.Power, -1), append(g.Temperature, -1), append(g.Throttle, throttle)
}

// Feed hands everything to a sink.
func (p *Program) Feed(s event.Sink) error {
	err := s.Define(&event.Definitions{
		Strings: p.texts, Launches: p.configs, GPUs: []event.GPU{p.GPU}, Processes: []event.Process{p.Info},
	})
	if err != nil {
		return err
	}
	if err := s.Batch(&p.Events); err != nil {
		return err
	}
	return s.Batch(&p.machine)
}

// Done returns when the GPU will have done everything that is queued.
func (p *Program) Done() event.Time {
	var done event.Time
	for _, t := range p.streams {
		done = max(done, t)
	}
	return done
}
