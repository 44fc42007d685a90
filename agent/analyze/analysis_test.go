package analyze

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
)

// run is a kernel for kernelsOf.
type run struct {
	start    event.Time
	duration int64
	launch   event.LaunchID
	device   uint32
	stream   uint32
	graph    uint32
}

func kernelsOf(runs ...run) event.Kernels {
	var k event.Kernels
	for i, r := range runs {
		k.Start = append(k.Start, r.start)
		k.Duration = append(k.Duration, r.duration)
		k.Launch = append(k.Launch, r.launch)
		k.Correlation = append(k.Correlation, uint32(i+1))
		k.Device = append(k.Device, r.device)
		k.Context = append(k.Context, 1)
		k.Stream = append(k.Stream, r.stream)
		k.Graph = append(k.Graph, r.graph)
		k.GraphNode = append(k.GraphNode, 0)
	}
	return k
}

// twoProcesses defines ranks 0 and 1 on two GPUs, and launches 1 and 2 of "add", 3 of "mul".
func twoProcesses() *event.Definitions {
	return &event.Definitions{
		Strings:  []string{"_Z3addPf", "mul"},
		Launches: []event.Launch{{Name: 1, Grid: [3]uint32{1, 1, 1}}, {Name: 1, Grid: [3]uint32{2, 1, 1}}, {Name: 2}},
		GPUs:     []event.GPU{{UUID: "GPU-a", Index: 0}, {UUID: "GPU-b", Index: 1}},
		Processes: []event.Process{
			{PID: 10, StartTime: 1000, Devices: []event.GPUID{1, 2}, Rank: 0},
			{PID: 11, StartTime: 1500, Devices: []event.GPUID{2}, Rank: 1},
		},
	}
}

func inspect(t *testing.T, c Config, d *event.Definitions, batches ...*event.Batch) *Inspection {
	t.Helper()
	a := New(c)
	must(t, a.Define(d))
	for _, b := range batches {
		must(t, a.Batch(b))
	}
	return a.Inspect()
}

func TestBusy(t *testing.T) {
	first := &event.Batch{Process: 1, Kernels: kernelsOf(
		run{start: 2000, duration: 100, launch: 1, stream: 7},
		run{start: 2050, duration: 100, launch: 3, stream: 8}, // overlaps: 50 more
		run{start: 3000, duration: 10, launch: 1, device: 1},
		run{start: 0, duration: 500, launch: 1},   // no start: in no union
		run{start: 4000, duration: -1, launch: 1}, // no duration
	)}
	second := &event.Batch{Process: 2, Kernels: kernelsOf(run{start: 3005, duration: 15, launch: 2})} // the same GPU as device 1 of the first
	in := inspect(t, Config{Parts: PartKernels}, twoProcesses(), first, second)
	for i, want := range []struct {
		gpu     string
		busy    int64
		kernels uint64
		active  int64
	}{{"GPU 0", 150, 4, 150}, {"GPU 1", 20, 2, 20}} {
		g := in.GPUs[i]
		if g.GPU != want.gpu || g.BusyNS != want.busy || g.Kernels != want.kernels || g.ActiveNS != want.active {
			t.Errorf("%s busy %d ns of %d with %d kernels, want %+v", g.GPU, g.BusyNS, g.ActiveNS, g.Kernels, want)
		}
	}
	if in.Range.DurationNS != 3000 {
		t.Errorf("the trace takes %d ns, want 3000: from the first capture to the last event", in.Range.DurationNS)
	}
	k := in.Kernels
	if k.All.Count != 5 || k.All.Unknown != 1 || k.All.TotalNS != 725 || k.Names != 2 || k.BusyNS != 170 {
		t.Errorf("kernels: %+v", k)
	}
	add := k.Groups[0]
	if add.Name != "add(float*)" || add.Symbol != "_Z3addPf" || add.Count != 4 || add.TotalNS != 625 || add.Configurations != 2 ||
		add.Launches[0].Count != 3 || add.Launches[0].Grid[0] != 1 || add.Launches[1].TotalNS != 15 {
		t.Errorf("add: %+v", add)
	}
	if want := 625.0 / 170; add.BusyShare != want {
		t.Errorf("share %v, want %v", add.BusyShare, want)
	}
}

func TestGraphsAreBusyWhereNodesAreNotRecorded(t *testing.T) {
	graphs := event.Graphs{Start: []event.Time{2000}, Duration: []int64{1000}, Graph: []uint32{5}, Correlation: []uint32{1}, Device: []uint32{0}, Context: []uint32{1}, Stream: []uint32{7}}
	in := inspect(t, Config{Parts: PartKernels}, twoProcesses(), &event.Batch{Process: 1, Graphs: graphs})
	if in.GPUs[0].BusyNS != 1000 || in.Graphs == nil || in.Graphs.Count != 1 || in.Graphs.NodesRecorded {
		t.Errorf("busy %d, %+v", in.GPUs[0].BusyNS, in.Graphs)
	}
	node := kernelsOf(run{start: 2100, duration: 200, launch: 1, graph: 5})
	in = inspect(t, Config{Parts: PartKernels}, twoProcesses(), &event.Batch{Process: 1, Graphs: graphs, Kernels: node})
	if in.GPUs[0].BusyNS != 200 || !in.Graphs.NodesRecorded {
		t.Errorf("with nodes: busy %d, %+v", in.GPUs[0].BusyNS, in.Graphs)
	}
}

func TestGroups(t *testing.T) {
	first := &event.Batch{Process: 1, Kernels: kernelsOf(
		run{start: 2000, duration: 1, launch: 1, stream: 7}, run{start: 2010, duration: 2, launch: 1, stream: 8},
		run{start: 2020, duration: 4, launch: 3, stream: 7, device: 1})}
	second := &event.Batch{Process: 2, Kernels: kernelsOf(run{start: 2000, duration: 8, launch: 2, stream: 7})}
	tests := []struct {
		by   GroupBy
		name string
		want map[string]int64
	}{
		{ByName, "", map[string]int64{"add(float*)": 11, "mul": 4}},
		{ByName, "^mul$", map[string]int64{"mul": 4}},
		{ByName, "^_Z3", map[string]int64{"add(float*)": 11}},
		{ByStream, "", map[string]int64{"stream 7/10": 5, "stream 8/10": 2, "stream 7/11": 8}},
		{ByDevice, "", map[string]int64{"GPU 0/0": 3, "GPU 1/0": 12}},
		{ByProcess, "", map[string]int64{"rank 0/10": 7, "rank 1/11": 8}},
		{ByProcess, "add", map[string]int64{"rank 0/10": 3, "rank 1/11": 8}},
	}
	for _, test := range tests {
		t.Run(string(test.by)+" "+test.name, func(t *testing.T) {
			c := Config{Parts: PartKernels, GroupBy: test.by}
			if test.name != "" {
				c.Name = regexp.MustCompile(test.name)
			}
			in := inspect(t, c, twoProcesses(), first, second)
			got := map[string]int64{}
			for _, g := range in.Kernels.Groups {
				name := g.Name
				if test.by != ByName {
					name += fmt.Sprintf("/%d", g.PID)
				}
				got[name] = g.TotalNS
			}
			if len(got) != len(test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			for name, total := range test.want {
				if got[name] != total {
					t.Errorf("got %v, want %v", got, test.want)
				}
			}
		})
	}
}

// A window takes the events that begin in it; busy time is cut at its ends.
func TestWindow(t *testing.T) {
	b := &event.Batch{Process: 1, Kernels: kernelsOf(
		run{start: 2000, duration: 100, launch: 1}, run{start: 2200, duration: 100, launch: 1}, run{start: 2400, duration: 100, launch: 1},
		run{duration: 5, launch: 1})}
	window := Window{From: Moment{Set: true, NS: 1050}, To: Moment{Set: true, NS: 1450}} // 2050 to 2450
	in := inspect(t, Config{Parts: PartKernels, Window: window}, twoProcesses(), b)
	if in.Kernels.All.Count != 2 || in.GPUs[0].BusyNS != 50+100+50 || in.GPUs[0].Kernels != 2 {
		t.Errorf("%d kernels, busy %d ns", in.Kernels.All.Count, in.GPUs[0].BusyNS)
	}
	if r := in.Range; !r.Window || r.WindowFromNS != 1050 || r.WindowToNS != 1450 {
		t.Errorf("%+v", r)
	}
	if want := 0.5; in.GPUs[0].BusyShare != want {
		t.Errorf("busy share %v, want %v of the window", in.GPUs[0].BusyShare, want)
	}
}

func TestGPUName(t *testing.T) {
	var tables event.Tables
	tables.Apply(&event.Definitions{GPUs: []event.GPU{
		{UUID: "GPU-11111111-aaaa", Index: 3}, {UUID: "GPU-22222222-aaaa", Index: -1}, {UUID: "GPU-33333333-aaaa", Index: -1},
		{UUID: "GPU-33333333-bbbb", Index: -1}, {Index: -1},
	}})
	for id, want := range []string{1: "GPU 3", 2: "GPU-22222222", 3: "GPU-33333333-aaaa", 4: "GPU-33333333-bbbb", 5: ""} {
		if got := GPUName(&tables, event.GPUID(id)); id > 0 && got != want {
			t.Errorf("GPU %d is called %q, want %q", id, got, want)
		}
	}
}

func TestWallWindow(t *testing.T) {
	var c Clock
	c.Provenance(&event.Provenance{MonoTime: 500, WallTime: 1_000_000})
	c.Define(twoProcesses())
	from, to := c.Bounds(Window{From: Moment{Set: true, Wall: true, NS: 1_000_700}})
	if from != 1200 || to <= 1<<60 || c.Wall(1200) != 1_000_700 {
		t.Errorf("from %d to %d, back %d", from, to, c.Wall(1200))
	}
}

func TestCopies(t *testing.T) {
	c := event.Copies{
		Start: []event.Time{2000, 2100, 2200, 2300}, Duration: []int64{100, 300, -1, 50}, Bytes: []uint64{1000, 3000, 77, 10},
		Kind:   []event.CopyKind{event.CopyHostToDevice, event.CopyHostToDevice, event.CopyHostToDevice, 200},
		Source: []event.MemoryKind{event.MemoryPageable, event.MemoryPageable, event.MemoryPageable, 200},
		Target: []event.MemoryKind{event.MemoryDevice, event.MemoryDevice, event.MemoryDevice, 200}, Async: []bool{true, false, false, false},
		Correlation: make([]uint32, 4), Device: make([]uint32, 4), Peer: make([]uint32, 4), Context: make([]uint32, 4), Stream: make([]uint32, 4),
		Graph: make([]uint32, 4), GraphNode: make([]uint64, 4),
	}
	in := inspect(t, Config{Parts: PartCopies}, twoProcesses(), &event.Batch{Process: 1, Copies: c})
	g := in.Copies.Groups[0]
	if g.Kind != "host to device" || g.Source != "pageable" || g.Count != 2 || g.Unknown != 1 || g.Bytes != 4077 || g.Async != 1 {
		t.Errorf("%+v", g)
	}
	if want := 4000 / 400e-9; g.BytesPerSecond < want*0.999 || g.BytesPerSecond > want*1.001 {
		t.Errorf("%v bytes/s, want %v: bytes without a duration must not count", g.BytesPerSecond, want)
	}
	if other := in.Copies.Groups[1]; other.Kind != "unknown" || other.Bytes != 10 {
		t.Errorf("%+v", other)
	}
}

func TestLosses(t *testing.T) {
	a := New(Config{})
	must(t, a.Define(twoProcesses()))
	if l := a.Inspect().Losses; l.Known {
		t.Error("a trace without a summary does not know its losses")
	}
	a = New(Config{})
	must(t, a.Define(twoProcesses()))
	a.Summary(&event.Summary{ExitCode: -1, Losses: []event.Loss{
		{Process: 2, Kind: event.KindKernel, Cause: event.LossCUPTI, Count: 5}, {Kind: event.KindCall, Cause: event.LossNoTime, Count: 7},
		{Kind: event.KindCall, Cause: event.LossTorn},
	}})
	in := a.Inspect()
	if l := in.Losses; !l.Known || l.Lost != 5 || l.Incomplete != 7 || len(l.Rows) != 2 || l.Rows[1].PID != 11 {
		t.Errorf("%+v", l)
	}
	if in.Provenance.ExitCode != nil {
		t.Error("an unknown exit code is told")
	}
}

func TestCallsAndWaits(t *testing.T) {
	b := &event.Batch{Process: 1,
		Calls: event.Calls{Enter: []event.Time{2000, 2100, 2200}, Duration: []int64{10, 30, -1}, Name: []event.StringID{2, 2, 9999},
			Domain: []event.Domain{1, 1, 77}, Thread: make([]uint32, 3), Correlation: make([]uint32, 3), Result: []int32{0, 600, 2}},
		Syncs: event.Syncs{Start: []event.Time{2000, 2100}, Duration: []int64{50, 20}, Type: []event.SyncType{event.SyncStream, 99},
			Correlation: make([]uint32, 2), Context: make([]uint32, 2), Stream: make([]uint32, 2), Event: make([]uint32, 2)},
		Overheads: event.Overheads{Start: []event.Time{2000}, Duration: []int64{9}, Kind: []event.OverheadKind{5 << 16}, Thread: []uint32{0}, Correlation: []uint32{0}},
	}
	c := inspect(t, Config{Parts: PartCalls}, twoProcesses(), b).Calls
	if c.Calls != 3 || c.TotalNS != 40 || c.APIs[0].Name != "mul" || c.APIs[0].Failed != 0 || c.APIs[1].Name != "(unknown)" || c.APIs[1].Failed != 1 {
		t.Errorf("%+v", c)
	}
	if len(c.Waits) != 2 || c.Waits[0].Name != "stream" || c.Waits[1].Name != "unknown" || c.Overheads[0].Name != "lazy function loading" {
		t.Errorf("waits %+v, overheads %+v", c.Waits, c.Overheads)
	}
}

func TestStreams(t *testing.T) {
	b := &event.Batch{Process: 1, Kernels: kernelsOf(
		run{start: 2000, duration: 100, launch: 1, stream: 7}, run{start: 2050, duration: 100, launch: 1, stream: 7}, run{start: 2000, duration: 10, launch: 1, stream: 9})}
	b.Contexts = event.Contexts{Time: []event.Time{1000}, Created: []bool{true}, Context: []uint32{1}, Device: []int32{0}, NullStream: []uint32{7}}
	s := inspect(t, Config{Parts: PartStreams}, twoProcesses(), b).Streams
	if len(s.Streams) != 2 || s.Streams[0].BusyNS != 150 || !s.Streams[0].Default || s.Streams[0].Kernels != 2 || s.Streams[1].Default || s.Streams[0].FirstNS != 1000 {
		t.Errorf("%+v", s)
	}
}

func TestUnevenColumns(t *testing.T) {
	b := &event.Batch{Process: 1, Kernels: kernelsOf(run{start: 2000, duration: 1})}
	b.Kernels.Stream = nil
	if err := New(Config{Parts: PartOverview}).Batch(b); err == nil {
		t.Error("columns of different lengths were taken")
	}
}

func TestArrange(t *testing.T) {
	b := &event.Batch{Process: 1, Kernels: kernelsOf(
		run{start: 2000, duration: 100, launch: 1}, run{start: 3000, duration: 1, launch: 3}, run{start: 3010, duration: 1, launch: 3}, run{start: 3020, duration: 1, launch: 3})}
	for key, want := range map[string]string{SortTotal: "add(float*)", SortCount: "mul", SortName: "add(float*)", SortMax: "add(float*)", SortP99: "add(float*)", "": "add(float*)"} {
		in := inspect(t, Config{Parts: PartKernels}, twoProcesses(), b)
		must(t, in.Arrange(key, 1))
		if g := in.Kernels.Groups; len(g) != 1 || g[0].Name != want || in.Kernels.Omitted != 1 {
			t.Errorf("by %q: %+v, %d omitted", key, g, in.Kernels.Omitted)
		}
	}
	if err := inspect(t, Config{Parts: PartKernels}, twoProcesses(), b).Arrange("rate", 0); err == nil {
		t.Error("kernels cannot be sorted by rate")
	}
}
