package trace

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

// Successor is a new, empty file that may take the place of the destination.
type Successor interface {
	Destination
	// Succeed puts the file where the destination is: from now on it is the trace. Whoever opens the
	// trace gets the one or the other, whole. An error leaves everything as it was.
	Succeed() error
	// Abandon removes the file.
	Abandon()
}

// Destination is a file of which the trace is all.
type Destination interface {
	io.Writer
	io.ReaderAt
	io.Seeker
	Truncate(size int64) error
}

// WithKeep makes the trace hold the newest d, and what is needed to know it: when the file holds half
// as much again, a successor is written, without what is older, beside the events that go on coming, and
// takes its place. The destination must be a [Destination]. d is a second at least.
//
// What each process has allocated stays exact: its last live set from before the time that is kept stays,
// and the calls since. What is dropped is counted as lost by [event.LossAged].
//
// now is the machine's CLOCK_MONOTONIC.
func WithKeep(d time.Duration, now func() event.Time, create func() (Successor, error)) Option {
	return func(o *writerOptions) error {
		if d < time.Second {
			return errors.New("time to keep of a trace must be a second or more")
		}
		o.keep = &keeper{span: event.Time(d), now: now, create: create, done: make(chan struct{})}
		return nil
	}
}

// keeper knows what the file holds, and when to make it shorter.
type keeper struct {
	span       event.Time
	now        func() event.Time
	create     func() (Successor, error)
	provenance event.Provenance

	frames  []kept // of the file, in order, but for index frames
	start   event.Time
	sets    uint32 // live sets begun so far
	set     uint32 // the one that is being written; 0: none
	again   event.Time
	running bool
	closing bool
	done    chan struct{} // receives when a rewriting has ended and somebody closes
	failure error         // the last rewriting's
}

// kept is a frame of the file.
type kept struct {
	frameHeader
	offset  int64
	written event.Time // when: all that it tells of was before
	counts  []rowCount // of a batch
	set     uint32     // of a live set: which
	whole   bool       // its last part
}

type rowCount struct {
	kind event.Kind
	n    uint32
}

func (f *kept) has(kind event.Kind) bool {
	return slices.ContainsFunc(f.counts, func(c rowCount) bool { return c.kind == kind })
}

// note remembers a frame that has been written.
func (k *keeper) note(offset int64, h *frameHeader, counts *[32]uint32) {
	f := kept{frameHeader: *h, offset: offset, written: k.now(), set: k.set}
	if counts != nil && h.typ == frameBatch {
		for kind, n := range counts {
			if n > 0 {
				f.counts = append(f.counts, rowCount{event.Kind(kind), n})
			}
		}
	}
	if len(k.frames) == 0 {
		k.start = f.written
	}
	k.frames = append(k.frames, f)
}

// beginSet and endSet enclose the frames of a live set; whole says that all of it was written.
func (k *keeper) beginSet() {
	k.sets++
	k.set = k.sets
}

func (k *keeper) endSet(whole bool) {
	if n := len(k.frames); whole && n > 0 && k.frames[n-1].set == k.set {
		k.frames[n-1].whole = true
	}
	k.set = 0
}

// keepDue begins a rewriting where it is time for one. The caller holds w.mu.
func (w *Writer) keepDue() {
	k := w.options.keep
	if k == nil || k.running || k.closing {
		return
	}
	if now := k.now(); now-k.start < k.span+k.span/2 || now < k.again {
		return
	}
	k.running = true
	go func() {
		err := w.rewrite()
		w.mu.Lock()
		defer w.mu.Unlock()
		k.running, k.failure = false, err
		if err != nil {
			k.again = k.now() + k.span/4
		}
		if k.closing {
			k.done <- struct{}{}
		}
	}()
}

// keepLast makes the file short for the last time. The caller holds w.mu.
func (w *Writer) keepLast() {
	k := w.options.keep
	if k == nil {
		return
	}
	k.closing = true
	if k.running {
		w.mu.Unlock()
		<-k.done
		w.mu.Lock()
	}
	const most = 512 << 20 // bytes that an end may take the time to copy
	if k.now()-k.start > k.span+k.span/20 && w.offset <= most {
		w.mu.Unlock()
		err := w.rewrite()
		w.mu.Lock()
		k.failure = err
	}
}

// rewrite writes a successor of the file and puts it in its place. Meanwhile others write to the file:
// what they add is copied too, the last of it while they wait.
func (w *Writer) rewrite() error {
	w.mu.Lock()
	k := w.options.keep
	cut := k.now() - k.span
	frames, src := k.frames, w.out.(Destination)
	w.mu.Unlock()

	s, err := k.create()
	if err != nil {
		return fmt.Errorf("shorten trace: %w", err)
	}
	r, err := newRewriting(src, s)
	if err != nil {
		s.Abandon()
		return fmt.Errorf("shorten trace: %w", err)
	}
	defer r.close()
	n := 0
	for n < len(frames) && frames[n].written < cut && !frames[n].open(frames[n+1:]) {
		n++
	}
	err = r.begin(k, w.options.now().Add(-time.Duration(k.span)), cut)
	if err == nil {
		err = r.old(frames[:n], cut, frames[n:])
	}
	if err == nil {
		err = w.catchUp(r, s, frames, n, cut)
	}
	if err != nil {
		s.Abandon()
		return fmt.Errorf("shorten trace: %w", err)
	}
	return nil
}

// catchUp copies what was written since, and what is written meanwhile, and puts the successor in place.
func (w *Writer) catchUp(r *rewriting, s Successor, frames []kept, copied int, cut event.Time) error {
	const (
		little = 1 << 20 // bytes that others may wait for
		rounds = 10      // then they wait for any number: the disk is slower than they are
	)
	for round := 0; ; round++ {
		for ; copied < len(frames); copied++ {
			if err := r.copy(&frames[copied]); err != nil {
				return err
			}
		}
		w.mu.Lock()
		frames = w.options.keep.frames
		left := 0
		for i := copied; i < len(frames); i++ {
			left += frames[i].size()
		}
		if left <= little || round == rounds {
			break
		}
		w.mu.Unlock()
	}
	defer w.mu.Unlock()
	for ; copied < len(frames); copied++ {
		if err := r.copy(&frames[copied]); err != nil {
			return err
		}
	}
	if err := r.flush(); err != nil {
		return err
	}
	if err := s.Succeed(); err != nil {
		return err
	}
	w.replace(s, r, cut)
	return nil
}

// open tells that a live set goes on in the frames that follow f.
func (f *kept) open(rest []kept) bool {
	return f.set != 0 && len(rest) > 0 && rest[0].set == f.set
}

// replace makes the successor the file. The caller holds w.mu.
func (w *Writer) replace(s Successor, r *rewriting, cut event.Time) {
	k := w.options.keep
	w.out, w.repair = s, s
	w.offset, w.sequence, w.index = r.offset, r.sequence, r.index
	clear(w.recorded)
	for kind, n := range r.recorded {
		if n > 0 {
			w.recorded[event.Kind(kind)] = n
		}
	}
	for l, n := range r.dropped {
		w.lost[l] += n
	}
	k.frames, k.start = r.frames, cut
}

// keepNote says in the summary what the trace does not hold.
func (k *keeper) keepNote() string {
	if k == nil || k.failure == nil {
		return ""
	}
	return fmt.Sprintf("the trace holds more than the newest %v: %v", time.Duration(k.span), k.failure)
}
