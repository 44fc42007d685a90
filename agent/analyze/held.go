package analyze

import (
	"cmp"
	"math"
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

const (
	// maxLooks bounds the readings of a GPU whose times are kept: a day at ten a second.
	maxLooks = 1 << 20
	// maxModules bounds the device code that is followed in a process.
	maxModules = 1 << 18
	// maxDescribed bounds the processes whose commands are kept.
	maxDescribed = 1 << 14
)

// lastLook is NVML's newest reading of a GPU.
type lastLook struct {
	time           event.Time // 0: there is none
	used, reserved int64      // -1 not available
	processes      map[int32]int64
}

// nobodys returns what is used by no process, as far as this reading shows: the most that it can be where a process is
// not known.
func (l *lastLook) nobodys() int64 {
	rest := l.used
	for _, bytes := range l.processes {
		if bytes < 0 || rest < 0 {
			return math.MaxInt64
		}
		rest -= bytes
	}
	return max(rest, 0)
}

// looks are NVML's readings of a GPU's memory.
type looks struct {
	last   lastLook
	times  []event.Time
	used   []int64 // at each of them
	peak   int64   // highest used …
	peakAt event.Time
	own    int64 // … while a traced process had something of it
	ownAt  event.Time
	series series
}

// highest returns the most that was used, and when: while a traced process had something of it, if NVML names any.
func (l *looks) highest() (used int64, at event.Time) {
	if l.ownAt != 0 {
		return l.own, l.ownAt
	}
	return l.peak, l.peakAt
}

func (l *looks) add(t event.Time, used, reserved int64) {
	if len(l.times) < maxLooks {
		l.times, l.used = append(l.times, t), append(l.used, used)
	}
	if t >= l.last.time {
		l.last = lastLook{time: t, used: used, reserved: reserved, processes: map[int32]int64{}}
	}
	if used > l.peak {
		l.peak, l.peakAt = used, t
	}
	if used >= 0 {
		l.series.add(t, uint64(used))
	}
}

func (l *looks) process(t event.Time, pid int32, bytes int64, traced bool) {
	if traced && bytes > 0 {
		if i, ok := slices.BinarySearch(l.times, t); ok && l.used[i] > l.own {
			l.own, l.ownAt = l.used[i], t
		}
	}
	if t == l.last.time && l.last.processes != nil && len(l.last.processes) < maxUsages {
		l.last.processes[pid] = bytes
	}
}

// calibration is what contexts take of a GPU, as the agent measured it; -1: not known.
type calibration struct {
	context, kernels, capture, unowned int64
	with                               string // what it was measured with
}

// heldFacts is what a trace tells of memory beside allocations: who the processes are, what contexts take, the host.
type heldFacts struct {
	commands   map[int32]string
	containers map[int32]string
	calibrated map[event.GPUID]*calibration
	host       hostHeld
}

func newHeld() *heldFacts {
	return &heldFacts{commands: map[int32]string{}, containers: map[int32]string{}, calibrated: map[event.GPUID]*calibration{}}
}

// add takes the facts of a batch. Who a process is, and what contexts take, holds at all times.
func (h *heldFacts) add(a *Analysis, f *event.Facts) {
	for i, t := range f.Time {
		name, text := a.tables.String(f.Name[i]), a.tables.String(f.Text[i])
		switch name {
		case event.FactCommand:
			describe(h.commands, f.PID[i], text)
		case event.FactContainer:
			describe(h.containers, f.PID[i], text)
		case event.FactContext, event.FactKernels, event.FactCapture, event.FactUnowned:
			h.calibrate(name, f.GPU[i], f.Value[i], text)
		default:
			if t < a.span.to {
				h.host.add(t, name, text, f.PID[i], f.Value[i])
			}
		}
	}
}

func describe(to map[int32]string, pid int32, text string) {
	if _, known := to[pid]; known || len(to) < maxDescribed {
		to[pid] = text
	}
}

func (h *heldFacts) calibrate(name string, gpu event.GPUID, value int64, text string) {
	c := h.calibrated[gpu]
	if c == nil {
		if len(h.calibrated) >= maxDevices {
			return
		}
		c = &calibration{context: -1, kernels: -1, capture: -1, unowned: -1}
		h.calibrated[gpu] = c
	}
	c.with = text
	switch name {
	case event.FactContext:
		c.context = value
	case event.FactKernels:
		c.kernels = value
	case event.FactCapture:
		c.capture = value
	default:
		c.unowned = value
	}
}

// code is the device code that a process has loaded.
type code struct {
	modules  map[uint32]loaded
	contexts map[uint32]int32 // of those that live, their devices
}

type loaded struct {
	context uint32
	bytes   uint64
}

// code follows modules and contexts up to the end of the span.
func (p *process) loads(a *Analysis, b *event.Batch) {
	if p.code.modules == nil && len(b.Modules.Time)+len(b.Contexts.Time) > 0 {
		p.code = code{modules: map[uint32]loaded{}, contexts: map[uint32]int32{}}
	}
	c := &b.Contexts
	for i, t := range c.Time {
		switch {
		case t >= a.span.to:
		case !c.Created[i]:
			delete(p.code.contexts, c.Context[i])
			for id, m := range p.code.modules {
				if m.context == c.Context[i] {
					delete(p.code.modules, id)
				}
			}
		case len(p.code.contexts) < maxStreams:
			p.code.contexts[c.Context[i]] = c.Device[i]
		}
	}
	m := &b.Modules
	for i, t := range m.Time {
		switch {
		case t >= a.span.to:
		case !m.Loaded[i]:
			delete(p.code.modules, m.Module[i])
		case len(p.code.modules) < maxModules:
			p.code.modules[m.Module[i]] = loaded{m.Context[i], m.Bytes[i]}
		}
	}
}

// on sums up what is loaded on a device.
func (c *code) on(device int32) (contexts, modules int, bytes uint64) {
	for _, d := range c.contexts {
		if d == device {
			contexts++
		}
	}
	for _, m := range c.modules {
		if d, ok := c.contexts[m.context]; ok && d == device {
			modules++
			bytes += m.bytes
		}
	}
	return contexts, modules, bytes
}

// hostHeld is what the host's memory held.
type hostHeld struct {
	seen               bool
	time               event.Time
	total, free        int64
	used, limit        int64 // of the cgroup; limit -1: none
	group              string
	kills, killsBefore map[string]int64 // by cgroup, "machine"
	killed             event.Time       // when the count rose; 0: it did not
	resident           map[int32]int64  // at the last reading
	residentAt         event.Time
	peak               int64 // of all residents together
	peakAt             event.Time
	peakUsed           int64 // of the cgroup
	sum                int64 // of the residents at residentAt
}

func (h *hostHeld) add(t event.Time, name, text string, pid int32, value int64) {
	if !h.seen {
		*h = hostHeld{seen: true, total: -1, free: -1, used: -1, limit: -1, peakUsed: -1, kills: map[string]int64{}, killsBefore: map[string]int64{}}
	}
	h.time = max(h.time, t)
	switch name {
	case event.FactResident:
		if t != h.residentAt {
			h.resident, h.residentAt, h.sum = map[int32]int64{}, t, 0
		}
		if len(h.resident) < maxDescribed {
			h.resident[pid] = value
			h.sum += value
			if h.sum > h.peak {
				h.peak, h.peakAt = h.sum, t
			}
		}
	case event.FactHostTotal:
		h.total = value
	case event.FactHostFree:
		h.free = value
	case event.FactGroupUsed:
		h.used, h.group = value, text
		h.peakUsed = max(h.peakUsed, value)
	case event.FactGroupLimit:
		h.limit, h.group = value, text
	case event.FactKills:
		if _, ok := h.killsBefore[text]; !ok && len(h.killsBefore) < 16 {
			h.killsBefore[text] = value
		} else if value > h.killsBefore[text] && h.killed == 0 {
			h.killed = t
		}
		if _, ok := h.killsBefore[text]; ok {
			h.kills[text] = value
		}
	}
}

// series is how a number changed, in buckets of equal length that grow with the time covered: the highest in
// each.
type series struct {
	origin event.Time
	step   event.Time // 0: empty
	most   []uint64
	seen   []bool
}

const (
	seriesBuckets = 128
	seriesStep    = event.Time(1e6) // the shortest bucket
)

func (s *series) add(t event.Time, value uint64) {
	if t <= 0 || t >= 1<<62 {
		return // a damaged trace's
	}
	if s.step == 0 {
		s.step, s.origin = seriesStep, t
	}
	if t < s.origin {
		t = s.origin
	}
	for (t-s.origin)/s.step >= seriesBuckets {
		s.widen()
	}
	at := int((t - s.origin) / s.step)
	for len(s.most) <= at {
		s.most, s.seen = append(s.most, 0), append(s.seen, false)
	}
	s.most[at], s.seen[at] = max(s.most[at], value), true
}

// widen joins each two buckets.
func (s *series) widen() {
	n := (len(s.most) + 1) / 2
	for i := range n {
		value, seen := s.most[2*i], s.seen[2*i]
		if 2*i+1 < len(s.most) {
			value, seen = max(value, s.most[2*i+1]), seen || s.seen[2*i+1]
		}
		s.most[i], s.seen[i] = value, seen
	}
	s.most, s.seen = s.most[:n], s.seen[:n]
	s.step *= 2
}

// points returns the series with gaps filled by what was before.
func (s *series) points() []uint64 {
	out := slices.Clone(s.most)
	for i := range out {
		if !s.seen[i] && i > 0 {
			out[i] = out[i-1]
		}
	}
	return out
}

// sortedPIDs returns processes by what they hold, the most first.
func sortedPIDs(of map[int32]int64) []int32 {
	pids := make([]int32, 0, len(of))
	for pid := range of {
		pids = append(pids, pid)
	}
	slices.SortFunc(pids, func(x, y int32) int { return cmp.Or(cmp.Compare(of[y], of[x]), cmp.Compare(x, y)) })
	return pids
}
