package trace

import (
	"bytes"
	"fmt"
	"io"
)

// rawFrame is a frame as it is in the file; its payload has the right checksum.
type rawFrame struct {
	frameHeader
	offset int64
	stored []byte // valid until the next frame is asked for
}

// scanner finds the frames of a stream, one after another, and passes over what is not one.
type scanner struct {
	in       window
	report   *reporter
	expected uint32 // sequence of the next frame
	consumed int    // bytes of the frame that was returned last
	wasted   int64  // bytes whose checksum was wrong
}

// next returns the next whole frame, or io.EOF.
func (s *scanner) next() (rawFrame, error) {
	s.in.consume(s.consumed)
	s.consumed = 0
	for {
		if !s.in.fill(frameHeaderSize) {
			return rawFrame{}, s.end()
		}
		at := s.in.offset
		h, ok := parseFrameHeader(s.in.bytes())
		switch {
		case !ok && s.trailer():
		case !ok:
			s.resync("no frame begins there", 1, nil)
		case !s.in.fill(h.size()):
			if s.in.growing || s.in.failure() != nil {
				return rawFrame{}, s.end()
			}
			// Cut off, unless frames follow: then bytes are missing in between.
			s.resync("frame is incomplete", 1, &h)
		default:
			stored := s.in.bytes()[frameHeaderSize:h.size()]
			if checksum(stored) != h.sum {
				// The next frame can begin within this one, if its writer left it unfinished.
				n := 1
				if s.wasted += int64(h.size()); s.wasted > at+maxPayload {
					n = h.size() // made to be slow
				}
				s.resync("checksum of a payload is wrong", n, &h)
				continue
			}
			s.consumed = h.size()
			s.report.frame(&h, s.expected)
			s.expected = h.sequence + 1
			return rawFrame{frameHeader: h, offset: at, stored: stored}, nil
		}
	}
}

// trailer consumes the trailer, if there is one.
func (s *scanner) trailer() bool {
	if !s.in.fill(trailerSize) {
		return false
	}
	if _, _, ok := parseTrailer(s.in.bytes()[:trailerSize]); !ok {
		return false
	}
	s.report.trailer()
	s.in.consume(trailerSize)
	return true
}

// end deals with a rest that is shorter than a frame's header, or with a frame that is not there
// yet.
func (s *scanner) end() error {
	if err := s.in.failure(); err != nil {
		return fmt.Errorf("read trace at byte %d: %w", s.in.offset+int64(len(s.in.bytes())), err)
	}
	s.trailer()
	if rest := len(s.in.bytes()); rest > 0 && !s.in.growing {
		s.report.truncated(s.in.offset, int64(rest))
		s.in.consume(rest)
	}
	return io.EOF
}

// resync passes over at least n bytes, up to what looks like a frame or the trailer. h is the
// header of the frame that is given up, if it has one.
func (s *scanner) resync(what string, n int, h *frameHeader) {
	start := s.in.offset
	s.in.consume(min(n, len(s.in.bytes())))
	m, e := marker(), ending()
	for {
		b := s.in.bytes()
		i := bytes.Index(b, m[:3]) // which the ending shares
		if i < 0 {
			// The beginning of a marker may be at the end of the buffer.
			s.in.consume(max(0, len(b)-2))
			if !s.in.fill(3) {
				break
			}
			continue
		}
		s.in.consume(i)
		if !s.in.fill(frameHeaderSize) && s.in.growing {
			s.report.damage(start, s.in.offset-start, what, h)
			return // what follows may become a frame
		}
		if len(s.in.bytes()) >= frameHeaderSize {
			if _, ok := parseFrameHeader(s.in.bytes()); ok {
				s.report.damage(start, s.in.offset-start, what, h)
				return
			}
		}
		if b := s.in.bytes(); len(b) >= trailerSize && bytes.Equal(b[:8], e[:]) {
			if _, _, ok := parseTrailer(b[:trailerSize]); ok {
				s.report.damage(start, s.in.offset-start, what, h)
				return
			}
		}
		s.in.consume(1)
	}
	s.in.consume(len(s.in.bytes()))
	if s.in.growing || s.in.failure() != nil {
		s.report.damage(start, s.in.offset-start, what, h)
		return
	}
	s.report.tail(start, s.in.offset-start, what, h)
}
