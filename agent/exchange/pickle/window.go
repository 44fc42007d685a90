package pickle

import (
	"context"
	"errors"
	"io"
)

// window is the part of a pickle that is being looked at.
type window struct {
	ctx  context.Context
	src  io.Reader
	buf  []byte
	at   int   // next byte
	end  int   // of what was read
	base int64 // offset of buf[0]
	eof  bool
}

const windowBytes = 1 << 20

func (w *window) offset() int64 { return w.base + int64(w.at) }

// need makes n bytes lie at w.at; false without an error: the pickle ends before.
func (w *window) need(n int) (bool, error) {
	for w.end-w.at < n {
		if w.eof {
			return false, nil
		}
		if err := w.ctx.Err(); err != nil {
			return false, err
		}
		if w.at > 0 {
			copy(w.buf, w.buf[w.at:w.end])
			w.base += int64(w.at)
			w.end -= w.at
			w.at = 0
		}
		if n > len(w.buf) {
			// Only what is really there makes it grow: a length alone does not.
			if w.end < len(w.buf) {
				if err := w.fill(); err != nil {
					return false, err
				}
				continue
			}
			bigger := make([]byte, min(2*len(w.buf), n))
			copy(bigger, w.buf[:w.end])
			w.buf = bigger
		}
		if err := w.fill(); err != nil {
			return false, err
		}
	}
	return true, nil
}

func (w *window) fill() error {
	n, err := w.src.Read(w.buf[w.end:])
	w.end += n
	if errors.Is(err, io.EOF) {
		w.eof = true
		return nil
	}
	return err
}
