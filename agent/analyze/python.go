package analyze

import (
	"cmp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
)

// Domains of the markers that warpscope's module for Python makes. See docs/python.md.
const (
	domainModuleOwn = "warpscope" // steps, pauses, waits: ranges like the program's own
	domainStack     = "warpscope.stack"
	domainOperator  = "warpscope.op"
	domainModule    = "warpscope.module"
	domainRegion    = "warpscope.region"
	domainSampled   = "warpscope.operators"
)

// pythonKind tells what a marker of the Python module is.
type pythonKind uint8

const (
	pythonNone  pythonKind = iota
	pythonRange            // steps, pauses, waits
	pythonStack            // a sample of a stack
	pythonOperator
	pythonModule
	pythonRegion
	pythonSampled // says that a step was sampled
	pythonKinds
)

// pythonDomains remembers which domain is which.
type pythonDomains map[event.StringID]pythonKind

func (d *pythonDomains) of(tables *event.Tables, id event.StringID) pythonKind {
	if id == 0 {
		return pythonNone
	}
	kind, ok := (*d)[id]
	if !ok {
		switch tables.String(id) {
		case domainModuleOwn:
			kind = pythonRange
		case domainStack:
			kind = pythonStack
		case domainOperator:
			kind = pythonOperator
		case domainModule:
			kind = pythonModule
		case domainRegion:
			kind = pythonRegion
		case domainSampled:
			kind = pythonSampled
		}
		if *d == nil {
			*d = make(pythonDomains)
		}
		if len(*d) < maxDomains {
			(*d)[id] = kind
		}
	}
	return kind
}

// Texts of moments that tell of a sampled step.
const (
	sampledText   = "sampled"   // for how long operators were recorded
	publishedText = "published" // for how long they were then put into the trace
	costText      = "cost"
)

// Bounds of what is kept of one process.
const (
	maxSampled     = 1 << 10
	maxDomains     = 1 << 12
	maxSamples     = 1 << 19 // of stacks, 24 bytes each
	maxPythonSpans = 1 << 18
	maxPythonDepth = 256 // lines of a stack
)

// pythonSample is where one thread was at one moment.
type pythonSample struct {
	time   event.Time
	stack  event.StringID
	thread uint32
	waited uint32 // µs that the sampler waited for the GIL
	used   uint32 // µs of CPU time since the sample before
}

// pythonSpan is a pause of the collector, or a wait for input.
type pythonSpan struct {
	start, end event.Time
	thread     uint32
	input      bool
}

// pythonRecord is what is known of a process's Python.
type pythonRecord struct {
	domains pythonDomains
	samples []pythonSample
	spans   []pythonSpan
	open    map[uint32]pythonSpan // by marker id
	sampled []pythonSpan          // when operators were recorded, and put into the trace
}

// add takes a marker of the Python module; false: it is the program's own, or like one.
func (r *pythonRecord) add(tables *event.Tables, m *event.Markers, i int) bool {
	if m.Kind[i] == event.MarkerEnd {
		if s, ok := r.open[m.ID[i]]; ok {
			delete(r.open, m.ID[i])
			if s.end = m.Time[i]; s.end > s.start && len(r.spans) < maxPythonSpans {
				r.spans = append(r.spans, s)
			}
		}
		return r.domains.of(tables, m.Domain[i]) > pythonRange
	}
	kind := r.domains.of(tables, m.Domain[i])
	switch {
	case kind == pythonStack && m.Kind[i] == event.MarkerInstant && m.Time[i] > 0:
		r.samples = append(r.samples, pythonSample{m.Time[i], m.Text[i], m.Thread[i], uint32(m.Payload[i]), uint32(m.Payload[i] >> 32)})
		if len(r.samples) > maxSamples {
			r.samples = append(r.samples[:0], r.samples[maxSamples/2:]...)
		}
	case kind == pythonSampled && m.Kind[i] == event.MarkerInstant && len(r.sampled) < maxSampled && m.Payload[i] < maxDuration:
		if text := tables.String(m.Text[i]); text == sampledText || text == publishedText {
			r.sampled = append(r.sampled, pythonSpan{start: m.Time[i], end: m.Time[i] + event.Time(m.Payload[i])})
		}
	case kind == pythonRange && m.Kind[i] == event.MarkerStart:
		text := tables.String(m.Text[i])
		if (text == "gc" || text == "input") && len(r.open) < maxOpenRanges {
			if r.open == nil {
				r.open = make(map[uint32]pythonSpan)
			}
			r.open[m.ID[i]] = pythonSpan{start: m.Time[i], thread: m.Thread[i], input: text == "input"}
		}
	}
	return kind > pythonRange
}

// sort brings everything into the order of time. Within one moment the main thread comes first, as it was recorded.
func (r *pythonRecord) sort() {
	slices.SortStableFunc(r.samples, func(x, y pythonSample) int { return cmp.Compare(x.time, y.time) })
	slices.SortStableFunc(r.spans, func(x, y pythonSpan) int { return cmp.Compare(x.start, y.start) })
}

// disturbed says whether operators were recorded, or put into the trace, in an interval.
func (r *pythonRecord) disturbed(from, to event.Time) bool {
	for _, s := range r.sampled {
		if s.start < to && s.end > from {
			return true
		}
	}
	return false
}

// from returns the index of the first sample at a moment or later.
func (r *pythonRecord) from(t event.Time) int {
	return sort.Search(len(r.samples), func(i int) bool { return r.samples[i].time >= t })
}

// moment returns the samples of one moment, from index i on.
func (r *pythonRecord) moment(i int) []pythonSample {
	j := i + 1
	for j < len(r.samples) && r.samples[j].time == r.samples[i].time {
		j++
	}
	return r.samples[i:j]
}

// pick returns the sample that says what a thread was doing: its own, or the main thread's, which waits for those
// that run no Python, as PyTorch's threads of the backward pass.
func pick(moment []pythonSample, thread uint32) *pythonSample {
	for i := range moment {
		if moment[i].thread == thread {
			return &moment[i]
		}
	}
	return &moment[0]
}

const (
	// gilWait is from how much on a sampler's wait says that a thread held the GIL for long; Python makes threads give
	// it up after 5 ms, and C code that does not may hold it for longer.
	gilWait = 500 // µs
	// gilBusy is the part of a CPU that the other threads must have used for one of them to be taken for the one that held
	// the GIL, and that the thread which launches must not have used.
	gilBusy = 0.4
)

// gilHolder returns the sample of the thread that kept the GIL from another one: nil where nothing says so. before is the
// moment of the samples before.
func gilHolder(moment []pythonSample, own *pythonSample, before event.Time) *pythonSample {
	since := float64(moment[0].time-before) / 1e3
	if own.waited < gilWait || before <= 0 || since <= 0 || float64(own.used) > gilBusy*since {
		return nil
	}
	var most *pythonSample
	others := 0.0
	for i := range moment {
		s := &moment[i]
		if s.thread == own.thread {
			continue
		}
		others += float64(s.used)
		if s.used > own.used && (most == nil || s.used > most.used) {
			most = s
		}
	}
	if others < gilBusy*since {
		return nil
	}
	return most
}

// PythonStack is where Python was found, and how often.
type PythonStack struct {
	Samples int `json:"samples"`
	// Stack is innermost first; Guilty the index of its innermost line that is the program's own ([GuiltyLine]), -1
	// if it has none.
	Stack  []Line `json:"stack"`
	Guilty int    `json:"guilty"`
}

// Line is the guilty line, its zero value if there is none.
func (s *PythonStack) Line() Line {
	if s.Guilty < 0 || s.Guilty >= len(s.Stack) {
		return Line{}
	}
	return s.Stack[s.Guilty]
}

// parseStack reads a stack as the module writes it: lines "file:12 function".
func parseStack(text string) []Line {
	var out []Line
	for len(text) > 0 && len(out) < maxPythonDepth {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		// A file's name may have spaces and colons, a function's neither, but for "<listcomp>" and the like.
		place, function := line, ""
		if at := strings.LastIndexByte(line, ' '); at >= 0 {
			place, function = line[:at], line[at+1:]
		}
		l := Line{File: place, Function: function}
		if at := strings.LastIndexByte(place, ':'); at >= 0 {
			if n, err := strconv.ParseInt(place[at+1:], 10, 32); err == nil {
				l.File, l.Line = place[:at], int32(n)
			}
		}
		out = append(out, l)
	}
	return out
}

// stackCounts counts samples by stack.
type stackCounts map[event.StringID]int

// maxStackCounts bounds the stacks told apart for one cause of idleness.
const maxStackCounts = 1 << 14

func (c *stackCounts) add(id event.StringID) {
	if *c == nil {
		*c = make(stackCounts)
	}
	if _, ok := (*c)[id]; !ok && len(*c) >= maxStackCounts {
		return
	}
	(*c)[id]++
}

// rows returns the stacks by samples, those of one guilty line and function together: the rest of their stacks is that
// of the most frequent one.
func (c stackCounts) rows(tables *event.Tables, most int) (rows []PythonStack, omitted int) {
	ids := make([]event.StringID, 0, len(c))
	for id := range c {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(x, y event.StringID) int { return cmp.Or(cmp.Compare(c[y], c[x]), cmp.Compare(x, y)) })
	byLine := make(map[Line]int)
	rows = []PythonStack{}
	for _, id := range ids {
		s := PythonStack{Samples: c[id], Stack: parseStack(tables.String(id))}
		s.Guilty = GuiltyLine(s.Stack)
		if line := s.Line(); line != (Line{}) {
			if at, ok := byLine[line]; ok {
				rows[at].Samples += s.Samples
				continue
			}
			byLine[line] = len(rows)
		}
		rows = append(rows, s)
	}
	slices.SortStableFunc(rows, func(x, y PythonStack) int { return cmp.Compare(y.Samples, x.Samples) })
	return first(rows, most)
}
