package trace

import "github.com/warpscope/warpscope/agent/event"

// column is one column of a table: field first+i of the table's message, i being its place.
type column struct {
	name  string
	cells cells
	// codings are the ways to encode it that the writer tries; empty: plain. One that is a key has
	// at most one.
	codings []coding
	ticked  []coding // the same, of a column of times in ticks
}

// Field numbers that the columns of all tables share.
const (
	fieldRows     = 1
	fieldFirst    = 2 // of the first column
	fieldDuration = 3 // where a table has both an end and a beginning

	fieldCorrelation = 7 // of calls

	fieldScale      = 26 // of a table whose times are in units of a power of two
	fieldOrigin     = 27 // of a table whose times are in ticks
	fieldTick       = 28
	fieldStartError = 29
	fieldEndError   = 30
)

func num[T integer](name string, of func(*event.Batch) *[]T, codings ...coding) column {
	return column{name: name, cells: ints[T](of), codings: codings}
}

// onTicks returns c with the codings of its ticks.
func (c column) onTicks(codings ...coding) column {
	c.ticked = codings
	return c
}

func truth(name string, of func(*event.Batch) *[]bool) column {
	return column{name: name, cells: bools(of)}
}

// table is one kind of event: a field of the Batch message whose number is the kind.
type table struct {
	kind    event.Kind
	columns []column
	time    int  // place of the column of times
	lasts   bool // whether field fieldDuration is a duration
	ticks   bool // whether times are of a GPU's clock
	scaled  bool // whether times may have a resolution coarser than 1 ns
}

func (t *table) rows(b *event.Batch) int { return t.columns[0].cells.rows(b) }

// schema returns all tables. The places of columns are the file format: append only.
func schema() []table {
	type B = event.Batch
	step := []coding{{chain: chainPrevious}}
	either := []coding{{}, {chain: chainPrevious}}
	// Durations repeat for the same kernel, call, direction …; so do the pauses before them. A program
	// repeats itself, so what went before tells more: kernels, or how many calls there were in between.
	lasting := func(keys ...coding) []coding { return append(keys, coding{key: fieldFirst}, coding{}) }
	following := func(keys ...coding) []coding {
		keys = append(keys, coding{key: fieldFirst}, coding{})
		for i := range keys {
			keys[i].chain = chainEnd
		}
		return append(keys, coding{chain: chainPrevious})
	}
	by := func(field, depth int) coding { return coding{key: field, depth: depth} }
	return []table{
		{kind: event.KindKernel, time: 2, lasts: true, ticks: true, columns: []column{
			num("launch", func(b *B) *[]event.LaunchID { return &b.Kernels.Launch }),
			num("duration", func(b *B) *[]int64 { return &b.Kernels.Duration }, lasting(by(2, 3))...),
			num("start", func(b *B) *[]event.Time { return &b.Kernels.Start }, following(by(2, 3))...).onTicks(lasting(by(2, 3))...),
			num("correlation", func(b *B) *[]uint32 { return &b.Kernels.Correlation }, step...),
			num("device", func(b *B) *[]uint32 { return &b.Kernels.Device }),
			num("context", func(b *B) *[]uint32 { return &b.Kernels.Context }),
			num("stream", func(b *B) *[]uint32 { return &b.Kernels.Stream }),
			num("graph", func(b *B) *[]uint32 { return &b.Kernels.Graph }),
			num("graph_node", func(b *B) *[]uint64 { return &b.Kernels.GraphNode }, either...),
		}},
		{kind: event.KindCopy, time: 2, lasts: true, ticks: true, columns: []column{
			num("kind", func(b *B) *[]event.CopyKind { return &b.Copies.Kind }),
			num("duration", func(b *B) *[]int64 { return &b.Copies.Duration }, lasting(by(5, 1), by(9, 2))...),
			num("start", func(b *B) *[]event.Time { return &b.Copies.Start }, following(by(9, 2))...).onTicks(lasting(by(9, 2))...),
			num("bytes", func(b *B) *[]uint64 { return &b.Copies.Bytes }),
			num("source", func(b *B) *[]event.MemoryKind { return &b.Copies.Source }),
			num("target", func(b *B) *[]event.MemoryKind { return &b.Copies.Target }),
			truth("async", func(b *B) *[]bool { return &b.Copies.Async }),
			num("correlation", func(b *B) *[]uint32 { return &b.Copies.Correlation }, step...),
			num("device", func(b *B) *[]uint32 { return &b.Copies.Device }),
			num("peer", func(b *B) *[]uint32 { return &b.Copies.Peer }),
			num("context", func(b *B) *[]uint32 { return &b.Copies.Context }),
			num("stream", func(b *B) *[]uint32 { return &b.Copies.Stream }),
			num("graph", func(b *B) *[]uint32 { return &b.Copies.Graph }),
			num("graph_node", func(b *B) *[]uint64 { return &b.Copies.GraphNode }, either...),
		}},
		{kind: event.KindSet, time: 2, lasts: true, ticks: true, columns: []column{
			num("memory", func(b *B) *[]event.MemoryKind { return &b.Sets.Memory }),
			num("duration", func(b *B) *[]int64 { return &b.Sets.Duration }, lasting(by(5, 1), by(7, 2))...),
			num("start", func(b *B) *[]event.Time { return &b.Sets.Start }, following(by(7, 2))...).onTicks(lasting(by(7, 2))...),
			num("bytes", func(b *B) *[]uint64 { return &b.Sets.Bytes }),
			num("value", func(b *B) *[]uint32 { return &b.Sets.Value }),
			num("correlation", func(b *B) *[]uint32 { return &b.Sets.Correlation }, step...),
			num("device", func(b *B) *[]uint32 { return &b.Sets.Device }),
			num("context", func(b *B) *[]uint32 { return &b.Sets.Context }),
			num("stream", func(b *B) *[]uint32 { return &b.Sets.Stream }),
			num("graph", func(b *B) *[]uint32 { return &b.Sets.Graph }),
			num("graph_node", func(b *B) *[]uint64 { return &b.Sets.GraphNode }, either...),
		}},
		{kind: event.KindSync, time: 2, lasts: true, columns: []column{
			num("type", func(b *B) *[]event.SyncType { return &b.Syncs.Type }),
			num("duration", func(b *B) *[]int64 { return &b.Syncs.Duration }, lasting(by(5, 2))...),
			num("start", func(b *B) *[]event.Time { return &b.Syncs.Start }, following(by(5, 2))...),
			num("correlation", func(b *B) *[]uint32 { return &b.Syncs.Correlation }, step...),
			num("context", func(b *B) *[]uint32 { return &b.Syncs.Context }),
			num("stream", func(b *B) *[]uint32 { return &b.Syncs.Stream }),
			num("event", func(b *B) *[]uint32 { return &b.Syncs.Event }, either...),
		}},
		{kind: event.KindCall, time: 2, lasts: true, scaled: true, columns: []column{
			num("name", func(b *B) *[]event.StringID { return &b.Calls.Name }),
			num("duration", func(b *B) *[]int64 { return &b.Calls.Duration }, lasting(by(7, 2))...),
			num("enter", func(b *B) *[]event.Time { return &b.Calls.Enter }, following(by(7, 3))...),
			num("domain", func(b *B) *[]event.Domain { return &b.Calls.Domain }),
			num("thread", func(b *B) *[]uint32 { return &b.Calls.Thread }),
			num("correlation", func(b *B) *[]uint32 { return &b.Calls.Correlation }, step...),
			num("result", func(b *B) *[]int32 { return &b.Calls.Result }),
		}},
		{kind: event.KindMarker, time: 1, columns: []column{
			num("kind", func(b *B) *[]event.MarkerKind { return &b.Markers.Kind }),
			num("time", func(b *B) *[]event.Time { return &b.Markers.Time }, step...),
			num("id", func(b *B) *[]uint32 { return &b.Markers.ID }, step...),
			num("thread", func(b *B) *[]uint32 { return &b.Markers.Thread }),
			num("text", func(b *B) *[]event.StringID { return &b.Markers.Text }),
			num("domain", func(b *B) *[]event.StringID { return &b.Markers.Domain }),
			num("payload_kind", func(b *B) *[]event.PayloadKind { return &b.Markers.PayloadKind }),
			num("payload", func(b *B) *[]uint64 { return &b.Markers.Payload }, either...),
			num("color", func(b *B) *[]uint32 { return &b.Markers.Color }),
			num("category", func(b *B) *[]uint32 { return &b.Markers.Category }),
		}},
		{kind: event.KindGraph, time: 2, lasts: true, ticks: true, columns: []column{
			num("graph", func(b *B) *[]uint32 { return &b.Graphs.Graph }),
			num("duration", func(b *B) *[]int64 { return &b.Graphs.Duration }, lasting()...),
			num("start", func(b *B) *[]event.Time { return &b.Graphs.Start }, following()...).onTicks(lasting()...),
			num("correlation", func(b *B) *[]uint32 { return &b.Graphs.Correlation }, step...),
			num("device", func(b *B) *[]uint32 { return &b.Graphs.Device }),
			num("context", func(b *B) *[]uint32 { return &b.Graphs.Context }),
			num("stream", func(b *B) *[]uint32 { return &b.Graphs.Stream }),
		}},
		{kind: event.KindOverhead, time: 2, lasts: true, columns: []column{
			num("kind", func(b *B) *[]event.OverheadKind { return &b.Overheads.Kind }),
			num("duration", func(b *B) *[]int64 { return &b.Overheads.Duration }, lasting()...),
			num("start", func(b *B) *[]event.Time { return &b.Overheads.Start }, following()...),
			num("thread", func(b *B) *[]uint32 { return &b.Overheads.Thread }),
			num("correlation", func(b *B) *[]uint32 { return &b.Overheads.Correlation }, step...),
		}},
		allocations(),
		{kind: event.KindContext, time: 0, columns: []column{
			num("time", func(b *B) *[]event.Time { return &b.Contexts.Time }, step...),
			truth("created", func(b *B) *[]bool { return &b.Contexts.Created }),
			num("context", func(b *B) *[]uint32 { return &b.Contexts.Context }),
			num("device", func(b *B) *[]int32 { return &b.Contexts.Device }),
			num("null_stream", func(b *B) *[]uint32 { return &b.Contexts.NullStream }),
		}},
		{kind: event.KindModule, time: 0, columns: []column{
			num("time", func(b *B) *[]event.Time { return &b.Modules.Time }, step...),
			truth("loaded", func(b *B) *[]bool { return &b.Modules.Loaded }),
			num("module", func(b *B) *[]uint32 { return &b.Modules.Module }, step...),
			num("context", func(b *B) *[]uint32 { return &b.Modules.Context }),
			num("bytes", func(b *B) *[]uint64 { return &b.Modules.Bytes }),
			num("thread", func(b *B) *[]uint32 { return &b.Modules.Thread }),
		}},
		{kind: event.KindPool, time: 0, columns: []column{
			num("time", func(b *B) *[]event.Time { return &b.Pools.Time }, step...),
			num("device", func(b *B) *[]int32 { return &b.Pools.Device }),
			num("pool", func(b *B) *[]uint64 { return &b.Pools.Pool }),
			num("reserved", func(b *B) *[]uint64 { return &b.Pools.Reserved }, either...),
			num("used", func(b *B) *[]uint64 { return &b.Pools.Used }, either...),
			num("reserved_high", func(b *B) *[]uint64 { return &b.Pools.ReservedHigh }, either...),
			num("used_high", func(b *B) *[]uint64 { return &b.Pools.UsedHigh }, either...),
		}},
		{kind: event.KindState, time: 0, columns: []column{
			num("time", func(b *B) *[]event.Time { return &b.States.Time }, step...),
			num("state", func(b *B) *[]event.State { return &b.States.State }),
			num("reason", func(b *B) *[]uint32 { return &b.States.Reason }),
		}},
		{kind: event.KindGPUSample, time: 1, columns: []column{
			num("gpu", func(b *B) *[]event.GPUID { return &b.GPUSamples.GPU }),
			num("time", func(b *B) *[]event.Time { return &b.GPUSamples.Time }, step...),
			num("used_memory", func(b *B) *[]int64 { return &b.GPUSamples.UsedMemory }, either...),
			num("reserved_memory", func(b *B) *[]int64 { return &b.GPUSamples.ReservedMemory }, either...),
			num("utilization", func(b *B) *[]int32 { return &b.GPUSamples.Utilization }),
			num("memory_activity", func(b *B) *[]int32 { return &b.GPUSamples.MemoryActivity }),
			num("sm_clock", func(b *B) *[]int32 { return &b.GPUSamples.SMClock }),
			num("memory_clock", func(b *B) *[]int32 { return &b.GPUSamples.MemoryClock }),
			num("power", func(b *B) *[]int32 { return &b.GPUSamples.Power }),
			num("temperature", func(b *B) *[]int32 { return &b.GPUSamples.Temperature }),
			num("throttle", func(b *B) *[]int64 { return &b.GPUSamples.Throttle }),
		}},
		{kind: event.KindUsage, time: 1, columns: []column{
			num("gpu", func(b *B) *[]event.GPUID { return &b.Usages.GPU }),
			num("time", func(b *B) *[]event.Time { return &b.Usages.Time }, step...),
			num("pid", func(b *B) *[]int32 { return &b.Usages.PID }),
			num("bytes", func(b *B) *[]int64 { return &b.Usages.Bytes }, either...),
		}},
		{kind: event.KindWindow, time: 3, columns: []column{
			num("begin", func(b *B) *[]event.Time { return &b.Windows.Begin }, step...),
			num("length", func(b *B) *[]int64 { return &b.Windows.Length }),
			num("planned", func(b *B) *[]int64 { return &b.Windows.Planned }),
			num("start", func(b *B) *[]event.Time { return &b.Windows.Start }, step...),
			num("span", func(b *B) *[]int64 { return &b.Windows.Span }),
			num("work", func(b *B) *[]int64 { return &b.Windows.Work }),
			num("span_work", func(b *B) *[]int64 { return &b.Windows.SpanWork }),
			num("loss", func(b *B) *[]int64 { return &b.Windows.Loss }),
			truth("measured", func(b *B) *[]bool { return &b.Windows.Measured }),
		}},
		{kind: event.KindFact, time: 0, columns: []column{
			num("time", func(b *B) *[]event.Time { return &b.Facts.Time }, step...),
			num("gpu", func(b *B) *[]event.GPUID { return &b.Facts.GPU }),
			num("pid", func(b *B) *[]int32 { return &b.Facts.PID }),
			num("name", func(b *B) *[]event.StringID { return &b.Facts.Name }),
			num("value", func(b *B) *[]int64 { return &b.Facts.Value }, either...),
			num("text", func(b *B) *[]event.StringID { return &b.Facts.Text }),
		}},
		{kind: event.KindActivity, time: 2, lasts: true, columns: []column{
			num("gpu", func(b *B) *[]event.GPUID { return &b.Activities.GPU }),
			num("duration", func(b *B) *[]int64 { return &b.Activities.Duration }),
			num("start", func(b *B) *[]event.Time { return &b.Activities.Start }, step...),
			num("sm", func(b *B) *[]int32 { return &b.Activities.SM }),
			num("occupancy", func(b *B) *[]int32 { return &b.Activities.Occupancy }),
			num("tensor", func(b *B) *[]int32 { return &b.Activities.Tensor }),
			num("tensor_half", func(b *B) *[]int32 { return &b.Activities.TensorHalf }),
			num("tensor_integer", func(b *B) *[]int32 { return &b.Activities.TensorInteger }),
			num("tensor_double", func(b *B) *[]int32 { return &b.Activities.TensorDouble }),
			num("fp64", func(b *B) *[]int32 { return &b.Activities.FP64 }),
			num("fp32", func(b *B) *[]int32 { return &b.Activities.FP32 }),
			num("fp16", func(b *B) *[]int32 { return &b.Activities.FP16 }),
			num("integer", func(b *B) *[]int32 { return &b.Activities.Integer }),
			num("dram", func(b *B) *[]int32 { return &b.Activities.DRAM }),
			num("dram_peak", func(b *B) *[]int64 { return &b.Activities.DRAMPeak }),
			num("pcie_out", func(b *B) *[]int64 { return &b.Activities.PCIeOut }),
			num("pcie_in", func(b *B) *[]int64 { return &b.Activities.PCIeIn }),
			num("nvlink_out", func(b *B) *[]int64 { return &b.Activities.NVLinkOut }),
			num("nvlink_in", func(b *B) *[]int64 { return &b.Activities.NVLinkIn }),
		}},
	}
}

// allocations is the table of allocations, which batches and live sets share.
func allocations() table {
	type B = event.Batch
	step := []coding{{chain: chainPrevious}}
	either := []coding{{}, {chain: chainPrevious}}
	lasting := []coding{{key: fieldFirst}, {}}
	// A live set is in no order of time.
	following := []coding{{chain: chainEnd}, {chain: chainPrevious}, {}}
	return table{kind: event.KindAllocation, time: 2, lasts: true, columns: []column{
		num("api", func(b *B) *[]event.StringID { return &b.Allocations.API }),
		num("duration", func(b *B) *[]int64 { return &b.Allocations.Duration }, lasting...),
		num("enter", func(b *B) *[]event.Time { return &b.Allocations.Enter }, following...),
		num("sequence", func(b *B) *[]uint64 { return &b.Allocations.Sequence }, step...),
		num("op", func(b *B) *[]event.AllocOp { return &b.Allocations.Op }),
		num("space", func(b *B) *[]event.Space { return &b.Allocations.Space }),
		num("address", func(b *B) *[]uint64 { return &b.Allocations.Address }, either...),
		num("size", func(b *B) *[]uint64 { return &b.Allocations.Size }),
		num("handle", func(b *B) *[]uint64 { return &b.Allocations.Handle }, either...),
		num("device", func(b *B) *[]int32 { return &b.Allocations.Device }),
		num("context", func(b *B) *[]uint32 { return &b.Allocations.Context }),
		num("stream", func(b *B) *[]uint32 { return &b.Allocations.Stream }),
		num("thread", func(b *B) *[]uint32 { return &b.Allocations.Thread }),
		num("result", func(b *B) *[]int32 { return &b.Allocations.Result }),
		truth("known", func(b *B) *[]bool { return &b.Allocations.Known }),
		num("stack", func(b *B) *[]event.StackID { return &b.Allocations.Stack }),
	}}
}
