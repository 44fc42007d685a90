package exchange

import (
	"bytes"
	"context"
	"io"
)

const (
	// maxValue bounds a single event, or value of the head, that is looked into; a larger one is
	// passed over and counted. PyTorch's events have some hundred bytes, those with stacks and
	// shapes some ten thousand.
	maxValue = 4 << 20
	// piece is how much is read at least at a time.
	piece = 32 << 10
)

// window is a stretch of the decompressed file.
type window struct {
	ctx    context.Context
	r      io.Reader
	buf    []byte
	at     int   // where reading stands, in buf
	end    int   // of what buf holds
	offset int64 // of buf[0] in the file
	err    error // why there is no more; io.EOF
}

// position is where reading stands in the file.
func (w *window) position() int64 { return w.offset + int64(w.at) }

// rest is what has been read and not used.
func (w *window) rest() []byte { return w.buf[w.at:w.end] }

// fill reads on; what lies before `at` may move out. False: there is no more.
func (w *window) fill() bool {
	if w.err != nil {
		return false
	}
	if err := w.ctx.Err(); err != nil {
		w.err = err
		return false
	}
	if w.at > 0 && len(w.buf)-w.end < piece {
		copy(w.buf, w.buf[w.at:w.end])
		w.offset += int64(w.at)
		w.end -= w.at
		w.at = 0
	}
	if len(w.buf)-w.end < piece {
		bigger := make([]byte, max(2*piece, 2*len(w.buf)))
		copy(bigger, w.buf[:w.end])
		w.buf = bigger
	}
	had := w.end
	for w.end-had < piece && w.err == nil {
		n, err := w.r.Read(w.buf[w.end:])
		w.end += n
		w.err = err
	}
	return w.end > had
}

// peek returns the next byte that is not space; false at the end.
func (w *window) peek() (byte, bool) {
	for {
		w.at = skipSpace(w.buf[:w.end], w.at)
		if w.at < w.end {
			return w.buf[w.at], true
		}
		if !w.fill() {
			return 0, false
		}
	}
}

// found is what became of looking for a value.
type found int

const (
	foundValue    found = iota // here it is
	foundLarge                 // it is larger than is looked into, and was passed over
	foundDamage                // what stands there is no JSON
	foundTruncate              // the file ends within it
)

// value returns the object, array or string that begins here, and moves behind it. It is valid until
// the next call. Where it finds none, it stays where it is; bad is then where the damage shows, or
// how far was looked, counted from here. A value that holds a key `without`
// is damage: it lacks a bracket.
func (w *window) value(without string) (v []byte, bad int, f found) {
	var s scanner
	p := w.at
	large := false
	for {
		var result scanResult
		p, result = s.run(w.buf[:w.end], p)
		switch result {
		case scanEnd:
			v = w.buf[w.at:p]
			if large {
				w.at = p
				return nil, 0, foundLarge
			}
			if without != "" && bytes.Contains(v, []byte(without)) {
				return nil, 0, foundDamage
			}
			w.at = p
			return v, 0, foundValue
		case scanBad:
			bad = p - w.at
			return nil, bad, foundDamage
		}
		done := p - w.at
		beyond := done >= maxValue && !large
		if beyond && w.holds(without) {
			return nil, 0, foundDamage
		}
		if large = large || beyond; large {
			// Only the byte before the next bracket is ever looked back to: keep a few.
			w.at = max(w.at, p-64)
			done = p - w.at
		}
		if !w.fill() {
			if !large && w.holds(without) {
				return nil, 0, foundDamage
			}
			return nil, done, foundTruncate
		}
		p = w.at + done
	}
}

// holds says whether a key is somewhere in what has been read.
func (w *window) holds(key string) bool {
	return key != "" && bytes.Contains(w.rest(), []byte(key))
}

// scalar returns the number or literal that begins here, and moves behind it; nil: there is none.
func (w *window) scalar() []byte {
	for {
		p := w.at
		for p < w.end && classes[w.buf[p]] == classPlain && w.buf[p] != ',' && w.buf[p] != ':' && !isSpace(w.buf[p]) {
			p++
		}
		if p == w.end && p-w.at < 1<<10 && w.fill() {
			continue
		}
		v := w.buf[w.at:p]
		if len(v) == 0 || len(v) >= 1<<10 {
			return nil
		}
		w.at = p
		return v
	}
}

// seek moves on to where an event seems to begin, from skip bytes on; false: nowhere.
func (w *window) seek(skip int) bool {
	w.at = min(w.at+skip, w.end)
	for {
		n := bytes.IndexByte(w.rest(), '{')
		if n < 0 {
			w.at = w.end
			if !w.fill() {
				return false
			}
			continue
		}
		w.at += n
		before := w.at - 1
		for before >= 0 && isSpace(w.buf[before]) {
			before--
		}
		if before >= 0 && w.buf[before] != ',' && w.buf[before] != '[' && w.buf[before] != '}' {
			w.at++
			continue
		}
		if w.end-w.at < 64 {
			w.fill()
		}
		if beginsEvent(w.rest()) {
			return true
		}
		w.at++
	}
}

// beginsEvent says whether b begins like an event: with one of the keys that events begin with.
func beginsEvent(b []byte) bool {
	b = b[:min(len(b), 64)]
	p := skipSpace(b, 1)
	for _, key := range []string{`"ph"`, `"name"`, `"cat"`, `"pid"`, `"tid"`, `"ts"`, `"dur"`, `"args"`} {
		if bytes.HasPrefix(b[p:], []byte(key)) {
			return true
		}
	}
	return false
}
