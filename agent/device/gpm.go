package device

import (
	"errors"
	"math"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/warpscope/warpscope/agent/event"
)

// windowLimit is the least time that an average of NVML's performance monitoring is taken over: the driver
// refreshes its counters every tenth of a second (nvml.h; on an H100 now and then only after 175 ms), and a window without
// a refresh says that nothing happened. With the sampler's interval it makes windows of 200 ms.
const windowLimit = 150 * time.Millisecond

// monitorFailures is after how many readings in a row that failed no more are tried.
const monitorFailures = 10

// activity is what a GPU's units did in a window, in the units of event.Activities.
type activity struct {
	start                                           event.Time
	duration                                        int64
	sm, occupancy                                   int32
	tensor, tensorHalf, tensorInteger, tensorDouble int32
	fp64, fp32, fp16, integer, dram                 int32
	dramPeak, pcieOut, pcieIn, nvlinkOut, nvlinkIn  int64
}

// still says that the counters have not moved: there was no refresh. On a GPU that has nothing to do they move, too, by the
// traffic of being asked.
func (a *activity) still() bool {
	return a.sm == 0 && a.dram == 0 && a.pcieOut == 0 && a.pcieIn == 0
}

// monitor reads a GPU's performance monitoring.
type monitor interface {
	// look ends a window and begins the next one, if it is long enough; false: there is nothing to tell.
	look(now event.Time) (activity, bool)
	close()
}

// counters is what a window is computed from: two samples of a GPU's counters.
type counters interface {
	// sample reads the counters into the newer of two places; difference compares it with the older one, and age makes
	// it the older one.
	sample() bool
	difference() (activity, bool)
	age()
	close()
}

// windows makes windows of a GPU's counters.
type windows struct {
	of    counters
	since event.Time // of the older sample; 0: there is none
	fails int        // in a row
}

func (w *windows) look(now event.Time) (activity, bool) {
	if w.fails >= monitorFailures || w.since != 0 && int64(now-w.since) < int64(windowLimit) {
		return activity{}, false
	}
	if !w.of.sample() {
		w.fails++
		w.since = 0
		return activity{}, false
	}
	var a activity
	began, ok := w.since, false
	if began != 0 {
		a, ok = w.of.difference()
		a.start, a.duration = began, int64(now-began)
		if ok && a.still() {
			return activity{}, false // the window goes on
		}
	}
	w.of.age()
	w.since = now
	if began != 0 && !ok {
		w.fails++
	} else {
		w.fails = 0
	}
	return a, ok
}

func (w *windows) close() { w.of.close() }

// Why there is no monitor, as a trace says it.
var (
	errNoMonitor = errors.New("its performance monitoring is for Hopper and newer GPUs")
	errOldDriver = errors.New("the driver is too old for performance monitoring")
	errNotAsked  = errors.New("the MIG instances on it are monitored instead")
)

// gpm is the counters of a real GPU or MIG instance.
type gpm struct {
	lib        nvml.Interface
	dev        nvml.Device
	instance   int // of MIG, on dev; -1: the whole GPU
	last, next nvml.GpmSample
	peak       int64 // of DRAM, bytes a second
}

// monitor begins to watch what the GPU's units do. Its error says in a few words why that cannot be.
func (g *nvmlGPU) monitor() (monitor, error) {
	if !g.driver.has("nvmlGpmSampleGet") || !g.driver.has("nvmlGpmMetricsGet") || !g.driver.has("nvmlGpmQueryDeviceSupport") {
		return nil, errOldDriver
	}
	if g.split {
		return nil, errNotAsked
	}
	m := &gpm{lib: g.driver.lib, dev: g.dev, instance: -1, peak: notAvailable}
	if g.parent != nil {
		id, ret := g.dev.GetGpuInstanceId()
		if err := check("nvmlDeviceGetGpuInstanceId", ret); err != nil {
			return nil, err
		}
		m.dev, m.instance = g.parent.dev, id
	} else {
		m.peak = g.memoryPeak()
	}
	support, ret := m.dev.GpmQueryDeviceSupport()
	if ret == nvml.SUCCESS && support.IsSupportedDevice == 0 || ret == nvml.ERROR_NOT_SUPPORTED {
		return nil, errNoMonitor
	}
	if err := check("nvmlGpmQueryDeviceSupport", ret); err != nil {
		return nil, err
	}
	for _, into := range []*nvml.GpmSample{&m.last, &m.next} {
		sample, ret := m.lib.GpmSampleAlloc()
		if err := check("nvmlGpmSampleAlloc", ret); err != nil {
			m.close()
			return nil, err
		}
		*into = sample
	}
	// What the driver promises it may still refuse: in guests, and to users without permission.
	if err := check("nvmlGpmSampleGet", m.get()); err != nil {
		m.close()
		return nil, err
	}
	return &windows{of: m}, nil
}

// memoryPeak is what clock and bus width make of the memory: bytes a second, two a clock for each wire.
func (g *nvmlGPU) memoryPeak() int64 {
	width, ret := g.dev.GetMemoryBusWidth()
	if ret != nvml.SUCCESS || width == 0 {
		return notAvailable
	}
	clock, ret := g.dev.GetMaxClockInfo(nvml.CLOCK_MEM)
	if ret != nvml.SUCCESS || clock == 0 {
		return notAvailable
	}
	return int64(clock) * 1e6 * 2 * int64(width) / 8
}

func (m *gpm) get() nvml.Return {
	if m.instance >= 0 {
		return m.next.MigGet(m.dev, m.instance)
	}
	return m.next.Get(m.dev)
}

func (m *gpm) sample() bool { return m.get() == nvml.SUCCESS }

func (m *gpm) age() { m.last, m.next = m.next, m.last }

func (m *gpm) close() {
	for _, s := range []nvml.GpmSample{m.last, m.next} {
		if s != nil {
			_ = s.Free() // nothing to do about it where that fails
		}
	}
	m.last, m.next = nil, nil
}

// metrics are the readings of the driver, and where each belongs in an activity.
func metrics(a *activity) ([]nvml.GpmMetricId, []*int32, []*int64) {
	return []nvml.GpmMetricId{
			nvml.GPM_METRIC_SM_UTIL, nvml.GPM_METRIC_SM_OCCUPANCY, nvml.GPM_METRIC_ANY_TENSOR_UTIL, nvml.GPM_METRIC_HMMA_TENSOR_UTIL,
			nvml.GPM_METRIC_IMMA_TENSOR_UTIL, nvml.GPM_METRIC_DMMA_TENSOR_UTIL, nvml.GPM_METRIC_FP64_UTIL, nvml.GPM_METRIC_FP32_UTIL,
			nvml.GPM_METRIC_FP16_UTIL, nvml.GPM_METRIC_INTEGER_UTIL, nvml.GPM_METRIC_DRAM_BW_UTIL,
			nvml.GPM_METRIC_PCIE_TX_PER_SEC, nvml.GPM_METRIC_PCIE_RX_PER_SEC, nvml.GPM_METRIC_NVLINK_TOTAL_TX_PER_SEC,
			nvml.GPM_METRIC_NVLINK_TOTAL_RX_PER_SEC,
		},
		[]*int32{&a.sm, &a.occupancy, &a.tensor, &a.tensorHalf, &a.tensorInteger, &a.tensorDouble, &a.fp64, &a.fp32, &a.fp16, &a.integer, &a.dram},
		[]*int64{&a.pcieOut, &a.pcieIn, &a.nvlinkOut, &a.nvlinkIn}
}

func (m *gpm) difference() (activity, bool) {
	a := activity{dramPeak: m.peak}
	ids, shares, rates := metrics(&a)
	asked := nvml.GpmMetricsGetType{NumMetrics: uint32(len(ids)), Sample1: m.last, Sample2: m.next}
	for i, id := range ids {
		asked.Metrics[i].MetricId = uint32(id)
	}
	if m.lib.GpmMetricsGet(&asked) != nvml.SUCCESS {
		return activity{}, false
	}
	known := false
	for i := range ids {
		v := asked.Metrics[i].Value
		if asked.Metrics[i].NvmlReturn != uint32(nvml.SUCCESS) || math.IsNaN(v) || v < 0 {
			v = notAvailable
		}
		known = known || v >= 0
		if i < len(shares) {
			*shares[i] = share(v)
		} else {
			*rates[i-len(shares)] = rate(v)
		}
	}
	return a, known
}

// share turns a percentage into millionths. Slightly more than all of it is the driver's rounding; much more is none.
func share(percent float64) int32 {
	if !(percent >= 0 && percent <= 200) {
		return notAvailable
	}
	return int32(math.Round(percent * 1e4))
}

// rate turns MiB a second into bytes a second.
func rate(mebibytes float64) int64 {
	if !(mebibytes >= 0 && mebibytes < 1<<40) {
		return notAvailable
	}
	return int64(mebibytes * (1 << 20))
}
