package report

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/event"
)

// noDuration is the duration of events that are a moment.
const noDuration = math.MinInt64

// kindWord names a kind in the singular.
func kindWord(k event.Kind) string {
	words := []string{
		"unknown", "kernel", "copy", "fill", "wait", "call", "nvtx", "graph", "overhead", "allocation", "context", "module", "clock",
		"device", "pool", "state", "gpu", "usage", "window", "fact", "activity",
	}
	if int(k) < len(words) {
		return words[k]
	}
	return "unknown"
}

// describe gathers an event's fields, and returns its name and duration.
func (e *Events) describe(b *event.Batch, r eventRow) (name string, duration int64) {
	e.fields = e.fields[:0]
	i := r.index
	switch r.kind {
	case event.KindKernel:
		k := &b.Kernels
		l := e.tables.Launch(k.Launch[i])
		e.on(k.Device[i], k.Context[i], k.Stream[i], k.Correlation[i])
		e.add("grid", dims(l.Grid))
		e.add("block", dims(l.Block))
		e.add("registers", uint64(l.Registers))
		e.addIf("static_shared_bytes", uint64(l.StaticShared))
		e.addIf("dynamic_shared_bytes", uint64(l.DynamicShared))
		e.addIf("graph", uint64(k.Graph[i]))
		e.addIf("graph_node", k.GraphNode[i])
		return e.name(l.Name), k.Duration[i]
	case event.KindCopy:
		c := &b.Copies
		e.on(c.Device[i], c.Context[i], c.Stream[i], c.Correlation[i])
		e.add("bytes", c.Bytes[i])
		e.add("source", analyze.MemoryKindName(c.Source[i]))
		e.add("target", analyze.MemoryKindName(c.Target[i]))
		e.add("async", c.Async[i])
		if c.Peer[i] != c.Device[i] {
			e.add("peer", uint64(c.Peer[i]))
		}
		e.addIf("graph", uint64(c.Graph[i]))
		e.addIf("graph_node", c.GraphNode[i])
		return analyze.CopyKindName(c.Kind[i]), c.Duration[i]
	case event.KindSet:
		s := &b.Sets
		e.on(s.Device[i], s.Context[i], s.Stream[i], s.Correlation[i])
		e.add("bytes", s.Bytes[i])
		e.add("value", uint64(s.Value[i]))
		e.addIf("graph", uint64(s.Graph[i]))
		e.addIf("graph_node", s.GraphNode[i])
		return analyze.MemoryKindName(s.Memory[i]), s.Duration[i]
	case event.KindSync:
		s := &b.Syncs
		e.add("context", uint64(s.Context[i]))
		if s.Stream[i] != event.NoStream {
			e.add("stream", uint64(s.Stream[i]))
		}
		e.add("correlation", uint64(s.Correlation[i]))
		e.addIf("event", uint64(s.Event[i]))
		return analyze.SyncTypeName(s.Type[i]), s.Duration[i]
	case event.KindCall:
		c := &b.Calls
		e.add("correlation", uint64(c.Correlation[i]))
		e.add("domain", analyze.DomainName(c.Domain[i]))
		e.add("thread", uint64(c.Thread[i]))
		if c.Result[i] != 0 {
			e.add("result", int64(c.Result[i]))
		}
		return e.name(c.Name[i]), c.Duration[i]
	case event.KindGraph:
		g := &b.Graphs
		e.on(g.Device[i], g.Context[i], g.Stream[i], g.Correlation[i])
		return fmt.Sprintf("graph %d", g.Graph[i]), g.Duration[i]
	case event.KindOverhead:
		o := &b.Overheads
		e.addIf("thread", uint64(o.Thread[i]))
		e.addIf("correlation", uint64(o.Correlation[i]))
		return analyze.OverheadName(o.Kind[i]), o.Duration[i]
	case event.KindMarker:
		return e.describeMarker(&b.Markers, i), noDuration
	case event.KindAllocation:
		return e.describeAllocation(&b.Allocations, i)
	case event.KindActivity:
		return e.activity(&b.Activities, i), b.Activities.Duration[i]
	}
	return e.describeState(b, r), noDuration
}

func (e *Events) describeMarker(m *event.Markers, i int) string {
	e.add("marker", analyze.MarkerKindName(m.Kind[i]))
	e.add("id", uint64(m.ID[i]))
	e.addIf("thread", uint64(m.Thread[i]))
	if domain := e.tables.String(m.Domain[i]); domain != "" {
		e.add("domain", domain)
	}
	e.addIf("category", uint64(m.Category[i]))
	switch bits := m.Payload[i]; m.PayloadKind[i] {
	case event.PayloadUint64:
		e.add("payload", bits)
	case event.PayloadInt64:
		e.add("payload", int64(bits))
	case event.PayloadDouble:
		e.add("payload", strconv.FormatFloat(math.Float64frombits(bits), 'g', -1, 64))
	case event.PayloadText:
		e.add("payload", e.tables.String(event.StringID(bits)))
	}
	return e.tables.String(m.Text[i])
}

func (e *Events) describeAllocation(a *event.Allocations, i int) (string, int64) {
	e.add("op", analyze.OpName(a.Op[i]))
	e.add("space", analyze.SpaceName(a.Space[i]))
	e.add("bytes", a.Size[i])
	e.add("address", fmt.Sprintf("%#x", a.Address[i]))
	if a.Handle[i] != 0 {
		e.add("handle", fmt.Sprintf("%#x", a.Handle[i]))
	}
	if a.Device[i] >= 0 {
		e.add("device", int64(a.Device[i]))
	}
	if a.Stream[i] != event.NoStream {
		e.add("stream", uint64(a.Stream[i]))
	}
	e.add("thread", uint64(a.Thread[i]))
	e.add("sequence", a.Sequence[i])
	if a.Result[i] != 0 {
		e.add("result", int64(a.Result[i]))
		e.add("error", analyze.ResultName(a.Result[i]))
	}
	if e.options.Format != EventText && a.Stack[i] != 0 {
		var stack []string
		for _, f := range analyze.ResolveStack(&e.tables, a.Stack[i]) {
			stack = append(stack, f.String())
		}
		e.add("stack", stack)
	}
	return e.name(a.API[i]), a.Duration[i]
}

// describeState describes the kinds that are a moment, but for markers.
func (e *Events) describeState(b *event.Batch, r eventRow) string {
	i := r.index
	switch r.kind {
	case event.KindContext:
		c := &b.Contexts
		e.add("context", uint64(c.Context[i]))
		e.add("device", int64(c.Device[i]))
		if c.Created[i] {
			return "created"
		}
		return "destroyed"
	case event.KindModule:
		m := &b.Modules
		e.add("module", uint64(m.Module[i]))
		e.add("context", uint64(m.Context[i]))
		e.add("bytes", m.Bytes[i])
		if m.Loaded[i] {
			return "loaded"
		}
		return "unloaded"
	case event.KindPool:
		p := &b.Pools
		e.add("device", int64(p.Device[i]))
		e.add("pool", fmt.Sprintf("%#x", p.Pool[i]))
		e.add("reserved_bytes", p.Reserved[i])
		e.add("used_bytes", p.Used[i])
		e.add("reserved_high_bytes", p.ReservedHigh[i])
		e.add("used_high_bytes", p.UsedHigh[i])
	case event.KindState:
		for _, reason := range analyze.ReasonNames(b.States.Reason[i]) {
			e.add("reason", reason)
		}
		return analyze.StateName(b.States.State[i])
	case event.KindGPUSample:
		g := &b.GPUSamples
		for _, f := range []struct {
			key   string
			value int64
		}{
			{"used_bytes", g.UsedMemory[i]}, {"reserved_bytes", g.ReservedMemory[i]}, {"utilization_pct", int64(g.Utilization[i])},
			{"memory_activity_pct", int64(g.MemoryActivity[i])}, {"sm_clock_mhz", int64(g.SMClock[i])},
			{"memory_clock_mhz", int64(g.MemoryClock[i])}, {"power_mw", int64(g.Power[i])}, {"temperature_c", int64(g.Temperature[i])},
		} {
			if f.value >= 0 {
				e.add(f.key, f.value)
			}
		}
		if g.Throttle[i] > 0 {
			e.add("clock_reasons", fmt.Sprintf("%#x", g.Throttle[i]))
		}
		return e.gpu(g.GPU[i])
	case event.KindUsage:
		u := &b.Usages
		e.add("of_pid", int64(u.PID[i]))
		if u.Bytes[i] >= 0 {
			e.add("bytes", uint64(u.Bytes[i]))
		}
		return e.gpu(u.GPU[i])
	case event.KindWindow:
		w := &b.Windows
		if w.Begin[i] != 0 {
			e.add("begin_unix_ns", e.clock.Wall(w.Begin[i]))
			e.add("length_ns", w.Length[i])
		}
		e.add("span_ns", w.Span[i])
		e.add("work_ns", w.Work[i])
		e.add("span_work_ns", w.SpanWork[i])
		if w.Measured[i] {
			e.add("loss_ns", w.Loss[i])
		}
	case event.KindFact:
		f := &b.Facts
		if f.PID[i] != 0 {
			e.add("of_pid", int64(f.PID[i]))
		}
		if gpu := e.gpu(f.GPU[i]); gpu != "" {
			e.add("gpu", gpu)
		}
		e.add("value", f.Value[i])
		if f.Text[i] != 0 {
			e.add("text", e.tables.String(f.Text[i]))
		}
		return e.tables.String(f.Name[i])
	}
	return ""
}

// gpu names a GPU as tables do; its UUID is for programs.
func (e *Events) gpu(id event.GPUID) string {
	g := e.tables.GPU(id)
	if g.UUID == "" {
		return ""
	}
	if e.options.Format != EventText {
		e.add("uuid", g.UUID)
	}
	return analyze.GPUName(&e.tables, id)
}

func (e *Events) add(key string, value any) { e.fields = append(e.fields, field{key, value}) }

func (e *Events) addIf(key string, value uint64) {
	if value != 0 {
		e.add(key, value)
	}
}

func (e *Events) on(device, context, stream, correlation uint32) {
	e.add("device", uint64(device))
	e.add("context", uint64(context))
	e.add("stream", uint64(stream))
	e.add("correlation", uint64(correlation))
}

func fieldText(v any) string {
	switch v := v.(type) {
	case uint64:
		return strconv.FormatUint(v, 10)
	case int64:
		return strconv.FormatInt(v, 10)
	case string:
		return v
	case []string:
		text := ""
		for i, s := range v {
			if i > 0 {
				text += " < "
			}
			text += s
		}
		return text
	}
	return fmt.Sprint(v)
}

func appendJSON(b []byte, v any) []byte {
	switch v := v.(type) {
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case bool:
		return strconv.AppendBool(b, v)
	case string:
		return appendQuoted(b, v)
	case []string:
		b = append(b, '[')
		for i, s := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendQuoted(b, s)
		}
		return append(b, ']')
	}
	text, err := json.Marshal(v)
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, text...)
}

// appendQuoted writes a JSON string; encoding/json would write the < and > of templates as escapes.
func appendQuoted(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	if isPlain(s) {
		return append(append(b, s...), '"')
	}
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ' || r == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// isPlain says whether a string is printable ASCII without what JSON escapes.
func isPlain(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// appendCSV writes a line of CSV (RFC 4180).
func appendCSV(b []byte, cells []string) []byte {
	for i, c := range cells {
		if i > 0 {
			b = append(b, ',')
		}
		if !strings.ContainsAny(c, ",\"\r\n") {
			b = append(b, c...)
			continue
		}
		b = append(b, '"')
		b = append(b, strings.ReplaceAll(c, `"`, `""`)...)
		b = append(b, '"')
	}
	return append(b, '\n')
}

// activity writes what the units of a GPU did in a window.
func (e *Events) activity(a *event.Activities, i int) string {
	for _, f := range []struct {
		key   string
		value int32
	}{
		{"sm_pct", a.SM[i]}, {"occupancy_pct", a.Occupancy[i]}, {"tensor_pct", a.Tensor[i]}, {"tensor_half_pct", a.TensorHalf[i]},
		{"tensor_integer_pct", a.TensorInteger[i]}, {"tensor_double_pct", a.TensorDouble[i]}, {"fp64_pct", a.FP64[i]}, {"fp32_pct", a.FP32[i]},
		{"fp16_pct", a.FP16[i]}, {"integer_pct", a.Integer[i]}, {"dram_pct", a.DRAM[i]},
	} {
		if f.value >= 0 {
			e.add(f.key, float64(f.value)/1e4)
		}
	}
	for _, f := range []struct {
		key   string
		value int64
	}{
		{"dram_peak_bytes_per_s", a.DRAMPeak[i]}, {"pcie_out_bytes_per_s", a.PCIeOut[i]}, {"pcie_in_bytes_per_s", a.PCIeIn[i]},
		{"nvlink_out_bytes_per_s", a.NVLinkOut[i]}, {"nvlink_in_bytes_per_s", a.NVLinkIn[i]},
	} {
		if f.value >= 0 {
			e.add(f.key, f.value)
		}
	}
	return e.gpu(a.GPU[i])
}
