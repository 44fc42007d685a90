package cli_test

import (
	"bytes"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/trace"
)

// synthetic writes a small trace of an invented training run: two ranks, one GPU each, with
// everything that reports show. All its numbers are chosen, so that goldens can be checked by hand.
type synthetic struct {
	t         *testing.T
	w         *trace.Writer
	strings   map[string]event.StringID
	stacks    map[string]event.StackID
	launches  map[string]event.LaunchID
	counts    [4]uint32 // strings, launches, frames, stacks
	corr      uint32
	sequence  uint64
	marker    uint32
	simulated bool
}

// ms is a millisecond, in ns.
const ms = 1_000_000

// start is when the first capture began: the zero of all times in reports.
const start event.Time = 5_000_000_000_000

func newSynthetic(t *testing.T, out *bytes.Buffer, simulated bool) *synthetic {
	t.Helper()
	w, err := trace.NewWriter(out, event.Provenance{
		Tool: "warpscope 0.1.0", Hostname: "gpu-7", Kernel: "Linux 6.8.0", Driver: "580.159.04",
		Command:  []string{"torchrun", "--nproc-per-node=2", "train_gpt.py", "--batch", "8"},
		MonoTime: start - 40*ms, WallTime: 1_795_500_000_000_000_000, Simulated: simulated, CPUs: 16, MemoryBytes: 128 << 30,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &synthetic{
		t: t, w: w, strings: map[string]event.StringID{}, stacks: map[string]event.StackID{}, launches: map[string]event.LaunchID{}, simulated: simulated,
	}
}

func (s *synthetic) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *synthetic) define(d event.Definitions) { s.t.Helper(); s.must(s.w.Define(&d)) }

func (s *synthetic) str(text string) event.StringID {
	if text == "" {
		return 0
	}
	if id, ok := s.strings[text]; ok {
		return id
	}
	s.define(event.Definitions{Strings: []string{text}})
	s.counts[0]++
	s.strings[text] = event.StringID(s.counts[0])
	return s.strings[text]
}

func (s *synthetic) launch(name string, grid, block uint32) event.LaunchID {
	if id, ok := s.launches[name]; ok {
		return id
	}
	id := s.str(name)
	s.define(event.Definitions{Launches: []event.Launch{{
		Name: id, Grid: [3]uint32{grid, 1, 1}, Block: [3]uint32{block, 1, 1}, Registers: 32 + grid%64, DynamicShared: block * 16,
	}}})
	s.counts[1]++
	s.launches[name] = event.LaunchID(s.counts[1])
	return s.launches[name]
}

// stack defines a stack of "symbol@module" frames, innermost first.
func (s *synthetic) stack(frames ...[2]string) event.StackID {
	key := ""
	for _, f := range frames {
		key += f[0] + "@" + f[1] + ";"
	}
	if id, ok := s.stacks[key]; ok {
		return id
	}
	var stack event.Stack
	for _, f := range frames {
		frame := event.Frame{Module: s.str(f[1]), Symbol: s.str(f[0]), Offset: 0x1c}
		s.define(event.Definitions{Frames: []event.Frame{frame}})
		s.counts[2]++
		stack = append(stack, event.FrameID(s.counts[2]))
	}
	s.define(event.Definitions{Stacks: []event.Stack{stack}})
	s.counts[3]++
	s.stacks[key] = event.StackID(s.counts[3])
	return s.stacks[key]
}

// kernel appends a kernel and the call that launched it.
func (s *synthetic) kernel(b *event.Batch, at event.Time, duration int64, launch event.LaunchID, stream, thread uint32) {
	s.corr++
	k := &b.Kernels
	k.Start = append(k.Start, at)
	k.Duration = append(k.Duration, duration)
	k.Launch = append(k.Launch, launch)
	k.Correlation = append(k.Correlation, s.corr)
	k.Device = append(k.Device, 0)
	k.Context = append(k.Context, 1)
	k.Stream = append(k.Stream, stream)
	k.Graph = append(k.Graph, 0)
	k.GraphNode = append(k.GraphNode, 0)
	s.call(b, at-60_000, 4_200, "cuLaunchKernel", thread, 0)
}

func (s *synthetic) call(b *event.Batch, at event.Time, duration int64, name string, thread uint32, result int32) {
	c := &b.Calls
	c.Enter = append(c.Enter, at)
	c.Duration = append(c.Duration, duration)
	c.Name = append(c.Name, s.str(name))
	c.Domain = append(c.Domain, event.DomainDriver)
	c.Thread = append(c.Thread, thread)
	c.Correlation = append(c.Correlation, s.corr)
	c.Result = append(c.Result, result)
}

func (s *synthetic) copy(b *event.Batch, at event.Time, duration int64, bytes uint64, kind event.CopyKind, source, target event.MemoryKind, async bool) {
	s.corr++
	c := &b.Copies
	c.Start = append(c.Start, at)
	c.Duration = append(c.Duration, duration)
	c.Bytes = append(c.Bytes, bytes)
	c.Kind = append(c.Kind, kind)
	c.Source = append(c.Source, source)
	c.Target = append(c.Target, target)
	c.Async = append(c.Async, async)
	c.Correlation = append(c.Correlation, s.corr)
	c.Device = append(c.Device, 0)
	c.Peer = append(c.Peer, 0)
	c.Context = append(c.Context, 1)
	c.Stream = append(c.Stream, 7)
	c.Graph = append(c.Graph, 0)
	c.GraphNode = append(c.GraphNode, 0)
	s.call(b, at-20_000, 9_000, "cuMemcpyAsync", 100, 0)
}

func (s *synthetic) set(b *event.Batch, at event.Time, duration int64, bytes uint64) {
	s.corr++
	c := &b.Sets
	c.Start = append(c.Start, at)
	c.Duration = append(c.Duration, duration)
	c.Bytes = append(c.Bytes, bytes)
	c.Value = append(c.Value, 0)
	c.Memory = append(c.Memory, event.MemoryDevice)
	c.Correlation = append(c.Correlation, s.corr)
	c.Device = append(c.Device, 0)
	c.Context = append(c.Context, 1)
	c.Stream = append(c.Stream, 7)
	c.Graph = append(c.Graph, 0)
	c.GraphNode = append(c.GraphNode, 0)
}

// alloc appends a driver call about memory.
func (s *synthetic) alloc(b *event.Batch, at event.Time, op event.AllocOp, space event.Space, address, size, handle uint64, api string, result int32, stack event.StackID) {
	s.sequence++
	a := &b.Allocations
	a.Sequence = append(a.Sequence, s.sequence)
	a.Enter = append(a.Enter, at)
	a.Duration = append(a.Duration, 80_000)
	a.Op = append(a.Op, op)
	a.Space = append(a.Space, space)
	a.Address = append(a.Address, address)
	a.Size = append(a.Size, size)
	a.Handle = append(a.Handle, handle)
	device := int32(0)
	if space == event.SpaceHost || space == event.SpaceRegistered {
		device = -1
	}
	a.Device = append(a.Device, device)
	a.Context = append(a.Context, 1)
	a.Stream = append(a.Stream, event.NoStream)
	a.Thread = append(a.Thread, 100)
	a.API = append(a.API, s.str(api))
	a.Result = append(a.Result, result)
	a.Known = append(a.Known, op == event.OpFree)
	a.Stack = append(a.Stack, stack)
}

// mark appends one end of an NVTX range; start returns the id that its end takes.
func (s *synthetic) mark(b *event.Batch, at event.Time, kind event.MarkerKind, id, thread uint32, text, domain string) uint32 {
	if kind == event.MarkerStart {
		s.marker++
		id = s.marker
	}
	m := &b.Markers
	m.Time = append(m.Time, at)
	m.Kind = append(m.Kind, kind)
	m.ID = append(m.ID, id)
	m.Thread = append(m.Thread, thread)
	m.Text = append(m.Text, s.str(text))
	m.Domain = append(m.Domain, s.str(domain))
	m.PayloadKind = append(m.PayloadKind, event.PayloadNone)
	m.Payload = append(m.Payload, 0)
	m.Color = append(m.Color, 0)
	m.Category = append(m.Category, 0)
	return id
}

func (s *synthetic) state(b *event.Batch, at event.Time, state event.State) {
	b.States.Time = append(b.States.Time, at)
	b.States.State = append(b.States.State, state)
	b.States.Reason = append(b.States.Reason, 0)
}

// Kernels of a training step, as PyTorch's compilers named them, with their durations in ns.
var stepKernels = []struct {
	name        string
	duration    int64
	grid, block uint32
}{
	{"sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k_off_kernel__5x_cublas", 412_000, 528, 384},
	{"sm90_xmma_gemm_bf16bf16_bf16f32_f32_nt_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k_off_kernel__5x_cublas", 398_000, 528, 384},
	{"nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_NNT", 371_500, 132, 384},
	{"_ZN7cutlass7Kernel2I66cutlass_80_tensorop_f16_s16816gemm_relu_f16_256x128_32x6_tn_align8EEvNT_6ParamsE", 144_000, 256, 256},
	{"_ZN2at6native29vectorized_elementwise_kernelILi4ENS0_15CUDAFunctor_addIfEESt5arrayIPcLm3EEEEviT0_T1_", 21_250, 8192, 128},
	{"_ZN2at6native29vectorized_elementwise_kernelILi4ENS0_11FillFunctorIN3c108BFloat16EEESt5arrayIPcLm1EEEEviT0_T1_", 6_125, 4096, 128},
	{"_ZN2at6native29vectorized_elementwise_kernelILi4EZZZNS0_18GeluCUDAKernelImplERNS_18TensorIteratorBaseENS0_8GeluTypeEENKUlvE0_clEvENKUlvE2_clEvEUlN3c108BFloat16EE_NS_6detail5ArrayIPcLi2EEEEEviT0_T1_", 48_000, 16384, 128},
	{"_ZN2at6native12_GLOBAL__N_128vectorized_layer_norm_kernelIN3c108BFloat16EfLb1EEEviT0_PKT_S8_S8_PS5_S9_PS6_", 17_500, 8192, 128},
	{"_ZN43_GLOBAL__N__b6de9c8c_10_SoftMax_cu_9f978f6320softmax_warp_forwardIfffLi4ELb0ELb0EEEvPT0_PKT_iiiPKbib", 12_800, 2048, 128},
	{"_ZN4vllm15rms_norm_kernelIN3c104HalfEEEvPT_PKS3_S6_fii", 9_700, 1024, 1024},
	{"_ZN4vllm15rms_norm_kernelIN3c108BFloat16EEEvPT_PKS3_S6_fii", 9_650, 1024, 1024},
	{"triton_poi_fused_add_cat_index_select_mul_split_sub_unsqueeze_view_0", 31_000, 65536, 64},
}

const ncclKernel = "_Z40ncclDevKernel_AllReduce_Sum_bf16_RING_LL24ncclDevKernelArgsStorageILm4096EE"

// steps is how many training steps are recorded, 100 ms apart.
const steps = 40

// step appends one training step of a rank.
func (s *synthetic) step(b *event.Batch, at event.Time, n int) {
	step := s.mark(b, at, event.MarkerStart, 0, 100, "step", "")
	s.copy(b, at+1*ms, 310_000, 16<<20, event.CopyHostToDevice, event.MemoryPinned, event.MemoryDevice, true)
	forward := s.mark(b, at+2*ms, event.MarkerStart, 0, 100, "forward", "")
	t := at + 2*ms + 100_000
	for i, k := range stepKernels {
		launch := s.launch(k.name, k.grid, k.block)
		duration := k.duration + int64((n*7+i*13)%10)*k.duration/200
		s.kernel(b, t, duration, launch, 7, 100)
		t += event.Time(duration) + 2_000
	}
	s.mark(b, t, event.MarkerEnd, forward, 100, "", "")
	// The backward pass runs on a thread of its own, which opens no range.
	for i := range 2 * len(stepKernels) {
		k := stepKernels[i%len(stepKernels)]
		s.kernel(b, t, k.duration, s.launch(k.name, k.grid, k.block), 7, 101)
		t += event.Time(k.duration) + 2_000
	}
	s.kernel(b, t-900_000, 1_450_000, s.launch(ncclKernel, 24, 544), 20, 102)
	s.set(b, t+600_000, 30_000, 64<<20)
	s.copy(b, t+700_000, 2_100, 4, event.CopyDeviceToHost, event.MemoryDevice, event.MemoryPageable, false)
	b.Syncs.Start = append(b.Syncs.Start, t+650_000)
	b.Syncs.Duration = append(b.Syncs.Duration, 55_000)
	b.Syncs.Type = append(b.Syncs.Type, event.SyncStream)
	b.Syncs.Correlation = append(b.Syncs.Correlation, s.corr)
	b.Syncs.Context = append(b.Syncs.Context, 1)
	b.Syncs.Stream = append(b.Syncs.Stream, 7)
	b.Syncs.Event = append(b.Syncs.Event, 0)
	s.mark(b, t+2*ms, event.MarkerEnd, step, 100, "", "")
}

// memory appends what a rank allocates before its first step: 41 GiB at most.
func (s *synthetic) memory(b *event.Batch, at event.Time) {
	torch := s.stack([2]string{"cuMemAlloc_v2", "/usr/lib/x86_64-linux-gnu/libcuda.so.580.159.04"},
		[2]string{"cudaMalloc", "/opt/venv/lib/libcudart.so.12"},
		[2]string{"_ZN3c104cuda20CUDACachingAllocator6Native22NativeCachingAllocator6mallocEPPvamP11CUstream_st", "/opt/venv/lib/libc10_cuda.so"},
		[2]string{"_ZN2at6detail13empty_genericEN3c108ArrayRefIlEEPNS1_9AllocatorENS1_14DispatchKeySetENS1_10ScalarTypeENS1_8optionalINS1_12MemoryFormatEEE", "/opt/venv/lib/libtorch_cpu.so"},
		[2]string{"_PyEval_EvalFrameDefault", "/usr/bin/python3.12"})
	nccl := s.stack([2]string{"cuMemCreate", "/usr/lib/x86_64-linux-gnu/libcuda.so.580.159.04"},
		[2]string{"ncclCuMemAlloc", "/opt/venv/lib/libnccl.so.2"}, [2]string{"ncclCommInitRankFunc", "/opt/venv/lib/libnccl.so.2"})
	blas := s.stack([2]string{"cuMemAlloc_v2", "/usr/lib/x86_64-linux-gnu/libcuda.so.580.159.04"}, [2]string{"cublasCreate_v2", "/opt/venv/lib/libcublas.so.12"})
	loader := s.stack([2]string{"cuMemHostAlloc", "/usr/lib/x86_64-linux-gnu/libcuda.so.580.159.04"},
		[2]string{"_ZN2at4cuda29getCUDADeviceAllocatorPinnedEv", "/opt/venv/lib/libtorch_cuda.so"})
	for i := range uint64(20) {
		s.alloc(b, at+event.Time(i)*ms, event.OpAlloc, event.SpaceDevice, 0x7f0000000000+i<<32, 2<<30, 0, "cuMemAlloc_v2", 0, torch)
	}
	s.alloc(b, at+30*ms, event.OpAlloc, event.SpaceDevice, 0x6f0000000000, 32<<20, 0, "cuMemAlloc_v2", 0, blas)
	s.alloc(b, at+31*ms, event.OpReserve, event.SpaceVirtual, 0xa00000000, 1<<30, 0, "cuMemAddressReserve", 0, nccl)
	for i := range uint64(4) {
		handle := 0x5500 + i
		s.alloc(b, at+event.Time(32+i)*ms, event.OpAlloc, event.SpaceHandle, handle, 128<<20, 0, "cuMemCreate", 0, nccl)
		s.alloc(b, at+event.Time(32+i)*ms+200_000, event.OpMap, event.SpaceVirtual, 0xa00000000+i<<27, 128<<20, handle, "cuMemMap", 0, nccl)
		s.alloc(b, at+event.Time(32+i)*ms+400_000, event.OpFree, event.SpaceHandle, handle, 128<<20, 0, "cuMemRelease", 0, nccl)
	}
	s.alloc(b, at+40*ms, event.OpAlloc, event.SpaceHost, 0x7e0000000000, 256<<20, 0, "cuMemHostAlloc", 0, loader)
	s.alloc(b, at+41*ms, event.OpAlloc, event.SpaceDevice, 0, 48<<30, 0, "cuMemAlloc_v2", 2, torch)
	s.alloc(b, at+42*ms, event.OpFree, event.SpaceDevice, 0x7f0000000000, 2<<30, 0, "cuMemFree_v2", 0, torch)
	s.alloc(b, at+43*ms, event.OpFree, event.SpaceHandle, 0x5500, 128<<20, 0, "cuMemRelease", 1, nccl)
	s.alloc(b, at+44*ms, event.OpUnmap, event.SpaceVirtual, 0xa00000000, 128<<20, 0x5500, "cuMemUnmap", 0, nccl)
}

func (s *synthetic) samples(b *event.Batch, at event.Time, gpu event.GPUID, used int64) {
	g := &b.GPUSamples
	g.Time = append(g.Time, at)
	g.GPU = append(g.GPU, gpu)
	g.UsedMemory = append(g.UsedMemory, used)
	g.ReservedMemory = append(g.ReservedMemory, 600<<20)
	g.Utilization = append(g.Utilization, 87)
	g.MemoryActivity = append(g.MemoryActivity, 41)
	g.SMClock = append(g.SMClock, 1980)
	g.MemoryClock = append(g.MemoryClock, 2619)
	g.Power = append(g.Power, 612_000)
	g.Temperature = append(g.Temperature, 61)
	g.Throttle = append(g.Throttle, 4)
	u := &b.Usages
	for i, pid := range []int32{4242, 9001} {
		u.Time = append(u.Time, at)
		u.GPU = append(u.GPU, gpu)
		u.PID = append(u.PID, pid+int32(gpu)-1)
		u.Bytes = append(u.Bytes, []int64{42 << 30, 1 << 30}[i])
	}
}

// train writes the whole run.
func (s *synthetic) train() {
	s.define(event.Definitions{
		GPUs: []event.GPU{
			{UUID: "GPU-11111111-aaaa-bbbb-cccc-000000000000", Name: "NVIDIA H100 80GB HBM3", Memory: 80 << 30, Multiprocessors: 132, Capability: [2]uint32{9, 0}, PCIBusID: "0000:19:00.0", Index: 0},
			{UUID: "GPU-22222222-aaaa-bbbb-cccc-000000000000", Name: "NVIDIA H100 80GB HBM3", Memory: 80 << 30, Multiprocessors: 132, Capability: [2]uint32{9, 0}, PCIBusID: "0000:3b:00.0", Index: 1},
		},
	})
	for rank := range int32(2) {
		s.define(event.Definitions{Processes: []event.Process{{
			PID: 4242 + rank, InnerPID: 17 + rank, ParentPID: 4200, StartTime: start + event.Time(rank)*3*ms, Executable: "/usr/bin/python3.12",
			Command: []string{"/usr/bin/python3.12", "train_gpt.py", "--batch", "8"}, Mode: "timeline", API: "launch", Graphs: "graph",
			CUPTIVersion: 130001, CUPTIPath: "/opt/venv/lib/libcupti.so.13", DriverVersion: 13000, Devices: []event.GPUID{event.GPUID(rank + 1)},
			Rank: rank, Simulated: s.simulated,
		}}})
	}
	for rank := range event.ProcessID(2) {
		s.sequence = 0
		b := &event.Batch{Process: rank + 1}
		s.state(b, start, event.StateArmed)
		b.Contexts = event.Contexts{Time: []event.Time{start + 5*ms}, Created: []bool{true}, Context: []uint32{1}, Device: []int32{0}, NullStream: []uint32{7}}
		s.memory(b, start+100*ms)
		s.must(s.w.Batch(b))
		for n := range steps {
			b := &event.Batch{Process: rank + 1}
			s.step(b, start+event.Time(1000+100*n)*ms+event.Time(rank)*ms/2, n)
			s.must(s.w.Batch(b))
		}
		b = &event.Batch{Process: rank + 1}
		b.Overheads = event.Overheads{Start: []event.Time{start + 6000*ms}, Duration: []int64{1_250_000}, Kind: []event.OverheadKind{1 << 16}, Thread: []uint32{100}, Correlation: []uint32{0}}
		s.state(b, start+6100*ms, event.StateFinished)
		s.must(s.w.Batch(b))
	}
	b := &event.Batch{}
	for n := range event.Time(6) {
		s.samples(b, start+n*1000*ms, 1, int64(40+n)<<30)
		s.samples(b, start+n*1000*ms, 2, int64(39)<<30)
	}
	s.must(s.w.Batch(b))
}

// bytes returns the whole trace, with the given losses.
func (s *synthetic) close(losses ...event.Loss) {
	s.must(s.w.Close(event.Summary{Losses: losses, End: start + 6200*ms, ExitCode: 0}))
}
