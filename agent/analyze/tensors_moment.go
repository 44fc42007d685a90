package analyze

import (
	"cmp"
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

// moments goes back through a device's history: the snapshot says what was held at its end.
type moments struct {
	s        *event.Snapshot
	d        *event.DeviceSnapshot
	settings cacheSettings
	history  History
	complete bool
	peak     int   // the event after which tensors took most
	failures []int // events
}

func newMoments(s *event.Snapshot, d *event.DeviceSnapshot) *moments {
	m := &moments{s: s, d: d, settings: settingsOf(&s.Settings), peak: len(d.Events) - 1}
	n := len(d.Events)
	if n == 0 {
		return m
	}
	m.history.Events, m.history.Begin, m.history.End = uint64(n), d.Events[0].Time, d.Events[n-1].Time
	live, held, waiting := int64(0), int64(0), int64(0)
	for i := range d.Segments {
		held += int64(d.Segments[i].Size)
		for _, b := range d.Segments[i].Blocks {
			switch b.State {
			case event.BlockLive:
				live += int64(b.Requested)
			case event.BlockPending:
				waiting += int64(b.Requested)
			}
		}
	}
	m.history.MaxLive, m.history.MaxHeld, m.history.MaxWait = uint64(live), uint64(held), uint64(waiting)
	for i := n - 1; i >= 0; i-- {
		e := &d.Events[i]
		// Before undoing it, live is what was live after event i.
		if live > int64(m.history.MaxLive) {
			m.history.MaxLive, m.peak = uint64(live), i
		}
		m.history.MaxHeld = uint64(max(held, int64(m.history.MaxHeld)))
		m.history.MaxWait = uint64(max(waiting, int64(m.history.MaxWait)))
		size := int64(e.Size)
		switch e.Action {
		case event.TensorAlloc:
			live -= size
			m.history.Allocs++
			m.history.Stacks = m.history.Stacks || e.Stack != 0
		case event.TensorFreeRequested:
			live += size
			waiting -= size
		case event.TensorFreeCompleted:
			waiting += size
		case event.TensorSegmentAlloc, event.TensorSegmentMap:
			held -= size
		case event.TensorSegmentFree, event.TensorSegmentUnmap:
			held += size
		case event.TensorOOM:
			m.failures = append(m.failures, i)
		}
	}
	slices.Reverse(m.failures)
	m.complete = live == 0 && held == 0
	p := replayer{s: s, d: d}
	for _, cause := range p.findLimits().releases {
		if cause == releaseRetry {
			m.history.Retries++
		}
	}
	return m
}

// allocsAfter counts, for each failure, the allocations that came later.
func (m *moments) allocsAfter() []uint64 {
	out := make([]uint64, len(m.failures))
	n, at := uint64(0), len(m.d.Events)-1
	for k, failed := range slices.Backward(m.failures) {
		for ; at > failed; at-- {
			if m.d.Events[at].Action == event.TensorAlloc {
				n++
			}
		}
		out[k] = n
	}
	return out
}

// addressSpan is a range of addresses that belongs to a segment.
type addressSpan struct {
	begin, end uint64
	seg        event.TensorSegment
}

// at returns the segments and their blocks after an event, by undoing what came later.
func (m *moments) at(i int) []event.TensorSegment {
	blocks := map[uint64]event.TensorBlock{}
	var spans []addressSpan
	for k := range m.d.Segments {
		seg := m.d.Segments[k]
		for _, b := range seg.Blocks {
			if b.State != event.BlockFree {
				blocks[b.Address] = b
			}
		}
		seg.Blocks = nil
		spans = append(spans, addressSpan{seg.Address, seg.Address + seg.Size, seg})
	}
	pools := (&replayer{s: m.s, d: m.d})
	pools.findPools()
	for k := len(m.d.Events) - 1; k > i; k-- {
		e := &m.d.Events[k]
		switch e.Action {
		case event.TensorAlloc:
			delete(blocks, e.Address)
		case event.TensorFreeCompleted:
			blocks[e.Address] = event.TensorBlock{Address: e.Address, Size: m.settings.round(e.Size), Requested: e.Size, State: event.BlockPending, Stack: e.Stack}
		case event.TensorFreeRequested:
			if b, ok := blocks[e.Address]; ok {
				b.State = event.BlockLive
				blocks[e.Address] = b
			}
		case event.TensorSegmentAlloc, event.TensorSegmentMap:
			spans = cut(spans, e.Address, e.Address+e.Size)
		case event.TensorSegmentFree, event.TensorSegmentUnmap:
			expandable := e.Action == event.TensorSegmentUnmap
			small := e.Size <= cacheSmallGrow && !expandable || expandable && e.Size%cacheLargeGrow != 0
			spans = append(spans, addressSpan{e.Address, e.Address + e.Size, event.TensorSegment{Stream: e.Stream, Pool: pools.pool(e), Small: small, Expandable: expandable}})
		}
	}
	m.restack(blocks, i)
	return assemble(spans, blocks)
}

// restack gives blocks that were freed later the stacks of their allocation: a free may carry its own.
func (m *moments) restack(blocks map[uint64]event.TensorBlock, i int) {
	missing := len(blocks)
	seen := make(map[uint64]bool, len(blocks))
	for k := i; k >= 0 && missing > 0; k-- {
		e := &m.d.Events[k]
		if e.Action != event.TensorAlloc || seen[e.Address] {
			continue
		}
		seen[e.Address] = true
		if b, ok := blocks[e.Address]; ok {
			b.Stack = e.Stack
			blocks[e.Address] = b
			missing--
		}
	}
}

// cut removes a range from the spans: a mapping that did not exist yet.
func cut(spans []addressSpan, begin, end uint64) []addressSpan {
	out := spans[:0:0]
	for _, s := range spans {
		if s.end <= begin || s.begin >= end {
			out = append(out, s)
			continue
		}
		if s.begin < begin {
			out = append(out, addressSpan{s.begin, begin, s.seg})
		}
		if s.end > end {
			out = append(out, addressSpan{end, s.end, s.seg})
		}
	}
	return out
}

// assemble makes segments of spans and the blocks in them; what lies between is free.
func assemble(spans []addressSpan, blocks map[uint64]event.TensorBlock) []event.TensorSegment {
	slices.SortFunc(spans, func(x, y addressSpan) int { return cmp.Compare(x.begin, y.begin) })
	var joined []addressSpan
	for _, s := range spans {
		if n := len(joined); n > 0 && s.seg.Expandable && joined[n-1].seg.Expandable && joined[n-1].end == s.begin {
			joined[n-1].end = s.end
			continue
		}
		joined = append(joined, s)
	}
	list := make([]event.TensorBlock, 0, len(blocks))
	for _, b := range blocks {
		list = append(list, b)
	}
	slices.SortFunc(list, func(x, y event.TensorBlock) int { return cmp.Compare(x.Address, y.Address) })
	out := make([]event.TensorSegment, 0, len(joined))
	k := 0
	for _, s := range joined {
		seg := s.seg
		seg.Address, seg.Size = s.begin, s.end-s.begin
		at := s.begin
		for k < len(list) && list[k].Address < s.begin {
			k++
		}
		for ; k < len(list) && list[k].Address < s.end; k++ {
			b := list[k]
			if b.Address < at {
				continue // two that overlap cannot be: the later one is left out
			}
			if b.Address > at {
				seg.Blocks = append(seg.Blocks, event.TensorBlock{Address: at, Size: b.Address - at})
			}
			b.Size = min(b.Size, s.end-b.Address)
			seg.Blocks = append(seg.Blocks, b)
			at = b.Address + b.Size
		}
		if at < s.end {
			seg.Blocks = append(seg.Blocks, event.TensorBlock{Address: at, Size: s.end - at})
		}
		out = append(out, seg)
	}
	return out
}
