package analyze

import (
	"math"

	"github.com/warpscope/warpscope/agent/event"
)

const (
	// maxDevices bounds the GPUs kept apart: a damaged trace can name any ordinal.
	maxDevices = 1024
	// maxProcesses bounds the processes kept apart.
	maxProcesses = 1 << 16
)

// process is what an Analysis keeps of one traced process.
type process struct {
	id      event.ProcessID
	info    event.Process
	devices []*device // by ordinal
	counts  [kinds]uint64
	first   event.Time // of its events; 0 none
	last    event.Time
	nodes   bool // kernels of graphs were recorded one by one
	states  []stateChange
	// sampling is set where the timeline was off at first: there may be windows of a budget.
	sampling *sampling
	windows  windows
	ledger   *Ledger
	account  *account
	code     code
	null     map[uint32]uint32 // context → its null stream
}

type stateChange struct {
	time   event.Time
	state  event.State
	reason uint32
}

// device is a GPU as the events of one or more processes name it.
type device struct {
	index   int
	gpu     event.GPUID     // 0: the trace does not say which
	process event.ProcessID // with gpu 0: whose ordinal it is
	ordinal uint32
	other   bool // stands for all beyond maxDevices

	busy        Union
	first, last event.Time
	kernels     uint64
	copies      uint64
	sets        uint64
	graphs      uint64
	samples     sampleStats
	looks       looks
	allocated   series // by traced processes
}

// devices resolves ordinals of processes to GPUs.
type devices struct {
	list  []*device
	byGPU map[event.GPUID]*device
}

// of returns the device that ordinal of p names.
func (d *devices) of(p *process, ordinal uint32) *device {
	if uint64(ordinal) < uint64(len(p.devices)) {
		if dev := p.devices[ordinal]; dev != nil {
			return dev
		}
	}
	var gpu event.GPUID
	if uint64(ordinal) < uint64(len(p.info.Devices)) {
		gpu = p.info.Devices[ordinal]
	}
	dev := d.gpu(gpu)
	if dev == nil {
		dev = d.add(device{process: p.id, ordinal: ordinal})
	}
	if ordinal < maxDevices {
		for uint64(len(p.devices)) <= uint64(ordinal) {
			p.devices = append(p.devices, nil)
		}
		p.devices[ordinal] = dev
	}
	return dev
}

// gpu returns the device of a GPU, nil for identifier 0.
func (d *devices) gpu(id event.GPUID) *device {
	if id == 0 {
		return nil
	}
	if dev := d.byGPU[id]; dev != nil {
		return dev
	}
	if d.byGPU == nil {
		d.byGPU = make(map[event.GPUID]*device)
	}
	dev := d.add(device{gpu: id})
	if !dev.other {
		d.byGPU[id] = dev
	}
	return dev
}

func (d *devices) add(dev device) *device {
	if len(d.list) > maxDevices {
		return d.list[maxDevices]
	}
	dev.index = len(d.list)
	dev.other = dev.index == maxDevices
	d.list = append(d.list, &dev)
	return &dev
}

// span is the part of a trace that is looked at.
type span struct {
	from, to event.Time
	all      bool
}

// has says whether an event that begins at t belongs to the span.
func (s *span) has(t event.Time) bool { return s.all || (t >= s.from && t < s.to) }

// clip cuts an interval to the span.
func (s *span) clip(start, end event.Time) (event.Time, event.Time) {
	return max(start, s.from), min(end, s.to)
}

// known says whether start and duration describe an interval.
func known(start event.Time, duration int64) bool {
	return start > 0 && uint64(duration) < maxDuration && start < 1<<62
}

// worked are the columns of one kind of work on GPUs.
type worked struct {
	starts    []event.Time
	durations []int64
	ordinals  []uint32
}

// cover adds work on GPUs to the busy time of their devices. All kinds of it are gone through side by
// side, so that most of it comes in the order of time.
func (a *Analysis) cover(p *process, kinds []worked) {
	for {
		var next *worked
		until := event.Time(math.MaxInt64)
		for i := range kinds {
			k := &kinds[i]
			switch {
			case len(k.starts) == 0:
			case next == nil:
				next = k
			case k.starts[0] < next.starts[0]:
				next, until = k, min(until, next.starts[0])
			default:
				until = min(until, k.starts[0])
			}
		}
		if next == nil {
			return
		}
		n := a.coverUntil(p, next, until)
		next.starts, next.durations, next.ordinals = next.starts[n:], next.durations[n:], next.ordinals[n:]
	}
}

// coverUntil adds rows of k up to the first one that begins after a moment, at least one, and returns how
// many.
func (a *Analysis) coverUntil(p *process, k *worked, until event.Time) int {
	var dev *device
	last := ^uint32(0)
	durations, ordinals := k.durations[:len(k.starts)], k.ordinals[:len(k.starts)]
	for i, start := range k.starts {
		if start > until && i > 0 {
			return i
		}
		duration := durations[i]
		if !known(start, duration) {
			continue
		}
		if ordinal := ordinals[i]; ordinal != last || dev == nil {
			dev, last = a.devices.of(p, ordinal), ordinal
		}
		end := start + event.Time(duration)
		if !a.span.all {
			if start, end = a.span.clip(start, end); end <= start {
				continue
			}
		}
		if dev.first == 0 || start < dev.first {
			dev.first = start
		}
		if end > dev.last {
			dev.last = end
		}
		dev.busy.Add(start, end)
	}
	return len(k.starts)
}

// countDevices counts events by device, for one of a device's counters.
func (a *Analysis) countDevices(p *process, starts []event.Time, ordinals []uint32, add func(*device, uint64)) {
	var n uint64
	last := ^uint32(0)
	for i, ordinal := range ordinals {
		if !a.span.has(starts[i]) {
			continue
		}
		if ordinal != last && n > 0 {
			add(a.devices.of(p, last), n)
			n = 0
		}
		last = ordinal
		n++
	}
	if n > 0 {
		add(a.devices.of(p, last), n)
	}
}

// gpuWork adds everything a batch says about what ran on GPUs.
func (a *Analysis) gpuWork(p *process, b *event.Batch) {
	kinds := [4]worked{
		{b.Kernels.Start, b.Kernels.Duration, b.Kernels.Device},
		{b.Copies.Start, b.Copies.Duration, b.Copies.Device},
		{b.Sets.Start, b.Sets.Duration, b.Sets.Device},
	}
	// A graph's own interval spans the gaps between its nodes: where the nodes are recorded, they
	// say better when the GPU worked.
	if p.info.Graphs != "node" && !p.nodes {
		kinds[3] = worked{b.Graphs.Start, b.Graphs.Duration, b.Graphs.Device}
	}
	a.cover(p, kinds[:])
	a.countDevices(p, b.Kernels.Start, b.Kernels.Device, func(d *device, n uint64) { d.kernels += n })
	a.countDevices(p, b.Copies.Start, b.Copies.Device, func(d *device, n uint64) { d.copies += n })
	a.countDevices(p, b.Sets.Start, b.Sets.Device, func(d *device, n uint64) { d.sets += n })
	a.countDevices(p, b.Graphs.Start, b.Graphs.Device, func(d *device, n uint64) { d.graphs += n })
}
