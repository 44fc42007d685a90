package trace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/warpscope/warpscope/agent/event"
)

// Reader reads a trace, part by part. It is used by one goroutine.
//
// Damage does not end it: what cannot be read is passed over and told by [Reader.Report].
type Reader struct {
	options readerOptions
	report  *reporter
	frames  frames
	close   func() error // of a file that Open opened
	decoder *decoder
	current decoded
	ahead   *ahead // nil: decode in Next
	tally   tally
	live    assembly
	err     error
}

// frames are where a reader's frames come from.
type frames interface {
	// next returns the next frame that is whole, io.EOF after the last one, or why the source
	// cannot be read.
	next() (rawFrame, error)
	// wants tells whether a frame is to be decoded, and which kinds of its events (0: all).
	wants(f *rawFrame) (kinds uint32, ok bool)
}

// Open opens the trace at path; "-" is standard input. The caller closes the reader.
func Open(path string, options ...ReadOption) (*Reader, error) {
	f, closer := os.Stdin, func() error { return nil }
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			return nil, fmt.Errorf("open trace: %w", err)
		}
		closer = f.Close
		if s, err := f.Stat(); err == nil && s.IsDir() {
			return nil, errors.Join(fmt.Errorf("open trace: %w: %s is a directory: name the .wscope file in it", ErrNotTrace, path), f.Close())
		}
	}
	r, err := NewReader(f, options...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open trace %s: %w", path, err), closer())
	}
	r.close = closer
	return r, nil
}

// NewReader reads the trace that src delivers, from its beginning. It reads what a range of time,
// kinds or processes needs only, if src can seek (io.ReadSeeker) and has an index.
func NewReader(src io.Reader, options ...ReadOption) (*Reader, error) {
	r := &Reader{report: &reporter{}, close: func() error { return nil }}
	for _, o := range options {
		if err := o(&r.options); err != nil {
			return nil, err
		}
	}
	if r.options.growing {
		r.options.ahead = 0
	}
	s := &scanner{in: window{r: src, growing: r.options.growing}, report: r.report}
	if err := r.begin(&s.in); err != nil {
		return nil, err
	}
	var err error
	if r.decoder, err = newDecoder(); err != nil {
		return nil, err
	}
	r.frames = &filtered{scanner: s, options: &r.options}
	if r.options.selective() {
		if x := openIndex(src, r.decoder, r.report, &r.options); x != nil {
			r.frames = x
		}
	}
	if r.options.ahead > 0 {
		if r.ahead, err = startAhead(r.frames, r.options.ahead); err != nil {
			r.decoder.close()
			return nil, err
		}
	}
	return r, nil
}

// begin checks the beginning of the file.
func (r *Reader) begin(in *window) error {
	enough := in.fill(fileHeaderSize)
	if err := in.failure(); err != nil {
		return fmt.Errorf("read trace: %w", err)
	}
	b := in.bytes()
	m := magic()
	switch {
	case len(b) == 0:
		return fmt.Errorf("%w: it is empty, so its recording has not begun or failed at once", ErrNotTrace)
	case bytes.HasPrefix(b, []byte("\x89WSCOP\n")):
		return fmt.Errorf("%w: its line ends were converted on the way, which destroys it: copy it again as a binary file", ErrNotTrace)
	case !enough && bytes.HasPrefix(m[:], b[:min(len(b), len(m))]):
		return fmt.Errorf("%w: it ends after %d bytes, within its header, with nothing recorded", ErrTruncated, len(b))
	case !enough || !bytes.Equal(b[:len(m)], m[:]):
		// One wrong bit in the magic is damage like any other.
		if in.fill(fileHeaderSize + frameHeaderSize) {
			if _, ok := parseFrameHeader(in.bytes()[fileHeaderSize:]); ok {
				break
			}
		}
		if bytes.HasPrefix(b, []byte("WSRPESHM")) {
			return fmt.Errorf("%w: it is a capture file: warpscope recover makes a trace of it", ErrNotTrace)
		}
		return fmt.Errorf("%w: it begins with %q: give a .wscope file, as warpscope run records it", ErrNotTrace, b[:min(len(b), 8)])
	}
	major, minor, ok := parseFileHeader(in.bytes())
	if ok && major != Major {
		return &VersionError{Major: major, Minor: minor}
	}
	if !ok {
		r.report.damage(0, fileHeaderSize, "checksum of the file's header is wrong", nil)
	}
	in.consume(fileHeaderSize)
	return nil
}

// Report returns what was found so far; it is complete when Next has returned io.EOF. When only a
// part of the trace is read, it speaks of that part.
func (r *Reader) Report() Report { return r.report.get() }

// Next returns the next part of the trace, and io.EOF after the last one. Other errors come from
// the source, or say that the file defines more than a reader takes; they end the reading.
func (r *Reader) Next() (Item, error) {
	for r.err == nil {
		x, err := r.frame()
		if err != nil {
			if r.options.growing && errors.Is(err, io.EOF) {
				return Item{}, io.EOF
			}
			r.err = err
			break
		}
		if item, ok := r.item(x); ok {
			return item, nil
		}
	}
	return Item{}, r.err
}

// frame returns the next frame, decoded.
func (r *Reader) frame() (*decoded, error) {
	if r.ahead != nil {
		return r.ahead.next()
	}
	for {
		f, err := r.frames.next()
		if err != nil {
			return nil, err
		}
		if kinds, ok := r.frames.wants(&f); ok {
			r.current.rawFrame, r.current.only = f, kinds
			r.current.decode(r.decoder)
			return &r.current, nil
		}
	}
}

// item makes an item of a frame; false if there is nothing to deliver.
func (r *Reader) item(x *decoded) (Item, bool) {
	if x.err == nil && x.definitions != nil {
		var missing int
		if missing, x.err = r.tally.accept(x.definitions, x.first); x.err != nil {
			r.err = &CorruptError{Offset: x.offset, What: x.err.Error()}
			return Item{}, false
		}
		r.report.undefined(missing)
	}
	var live *event.LiveSet
	if x.err == nil && x.typ == frameLive && !x.unknown() {
		live, x.err = r.live.add(&r.decoder.live, &x.batch, x.part)
	}
	if x.err != nil {
		r.report.damage(x.offset, int64(x.size()), x.err.Error(), &x.frameHeader)
	}
	switch {
	case live != nil:
		return Item{Live: live}, true
	case x.err != nil:
	case x.unknown():
		r.report.unknown()
	case x.typ == frameProvenance:
		return Item{Provenance: x.provenance}, true
	case x.typ == frameDefinitions:
		return Item{Definitions: x.definitions}, true
	case x.typ == frameBatch && x.events > 0:
		return Item{Batch: &x.batch}, true
	case x.typ == frameSummary:
		return Item{Summary: x.summary}, true
	}
	return Item{}, false
}

// Close ends reading ahead, and closes what Open opened. It waits for a read in progress.
func (r *Reader) Close() error {
	if errors.Is(r.err, ErrClosed) {
		return nil
	}
	r.err = ErrClosed
	err := r.close()
	if r.ahead != nil {
		r.ahead.stop()
	}
	r.decoder.close()
	return err
}
