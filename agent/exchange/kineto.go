package exchange

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/warpscope/warpscope/agent/event"
)

// ErrNotKineto is returned for a source that holds no trace events.
var ErrNotKineto = errors.New("not a PyTorch profiler trace")

// Profiler names the tool that records what ReadKineto reads.
const Profiler = "PyTorch profiler"

// Options say what is taken of a foreign trace. The zero value takes what ran on GPUs, CUDA calls,
// and the ranges that the program's author named.
type Options struct {
	Operators bool // also PyTorch's operators, as ranges of domain "cpu_op"
	Python    bool // also Python's functions, as ranges of domain "python_function"
	// Provenance, if set, is called once before the first definitions with what is known by then:
	// of a trace of up to a million events, all.
	Provenance func(*event.Provenance)

	waiting int // rows that wait, instead of maxWaiting; 0: that
}

// ReadKineto reads the trace of PyTorch's profiler that src delivers, plain or compressed, and
// hands it to sink: definitions first, then events, in the order of time within each million.
//
// Damage does not end it: it is passed over, and the Report tells. An error means that src or the
// sink failed, that ctx ended, or that there is no trace in src ([ErrNotKineto]).
//
// Times of the result are nanoseconds since the trace's own zero, moved by one second so that a
// time of zero can mean unknown; the Provenance ties them to wall time if the trace does.
func ReadKineto(ctx context.Context, src io.Reader, sink event.Sink, o Options) (event.Provenance, event.Summary, Report, error) {
	k := newReader(ctx, src, sink, o)
	err := k.read()
	k.report.Bytes = k.in.position()
	k.report.finish()
	if err != nil {
		return event.Provenance{}, event.Summary{}, k.report, fmt.Errorf("read PyTorch profiler trace: %w", err)
	}
	return k.provenance(), k.summary(), k.report, nil
}

// reader reads one trace.
type reader struct {
	source  *source
	in      window
	options Options
	report  Report
	names   names
	owners  owners
	rows    []row
	keys    []key
	out     batches
	head    head
	found   findings
	again   int64 // bytes that were looked at once more because of damage
	flushes int
	defined int    // processes, likewise
	gpus    int    // defined
	begun   bool   // events were found
	ranges  uint32 // handed an identifier
}

func newReader(ctx context.Context, src io.Reader, sink event.Sink, o Options) *reader {
	s := &source{r: src}
	if o.waiting == 0 {
		o.waiting = maxWaiting
	}
	return &reader{
		source: s, in: window{ctx: ctx}, options: o, report: Report{skips: make(map[string]*uint64)},
		names: newNames(), owners: newOwners(), out: newBatches(sink), head: newHead(), found: newFindings(),
	}
}

// source remembers why the underlying reader failed, which a decompressor may hide.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// read reads all.
func (k *reader) read() error {
	r, compression, done, err := unpack(k.source)
	if err != nil {
		if k.source.err != nil {
			return k.source.err
		}
		return fmt.Errorf("%w: %w", ErrNotKineto, err)
	}
	defer done()
	k.report.Compression = compression
	k.in.r = r
	if err := k.top(); err != nil {
		return err
	}
	if err := k.failure(); err != nil {
		return err
	}
	if !k.begun {
		if !k.head.known {
			return fmt.Errorf("%w: it has no traceEvents", ErrNotKineto)
		}
		k.report.damage(k.in.position(), "it has no traceEvents")
	}
	return k.flush(true)
}

// failure returns why reading had to stop, if that was not the end or damage of the file.
func (k *reader) failure() error {
	switch err := k.in.err; {
	case k.source.err != nil:
		return k.source.err
	case err == nil, errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		k.truncated()
		return nil
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader), k.report.Compression != "" && k.in.ctx.Err() == nil:
		k.report.damage(k.in.offset+int64(k.in.end), "decompress: "+decompression(err))
		return nil
	default:
		return err
	}
}

// decompression puts a decompressor's error in a few words.
func decompression(err error) string {
	switch {
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, zstd.ErrCRCMismatch):
		return "the checksum is wrong"
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return "it asks for more memory than is given"
	}
	return err.Error()
}

func (k *reader) truncated() {
	if !k.report.Truncated {
		k.report.Truncated, k.report.TruncatedAt = true, k.in.position()
	}
}

// top reads what stands at the top: an object with the events as one of its members, or the array
// of events alone.
func (k *reader) top() error {
	in := &k.in
	in.fill()
	if bytes.HasPrefix(in.rest(), []byte(byteOrderMark)) {
		in.at += len(byteOrderMark)
	}
	c, ok := in.peek()
	if !ok {
		if err := k.failure(); err != nil {
			return err
		}
		switch {
		case k.report.Truncated || k.report.Damages > 0:
			return fmt.Errorf("%w: nothing of it could be decompressed (%s)", ErrNotKineto, k.report.Compression)
		case in.position() == 0:
			return fmt.Errorf("%w: it is empty", ErrNotKineto)
		}
		return fmt.Errorf("%w: there is nothing but space in it", ErrNotKineto)
	}
	switch {
	case !isJSON(in.rest()):
		return fmt.Errorf("%w: it begins with %q", ErrNotKineto, in.rest()[:min(len(in.rest()), 8)])
	case c == '[':
		in.at++
		if err := k.events(); err != nil {
			return err
		}
	default:
		in.at++
		if err := k.object(); err != nil {
			return err
		}
	}
	for {
		if _, more := in.peek(); !more || k.report.Truncated {
			return nil
		}
		if more, err := k.lost(foundDamage, 0, "something follows the end of the trace"); !more {
			return err
		}
	}
}

// object reads the members of the outermost object.
func (k *reader) object() error {
	in := &k.in
	for {
		c, ok := in.peek()
		switch {
		case !ok:
			k.truncated()
			return nil
		case c == ',':
			in.at++
			continue
		case c == '}':
			in.at++
			return nil
		}
		if more, err := k.member(c); !more || err != nil {
			return err
		}
	}
}

// member reads a member that begins with c; false: nothing can be read behind it.
func (k *reader) member(c byte) (more bool, err error) {
	in := &k.in
	if c != '"' {
		return k.lost(foundDamage, 0, "no key")
	}
	raw, bad, found := in.value("")
	if found != foundValue {
		return k.lost(found, bad, "in a key")
	}
	name := text(inner(raw), 64)
	c, ok := in.peek()
	if !ok || c != ':' {
		return k.lost(missing(ok), 0, "no colon after a key")
	}
	in.at++
	c, ok = in.peek()
	switch {
	case !ok:
		return k.lost(foundTruncate, 0, "")
	case name == "traceEvents" && c == '[':
		in.at++
		k.begun = true
		err := k.events()
		return err == nil, err
	case c == '{' || c == '[' || c == '"':
		v, bad, found := in.value(eventsKey)
		if found != foundValue {
			return k.lost(found, bad, "in "+name)
		}
		k.head.member(name, v)
	default:
		v := in.scalar()
		if v == nil {
			return k.lost(missing(in.at < in.end), 0, "in "+name)
		}
		k.head.member(name, v)
	}
	return true, nil
}

// eventsKey is what stands before the events.
const eventsKey = `"traceEvents"`

// missing says what the absence of something means: the end of the file, or damage.
func missing(more bool) found {
	if more {
		return foundDamage
	}
	return foundTruncate
}

// lost goes on after damage outside of the events: with the next event, if there is one.
func (k *reader) lost(f found, bad int, what string) (more bool, err error) {
	switch f {
	case foundLarge:
		return true, nil
	case foundTruncate:
		k.truncated()
		return false, nil
	}
	if !k.recover(0, bad, what) {
		return false, nil
	}
	err = k.events()
	return err == nil, err
}

// events reads the array of events, up to and including its closing bracket.
func (k *reader) events() error {
	in := &k.in
	for {
		c, ok := in.peek()
		switch {
		case !ok:
			k.truncated()
			return nil
		case c == ',':
			in.at++
			continue
		case c == ']':
			in.at++
			return nil
		case c != '{':
			if !k.recover(0, 0, "no event") {
				return nil
			}
			continue
		}
		v, bad, found := in.value("")
		switch found {
		case foundValue:
			k.event(v)
			if len(k.rows) >= k.options.waiting {
				if err := k.flush(false); err != nil {
					return err
				}
			}
		case foundLarge:
			k.report.Events++
			k.report.Large++
		case foundDamage:
			if !k.recover(1, bad, "in an event") {
				return nil
			}
		case foundTruncate:
			if k.in.ctx.Err() != nil {
				return nil
			}
			k.truncated()
			k.in.at = k.in.end
			return nil
		}
	}
}

// recover goes on after damage at the present position, with the next event from skip bytes on:
// false if there is none. What stands there was looked at up to `looked`; it is looked at again only
// as long as that does not become the most of the work.
func (k *reader) recover(skip, looked int, what string) bool {
	from := k.in.position()
	k.report.damage(from+int64(looked), what)
	if k.again += int64(looked); k.again > 1<<20+2*from {
		skip = max(skip, looked)
		k.again -= int64(looked)
	}
	ok := k.in.seek(skip)
	k.report.LostBytes += k.in.position() - from
	return ok
}
