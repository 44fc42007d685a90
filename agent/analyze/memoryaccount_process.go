package analyze

import (
	"cmp"
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

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

// assertingModules is from how many modules of device code on one is taken to have assertions. In 20 real traces of PyTorch
// (driver 580) it was the first to seventh; those of random numbers and of products have none, nearly all others do.
const assertingModules = 4

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
	// Which modules have assertions is not recorded; of PyTorch's, with some of them loaded, one does.
	torch := false
	for key := range sums {
		library, _ := a.library(key.module)
		torch = torch || isTorchAllocator(library)
	}
	if torch && modules >= assertingModules {
		add(MemoryLine{ID: LineKernels, Name: "for device code with assertions, as measured", Bytes: n * uint64(max(c.kernels, 0)), Source: sourceCalibrated})
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
