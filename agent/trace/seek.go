package trace

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/warpscope/warpscope/agent/event"
)

// seeking are frames that the index chose.
type seeking struct {
	src     io.ReadSeeker
	report  *reporter
	options *readerOptions
	plan    []indexed
	buf     []byte
}

// openIndex returns the frames of src that the options ask for, by its index; nil if src has none
// that can be used. src is then where it was.
func openIndex(src io.Reader, d *decoder, report *reporter, o *readerOptions) *seeking {
	seeker, ok := src.(io.ReadSeeker)
	if !ok || o.growing {
		return nil
	}
	at, err := seeker.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil // a pipe
	}
	s := &seeking{src: seeker, report: report, options: o}
	entries, err := s.load(d)
	if err != nil {
		// Without its index the trace is read from the beginning to the end.
		_, _ = seeker.Seek(at, io.SeekStart)
		return nil
	}
	s.plan = choosePlan(entries, o)
	report.trailer()
	return s
}

// load reads all index frames, from the last to the first.
func (s *seeking) load(d *decoder) ([]indexed, error) {
	end, err := s.src.Seek(-trailerSize, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	var trailer [trailerSize]byte
	if _, err := io.ReadFull(s.src, trailer[:]); err != nil {
		return nil, err
	}
	offset, length, ok := parseTrailer(trailer[:])
	if !ok || offset+int64(length) != end {
		return nil, errors.New("no trailer")
	}
	size := uint32(length)
	var all []indexed
	for {
		f, err := s.read(offset, size)
		if err != nil {
			return nil, err
		}
		if f.typ != frameIndex || offset+int64(f.size()) > end {
			return nil, errors.New("no index")
		}
		end = offset
		payload, err := d.payload(&f.frameHeader, f.stored)
		if err != nil {
			return nil, err
		}
		previous, entries, err := unmarshalIndex(payload)
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
		if previous == 0 {
			break
		}
		if previous < fileHeaderSize || previous >= offset || len(all) > maxIndexed {
			return nil, errors.New("index is too long or goes forward")
		}
		offset, size = previous, 0
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].offset < all[j].offset })
	// Each byte is read once, whatever the index says.
	at := int64(fileHeaderSize)
	all = slices.DeleteFunc(all, func(x indexed) bool {
		overlaps := x.offset < at
		if !overlaps {
			at = x.offset + int64(x.length)
		}
		return overlaps
	})
	return all, nil
}

// read reads the frame at an offset, whose size must be that given, if it is not 0.
func (s *seeking) read(offset int64, size uint32) (rawFrame, error) {
	if _, err := s.src.Seek(offset, io.SeekStart); err != nil {
		return rawFrame{}, err
	}
	s.buf = resize(s.buf, frameHeaderSize)
	if _, err := io.ReadFull(s.src, s.buf); err != nil {
		return rawFrame{}, err
	}
	h, ok := parseFrameHeader(s.buf)
	if !ok || size != 0 && h.size() != int(size) {
		return rawFrame{}, errNoFrame
	}
	s.buf = resize(s.buf, int(h.stored))
	if _, err := io.ReadFull(s.src, s.buf); err != nil {
		return rawFrame{}, err
	}
	if checksum(s.buf) != h.sum {
		return rawFrame{}, errChecksum
	}
	return rawFrame{frameHeader: h, offset: offset, stored: s.buf}, nil
}

var (
	errNoFrame  = errors.New("no frame begins there")
	errChecksum = errors.New("checksum of a payload is wrong")
)

func (s *seeking) next() (rawFrame, error) {
	for len(s.plan) > 0 {
		x := s.plan[0]
		s.plan = s.plan[1:]
		f, err := s.read(x.offset, x.length)
		switch {
		case err == nil:
			s.report.frame(&f.frameHeader, f.sequence)
			return f, nil
		case errors.Is(err, errNoFrame), errors.Is(err, errChecksum), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
			s.report.damage(x.offset, int64(x.length), err.Error(), nil)
		default:
			return rawFrame{}, fmt.Errorf("read trace at byte %d: %w", x.offset, err)
		}
	}
	return rawFrame{}, io.EOF
}

func (s *seeking) wants(x *rawFrame) (uint32, bool) {
	return s.options.wants(part{x.typ, x.process, x.min, x.max})
}

// choosePlan returns the frames to read: provenance and definitions first, then the rest in the
// order of the file.
func choosePlan(entries []indexed, o *readerOptions) []indexed {
	var first, rest []indexed
	checkpoints := lastCheckpoints(entries, o)
	for _, x := range entries {
		switch x.typ {
		case frameProvenance, frameDefinitions:
			first = append(first, x)
			continue
		case frameBatch:
			if o.kinds != 0 && x.kinds&o.kinds == 0 {
				continue
			}
		}
		kinds, ok := o.wants(part{x.typ, x.process, x.min, x.max})
		if !ok {
			continue
		}
		if before := o.ranged && x.max < o.from; before && (x.typ == frameBatch || x.typ == frameLive) {
			if x.offset < checkpoints[x.process] || x.typ == frameBatch && x.kinds&kinds == 0 {
				continue // a later checkpoint makes it superfluous
			}
		}
		rest = append(rest, x)
	}
	sort.SliceStable(first, func(i, j int) bool { return first[i].typ < first[j].typ })
	return append(first, rest...)
}

// lastCheckpoints returns for each process where its last live set before the range begins.
func lastCheckpoints(entries []indexed, o *readerOptions) map[event.ProcessID]int64 {
	last := map[event.ProcessID]int64{}
	if !o.ranged || !o.checkpoint {
		return last
	}
	when := map[event.ProcessID]event.Time{}
	for _, x := range entries {
		if x.typ != frameLive || x.max >= o.from {
			continue
		}
		if at, seen := when[x.process]; !seen || x.max != at { // else another part of the same one
			when[x.process], last[x.process] = x.max, x.offset
		}
	}
	return last
}
