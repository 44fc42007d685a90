package trace

import (
	"errors"
	"fmt"
	"io"

	"github.com/warpscope/warpscope/agent/event"
)

// put hands what an item holds to dst.
func put(dst event.Sink, item Item) error {
	switch {
	case item.Definitions != nil:
		return dst.Define(item.Definitions)
	case item.Batch != nil:
		return dst.Batch(item.Batch)
	case item.Live != nil:
		return dst.Live(item.Live)
	}
	return nil
}

// Recover reads what can be read of a trace and writes it to dst as a whole one, with an index,
// and with a summary that says what was found missing. Times stay as they were read, unless an option says
// otherwise. The report is that of the reading.
func Recover(dst io.Writer, src io.Reader, options ...Option) (Report, error) {
	r, err := NewReader(src)
	if err != nil {
		return Report{}, err
	}
	defer func() { _ = r.Close() }() // closes nothing but memory
	var w *Writer
	summary, closed := event.Summary{ExitCode: -1}, false
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return r.Report(), err
		}
		if item.Summary != nil {
			summary, closed = *item.Summary, true
		}
		if w == nil {
			p := event.Provenance{Notes: []string{"the provenance was lost with a damaged part of the trace"}}
			if item.Provenance != nil {
				p = *item.Provenance
			}
			if w, err = NewWriter(dst, p, append([]Option{WithCallResolution(1)}, options...)...); err != nil {
				return r.Report(), fmt.Errorf("write recovered trace: %w", err)
			}
		}
		if err := put(w, item); err != nil && !errors.Is(err, ErrFull) { // what is full says so by its losses
			return r.Report(), fmt.Errorf("write recovered trace: %w", err)
		}
	}
	report := r.Report()
	if w == nil {
		return report, fmt.Errorf("%w: nothing in it can be read", ErrTruncated)
	}
	if !closed {
		summary.LossesUnknown = true // the counters came with the end of the file
	}
	if summary.End == 0 {
		summary.End = report.LastTime
	}
	for _, note := range report.Notes() {
		summary.Notes = append(summary.Notes, "recovered: "+note)
	}
	for _, d := range report.Damages {
		if d.Rows > 0 {
			summary.Losses = append(summary.Losses, event.Loss{Process: d.Process, Kind: event.KindUnknown, Cause: event.LossTorn, Count: d.Rows})
		}
	}
	if err := w.Close(summary); err != nil {
		return report, fmt.Errorf("write recovered trace: %w", err)
	}
	return report, nil
}
