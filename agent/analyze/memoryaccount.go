package analyze

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
)

// MemoryAccount is where the memory of all GPUs was at a moment. Sizes are bytes.
type MemoryAccount struct {
	// When says which moment it is: "at the failure", "at the peak", "at the end", "at the time asked for".
	When   string       `json:"when"`
	TimeNS int64        `json:"time_ns"` // since the start of the trace
	GPUs   []GPUAccount `json:"gpus"`
	Host   *HostAccount `json:"host,omitempty"`
	// Largest are the stacks that hold most of what the driver gave, of all processes.
	Largest []LiveStack `json:"largest_live"`
	// FailureNS is the failed call that this is about, if any; the readings are of TimeNS.
	FailureNS int64 `json:"failure_ns,omitempty"`
}

// GPUAccount is the memory of one GPU: what NVML says is used, and who holds it.
type GPUAccount struct {
	Name  string `json:"name"`
	GPU   string `json:"gpu"` // "GPU 0"
	UUID  string `json:"gpu_uuid"`
	Total uint64 `json:"total_bytes"` // 0 unknown
	// Used and Reserved (by driver and firmware, beside Used) are NVML's, of SampleNS; nil: there is no reading.
	Used     *int64           `json:"used_bytes,omitempty"`
	Reserved *int64           `json:"reserved_bytes,omitempty"`
	SampleNS int64            `json:"sample_ns,omitempty"`
	Traced   []ProcessAccount `json:"traced"`
	Others   []OtherAccount   `json:"others"`
	// Unowned is used by no process while there are any, as measured beside a context; nil: not known.
	Unowned *int64 `json:"unowned_bytes,omitempty"`
	// Residual is Used less all that is accounted for; Before leaves out what calibration has added. nil: nothing to
	// compare with.
	Residual *int64 `json:"residual_bytes,omitempty"`
	Before   *int64 `json:"residual_before_calibration_bytes,omitempty"`
	// Calibrated says with what contexts were measured; "": they were not, and are part of the residual.
	Calibrated string `json:"calibrated_with,omitempty"`
	// Foreign: NVML numbers processes of another namespace, so that traced ones cannot be told from others.
	Foreign bool `json:"foreign_pids,omitempty"`
}

// ProcessAccount is one traced process's part.
type ProcessAccount struct {
	Key
	Inner    int32        `json:"inner_pid,omitempty"`  // as the program sees it
	NVML     *int64       `json:"nvml_bytes,omitempty"` // what NVML says it has; nil: not known
	Lines    []MemoryLine `json:"lines"`
	Sum      uint64       `json:"sum_bytes"` // of the lines
	Residual *int64       `json:"residual_bytes,omitempty"`
	Before   *int64       `json:"residual_before_calibration_bytes,omitempty"`
	// Tensors is what PyTorch's allocator does with its part; nil: there is no snapshot of that moment.
	Tensors *TensorAccount `json:"tensors,omitempty"`
	// TorchBytes is what PyTorch's allocator has taken from the driver, by the driver's calls.
	TorchBytes uint64 `json:"torch_bytes,omitempty"`
}

// Lines of a ProcessAccount.
const (
	LineContext = "context"
	LineKernels = "kernels"
	LineCapture = "capture"
	LineCode    = "code"
	LineDriver  = "driver"
	LinePool    = "pool"
	LineRounded = "rounding"
	LineManaged = "managed"
)

// MemoryLine is one thing that holds memory.
type MemoryLine struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// API and Library are of allocations.
	API     string `json:"api,omitempty"`
	Library string `json:"library,omitempty"`
	Bytes   uint64 `json:"bytes"`
	Count   uint64 `json:"count,omitempty"`
	// UpTo is what it may take in addition, and is not part of any sum.
	UpTo   uint64 `json:"up_to_bytes,omitempty"`
	Source string `json:"source"` // "counted", "measured", "calibrated", "estimated"
}

// OtherAccount is a process that is not traced.
type OtherAccount struct {
	PID       int32  `json:"pid"`
	Bytes     int64  `json:"bytes"` // -1 not available
	Command   string `json:"command,omitempty"`
	Container string `json:"container,omitempty"`
}

// HostAccount is the host's memory.
type HostAccount struct {
	TimeNS    int64  `json:"time_ns"`
	Total     int64  `json:"total_bytes"`     // -1 not known, as all that follow
	Available int64  `json:"available_bytes"` // for new programs
	Group     string `json:"cgroup,omitempty"`
	Used      int64  `json:"cgroup_used_bytes"`
	Limit     int64  `json:"cgroup_limit_bytes"` // -1 none
	// Resident are the program's processes, those that hold most; shared pages count in each.
	Resident  []OtherAccount `json:"resident"`
	PeakBytes int64          `json:"resident_peak_bytes"`
	PeakNS    int64          `json:"resident_peak_at_ns"`
	PeakUsed  int64          `json:"cgroup_peak_bytes"`
	Pinned    uint64         `json:"pinned_bytes"` // through CUDA
	// Kills counts the processes that the kernel ended for want of memory while the program ran, where it says so.
	Kills   int64  `json:"oom_kills"`
	KillsIn string `json:"oom_kills_in,omitempty"` // the cgroup, or "machine"
}

// TensorAccount is what PyTorch's allocator did with its memory. Sizes are bytes.
type TensorAccount struct {
	File     string        `json:"file"`
	When     string        `json:"when"`
	Reserved uint64        `json:"reserved_bytes"`
	Roles    []RoleHolding `json:"roles"` // as asked for
	Rounding uint64        `json:"rounding_bytes"`
	Pending  uint64        `json:"pending_bytes"` // freed, waiting for another stream
	Free     []PoolFree    `json:"free"`          // reserved, in no tensor, by pool and stream
	Private  uint64        `json:"private_bytes"` // in private pools, of Reserved
	// Difference is what the driver gave to PyTorch's allocator, by its calls, less Reserved.
	Difference int64 `json:"driver_difference_bytes"`
}

// PoolFree is what is reserved by a pool for a stream and in no tensor.
type PoolFree struct {
	Pool   string `json:"pool"`
	Stream uint32 `json:"stream"`
	Bytes  uint64 `json:"bytes"`
}

// knownLibraries say what a library's memory is for, by the beginning of its name.
var knownLibraries = [...][2]string{
	{"libc10_cuda", "PyTorch's caching allocator"},
	{"libtorch", "PyTorch beside its allocator"},
	{"libnccl", "NCCL's buffers"},
	{"libcublas", "cuBLAS's workspaces"},
	{"libcudnn", "cuDNN's workspaces"},
	{"libcufft", "cuFFT's workspaces"},
	{"libcusolver", "cuSOLVER's workspaces"},
	{"libcusparse", "cuSPARSE's workspaces"},
	{"libcupti", "CUPTI, which records this trace"},
	{"libnvshmem", "NVSHMEM's heap"},
	{"xla_extension", "XLA's allocator"},
	{"libjax", "JAX and XLA"},
	{"xla_cuda", "JAX and XLA"},
	{"libtriton", "Triton"},
}

// libraryUse says what a library's memory is for.
func libraryUse(library string) string {
	for _, known := range knownLibraries {
		if strings.HasPrefix(library, known[0]) {
			return known[1]
		}
	}
	switch {
	case library == unattributed || library == "":
		return "allocations of unknown callers"
	case strings.Contains(library, "cupy"):
		return "CuPy's allocator"
	}
	return "allocations of " + library
}

// isTorchAllocator says whether memory that a library asked for is PyTorch's allocator's.
func isTorchAllocator(library string) bool { return strings.HasPrefix(library, "libc10_cuda") }

// memoryAccount returns the account at the end of what was looked at.
func (a *Analysis) memoryAccount() *MemoryAccount {
	end := a.last
	if !a.span.all && a.span.to < end {
		end = a.span.to - 1
	}
	out := &MemoryAccount{When: "at the end", TimeNS: a.offset(end), GPUs: []GPUAccount{}}
	for i, d := range a.devices.list {
		g := a.gpuAccount(i, d)
		if g.Used != nil || len(g.Traced) > 0 {
			out.GPUs = append(out.GPUs, *g)
		}
	}
	out.Host = a.hostAccount()
	return out
}

func signedBytes(n int64) *int64 { return &n }

func (a *Analysis) gpuAccount(index int, d *device) *GPUAccount {
	gpu, key := a.tables.GPU(d.gpu), a.deviceKey(index)
	g := &GPUAccount{Name: gpu.Name, GPU: key.GPU, UUID: gpu.UUID, Total: gpu.Memory, Traced: []ProcessAccount{}, Others: []OtherAccount{}}
	if g.GPU == "" {
		g.GPU = key.Name
	}
	look := &d.looks.last
	if look.time != 0 && look.used >= 0 {
		g.Used, g.SampleNS = signedBytes(look.used), a.offset(look.time)
		if look.reserved >= 0 {
			g.Reserved = signedBytes(look.reserved)
		}
	}
	c := a.held.calibrated[d.gpu]
	if c == nil {
		c = &calibration{context: -1, kernels: -1, capture: -1, unowned: -1}
	} else if c.context >= 0 {
		g.Calibrated = c.with
	}
	traced := map[int32]bool{}
	for _, p := range a.inOrder() {
		if p.id == 0 {
			continue
		}
		if row := a.processAccount(p, d, look, c); row != nil {
			traced[p.info.PID] = true
			g.Traced = append(g.Traced, *row)
		}
	}
	for _, pid := range sortedPIDs(look.processes) {
		if !traced[pid] {
			g.Others = append(g.Others, OtherAccount{PID: pid, Bytes: look.processes[pid], Command: a.held.commands[pid], Container: a.held.containers[pid]})
		}
	}
	if c.unowned >= 0 && len(look.processes) > 0 {
		g.Unowned = signedBytes(c.unowned)
	}
	g.settle()
	return g
}

// settle computes what remains.
func (g *GPUAccount) settle() {
	seen, numbered := false, false
	for i := range g.Traced {
		seen = true
		numbered = numbered || g.Traced[i].NVML != nil
	}
	g.Foreign = seen && !numbered && len(g.Others) > 0
	if g.Used == nil {
		return
	}
	after, before := *g.Used, *g.Used
	for i := range g.Traced {
		p := &g.Traced[i]
		after -= int64(p.Sum)
		before -= int64(p.Sum)
		for _, l := range p.Lines {
			if l.Source == sourceCalibrated {
				before += int64(l.Bytes)
			}
		}
	}
	if !g.Foreign {
		for _, o := range g.Others {
			after -= max(o.Bytes, 0)
			before -= max(o.Bytes, 0)
		}
	}
	if g.Unowned != nil {
		after -= *g.Unowned
	}
	g.Residual, g.Before = signedBytes(after), signedBytes(before)
}

// Sources of lines.
const (
	sourceCounted    = "counted"
	sourceMeasured   = "measured"
	sourceCalibrated = "calibrated"
	sourceEstimated  = "estimated"
)

// held sums up what a process holds, by library and API.
type heldKey struct {
	module event.StringID
	api    event.StringID
	space  event.Space
}

type heldSum struct{ bytes, count uint64 }

// localModules is from how many modules of device code on a kernel is taken to have needed local memory. In 20 real
// traces of PyTorch (driver 580) it appeared with the second to ninth module.
const localModules = 4

// driverPage is what the driver's allocations are made of; those of up to half of it share pages. Seen on
// Hopper (driver 580): NVML's figure for a process moves in steps of it.
const driverPage = 2 << 20

func (a *Analysis) processAccount(p *process, d *device, look *lastLook, c *calibration) *ProcessAccount {
	row := &ProcessAccount{Key: a.processKey(p.id), Inner: p.info.InnerPID, Lines: []MemoryLine{}}
	if n, ok := look.processes[p.info.PID]; ok && n >= 0 {
		row.NVML = signedBytes(n)
	}
	ordinals := map[int32]bool{}
	contexts, modules, images := 0, 0, uint64(0)
	for ordinal, dev := range p.devices {
		if dev == d {
			ordinals[int32(ordinal)] = true
		}
	}
	for ordinal, gpu := range p.info.Devices {
		if gpu == d.gpu && gpu != 0 {
			ordinals[int32(ordinal)] = true
		}
	}
	for ordinal := range ordinals {
		n, m, bytes := p.code.on(ordinal)
		contexts, modules, images = contexts+n, modules+m, images+bytes
	}
	sums, rounded := map[heldKey]heldSum{}, uint64(0)
	small := uint64(0)
	if p.ledger != nil {
		for k, o := range p.ledger.live {
			if k.class == classMapping || k.class == classReservation || !ordinals[o.Device] {
				continue
			}
			switch kindOf(o) {
			case DeviceMemory, ManagedMemory:
			default:
				continue
			}
			key := heldKey{asker(&a.tables, o.Stack), o.API, o.Space}
			s := sums[key]
			sums[key] = heldSum{s.bytes + o.Size, s.count + 1}
			switch {
			case o.Space != event.SpaceDevice && o.Space != event.SpaceHandle:
			case o.Size > driverPage/2:
				rounded += (driverPage - o.Size%driverPage) % driverPage
			default:
				small += o.Size
			}
		}
	}
	if row.NVML == nil && contexts == 0 && len(sums) == 0 {
		return nil
	}
	add := func(l MemoryLine) {
		if l.Bytes > 0 || l.UpTo > 0 {
			row.Lines = append(row.Lines, l)
			row.Sum += l.Bytes
		}
	}
	n := uint64(max(contexts, 1))
	add(MemoryLine{ID: LineContext, Name: "CUDA context", Bytes: n * uint64(max(c.context, 0)), Count: n, Source: sourceCalibrated})
	// Which kernels need local memory is not recorded; of those of a program with some modules, one does.
	if modules >= localModules {
		add(MemoryLine{ID: LineKernels, Name: "local memory of kernels, as measured for one", Bytes: n * uint64(max(c.kernels, 0)), Source: sourceCalibrated})
	}
	add(MemoryLine{ID: LineCapture, Name: "CUPTI, which records this trace", Bytes: n * uint64(max(c.capture, 0)), Source: sourceCalibrated})
	add(MemoryLine{ID: LineCode, Name: "device code that has run", UpTo: images, Count: uint64(modules), Source: sourceCounted})
	if small%driverPage > 0 {
		rounded += driverPage - small%driverPage
	}
	a.heldLines(row, sums, add)
	a.poolLines(p, ordinals, sums, add)
	add(MemoryLine{ID: LineRounded, Name: "the driver's rounding to pages of 2 MiB", Bytes: rounded, Source: sourceEstimated})
	if row.NVML != nil {
		after := *row.NVML - int64(row.Sum)
		before := after
		for _, l := range row.Lines {
			if l.Source == sourceCalibrated {
				before += int64(l.Bytes)
			}
		}
		row.Residual, row.Before = signedBytes(after), signedBytes(before)
	}
	return row
}

// heldLines adds allocations, those that hold most first.
func (a *Analysis) heldLines(row *ProcessAccount, sums map[heldKey]heldSum, add func(MemoryLine)) {
	var lines []MemoryLine
	for key, s := range sums {
		library, _ := a.library(key.module)
		l := MemoryLine{
			ID: LineDriver, Name: libraryUse(library), API: a.tables.String(key.api), Library: library, Bytes: s.bytes, Count: s.count, Source: sourceCounted,
		}
		switch key.space {
		case event.SpaceManaged:
			// It is on the GPU or on the host, page by page.
			l.ID, l.Bytes, l.UpTo = LineManaged, 0, s.bytes
			l.Name = "managed memory, of it what is on the GPU: " + l.Name
		case event.SpacePool:
			l.ID = LinePool
			l.Name += ", from a stream-ordered pool"
		}
		if isTorchAllocator(library) && l.ID != LineManaged {
			row.TorchBytes += l.Bytes
		}
		lines = append(lines, l)
	}
	slices.SortFunc(lines, func(x, y MemoryLine) int {
		return cmp.Or(cmp.Compare(y.Bytes, x.Bytes), cmp.Compare(y.UpTo, x.UpTo), cmp.Compare(x.Library, y.Library), cmp.Compare(x.API, y.API))
	})
	for _, l := range lines {
		add(l)
	}
}

// poolLines adds what stream-ordered pools hold beyond their allocations, by their own account.
func (a *Analysis) poolLines(p *process, ordinals map[int32]bool, sums map[heldKey]heldSum, add func(MemoryLine)) {
	reserved, live := uint64(0), uint64(0)
	for key, row := range a.pools {
		if key.process == p.id && ordinals[key.device] {
			reserved += row.ReservedBytes
		}
	}
	for key, s := range sums {
		if key.space == event.SpacePool {
			live += s.bytes
		}
	}
	if reserved > live {
		add(MemoryLine{ID: LinePool, Name: "reserved by stream-ordered pools, in no allocation", Bytes: reserved - live, Source: sourceMeasured})
	}
}

func (a *Analysis) hostAccount() *HostAccount {
	h := &a.held.host
	if !h.seen {
		return nil
	}
	out := &HostAccount{
		TimeNS: a.offset(h.time), Total: h.total, Available: h.free, Group: h.group, Used: h.used, Limit: h.limit, PeakUsed: h.peakUsed,
		PeakBytes: h.peak, PeakNS: a.offset(h.peakAt), Resident: []OtherAccount{}, Kills: -1,
	}
	for _, pid := range sortedPIDs(h.resident) {
		out.Resident = append(out.Resident, OtherAccount{PID: pid, Bytes: h.resident[pid], Command: a.held.commands[pid]})
	}
	for _, in := range slices.Sorted(maps.Keys(h.kills)) {
		if n := h.kills[in] - h.killsBefore[in]; n > out.Kills {
			out.Kills, out.KillsIn = n, in
		}
	}
	for _, p := range a.processes {
		if p.account == nil {
			continue
		}
		for _, t := range p.account.totals {
			if t.kind == HostMemory {
				out.Pinned += t.all.live
			}
		}
	}
	return out
}

// TensorsJoin puts what PyTorch's allocator held at a failure into an account of the same moment. It says whether
// the process is in it.
func (m *MemoryAccount) TensorsJoin(t *Tensors) bool {
	if t.Added == nil || t.Failed == nil {
		return false
	}
	for i := range m.GPUs {
		for j := range m.GPUs[i].Traced {
			p := &m.GPUs[i].Traced[j]
			if p.TorchBytes == 0 || p.Inner != t.Added.PID && p.PID != t.Added.PID || p.Tensors != nil {
				continue
			}
			p.Tensors = tensorAccount(t, p.TorchBytes)
			return true
		}
	}
	return false
}

func tensorAccount(t *Tensors, torch uint64) *TensorAccount {
	h := t.Failed
	out := &TensorAccount{
		File: path.Base(t.File), When: "at the failure", Reserved: h.Reserved, Roles: h.Roles, Rounding: h.Live - min(h.Requested, h.Live), Pending: h.Pending,
		Private: h.Private, Free: []PoolFree{}, Difference: int64(torch) - int64(h.Reserved),
	}
	for _, p := range h.Pools {
		if n := p.FreePartly + p.FreeWhole; n > 0 {
			size := "large"
			if p.Small {
				size = "small"
			}
			out.Free = append(out.Free, PoolFree{Pool: fmt.Sprintf("%s, %s", p.Pool, size), Stream: p.Stream, Bytes: n})
		}
	}
	return out
}
