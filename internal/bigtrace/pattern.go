package bigtrace

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/trace"
)

// what is a kind of item, and for kernels and calls which.
type what uint64

const (
	isKernel what = iota << 40
	isCopy
	isSet
	isCall
	isSync
	isMarker
	isOverhead
)

const kindMask what = 0xff << 40

// item is one record of the real trace, in the order in which things were done.
type item struct {
	what     what
	row      int // in the pattern's columns
	start    event.Time
	duration int64
	pair     uint64 // what came before it, and it: selects the pauses that are drawn from
	call     int32  // of work on the GPU: index of the call in cpu; -1: none
}

// pattern is what is learnt from a real trace.
type pattern struct {
	provenance  event.Provenance
	definitions event.Definitions
	process     event.ProcessID
	rows        event.Batch // all that is repeated
	once        event.Batch // what happens once: allocations, modules, contexts, states
	machine     event.Batch // samples of the GPUs

	gpu, cpu  []item
	durations map[what][]int64   // ns
	pauses    map[uint64][]int64 // ns, from the end of what came before
	span      event.Time         // of the repeated part
	highest   uint32             // correlation
}

// learn reads a real trace.
func learn(path string) (*pattern, error) {
	r, err := trace.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // it was read only
	p := &pattern{durations: map[what][]int64{}, pauses: map[uint64][]int64{}}
	for {
		x, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("learn from %s: %w", path, err)
		}
		switch {
		case x.Provenance != nil:
			p.provenance = *x.Provenance
		case x.Definitions != nil:
			p.define(x.Definitions)
		case x.Batch != nil && x.Batch.Process == 0:
			appendSamples(&p.machine, x.Batch)
		case x.Batch != nil:
			if p.process == 0 {
				p.process = x.Batch.Process
			}
			if x.Batch.Process == p.process {
				appendRows(&p.rows, &p.once, x.Batch)
			}
		}
	}
	if len(p.rows.Kernels.Start) < 100 {
		return nil, fmt.Errorf("learn from %s: it has %d kernels, too few to learn from", path, len(p.rows.Kernels.Start))
	}
	p.order()
	return p, nil
}

func (p *pattern) define(d *event.Definitions) {
	q := &p.definitions
	q.Strings = append(q.Strings, d.Strings...)
	q.Launches = append(q.Launches, d.Launches...)
	q.Frames = append(q.Frames, d.Frames...)
	q.Stacks = append(q.Stacks, d.Stacks...)
	q.GPUs = append(q.GPUs, d.GPUs...)
	q.Processes = append(q.Processes, d.Processes...)
}

// order puts what was read into the order of time and learns from it. The first third is left out: a
// program's start is not its steady state.
func (p *pattern) order() {
	starts := slices.Sorted(slices.Values(p.rows.Kernels.Start))
	from := starts[len(starts)/3]
	p.span = starts[len(starts)-1] - from
	add := func(list *[]item, w what, starts []event.Time, durations []int64, which func(int) uint64) {
		for i, start := range starts {
			if start < from {
				continue
			}
			x := item{what: w, row: i, start: start, call: -1}
			if durations != nil {
				x.duration = max(0, durations[i])
			}
			if which != nil {
				x.what += what(which(i))
			}
			*list = append(*list, x)
		}
	}
	r := &p.rows
	add(&p.gpu, isKernel, r.Kernels.Start, r.Kernels.Duration, func(i int) uint64 { return uint64(r.Kernels.Launch[i]) })
	add(&p.gpu, isCopy, r.Copies.Start, r.Copies.Duration, func(i int) uint64 { return r.Copies.Bytes[i] & (1<<40 - 1) })
	add(&p.gpu, isSet, r.Sets.Start, r.Sets.Duration, func(i int) uint64 { return r.Sets.Bytes[i] & (1<<40 - 1) })
	add(&p.cpu, isCall, r.Calls.Enter, r.Calls.Duration, func(i int) uint64 { return uint64(r.Calls.Name[i]) })
	add(&p.cpu, isSync, r.Syncs.Start, r.Syncs.Duration, nil)
	add(&p.cpu, isMarker, r.Markers.Time, nil, nil)
	add(&p.cpu, isOverhead, r.Overheads.Start, r.Overheads.Duration, nil)
	p.study(p.gpu)
	p.study(p.cpu)
	calls := map[uint32]int32{}
	for i, x := range p.cpu {
		if x.what&kindMask == isCall {
			calls[r.Calls.Correlation[x.row]] = int32(i)
		}
	}
	for i := range p.gpu {
		x := &p.gpu[i]
		if at, ok := calls[p.correlation(x)]; ok {
			x.call = at
		}
	}
	for _, c := range [][]uint32{r.Kernels.Correlation, r.Copies.Correlation, r.Sets.Correlation, r.Calls.Correlation, r.Syncs.Correlation} {
		for _, n := range c {
			p.highest = max(p.highest, n)
		}
	}
}

// study sorts a list and learns durations and pauses of it.
func (p *pattern) study(list []item) {
	slices.SortStableFunc(list, func(x, y item) int { return cmp.Compare(x.start, y.start) })
	var before what
	var end event.Time
	for i := range list {
		x := &list[i]
		x.pair = uint64(before)*0x9fb21c651e98df25 + uint64(x.what)
		p.durations[x.what] = append(p.durations[x.what], x.duration)
		if i > 0 {
			p.pauses[x.pair] = append(p.pauses[x.pair], int64(x.start-end))
		}
		before, end = x.what, x.start+event.Time(x.duration)
	}
}

// correlation returns that of a piece of work on the GPU.
func (p *pattern) correlation(x *item) uint32 {
	switch x.what & kindMask {
	case isKernel:
		return p.rows.Kernels.Correlation[x.row]
	case isCopy:
		return p.rows.Copies.Correlation[x.row]
	}
	return p.rows.Sets.Correlation[x.row]
}
