package trace

import (
	"cmp"
	"math"

	"github.com/warpscope/warpscope/agent/event"
)

const (
	closingRoom = 4 << 10 // bytes that a size limit keeps free: headers and summary
	leastRoom   = 1 << 10 // bytes that are worth one more frame
)

// room returns how many bytes the next frame may have, so that the file can still be closed within
// its size limit.
func (w *Writer) room() int64 {
	if w.options.maxSize == 0 {
		return math.MaxInt64
	}
	return w.options.maxSize - w.offset - int64(len(w.index.entries)+32*len(w.lost)+closingRoom)
}

// squeeze writes as many of p's events as there is room for: of each kind the first ones. size is
// that of the frame which they would fill. What remains is counted as lost, and the writer is full.
func (w *Writer) squeeze(p *pending, size int64) error {
	var failure error
	done := make([]int, len(w.encoder.schema)) // rows of each table
	part := &event.Batch{Process: p.batch.Process}
	share := 1.0
	for failure == nil && w.room() >= leastRoom && share > 1e-4 {
		// Short of the whole room: less in a frame takes more for each.
		share = min(share*0.9, 0.97*float64(w.room())/float64(size))
		rows := 0
		for i := range w.encoder.schema {
			t := &w.encoder.schema[i]
			n := int(share * float64(t.rows(&p.batch)))
			n = min(n, t.rows(&p.batch)-done[i])
			rows += n
			for _, c := range t.columns {
				c.cells.reset(part)
				c.cells.move(part, &p.batch, done[i], done[i]+n)
			}
		}
		if rows == 0 {
			break
		}
		w.frame = w.encoder.batch(w.frame[:0], part, w.sequence)
		if int64(len(w.frame)) > w.room() {
			continue
		}
		if failure = w.events(); failure == nil {
			for i := range w.encoder.schema {
				done[i] += w.encoder.schema[i].rows(part)
			}
			share = 1
		}
	}
	w.full = failure == nil
	cause := event.LossDisk
	if w.full {
		cause = event.LossTraceFull
	}
	for i := range w.encoder.schema {
		t := &w.encoder.schema[i]
		if n := t.rows(&p.batch) - done[i]; n > 0 {
			w.lost[event.Loss{Process: p.batch.Process, Kind: t.kind, Cause: cause}] += uint64(n)
		}
	}
	return cmp.Or(failure, ErrFull)
}

// shorten returns the end of the file, made by closing from s, within the size limit if leaving out
// notes can do that.
func (w *Writer) shorten(s event.Summary, closing func(event.Summary) ([]byte, error)) ([]byte, error) {
	for {
		b, err := closing(s)
		if err != nil || w.options.maxSize == 0 || w.offset+int64(len(b)) <= w.options.maxSize || len(s.Notes) == 0 {
			return b, err
		}
		s.Notes = s.Notes[:len(s.Notes)/2]
	}
}
