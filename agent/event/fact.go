package event

// Facts are readings of the machine that no other kind of record holds, each under a name: what the host's
// memory holds, who other processes on a GPU are, what contexts take.
type Facts struct {
	Time  []Time
	GPU   []GPUID // 0: of none
	PID   []int32 // in the agent's PID namespace; 0: of no process
	Name  []StringID
	Value []int64
	Text  []StringID // 0: none
}

// Names of facts. Values are bytes where nothing else is said.
const (
	// FactCommand is a process's command, FactContainer what it runs in: Text.
	FactCommand   = "process.command"
	FactContainer = "process.container"

	// FactContext is what a bare context takes of a GPU, by NVML's figure for a process that has nothing
	// else; FactKernels what comes on top with device code that has assertions, FactCapture with the capture library.
	// Text says what they were measured with. FactUnowned is then used on the GPU by no process.
	FactContext = "context.bytes"
	FactKernels = "context.kernels"
	FactCapture = "context.capture"
	FactUnowned = "context.unowned"

	// FactResident is a process's memory on the host, FactHostTotal and FactHostFree the machine's.
	FactResident  = "host.resident"
	FactHostTotal = "host.total"
	FactHostFree  = "host.available"
	// FactGroupUsed and FactGroupLimit are of the memory cgroup of the program.
	FactGroupUsed  = "cgroup.used"
	FactGroupLimit = "cgroup.limit"
	// FactKills counts the processes that the kernel ended for want of memory: in the cgroup, or (Text says so) on
	// the machine.
	FactKills = "host.oom_kills"

	// FactUnmonitored: what a GPU's units do is not in the trace; Text says why.
	FactUnmonitored = "gpu.unmonitored"
	// FactPowerLimit is the power that a GPU may take, FactPowerDefault the one it is made for: mW.
	FactPowerLimit   = "gpu.power_limit"
	FactPowerDefault = "gpu.power_default"
)
