package trace

import (
	"errors"
	"io"
)

// window is a buffer on a stream that can look ahead any number of bytes.
type window struct {
	r        io.Reader
	buf      []byte
	from, to int   // of buf, what has been read and not consumed
	offset   int64 // of buf[from] in the stream
	err      error // why no more can be read
	growing  bool  // an end is not for ever
}

// bytes returns what can be looked at without reading.
func (w *window) bytes() []byte { return w.buf[w.from:w.to] }

func (w *window) consume(n int) {
	w.from += n
	w.offset += int64(n)
}

// fill reads until n bytes can be looked at; false if the stream ends before.
func (w *window) fill(n int) bool {
	for w.to-w.from < n {
		if w.err != nil {
			return false
		}
		if w.to == len(w.buf) {
			w.room(n)
		}
		m, err := w.r.Read(w.buf[w.to:])
		w.to += m
		switch {
		case err == io.EOF && w.growing: // io.Reader returns it bare
			return w.to-w.from >= n
		case err != nil:
			w.err = err
		}
	}
	return true
}

// room makes space behind to. The buffer only doubles: a length that somebody declared is not
// believed before that many bytes have come.
func (w *window) room(n int) {
	if w.from > 0 {
		copy(w.buf, w.buf[w.from:w.to])
		w.from, w.to = 0, w.to-w.from
	}
	if size := len(w.buf); w.to == size {
		w.buf = append(w.buf, make([]byte, max(1<<16, min(size, n)))...)
		w.buf = w.buf[:cap(w.buf)]
	}
}

// failure returns the error that ended the stream, nil for its end.
func (w *window) failure() error {
	if w.err == nil || errors.Is(w.err, io.EOF) {
		return nil
	}
	return w.err
}
