package trace

import "github.com/warpscope/warpscope/agent/event"

// selective tells whether only a part of the trace is asked for.
func (o *readerOptions) selective() bool {
	return o.ranged || o.kinds != 0 || o.processes != nil
}

// part is what can be told of a frame without decoding it.
type part struct {
	typ      frameType
	process  event.ProcessID
	min, max event.Time
}

// wants tells whether a frame is to be decoded, and which kinds of its events.
func (o *readerOptions) wants(p part) (kinds uint32, ok bool) {
	if p.typ != frameBatch && p.typ != frameLive {
		return 0, p.typ != frameIndex
	}
	if o.processes != nil && !o.processes[p.process] {
		return 0, false
	}
	kinds = o.kinds
	if p.typ == frameLive {
		kinds = 0
		if o.kinds != 0 && o.kinds&(1<<event.KindAllocation) == 0 {
			return 0, false
		}
	}
	switch {
	case !o.ranged, p.max >= o.from && p.min <= o.to && p.max != 0:
		return kinds, true
	case o.checkpoint && p.max < o.from && p.typ == frameLive:
		return 0, true
	case o.checkpoint && p.max < o.from && (o.kinds == 0 || o.kinds&(1<<event.KindAllocation) != 0):
		return 1 << event.KindAllocation, true
	}
	return 0, false
}

// filtered are the frames of a stream.
type filtered struct {
	*scanner
	options *readerOptions
}

func (f *filtered) wants(x *rawFrame) (uint32, bool) {
	return f.options.wants(part{x.typ, x.process, x.min, x.max})
}
