package trace

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/warpscope/warpscope/agent/event"
)

// Report tells what a [Reader] found, and what it had to pass over.
type Report struct {
	Complete bool       // the trace was closed by its writer: summary, index and trailer are there
	Frames   int        // read
	LastTime event.Time // the latest in any frame read

	// A trace that ends in the middle of a frame: where that frame begins, and how much of it
	// there is. Zero: it does not.
	TruncatedAt    int64
	TruncatedBytes int64

	Damages     []Damage // the first of them, in the order of the file
	DamageCount int      // of all
	LostBytes   int64    // passed over in damages
	LostFrames  int      // missing in the writer's count of frames, so far as later frames show
	LostRows    uint64   // events in damaged frames whose header could be read: at least so many are lost

	LostDefinitions int // identifiers whose meaning is lost; they are defined as empty
	UnknownFrames   int // of a type that a newer warpscope writes
}

// Damage is a part of the file that was passed over.
type Damage struct {
	Offset, Bytes int64
	What          string
	Process       event.ProcessID // with Rows, of the frame that was there; 0 unknown
	Rows          uint64
}

// Err returns nil for a trace that was read whole, a [*CorruptError] if parts were passed over,
// and an error that wraps [ErrTruncated] if it only lacks its end.
func (r *Report) Err() error {
	if r.DamageCount > 0 {
		d := r.Damages[0]
		return &CorruptError{Offset: d.Offset, What: d.What, Frames: r.LostFrames, Bytes: r.LostBytes}
	}
	if !r.Complete {
		return fmt.Errorf("%w: %s", ErrTruncated, r.ending())
	}
	return nil
}

func (r *Report) ending() string {
	if r.TruncatedBytes > 0 {
		return fmt.Sprintf("it ends within a frame at byte %d; all before was read, give the traced run's own file if this is a partial copy", r.TruncatedAt)
	}
	return "its recording was not finished; all that was written was read"
}

// Notes returns one sentence for each sort of thing that a user of the trace must know; none for a
// whole one.
func (r *Report) Notes() []string {
	var notes []string
	if !r.Complete {
		notes = append(notes, "the trace is incomplete: "+r.ending())
	}
	if r.DamageCount > 0 {
		s := fmt.Sprintf("the trace is damaged in %d places, first at byte %d (%s); %d bytes", r.DamageCount, r.Damages[0].Offset, r.Damages[0].What, r.LostBytes)
		if r.LostFrames > 0 {
			s += fmt.Sprintf(" and %d frames", r.LostFrames)
		}
		s += " were passed over"
		if r.LostRows > 0 {
			s += fmt.Sprintf(", with %d events or more", r.LostRows)
		}
		notes = append(notes, s)
	}
	if r.LostDefinitions > 0 {
		notes = append(notes, fmt.Sprintf("the meaning of %d identifiers (names, launches, stacks) is lost", r.LostDefinitions))
	}
	if r.UnknownFrames > 0 {
		notes = append(notes, fmt.Sprintf("%d frames are of a sort that only a newer warpscope reads", r.UnknownFrames))
	}
	return notes
}

func (r *Report) String() string {
	if notes := r.Notes(); len(notes) > 0 {
		return strings.Join(notes, "; ")
	}
	return "the trace is whole"
}

// reporter collects a Report, also from the goroutine that reads ahead.
type reporter struct {
	mu         sync.Mutex
	r          Report
	hasTrailer bool
	hasSummary bool
}

func (p *reporter) get() Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.r
	r.Damages = slices.Clone(r.Damages)
	r.Complete = p.hasSummary && p.hasTrailer
	return r
}

// frame notes a frame that was found where `expected` should be next.
func (p *reporter) frame(h *frameHeader, expected uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.r.Frames++
	p.r.LastTime = max(p.r.LastTime, h.max)
	if h.sequence > expected {
		p.r.LostFrames += int(h.sequence - expected)
	}
	p.hasSummary = p.hasSummary || h.typ == frameSummary
}

func (p *reporter) trailer() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hasTrailer = true
}

func (p *reporter) unknown() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.r.UnknownFrames++
}

func (p *reporter) undefined(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.r.LostDefinitions += n
}

// damage notes that n bytes were passed over.
func (p *reporter) damage(offset, n int64, what string, h *frameHeader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := Damage{Offset: offset, Bytes: n, What: what}
	if h != nil {
		d.Process, d.Rows = h.process, uint64(h.rows)
	}
	p.r.DamageCount++
	p.r.LostBytes += n
	p.r.LostRows += d.Rows
	if len(p.r.Damages) < maxDamages {
		p.r.Damages = append(p.r.Damages, d)
	}
}

func (p *reporter) truncated(offset, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.r.TruncatedAt, p.r.TruncatedBytes = offset, n
}

// tail notes that nothing useful follows offset: a frame that is cut off, or damage.
func (p *reporter) tail(offset, n int64, what string, h *frameHeader) {
	if h != nil && n < int64(h.size()) {
		p.truncated(offset, n)
		return
	}
	p.damage(offset, n, what, h)
}
