package exchange

import "bytes"

// classes say what a byte means outside of strings. JSON has no use for the others there: one of
// them shows that a quote is missing or too many.
var classes = func() (t [256]uint8) {
	for i := range t {
		t[i] = classBad
	}
	// Punctuation, space, and the letters of numbers, true, false, null, NaN and Infinity.
	for _, c := range []byte(",: \t\r\n0123456789+-.eEtruefalsnuNaInity") {
		t[c] = classPlain
	}
	t['"'] = classQuote
	t['{'], t['['] = classOpen, classOpen
	t['}'], t[']'] = classClose, classClose
	return t
}()

const (
	classPlain uint8 = iota
	classQuote
	classOpen
	classClose
	classBad
)

// maxDepth bounds how deep values nest; one that is deeper is damage.
const maxDepth = 60

// scanner finds the end of a JSON object, array or string that arrives in pieces. Its zero value is ready.
// It checks as much of the grammar as shows that the end it finds is the right one.
type scanner struct {
	depth   int
	objects uint64 // a bit a level: an object, not an array
	quoted  bool   // inside a string
}

type scanResult int

const (
	scanEnd  scanResult = iota // the value ends before the position returned
	scanMore                   // it goes on beyond the piece: continue at the position returned
	scanBad                    // at the position returned stands what cannot be there
)

// run scans b from p on: first from where the value begins, later from where it stopped.
func (s *scanner) run(b []byte, p int) (int, scanResult) {
	for p < len(b) {
		if s.quoted {
			var result scanResult
			if p, result = s.text(b, p); result != scanEnd || s.depth == 0 {
				return p, result
			}
			continue
		}
		c := b[p]
		switch classes[c] {
		case classPlain:
			p++
		case classQuote:
			s.quoted = true
			p++
		case classOpen:
			if !s.open(b, p) {
				return p, scanBad
			}
			p++
		case classClose:
			if s.depth == 0 || s.inObject() != (c == '}') {
				return p, scanBad
			}
			s.depth--
			p++
			if s.depth == 0 {
				return p, scanEnd
			}
		default:
			return p, scanBad
		}
	}
	return p, scanMore
}

func (s *scanner) inObject() bool { return s.objects>>s.depth&1 == 1 }

// open takes an opening bracket at p. It must be somewhere a value can be: where a closing bracket
// was lost, the next object stands as if it were a key.
func (s *scanner) open(b []byte, p int) bool {
	if s.depth > 0 {
		before := p - 1
		for before >= 0 && isSpace(b[before]) {
			before--
		}
		if before >= 0 {
			switch b[before] {
			case ':':
				if !s.inObject() {
					return false
				}
			case '[', ',':
				if s.inObject() {
					return false
				}
			default:
				return false
			}
		}
	}
	if s.depth == maxDepth {
		return false
	}
	s.depth++
	s.objects &^= 1 << s.depth
	if b[p] == '{' {
		s.objects |= 1 << s.depth
	}
	return true
}

// stretch is how far a string is searched at a time: far enough for most names, and near enough
// that many escapes before a distant end do not make it be sought again and again.
const stretch = 4 << 10

// text goes on inside a string. A line break cannot be in one: it shows that a quote was lost.
func (s *scanner) text(b []byte, p int) (int, scanResult) {
	for p < len(b) {
		// Most strings are short: looking at each byte beats searching.
		for near := min(p+24, len(b)); p < near && b[p] != '"' && b[p] != '\\' && b[p] != '\n'; {
			p++
		}
		if p == len(b) {
			break
		}
		switch b[p] {
		case '"':
			s.quoted = false
			return p + 1, scanEnd
		case '\n':
			return p, scanBad
		case '\\':
			if p+1 == len(b) {
				return p, scanMore
			}
			p += 2
			continue
		}
		far := b[p:min(p+stretch, len(b))]
		for _, c := range []byte{'"', '\\', '\n'} {
			if n := bytes.IndexByte(far, c); n >= 0 {
				far = far[:n]
			}
		}
		p += len(far)
	}
	return p, scanMore
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func skipSpace(b []byte, p int) int {
	for p < len(b) && isSpace(b[p]) {
		p++
	}
	return p
}

// stringEnd returns where the string ends whose opening quote is at p; -1: it does not.
func stringEnd(b []byte, p int) int {
	s := scanner{quoted: true}
	end, result := s.text(b, p+1)
	if result != scanEnd {
		return -1
	}
	return end
}

// valueEnd returns where the value ends that begins at p; -1: it is none, or does not end.
func valueEnd(b []byte, p int) int {
	if p >= len(b) {
		return -1
	}
	switch b[p] {
	case '"':
		return stringEnd(b, p)
	case '{', '[':
		var s scanner
		end, result := s.run(b, p)
		if result != scanEnd {
			return -1
		}
		return end
	}
	end := p
	for end < len(b) && classes[b[end]] == classPlain && b[end] != ',' && b[end] != ':' && !isSpace(b[end]) {
		end++
	}
	if end == p {
		return -1
	}
	return end
}
