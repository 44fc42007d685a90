package analyze

import "strings"

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
		g.Unowned = signedBytes(min(c.unowned, look.nobodys()))
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
