package collect

import (
	"strings"
	"unsafe"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

// maxDevices bounds the ordinals of one process; no machine has more GPUs.
const maxDevices = 256

// decoder turns the records of one process into rows of events. It belongs to one goroutine.
type decoder struct {
	memory *memory
	ids    *ids
	clock  clock

	batch   event.Batch // everything but allocations
	ledger  *chunk      // allocations, on their way to the resolution of stacks
	stacks  *stackReader
	counts  [256]uint64 // records read, by type
	bad     [256]uint64 // records that make no sense, by type
	torn    [256]uint64 // records that were begun and never committed, by type
	unknown uint64      // whole records of kinds that this version does not read
	blank   [256]uint64 // records whose name or launch is not in the arena, by type

	strings  dense // arena id → event.StringID
	launches dense // arena id → event.LaunchID
	budget   int   // bytes of objects that may still be copied out of the arena
	devices  []event.GPUID
	state    event.State
	// undelivered: the process died while CUPTI held records that it had not handed over.
	undelivered bool
	// unaligned: rows of batch carry CUPTI's own times, because no reading of the clock has come yet.
	unaligned bool
	sample    uint64 // a CUPTI time of such a row

	outOfMemory func() // nil: nobody wants to know

	ruler     Ruler // nil: nobody wants to know how far the program comes
	pid       int32
	calls     dense // arena id → place in callNames + 1
	callNames []string
}

func newDecoder(m *memory, ids *ids) *decoder {
	d := &decoder{memory: m, ids: ids, unaligned: true, budget: m.arena.limit()}
	d.stacks = &stackReader{arena: &m.arena, ids: ids, budget: m.arena.limit()}
	d.stacks.newest = func() uint32 { return uint32(loadUint64(&m.header.Maps)) }
	d.ledger = &chunk{stackReader: d.stacks}
	return d
}

// text returns the identifier of the string with an arena id.
func (d *decoder) text(id uint32) event.StringID {
	if id == 0 {
		return 0
	}
	if known := d.strings.get(id); known != 0 {
		return event.StringID(known)
	}
	s := d.memory.arena.text(uint64(id), &d.budget)
	if s == "" {
		return 0
	}
	known := d.ids.text(s)
	d.strings.set(id, uint32(known))
	return known
}

// words parts a NUL-separated list, such as a command line.
func words(s string) []string {
	s = strings.TrimSuffix(s, "\x00")
	if s == "" {
		return nil
	}
	list := strings.Split(s, "\x00")
	for i := range list {
		list[i] = strings.ToValidUTF8(list[i], "\uFFFD")
	}
	return list
}

// launch returns the identifier of the launch with an arena id.
func (d *decoder) launch(id uint32) event.LaunchID {
	if known := d.launches.get(id); known != 0 || id == 0 {
		return event.LaunchID(known)
	}
	b := d.memory.arena.object(uint64(id), abi.ObjLaunch)
	size := int(unsafe.Sizeof(abi.Launch{}))
	if len(b) < size || size > d.budget {
		d.blank[abi.RecKernel]++
		return 0
	}
	d.budget -= size
	l := readAs[abi.Launch](b)
	known := d.ids.launch(event.Launch{
		Name: d.text(l.Name), Grid: l.Grid, Block: l.Block, Cluster: l.Cluster,
		Registers: l.Registers, StaticShared: l.Static_shared, DynamicShared: l.Dynamic_shared,
		LocalThread: l.Local_thread, LocalTotal: l.Local_total,
	})
	d.launches.set(id, uint32(known))
	return known
}

// span converts the times of a device-side record, or keeps them as they are until a reading of the
// clock says how.
func (d *decoder) span(start, end uint64) (event.Time, int64) {
	if d.unaligned {
		d.sample = max(d.sample, start)
		return event.Time(start), duration(start, end)
	}
	return d.clock.span(start, end)
}

// moment is span for a single time.
func (d *decoder) moment(t uint64) event.Time {
	if d.unaligned {
		d.sample = max(d.sample, t)
		return event.Time(t)
	}
	return d.clock.moment(t)
}

// align converts the rows that came before the first reading of the clock.
func (d *decoder) align() {
	if !d.unaligned {
		return
	}
	d.unaligned = false
	b := &d.batch
	for _, column := range [][]event.Time{
		b.Kernels.Start, b.Copies.Start, b.Sets.Start, b.Syncs.Start, b.Calls.Enter,
		b.Markers.Time, b.Graphs.Start, b.Overheads.Start,
	} {
		for i, t := range column {
			column[i] = d.clock.moment(uint64(t))
		}
	}
}

// alignAnyway ends the wait for a reading of the clock.
func (d *decoder) alignAnyway() {
	if !d.unaligned {
		return
	}
	if d.sample != 0 {
		d.clock.guess(d.sample, d.memory.header.Mono_start, d.memory.header.Wall_start)
	}
	d.align()
}

// decode appends the row of one record.
func (d *decoder) decode(r *record) {
	head := r.head()
	d.counts[head.Type]++
	p := unsafe.Pointer(r)
	switch head.Type {
	case abi.RecKernel:
		d.kernel((*abi.Kernel)(p))
	case abi.RecCopy:
		d.copy((*abi.Copy)(p))
	case abi.RecSet:
		d.set((*abi.Set)(p))
	case abi.RecSync:
		d.sync((*abi.Sync)(p))
	case abi.RecApi:
		d.call((*abi.Api)(p))
	case abi.RecMarker:
		d.marker((*abi.Marker)(p))
	case abi.RecGraph:
		d.graph((*abi.Graph)(p))
	case abi.RecOverhead:
		d.overhead((*abi.Overhead)(p))
	case abi.RecAlloc:
		d.alloc((*abi.Alloc)(p))
	case abi.RecContext:
		d.context((*abi.Context)(p))
	case abi.RecModule:
		d.module((*abi.Module)(p))
	case abi.RecClock:
		d.clock.add((*abi.Clock)(p))
		if d.clock.known() {
			d.align()
		}
	case abi.RecDevice:
		d.device((*abi.Device)(p))
	case abi.RecPool:
		d.pool((*abi.Pool)(p))
	case abi.RecState:
		d.stateChange((*abi.StateChange)(p))
	case abi.RecTick:
		d.tick((*abi.Tick)(p))
	}
}
