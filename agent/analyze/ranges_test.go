package analyze

import (
	"testing"

	"github.com/warpscope/warpscope/agent/event"
)

// nvtx builds markers and calls.
type nvtx struct {
	event.Batch
	id uint32
}

func (n *nvtx) mark(t event.Time, kind event.MarkerKind, id, thread uint32, text event.StringID) uint32 {
	m := &n.Markers
	m.Time = append(m.Time, t)
	m.Kind = append(m.Kind, kind)
	m.ID = append(m.ID, id)
	m.Thread = append(m.Thread, thread)
	m.Text = append(m.Text, text)
	m.Domain = append(m.Domain, 0)
	m.PayloadKind = append(m.PayloadKind, 0)
	m.Payload = append(m.Payload, 0)
	m.Color = append(m.Color, 0)
	m.Category = append(m.Category, 0)
	return id
}

func (n *nvtx) span(from, to event.Time, thread uint32, text event.StringID) {
	n.id++
	n.mark(from, event.MarkerStart, n.id, thread, text)
	n.mark(to, event.MarkerEnd, n.id, thread, 0)
}

// launch adds a call and the kernel that it launches, which runs much later.
func (n *nvtx) launch(t event.Time, thread uint32, duration int64, id event.LaunchID) {
	c, k := &n.Calls, kernelsOf(run{start: t + 1_000_000, duration: duration, launch: id})
	correlation := uint32(len(c.Enter) + 1)
	c.Enter = append(c.Enter, t)
	c.Duration = append(c.Duration, 1)
	c.Name = append(c.Name, 0)
	c.Domain = append(c.Domain, event.DomainDriver)
	c.Thread = append(c.Thread, thread)
	c.Correlation = append(c.Correlation, correlation)
	c.Result = append(c.Result, 0)
	all := &n.Kernels
	all.Start = append(all.Start, k.Start...)
	all.Duration = append(all.Duration, k.Duration...)
	all.Launch = append(all.Launch, k.Launch...)
	all.Correlation = append(all.Correlation, correlation)
	all.Device = append(all.Device, 0)
	all.Context = append(all.Context, 1)
	all.Stream = append(all.Stream, 7)
	all.Graph = append(all.Graph, 0)
	all.GraphNode = append(all.GraphNode, 0)
}

func rangeDefinitions() *event.Definitions {
	d := twoProcesses()
	d.Strings = append(d.Strings, "step", "forward", "epoch") // 3, 4, 5
	return d
}

func byName(s *RangeSummary) map[string]RangeRow {
	rows := map[string]RangeRow{}
	for _, r := range s.Ranges {
		rows[r.Name] = r
	}
	return rows
}

func TestRanges(t *testing.T) {
	n := &nvtx{Batch: event.Batch{Process: 1}}
	n.span(10_000, 90_000, 1, 3) // step
	n.span(20_000, 40_000, 1, 4) // forward, inside
	n.span(21_000, 39_000, 1, 4) // forward inside forward: counted once
	n.launch(15_000, 1, 1, 1)    // step
	n.launch(30_000, 1, 10, 1)   // step, forward
	n.launch(50_000, 2, 100, 1)  // a thread without ranges: step, by time
	n.launch(95_000, 1, 1000, 3) // outside
	n.mark(12_000, event.MarkerInstant, 99, 1, 4)
	n.mark(91_000, event.MarkerStart, 77, 1, 4) // never ends
	n.mark(92_000, event.MarkerEnd, 78, 1, 0)   // never began
	orphan := kernelsOf(run{start: 60_000, duration: 7, launch: 1})
	orphan.Correlation[0] = 4711
	in := inspect(t, Config{Parts: PartRanges}, rangeDefinitions(), &n.Batch, &event.Batch{Process: 1, Kernels: orphan})
	rows := byName(in.Ranges)
	step, forward := rows["step"], rows["forward"]
	if step.Count != 1 || step.TotalNS != 80_000 || step.GPUNS != 111 || step.Kernels != 3 || step.EstimatedNS != 100 {
		t.Errorf("step: %+v", step)
	}
	if forward.Count != 2 || forward.TotalNS != 38_000 || forward.GPUNS != 10+1000 || forward.Kernels != 2 || forward.Open != 1 || forward.Marks != 1 {
		t.Errorf("forward: %+v", forward)
	}
	if in.Ranges.OutsideNS != 0 || in.Ranges.UnjoinedNS != 7 || in.Ranges.UnmatchedEnds != 1 {
		t.Errorf("outside %d, unjoined %d, unmatched %d", in.Ranges.OutsideNS, in.Ranges.UnjoinedNS, in.Ranges.UnmatchedEnds)
	}
}

// Ranges begun and ended on different threads cover launches of all threads.
func TestLooseRanges(t *testing.T) {
	n := &nvtx{Batch: event.Batch{Process: 1}}
	n.mark(10_000, event.MarkerStart, 50, 0, 5)
	n.span(20_000, 40_000, 1, 3)
	n.launch(30_000, 1, 10, 1)
	n.launch(60_000, 2, 100, 1)
	n.mark(80_000, event.MarkerEnd, 50, 0, 0)
	n.launch(90_000, 2, 1000, 1)
	in := inspect(t, Config{Parts: PartRanges}, rangeDefinitions(), &n.Batch)
	rows := byName(in.Ranges)
	if r := rows["epoch"]; r.GPUNS != 110 || r.TotalNS != 70_000 {
		t.Errorf("epoch: %+v", r)
	}
	if r := rows["step"]; r.GPUNS != 10 {
		t.Errorf("step: %+v", r)
	}
	if in.Ranges.OutsideNS != 1000 {
		t.Errorf("outside: %d, want 1000", in.Ranges.OutsideNS)
	}
}

// Without records of calls, work is placed by its own start, and said to be.
func TestRangesWithoutCalls(t *testing.T) {
	n := &nvtx{Batch: event.Batch{Process: 1}}
	n.span(10_000, 90_000, 1, 3)
	d := rangeDefinitions()
	d.Processes[0].API = "none"
	b := &event.Batch{Process: 1, Kernels: kernelsOf(run{start: 50_000, duration: 10, launch: 1}, run{start: 95_000, duration: 5, launch: 1})}
	in := inspect(t, Config{Parts: PartRanges}, d, &n.Batch, b)
	if r := byName(in.Ranges)["step"]; r.GPUNS != 10 || r.EstimatedNS != 10 {
		t.Errorf("step: %+v", r)
	}
	if in.Ranges.OutsideNS != 5 {
		t.Errorf("outside: %d, want 5", in.Ranges.OutsideNS)
	}
}

func TestGroupByRange(t *testing.T) {
	n := &nvtx{Batch: event.Batch{Process: 1}}
	n.span(10_000, 90_000, 1, 3)
	n.span(20_000, 40_000, 1, 4)
	n.launch(15_000, 1, 1, 1)
	n.launch(30_000, 1, 10, 3)
	n.launch(95_000, 1, 1000, 1)
	in := inspect(t, Config{Parts: PartKernels, GroupBy: ByRange}, rangeDefinitions(), &n.Batch)
	got := map[string]int64{}
	for _, g := range in.Kernels.Groups {
		got[g.Name] = g.TotalNS
	}
	if len(got) != 3 || got["step"] != 1 || got["forward"] != 10 || got["(outside any range)"] != 1000 {
		t.Errorf("%v", got)
	}
}

// Joining in bounded memory must give what joining all at once gives.
func TestRangesInTurns(t *testing.T) {
	d, batches := training(150, 4096, 20)
	d.Strings = append(d.Strings, "a", "b", "c")
	withCalls(batches)
	whole := &event.Batch{Process: 1}
	for _, b := range batches {
		whole.Kernels = joined(whole.Kernels, b.Kernels)
		whole.Calls.Enter = append(whole.Calls.Enter, b.Calls.Enter...)
	}
	in := inspect(t, Config{Parts: PartRanges}, &d, batches...)
	rows := uint64(0)
	for _, r := range in.Ranges.Ranges {
		rows += r.Kernels
	}
	// One in about three launches lies within 50 µs of a range's start; what matters is that all
	// were joined although they exceed what is held at a time.
	if n := len(whole.Kernels.Start) + len(whole.Calls.Enter); n <= sweepLimit {
		t.Fatalf("%d records fit at once: the test tests nothing", n)
	}
	if in.Ranges.UnjoinedNS != 0 || in.Ranges.UnmatchedEnds != 0 {
		t.Errorf("unjoined %d ns, %d unmatched ends", in.Ranges.UnjoinedNS, in.Ranges.UnmatchedEnds)
	}
	if want := inside(batches); rows != want {
		t.Errorf("%d kernels inside ranges, want %d", rows, want)
	}
}

func joined(a, b event.Kernels) event.Kernels {
	a.Start = append(a.Start, b.Start...)
	return a
}

// inside counts launches inside ranges in the plainest way: all ranges of the test are on the
// launching thread and last 50 µs.
func inside(batches []*event.Batch) uint64 {
	n := uint64(0)
	for b, batch := range batches {
		for _, at := range batch.Calls.Enter {
			if within(batches[max(b-1, 0):min(b+2, len(batches))], at) {
				n++
			}
		}
	}
	return n
}

func within(batches []*event.Batch, at event.Time) bool {
	for _, b := range batches {
		for i, kind := range b.Markers.Kind {
			if start := b.Markers.Time[i]; kind == event.MarkerStart && at >= start && at < start+50_000 {
				return true
			}
		}
	}
	return false
}
