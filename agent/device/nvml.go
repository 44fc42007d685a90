package device

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/warpscope/warpscope/agent/event"
)

// nvmlDriver is the real NVML.
type nvmlDriver struct {
	lib nvml.Interface
	// A function that an old driver lacks must not be called at all: go-nvml binds lazily, so
	// that the dynamic linker would end the agent.
	hasMemoryV2, hasEventReasons bool
}

func newNVML() *nvmlDriver { return &nvmlDriver{lib: nvml.New()} }

// check turns NVML's return code, which is a non-nil error even on success, into an error.
func check(call string, ret nvml.Return) error {
	switch ret {
	case nvml.SUCCESS:
		return nil
	case nvml.ERROR_LIBRARY_NOT_FOUND:
		return errors.New("libnvidia-ml.so.1 was not found, there is no NVIDIA driver here")
	case nvml.ERROR_DRIVER_NOT_LOADED:
		return errors.New("the NVIDIA driver is not loaded")
	case nvml.ERROR_LIB_RM_VERSION_MISMATCH:
		return errors.New("libnvidia-ml.so.1 and the loaded NVIDIA driver differ in version")
	case nvml.ERROR_NO_PERMISSION:
		return fmt.Errorf("%s: no permission to use the NVIDIA driver", call)
	default:
		return fmt.Errorf("%s: %s", call, strings.ToLower(ret.String()))
	}
}

func (d *nvmlDriver) open() ([]gpu, error) {
	if err := check("nvmlInit", d.lib.Init()); err != nil {
		return nil, err
	}
	d.hasMemoryV2 = d.has("nvmlDeviceGetMemoryInfo_v2")
	d.hasEventReasons = d.has("nvmlDeviceGetCurrentClocksEventReasons")
	n, ret := d.lib.DeviceGetCount()
	if err := check("nvmlDeviceGetCount", ret); err != nil {
		return nil, errors.Join(err, d.close())
	}
	var gpus []gpu
	for i := range n {
		dev, ret := d.lib.DeviceGetHandleByIndex(i)
		if ret != nvml.SUCCESS { // one broken GPU does not hide the others
			continue
		}
		whole := &nvmlGPU{driver: d, dev: dev, index: int32(i)}
		instances := d.instances(whole)
		whole.split = len(instances) > 0
		gpus = append(append(gpus, whole), instances...)
	}
	if len(gpus) == 0 {
		return nil, errors.Join(errors.New("the NVIDIA driver shows no GPU"), d.close())
	}
	return gpus, nil
}

// instances returns the MIG instances of a GPU.
func (d *nvmlDriver) instances(whole *nvmlGPU) []gpu {
	if !d.has("nvmlDeviceGetMigMode") {
		return nil
	}
	mode, _, ret := whole.dev.GetMigMode()
	if ret != nvml.SUCCESS || mode != nvml.DEVICE_MIG_ENABLE {
		return nil
	}
	n, ret := whole.dev.GetMaxMigDeviceCount()
	if ret != nvml.SUCCESS {
		return nil
	}
	var gpus []gpu
	for i := range n {
		if dev, ret := whole.dev.GetMigDeviceHandleByIndex(i); ret == nvml.SUCCESS {
			gpus = append(gpus, &nvmlGPU{driver: d, dev: dev, index: -1, parent: whole})
		}
	}
	return gpus
}

func (d *nvmlDriver) has(symbol string) bool {
	return d.lib.Extensions().LookupSymbol(symbol) == nil
}

func (d *nvmlDriver) version() string {
	v, ret := d.lib.SystemGetDriverVersion()
	if ret != nvml.SUCCESS {
		return ""
	}
	return v
}

func (d *nvmlDriver) close() error { return check("nvmlShutdown", d.lib.Shutdown()) }

// nvmlGPU is a GPU, or with a parent a MIG instance of one.
type nvmlGPU struct {
	driver *nvmlDriver
	dev    nvml.Device
	index  int32
	parent *nvmlGPU
	split  bool // into MIG instances, which account for the processes
	gone   [readings]bool
}

// The readings that are given up for good once NVML says that this GPU does not have them.
const (
	readMemory = iota
	readUtilization
	readSMClock
	readMemoryClock
	readPower
	readTemperature
	readThrottle
	readProcesses
	readings
)

func (g *nvmlGPU) describe() event.GPU {
	d := event.GPU{Index: g.index}
	if v, ret := g.dev.GetUUID(); ret == nvml.SUCCESS {
		d.UUID = v
	}
	if v, ret := g.dev.GetName(); ret == nvml.SUCCESS {
		d.Name = v
	}
	if v, ret := g.dev.GetMemoryInfo(); ret == nvml.SUCCESS {
		d.Memory = v.Total
	}
	physical := g.dev
	if g.parent != nil {
		physical = g.parent.dev
	}
	if major, minor, ret := physical.GetCudaComputeCapability(); ret == nvml.SUCCESS && major >= 0 && minor >= 0 {
		d.Capability = [2]uint32{uint32(major), uint32(minor)}
	}
	d.Multiprocessors = g.multiprocessors(d.Capability)
	if v, ret := physical.GetPciInfo(); ret == nvml.SUCCESS {
		d.PCIBusID = text(v.BusId[:])
	}
	return d
}

// coresPerMultiprocessor is the number of FP32 cores of a multiprocessor by compute capability: CUDA C++
// Programming Guide, "Compute Capabilities", arithmetic instructions a clock cycle.
var coresPerMultiprocessor = map[[2]uint32]uint32{
	{7, 0}: 64, {7, 5}: 64, {8, 0}: 64, {8, 6}: 128, {8, 7}: 128, {8, 9}: 128, {9, 0}: 128, {10, 0}: 128, {10, 3}: 128, {12, 0}: 128,
}

// multiprocessors counts them, 0 where that is not known: NVML counts those of a MIG instance, and the
// cores of a whole GPU.
func (g *nvmlGPU) multiprocessors(capability [2]uint32) uint32 {
	if g.parent != nil {
		if a, ret := g.dev.GetAttributes(); ret == nvml.SUCCESS {
			return a.MultiprocessorCount
		}
		return 0
	}
	each := coresPerMultiprocessor[capability]
	cores, ret := g.dev.GetNumGpuCores()
	if ret != nvml.SUCCESS || each == 0 || cores <= 0 || uint32(cores)%each != 0 {
		return 0
	}
	return uint32(cores) / each
}

// text returns the characters before the first NUL of a C string.
func text[T int8 | uint8](s []T) string {
	var b strings.Builder
	for _, c := range s {
		if c == 0 {
			break
		}
		b.WriteByte(byte(c))
	}
	return b.String()
}

func (g *nvmlGPU) read() reading {
	r := reading{
		used: notAvailable, reserved: notAvailable,
		utilization: notAvailable, memoryActivity: notAvailable,
		throttle: notAvailable,
	}
	g.ask(readMemory, func() nvml.Return {
		var ret nvml.Return
		r.used, r.reserved, ret = g.memory()
		return ret
	})
	g.ask(readUtilization, func() nvml.Return {
		v, ret := g.dev.GetUtilizationRates()
		if ret == nvml.SUCCESS {
			r.utilization, r.memoryActivity = int32(v.Gpu), int32(v.Memory)
		}
		return ret
	})
	r.smClock = g.value(readSMClock, func() (uint32, nvml.Return) { return g.dev.GetClockInfo(nvml.CLOCK_SM) })
	r.memoryClock = g.value(readMemoryClock, func() (uint32, nvml.Return) { return g.dev.GetClockInfo(nvml.CLOCK_MEM) })
	r.power = g.value(readPower, g.dev.GetPowerUsage)
	r.temperature = g.value(readTemperature, func() (uint32, nvml.Return) {
		return g.dev.GetTemperature(nvml.TEMPERATURE_GPU)
	})
	g.ask(readThrottle, func() nvml.Return {
		get := g.dev.GetCurrentClocksThrottleReasons // the old name of the same bits
		if g.driver.hasEventReasons {
			get = g.dev.GetCurrentClocksEventReasons
		}
		v, ret := get()
		if ret == nvml.SUCCESS {
			r.throttle = int64(v)
		}
		return ret
	})
	return r
}

// memory returns used and reserved bytes. Only the second version of the call tells the two apart;
// the first one counts what is reserved as used.
func (g *nvmlGPU) memory() (used, reserved int64, ret nvml.Return) {
	if g.driver.hasMemoryV2 {
		if v, ret := g.dev.GetMemoryInfo_v2(); ret == nvml.SUCCESS {
			return clamp(v.Used), clamp(v.Reserved), ret
		}
	}
	v, ret := g.dev.GetMemoryInfo()
	if ret != nvml.SUCCESS {
		return notAvailable, notAvailable, ret
	}
	return clamp(v.Used), notAvailable, ret
}

func (g *nvmlGPU) processes(to []usage) []usage {
	if g.split {
		return to
	}
	g.ask(readProcesses, func() nvml.Return {
		infos, ret := g.dev.GetComputeRunningProcesses()
		if ret != nvml.SUCCESS {
			return ret
		}
		for _, p := range infos {
			to = append(to, usage{pid: int32(p.Pid), bytes: clamp(p.UsedGpuMemory)})
		}
		return ret
	})
	return to
}

// ask makes one reading, unless this GPU has said that it does not have it.
func (g *nvmlGPU) ask(what int, get func() nvml.Return) {
	if g.gone[what] {
		return
	}
	switch get() {
	case nvml.ERROR_NOT_SUPPORTED, nvml.ERROR_FUNCTION_NOT_FOUND, nvml.ERROR_NO_PERMISSION:
		g.gone[what] = true
	}
}

// value makes a reading of one small number.
func (g *nvmlGPU) value(what int, get func() (uint32, nvml.Return)) int32 {
	result := int32(notAvailable)
	g.ask(what, func() nvml.Return {
		v, ret := get()
		if ret == nvml.SUCCESS && v <= math.MaxInt32 {
			result = int32(v)
		}
		return ret
	})
	return result
}

// clamp makes NVML's "not available", which is all ones, and anything as absurd, -1.
func clamp(v uint64) int64 {
	if v > math.MaxInt64 {
		return notAvailable
	}
	return int64(v)
}
