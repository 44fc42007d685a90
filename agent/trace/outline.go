package trace

import (
	"fmt"
	"io"

	"github.com/warpscope/warpscope/agent/event"
)

// Outline is what a finished trace tells of itself without its events: some kilobytes are read of a
// file of any size.
type Outline struct {
	Provenance *event.Provenance // nil: damaged
	Summary    *event.Summary    // nil: damaged
	Frames     int
	From, To   event.Time // the earliest and the latest time of an event; 0: there is none

	// Rows counts the events in the file, as its index says, by process (0 is the machine) and kind.
	Rows map[event.ProcessID]map[event.Kind]uint64
}

// Total returns how many events of a kind the trace holds.
func (o *Outline) Total(kind event.Kind) uint64 {
	n := uint64(0)
	for _, rows := range o.Rows {
		n += rows[kind]
	}
	return n
}

// ReadOutline reads the outline of a trace. Without an index, because the trace is unfinished or damaged, it
// returns an error that wraps [ErrTruncated]: such a trace has to be read from its beginning. Others are those of
// [NewReader].
func ReadOutline(src io.ReadSeeker) (*Outline, error) {
	r, err := NewReader(src)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	s := &seeking{src: src, report: r.report, options: &r.options}
	sum := totals{}
	entries, err := s.load(r.decoder, sum)
	if err != nil {
		return nil, fmt.Errorf("read outline: %w: it has no index (%w)", ErrTruncated, err)
	}
	o := &Outline{Frames: len(entries), Rows: map[event.ProcessID]map[event.Kind]uint64{}}
	for id, kinds := range sum {
		o.Rows[id] = map[event.Kind]uint64{}
		for kind, n := range kinds {
			if n > 0 {
				o.Rows[id][event.Kind(kind)] = n
			}
		}
	}
	for _, x := range entries {
		switch x.typ {
		case frameBatch:
			if x.min != 0 && (o.From == 0 || x.min < o.From) {
				o.From = x.min
			}
			o.To = max(o.To, x.max)
		case frameProvenance, frameSummary:
			f, err := s.read(x.offset, x.length)
			if err != nil {
				continue // told by its absence
			}
			d := decoded{rawFrame: f}
			d.decode(r.decoder)
			if d.provenance != nil {
				o.Provenance = d.provenance
			}
			if d.summary != nil {
				o.Summary = d.summary
			}
		}
	}
	return o, nil
}
