package bigtrace

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/trace"
)

const (
	memoryLive   = 4096 // allocations that are live at a time
	memoryStacks = 96
	memoryStep   = event.Time(20 * time.Microsecond)       // from call to call
	memoryLook   = event.Time(100 * time.Millisecond)      // from one reading of NVML to the next
	memoryGPU    = uint64(80) << 30                        // bytes
	memoryPID    = 4000                                    // of the program
	memoryUnit   = uint64(2) << 20                         // sizes are multiples
	memoryRows   = int(piece / memoryStep)                 // of a batch
	memoryMonday = int64(1_795_000_000) * int64(1_000_000) // ns, some day
)

// memoryLibraries ask for memory.
var memoryLibraries = [...]string{"/usr/lib/libc10_cuda.so", "/usr/lib/libcublasLt.so.13", "/usr/lib/libnccl.so.2", "/opt/app/server"}

// GenerateMemory writes the trace of a program that takes and gives back memory, n times in all, and then runs out of it.
func GenerateMemory(w io.Writer, n int, seed uint64) error {
	m := &memoryGenerator{random: rand.New(rand.NewPCG(seed, 2)), now: memoryStep}
	out, err := trace.NewWriter(w, event.Provenance{
		Tool: "bigtrace", Simulated: true, MonoTime: 0, WallTime: memoryMonday, Notes: []string{"made up, to measure how it is read: no such program ever ran"},
	}, trace.WithClock(func() time.Time { return time.Unix(0, int64(m.now)) }))
	if err != nil {
		return err
	}
	if err := out.Define(memoryDefinitions()); err != nil {
		return fmt.Errorf("write definitions: %w", err)
	}
	next := event.Time(0)
	for done := 0; done < n; done += memoryRows {
		m.batch = event.Batch{Process: 1}
		for range min(memoryRows, n-done) {
			m.call()
		}
		if done+memoryRows >= n {
			m.fail()
		}
		if err := out.Batch(&m.batch); err != nil {
			return fmt.Errorf("write events: %w", err)
		}
		if m.now >= next {
			next = m.now + memoryLook
			if err := out.Batch(m.look()); err != nil {
				return fmt.Errorf("write events: %w", err)
			}
		}
	}
	return out.Close(event.Summary{End: m.now, ExitCode: 1})
}

// memoryGenerator makes calls of the driver.
type memoryGenerator struct {
	random *rand.Rand
	now    event.Time
	batch  event.Batch
	live   []memoryBlock
	used   uint64
	made   uint64
}

type memoryBlock struct{ address, size uint64 }

func memoryDefinitions() *event.Definitions {
	d := &event.Definitions{
		Strings:   []string{"cuMemAlloc_v2", "cuMemFree_v2"},
		GPUs:      []event.GPU{{UUID: "GPU-made-up", Name: "a GPU of 80 GiB", Memory: memoryGPU}},
		Processes: []event.Process{{PID: memoryPID, InnerPID: memoryPID, Mode: "ledger", Devices: []event.GPUID{1}, Rank: -1, Simulated: true, StartTime: 1}},
	}
	for _, library := range memoryLibraries {
		d.Strings = append(d.Strings, library)
	}
	for i := range memoryStacks {
		d.Strings = append(d.Strings, fmt.Sprintf("function_%d", i))
		d.Frames = append(d.Frames, event.Frame{Module: event.StringID(3 + i%len(memoryLibraries)), Symbol: event.StringID(len(d.Strings)), Offset: 8})
		d.Stacks = append(d.Stacks, event.Stack{event.FrameID(i + 1), event.FrameID(i/2 + 1), event.FrameID(i/4 + 1)})
	}
	return d
}

// call takes memory, or gives some back.
func (m *memoryGenerator) call() {
	m.now += memoryStep
	if len(m.live) >= memoryLive || len(m.live) > 0 && m.random.IntN(2) == 0 {
		at := m.random.IntN(len(m.live))
		b := m.live[at]
		m.live[at] = m.live[len(m.live)-1]
		m.live = m.live[:len(m.live)-1]
		m.used -= b.size
		m.row(event.OpFree, b, 2, 0)
		return
	}
	m.made++
	b := memoryBlock{address: m.made << 32, size: memoryUnit * uint64(1+m.random.IntN(4))}
	m.live = append(m.live, b)
	m.used += b.size
	m.row(event.OpAlloc, b, 1, 0)
}

// fail asks for more than there is.
func (m *memoryGenerator) fail() {
	m.now += memoryStep
	m.row(event.OpAlloc, memoryBlock{size: memoryGPU}, 1, 2)
}

func (m *memoryGenerator) row(op event.AllocOp, b memoryBlock, api event.StringID, result int32) {
	a := &m.batch.Allocations
	a.Sequence, a.Enter = append(a.Sequence, uint64(m.now)), append(a.Enter, m.now)
	a.Duration, a.Op = append(a.Duration, 5000), append(a.Op, op)
	a.Space, a.Address = append(a.Space, event.SpaceDevice), append(a.Address, b.address)
	a.Size, a.Handle = append(a.Size, b.size), append(a.Handle, 0)
	a.Device, a.Context = append(a.Device, 0), append(a.Context, 1)
	a.Stream, a.Thread = append(a.Stream, event.NoStream), append(a.Thread, 1)
	a.API, a.Result = append(a.API, api), append(a.Result, result)
	a.Known, a.Stack = append(a.Known, true), append(a.Stack, event.StackID(1+m.random.IntN(memoryStacks)))
}

// look is a reading of NVML.
func (m *memoryGenerator) look() *event.Batch {
	context := uint64(518) << 20
	b := &event.Batch{}
	b.GPUSamples = event.GPUSamples{
		Time: []event.Time{m.now}, GPU: []event.GPUID{1}, UsedMemory: []int64{int64(m.used + context)}, ReservedMemory: []int64{-1}, Utilization: []int32{50},
		MemoryActivity: []int32{50}, SMClock: []int32{1980}, MemoryClock: []int32{2619}, Power: []int32{300_000}, Temperature: []int32{50}, Throttle: []int64{0},
	}
	b.Usages = event.Usages{Time: []event.Time{m.now}, GPU: []event.GPUID{1}, PID: []int32{memoryPID}, Bytes: []int64{int64(m.used + context)}}
	return b
}
