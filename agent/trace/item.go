package trace

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/event"
)

// Item is one part of a trace: exactly one of its fields is set. What it points to is valid until
// the next call of [Reader.Next], definitions, provenance and summary for ever.
type Item struct {
	Provenance  *event.Provenance
	Definitions *event.Definitions
	Batch       *event.Batch
	Live        *event.LiveSet
	Summary     *event.Summary
}

// decoded is what one frame holds, before anything that depends on the frames before it.
type decoded struct {
	rawFrame
	only uint32 // kinds that are wanted, as bits; 0: all
	err  error  // why the payload could not be decoded

	provenance  *event.Provenance
	definitions *event.Definitions
	first       defined // of definitions
	summary     *event.Summary
	batch       event.Batch // of a batch, and of a live set its allocations
	events      int         // in batch
	part        livePart
}

// livePart says which part of which live set a frame holds.
type livePart struct {
	time event.Time
	part uint64
	more bool
}

// decode decodes x's frame.
func (x *decoded) decode(d *decoder) {
	x.provenance, x.definitions, x.summary = nil, nil, nil
	x.err = nil
	if x.typ == frameIndex || x.unknown() {
		return
	}
	payload, err := d.payload(&x.frameHeader, x.stored)
	if err != nil {
		x.err = err
		return
	}
	switch x.typ {
	case frameProvenance:
		x.provenance, x.err = unmarshalProvenance(payload)
	case frameDefinitions:
		x.definitions, x.first, x.err = unmarshalDefinitions(payload)
	case frameBatch:
		d.only = x.only
		x.err = d.batch(payload, &x.frameHeader, &x.batch)
		x.events = d.begun
	case frameLive:
		x.part, x.err = d.liveSet(payload, &x.frameHeader, &x.batch)
	case frameSummary:
		x.summary, x.err = unmarshalSummary(payload)
	}
}

// unknown tells whether the frame is of a type, or stored in a way, that this version does not know.
func (x *decoded) unknown() bool {
	return x.typ < frameProvenance || x.typ > frameIndex || x.flags&^flagZstd != 0
}

// tally counts what a file has defined, fills gaps and bounds the whole.
type tally struct {
	have  defined
	text  int
	depth int // of all stacks
}

// accept makes d continue what was defined before: identifiers that are missing in between are
// defined as empty, and those that were defined already are dropped. It returns how many are missing.
func (t *tally) accept(d *event.Definitions, first defined) (int, error) {
	missing := 0
	n := &t.have
	d.Strings = continued(d.Strings, &n.strings, first.strings, maxStrings, &missing)
	d.Launches = continued(d.Launches, &n.launches, first.launches, maxLaunches, &missing)
	d.Frames = continued(d.Frames, &n.frames, first.frames, maxFrames, &missing)
	d.Stacks = continued(d.Stacks, &n.stacks, first.stacks, maxStacks, &missing)
	d.GPUs = continued(d.GPUs, &n.gpus, first.gpus, maxGPUs, &missing)
	d.Processes = continued(d.Processes, &n.processes, first.processes, maxProcesses, &missing)
	t.text += textSize(d)
	for _, s := range d.Stacks {
		t.depth += len(s)
	}
	if min(n.strings, n.launches, n.frames, n.stacks, n.gpus, n.processes) < 0 ||
		t.text > maxText || t.depth > maxStackDepth {
		return 0, fmt.Errorf("%w: it defines more than a reader takes", errPayload)
	}
	return missing, nil
}

// continued returns list such that its first element is number *have; -1 in *have: too many.
func continued[T any](list []T, have *int, first, limit int, missing *int) []T {
	if *have < 0 || first+len(list) > limit {
		*have = -1
		return nil
	}
	if gap := first - *have; gap > 0 {
		*missing += gap
		list = append(make([]T, gap), list...)
	} else {
		list = list[min(-gap, len(list)):]
	}
	*have += len(list)
	return list
}

// assembly puts the parts of a live set together.
type assembly struct {
	set  event.LiveSet
	next uint64 // part
	open bool
	rows event.Batch // those of several parts
}

// add takes a part, as its frame's batch, and returns the whole set with the last one. Parts that
// do not fit together are dropped with an error.
func (a *assembly) add(t *table, b *event.Batch, p livePart) (*event.LiveSet, error) {
	if p.part == 0 {
		broken := a.open
		a.open = p.more
		a.next = 1
		a.set = event.LiveSet{Process: b.Process, Time: p.time}
		if !p.more {
			a.set.Live = b.Allocations
			return &a.set, brokenSet(broken)
		}
		a.rows = event.Batch{}
		a.append(t, b)
		return nil, brokenSet(broken)
	}
	if !a.open || p.part != a.next || b.Process != a.set.Process || p.time != a.set.Time ||
		t.rows(&a.rows)+t.rows(b) > maxLiveRows {
		a.open = false
		return nil, brokenSet(true)
	}
	a.next++
	a.append(t, b)
	if p.more {
		return nil, nil
	}
	a.open = false
	a.set.Live = a.rows.Allocations
	return &a.set, nil
}

func (a *assembly) append(t *table, b *event.Batch) {
	for _, c := range t.columns {
		c.cells.move(&a.rows, b, 0, t.rows(b))
	}
}

func brokenSet(broken bool) error {
	if !broken {
		return nil
	}
	return fmt.Errorf("%w: a live set has lost parts", errPayload)
}
