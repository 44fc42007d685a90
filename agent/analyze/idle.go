package analyze

import (
	"cmp"
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

// cause is why a GPU had nothing to do.
type cause uint8

const (
	causeLaunch     cause = iota // the CPU was launching, one call after the other, and was slower than the GPU
	causeGap                     // the next piece of work was queued: the GPU's own time between two of them
	causeSync                    // a thread waited for the GPU, so that the queue ran empty
	causeCopy                    // a copying call held up the thread
	causeAllocator               // the driver took or gave back memory
	causeCode                    // code for the GPU was loaded or built
	causeCapture                 // the tracing itself held up the thread
	causeDependency              // the next piece of work was queued, and waited for another stream or an event
	causeInput                   // the thread waited for the next batch of a DataLoader
	causeGC                      // Python's garbage collector held all threads
	causeGIL                     // another thread kept Python's lock: an estimate, from samples
	causePython                  // the thread ran Python outside CUDA: samples say at which lines
	causeHost                    // the thread ran code outside CUDA, and nothing says which
	causeUnrecorded              // the launching call is not in the trace
	causes
)

func (c cause) String() string {
	return word([]string{
		"launch-bound", "gaps", "sync", "copy-call", "allocator", "code", "capture", "dependency", "input", "gc", "gil", "python", "host", "unrecorded",
	}, "cause", c)
}

func (c cause) title() string {
	return word([]string{
		"the CPU launches too slowly", "between queued kernels", "the CPU waited for the GPU", "the CPU was held up in a copy call",
		"the driver's allocator", "loading or building GPU code", "the tracing itself", "waiting for another stream", "waiting for input (DataLoader)",
		"Python's garbage collector", "another thread held the GIL (estimated)", "Python code outside CUDA", "host code, unknown",
		"launch not recorded",
	}, "cause", c)
}

// IdleSummary says why GPUs had nothing to do in the measured steps.
type IdleSummary struct {
	Rows []IdleRow `json:"rows"`
}

// IdleRow is one process on one GPU.
type IdleRow struct {
	Key
	Unit   string `json:"unit"`
	Steps  int    `json:"steps"`
	WallNS int64  `json:"wall_ns"`
	IdleNS int64  `json:"idle_ns"`
	Gaps   uint64 `json:"gaps"`
	// Causes is in descending order of time; their TotalNS add up to IdleNS.
	Causes []IdleCause `json:"causes"`
	// Longest are the longest gaps.
	Longest []IdleGap `json:"longest"`
	// GIL is nil where Python was not sampled.
	GIL *GILEstimate `json:"gil,omitempty"`
}

// IdleCause is one reason for idleness.
type IdleCause struct {
	ID      string      `json:"id"`
	Title   string      `json:"title"`
	Count   uint64      `json:"count"` // gaps, or parts of them
	TotalNS int64       `json:"total_ns"`
	Share   float64     `json:"share"` // of the steps' wall time
	Places  []IdlePlace `json:"places"`
	Omitted int         `json:"omitted_places"`
	// Python is what Python was doing then; nil where nothing was sampled.
	Python *PythonIdle `json:"python,omitempty"`
}

// IdlePlace is where in a step a cause strikes: between two pieces of work on the GPU.
type IdlePlace struct {
	Call    string `json:"call,omitempty"` // the API call that the thread was in, or had just left
	After   string `json:"after"`
	Before  string `json:"before"`
	Count   uint64 `json:"count"`
	TotalNS int64  `json:"total_ns"`
	MaxNS   int64  `json:"max_ns"`
	// Symbols of After and Before, where they are kernels.
	AfterSymbol  string `json:"after_symbol,omitempty"`
	BeforeSymbol string `json:"before_symbol,omitempty"`
}

// IdleGap is one gap.
type IdleGap struct {
	AtNS    int64  `json:"at_ns"` // since the start of the trace
	IdleNS  int64  `json:"idle_ns"`
	Cause   string `json:"cause"` // of most of it
	Call    string `json:"call,omitempty"`
	After   string `json:"after"`
	Before  string `json:"before"`
	Thread  uint32 `json:"thread,omitempty"`
	Process int32  `json:"pid,omitempty"`
	// BeforeSymbol is the symbol of Before, where it is a kernel.
	BeforeSymbol string `json:"before_symbol,omitempty"`
	// Python is the stack found most often in the gap; nil where nothing was sampled.
	Python *PythonStack `json:"python,omitempty"`
}

// Bounds of what is kept: places are told apart by the kernels around them.
const (
	maxPlaces   = 1 << 14
	shownPlaces = 16
	shownGaps   = 10
)

// placeKey is a cause at a place; work is a kernel's name or what else ran.
type placeKey struct {
	cause         cause
	call          event.StringID
	after, before uint64
}

type idleSpot struct {
	count      uint64
	total, max int64
	after      *gpuWork
	before     *gpuWork
}

// recentSpot is a place that was looked up.
type recentSpot struct {
	key  placeKey
	spot *idleSpot
}

// idleTable adds up the idle time of a lane.
type idleTable struct {
	a      *Analysis
	ln     *lane
	walk   *cpuWalk
	ahead  *runAhead
	total  [causes]int64
	count  [causes]uint64
	places map[placeKey]*idleSpot
	recent []recentSpot
	gaps   uint64
	long   []longGap
	python pythonTable
}

type longGap struct {
	start         event.Time
	ns            int64
	cause         cause
	call          event.StringID
	thread        uint32
	after, before *gpuWork
}

func newIdleTable(a *Analysis, ln *lane) *idleTable {
	return &idleTable{a: a, ln: ln, ahead: newRunAhead(), places: make(map[placeKey]*idleSpot), python: pythonTable{r: &ln.l.python}}
}

// begin begins with a part of the lane's work.
func (t *idleTable) begin() {
	t.walk = newCPUWalk(t.ln.l, t.ln.calls)
	t.ahead.begin(t.walk)
	t.python.at = 0
}

// copyOf keeps a piece of work beyond the part that it is in.
func copyOf(w *gpuWork) *gpuWork {
	if w == nil {
		return nil
	}
	c := *w
	return &c
}

// workKey tells pieces of work apart as places do: kernels by name.
func (t *idleTable) workKey(w *gpuWork) uint64 {
	if w == nil {
		return 0
	}
	if w.kind == workKernel {
		return 1<<40 | uint64(t.a.tables.Launch(event.LaunchID(w.id)).Name)
	}
	return uint64(w.kind+2)<<40 | uint64(w.id)
}

// gap accounts for the time from g0 to g1, in which nothing ran. last is what ended before it, next
// the index of what ends it, -1 if nothing does.
func (t *idleTable) gap(lines *[lineCount]int64, g0, g1 event.Time, last *gpuWork, next int32) {
	t.gaps++
	var before *gpuWork
	if next >= 0 {
		before = &t.ln.work[next]
	}
	parts := t.ahead.settle(t.walk.explain(g0, g1, before), g0, g1)
	long := longGap{start: g0, ns: int64(g1 - g0), after: last, before: before}
	var most int64
	at := g0
	for _, p := range parts {
		ns := p.ns
		t.python.part(p.cause, p.thread, at, at+event.Time(ns))
		t.python.wait(p.cause, &t.ahead.last[p.cause])
		at += event.Time(ns)
		lines[int(lineIdle)+int(p.cause)] += ns
		t.total[p.cause] += ns
		t.count[p.cause]++
		key := placeKey{p.cause, p.call, t.workKey(last), t.workKey(before)}
		if spot := t.spot(key, last, before); spot != nil {
			spot.count++
			spot.total += ns
			spot.max = max(spot.max, ns)
		}
		if ns > most {
			most = ns
			long.cause, long.call, long.thread = p.cause, p.call, p.thread
		}
	}
	t.keep(long)
}

// spot returns a place, nil if there are too many. Most gaps are at places of the steps before.
func (t *idleTable) spot(key placeKey, last, before *gpuWork) *idleSpot {
	hash := key.after*31 + key.before*17 + uint64(key.cause)<<5 + uint64(key.call)
	if t.recent == nil && t.gaps > 256 { // of few, none need be near
		t.recent = make([]recentSpot, 1<<12)
	}
	if t.recent == nil {
		return t.place(key, last, before)
	}
	recent := &t.recent[hash%uint64(len(t.recent))]
	if recent.spot != nil && recent.key == key {
		return recent.spot
	}
	recent.key, recent.spot = key, t.place(key, last, before)
	return recent.spot
}

func (t *idleTable) place(key placeKey, last, before *gpuWork) *idleSpot {
	spot := t.places[key]
	if spot == nil && len(t.places) < maxPlaces {
		spot = &idleSpot{after: copyOf(last), before: copyOf(before)}
		t.places[key] = spot
	}
	return spot
}

// keep keeps the longest gaps.
func (t *idleTable) keep(g longGap) {
	if len(t.long) == shownGaps && g.ns <= t.long[shownGaps-1].ns {
		return
	}
	g.after, g.before = copyOf(g.after), copyOf(g.before)
	at, _ := slices.BinarySearchFunc(t.long, g, func(x, y longGap) int { return cmp.Compare(y.ns, x.ns) })
	t.long = slices.Insert(t.long, at, g)
	t.long = t.long[:min(len(t.long), shownGaps)]
}

func (t *idleTable) name(w *gpuWork) (name, symbol string) {
	if w == nil {
		return "", ""
	}
	name = t.ln.workName(t.a, w)
	if w.kind == workKernel {
		symbol = t.a.tables.String(t.a.tables.Launch(event.LaunchID(w.id)).Name)
	}
	return name, symbol
}

// row computes the result.
func (t *idleTable) row(r *AccountRow) IdleRow {
	out := IdleRow{Key: r.Key, Unit: r.Unit, Steps: r.Steps, WallNS: r.WallNS, Gaps: t.gaps, Causes: []IdleCause{}, Longest: []IdleGap{}}
	places := make([][]IdlePlace, causes)
	for key, p := range t.places {
		row := IdlePlace{Call: t.a.tables.String(key.call), Count: p.count, TotalNS: p.total, MaxNS: p.max}
		row.After, row.AfterSymbol = t.name(p.after)
		row.Before, row.BeforeSymbol = t.name(p.before)
		places[key.cause] = append(places[key.cause], row)
	}
	for c := range causes {
		if t.total[c] == 0 {
			continue
		}
		slices.SortFunc(places[c], func(x, y IdlePlace) int {
			return cmp.Or(cmp.Compare(y.TotalNS, x.TotalNS), cmp.Compare(x.Before, y.Before), cmp.Compare(x.After, y.After), cmp.Compare(x.Call, y.Call))
		})
		row := IdleCause{ID: c.String(), Title: c.title(), Count: t.count[c], TotalNS: t.total[c], Share: share(t.total[c], r.WallNS)}
		row.Places, row.Omitted = first(places[c], shownPlaces)
		row.Python = t.python.row(&t.a.tables, c)
		out.IdleNS += t.total[c]
		out.Causes = append(out.Causes, row)
	}
	slices.SortStableFunc(out.Causes, func(x, y IdleCause) int { return cmp.Compare(y.TotalNS, x.TotalNS) })
	for _, g := range t.long {
		row := IdleGap{AtNS: t.a.offset(g.start), IdleNS: g.ns, Cause: g.cause.String(), Call: t.a.tables.String(g.call), Thread: g.thread, Process: t.ln.l.p.info.PID}
		row.After, _ = t.name(g.after)
		row.Before, row.BeforeSymbol = t.name(g.before)
		row.Python = t.python.within(&t.a.tables, g.thread, g.start, g.start+event.Time(g.ns))
		out.Longest = append(out.Longest, row)
	}
	out.GIL = t.python.gil()
	return out
}

// Cause returns a cause by its identifier; its zero value if no time was lost so.
func (r *IdleRow) Cause(id string) IdleCause {
	for _, c := range r.Causes {
		if c.ID == id {
			return c
		}
	}
	return IdleCause{ID: id}
}
