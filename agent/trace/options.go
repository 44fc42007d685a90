package trace

import (
	"errors"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

// Option changes how a [Writer] writes.
type Option func(*writerOptions) error

type writerOptions struct {
	maxSize int64
	keep    *keeper // nil: all is kept
	age     time.Duration
	now     func() time.Time

	callResolution time.Duration
}

// WithMaxSize makes the writer refuse events with [ErrFull] when the file, closed, would exceed
// n bytes. At least 64 KiB.
func WithMaxSize(n int64) Option {
	return func(o *writerOptions) error {
		if n < 64<<10 {
			return errors.New("maximum size of a trace must be 64 KiB or more")
		}
		o.maxSize = n
		return nil
	}
}

// WithMaxAge sets how long events wait in memory for others before they are written together; 1 s
// unless set. It is looked at when the writer is called, so somebody has to call it.
func WithMaxAge(d time.Duration) Option {
	return func(o *writerOptions) error {
		o.age = d
		return nil
	}
}

// WithClock replaces the clock by which events age.
func WithClock(now func() time.Time) Option {
	return func(o *writerOptions) error {
		o.now = now
		return nil
	}
}

// ReadOption changes what a [Reader] delivers, or how.
type ReadOption func(*readerOptions) error

type readerOptions struct {
	ranged     bool
	from, to   event.Time
	checkpoint bool
	kinds      uint32
	processes  map[event.ProcessID]bool
	ahead      int
	growing    bool
}

// WithRange delivers only the batches and live sets with something in [from, to]. A batch is
// delivered whole: some of its events can lie outside. Through the index where there is one.
func WithRange(from, to event.Time) ReadOption {
	return func(o *readerOptions) error {
		if to < from {
			return errors.New("range of time ends before it begins")
		}
		o.ranged, o.from, o.to = true, from, to
		return nil
	}
}

// WithCheckpoint adds to a range what tells the live set at its beginning: for each process at
// least its last live set before, and the allocations that follow it.
func WithCheckpoint() ReadOption {
	return func(o *readerOptions) error {
		o.checkpoint = true
		return nil
	}
}

// WithKinds delivers only events of these kinds; live sets go with [event.KindAllocation].
func WithKinds(kinds ...event.Kind) ReadOption {
	return func(o *readerOptions) error {
		for _, k := range kinds {
			if k < 32 {
				o.kinds |= 1 << k
			}
		}
		if o.kinds == 0 {
			return errors.New("no kind of event is asked for")
		}
		return nil
	}
}

// WithProcesses delivers only the batches and live sets of these processes; 0 is the machine.
func WithProcesses(ids ...event.ProcessID) ReadOption {
	return func(o *readerOptions) error {
		o.processes = map[event.ProcessID]bool{}
		for _, id := range ids {
			o.processes[id] = true
		}
		return nil
	}
}

// WithReadAhead decodes up to n frames ahead, each on its own goroutine. Such a reader must be
// closed. Items still come in the order of the file.
func WithReadAhead(n int) ReadOption {
	return func(o *readerOptions) error {
		if n < 0 || n > 64 {
			return errors.New("frames to read ahead must be 0 to 64")
		}
		o.ahead = n
		return nil
	}
}

// WithGrowing reads a file that is still being written: Next returns io.EOF at its present end
// and can be called again, until [Report.Complete].
func WithGrowing() ReadOption {
	return func(o *readerOptions) error {
		o.growing = true
		return nil
	}
}
