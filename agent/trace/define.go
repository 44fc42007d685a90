package trace

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/warpscope/warpscope/agent/event"
	tracepb "github.com/warpscope/warpscope/proto/warpscope/trace/v1"
)

// counts of definitions of each sort; also the identifier before the next one.
type defined struct {
	strings, launches, frames, stacks, gpus, processes int
}

func (n defined) plus(d *event.Definitions) defined {
	return defined{n.strings + len(d.Strings), n.launches + len(d.Launches), n.frames + len(d.Frames),
		n.stacks + len(d.Stacks), n.gpus + len(d.GPUs), n.processes + len(d.Processes)}
}

func (n defined) minus(d *event.Definitions) defined {
	return defined{n.strings - len(d.Strings), n.launches - len(d.Launches), n.frames - len(d.Frames),
		n.stacks - len(d.Stacks), n.gpus - len(d.GPUs), n.processes - len(d.Processes)}
}

func (n defined) none() bool { return n == defined{} }

// cut returns s, shortened to what a frame holds.
func cut(s string) []byte {
	if len(s) > maxString {
		s = s[:maxString]
	}
	return []byte(s)
}

func cutAll(list []string) [][]byte {
	var out [][]byte
	room := maxString
	for _, s := range list {
		b := cut(s)
		if room -= len(b) + 1; room < 0 {
			break
		}
		out = append(out, b)
	}
	return out
}

func texts(list [][]byte) []string {
	var out []string
	for _, b := range list {
		out = append(out, string(b))
	}
	return out
}

// marshalDefinitions encodes as much of the beginning of d as fits in a frame, and returns the
// payload and the rest. before is what the file has defined already.
func marshalDefinitions(d event.Definitions, before defined) ([]byte, event.Definitions, error) {
	m := &tracepb.Definitions{
		FirstString: uint32(before.strings + 1), FirstLaunch: uint32(before.launches + 1),
		FirstFrame: uint32(before.frames + 1), FirstStack: uint32(before.stacks + 1),
		FirstGpu: uint32(before.gpus + 1), FirstProcess: uint32(before.processes + 1),
	}
	size := 0
	room := func(n int) bool { return n < writeDefined && size < writeText }
	n := 0
	for ; n < len(d.Strings) && room(n); n++ {
		b := cut(d.Strings[n])
		m.Strings = append(m.Strings, b)
		size += len(b)
	}
	d.Strings = d.Strings[n:]
	for n = 0; n < len(d.Launches) && room(n); n++ {
		m.Launches = append(m.Launches, launchMessage(&d.Launches[n]))
		size += 40
	}
	d.Launches = d.Launches[n:]
	for n = 0; n < len(d.Frames) && room(n); n++ {
		f := d.Frames[n]
		m.Frames = append(m.Frames, &tracepb.Frame{Module: uint32(f.Module), BuildId: uint32(f.BuildID), Symbol: uint32(f.Symbol), Offset: f.Offset})
		size += 20
	}
	d.Frames = d.Frames[n:]
	for n = 0; n < len(d.Stacks) && room(n); n++ {
		s := d.Stacks[n]
		if len(s) > maxString/8 {
			s = s[:maxString/8]
		}
		f := make([]uint32, len(s))
		for i, id := range s {
			f[i] = uint32(id)
		}
		m.Stacks = append(m.Stacks, &tracepb.Stack{Frames: f})
		size += 3 * len(f)
	}
	d.Stacks = d.Stacks[n:]
	for n = 0; n < len(d.GPUs) && room(n); n++ {
		m.Gpus = append(m.Gpus, gpuMessage(&d.GPUs[n]))
		size += 100
	}
	d.GPUs = d.GPUs[n:]
	for n = 0; n < len(d.Processes) && room(n); n++ {
		p := processMessage(&d.Processes[n])
		m.Processes = append(m.Processes, p)
		size += proto.Size(p)
	}
	d.Processes = d.Processes[n:]
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, d, fmt.Errorf("encode definitions: %w", err)
	}
	return b, d, nil
}

func launchMessage(l *event.Launch) *tracepb.Launch {
	return &tracepb.Launch{
		Name: uint32(l.Name), Grid: l.Grid[:], Block: l.Block[:], Cluster: l.Cluster[:],
		Registers: l.Registers, StaticShared: l.StaticShared, DynamicShared: l.DynamicShared,
		LocalThread: l.LocalThread, LocalTotal: l.LocalTotal,
	}
}

func gpuMessage(g *event.GPU) *tracepb.GPU {
	return &tracepb.GPU{
		Uuid: cut(g.UUID), Name: cut(g.Name), Memory: g.Memory, Multiprocessors: g.Multiprocessors,
		CapabilityMajor: g.Capability[0], CapabilityMinor: g.Capability[1], PciBusId: cut(g.PCIBusID), Index: g.Index,
	}
}

func processMessage(p *event.Process) *tracepb.Process {
	m := &tracepb.Process{
		Pid: p.PID, InnerPid: p.InnerPID, ParentPid: p.ParentPID, StartTime: int64(p.StartTime),
		Executable: cut(p.Executable), Command: cutAll(p.Command), Mode: cut(p.Mode), Api: cut(p.API), Graphs: cut(p.Graphs),
		CuptiVersion: p.CUPTIVersion, CuptiPath: cut(p.CUPTIPath), DriverVersion: p.DriverVersion,
		Simulated: p.Simulated, Rank: p.Rank,
	}
	for _, id := range p.Devices {
		m.Devices = append(m.Devices, uint32(id))
	}
	return m
}

// few checks that a message repeats no field more often than a frame may, before memory is taken
// for what it holds.
func few(payload []byte) error {
	var n [32]int
	for rest := payload; len(rest) > 0; {
		var f field
		var err error
		if f, rest, err = next(rest); err != nil {
			return err
		}
		i := int(min(f.number, protowire.Number(len(n)-1)))
		if n[i]++; n[i] > maxDefined {
			return fmt.Errorf("%w: it has more than %d of field %d", errPayload, maxDefined, f.number)
		}
	}
	return nil
}

// unmarshalDefinitions decodes a definitions payload. first is what the file had defined before
// it, as its writer counted.
func unmarshalDefinitions(payload []byte) (d *event.Definitions, first defined, err error) {
	if err := few(payload); err != nil {
		return nil, first, err
	}
	var m tracepb.Definitions
	if err := proto.Unmarshal(payload, &m); err != nil {
		return nil, first, fmt.Errorf("%w: %w", errPayload, err)
	}
	before := func(id uint32) int { return int(max(id, 1) - 1) }
	first = defined{before(m.FirstString), before(m.FirstLaunch), before(m.FirstFrame),
		before(m.FirstStack), before(m.FirstGpu), before(m.FirstProcess)}
	d = &event.Definitions{Strings: texts(m.Strings)}
	for _, l := range m.Launches {
		d.Launches = append(d.Launches, launchEvent(l))
	}
	for _, f := range m.Frames {
		d.Frames = append(d.Frames, event.Frame{Module: event.StringID(f.Module), BuildID: event.StringID(f.BuildId),
			Symbol: event.StringID(f.Symbol), Offset: f.Offset})
	}
	for _, s := range m.Stacks {
		stack := make(event.Stack, len(s.Frames))
		for i, id := range s.Frames {
			stack[i] = event.FrameID(id)
		}
		d.Stacks = append(d.Stacks, stack)
	}
	for _, g := range m.Gpus {
		d.GPUs = append(d.GPUs, event.GPU{UUID: string(g.Uuid), Name: string(g.Name), Memory: g.Memory,
			Multiprocessors: g.Multiprocessors, Capability: [2]uint32{g.CapabilityMajor, g.CapabilityMinor},
			PCIBusID: string(g.PciBusId), Index: g.Index})
	}
	for _, p := range m.Processes {
		d.Processes = append(d.Processes, processEvent(p))
	}
	return d, first, nil
}

func launchEvent(m *tracepb.Launch) event.Launch {
	l := event.Launch{Name: event.StringID(m.Name), Registers: m.Registers, StaticShared: m.StaticShared,
		DynamicShared: m.DynamicShared, LocalThread: m.LocalThread, LocalTotal: m.LocalTotal}
	copy(l.Grid[:], m.Grid)
	copy(l.Block[:], m.Block)
	copy(l.Cluster[:], m.Cluster)
	return l
}

func processEvent(m *tracepb.Process) event.Process {
	p := event.Process{
		PID: m.Pid, InnerPID: m.InnerPid, ParentPID: m.ParentPid, StartTime: event.Time(m.StartTime),
		Executable: string(m.Executable), Command: texts(m.Command), Mode: string(m.Mode), API: string(m.Api), Graphs: string(m.Graphs),
		CUPTIVersion: m.CuptiVersion, CUPTIPath: string(m.CuptiPath), DriverVersion: m.DriverVersion,
		Simulated: m.Simulated, Rank: m.Rank,
	}
	for _, id := range m.Devices {
		p.Devices = append(p.Devices, event.GPUID(id))
	}
	return p
}

// textSize is how many bytes of text d holds.
func textSize(d *event.Definitions) int {
	n := 0
	for _, s := range d.Strings {
		n += len(s)
	}
	for i := range d.GPUs {
		g := &d.GPUs[i]
		n += len(g.UUID) + len(g.Name) + len(g.PCIBusID)
	}
	for i := range d.Processes {
		p := &d.Processes[i]
		n += len(p.Executable) + len(p.Mode) + len(p.API) + len(p.Graphs) + len(p.CUPTIPath)
		for _, c := range p.Command {
			n += len(c)
		}
	}
	return n
}
