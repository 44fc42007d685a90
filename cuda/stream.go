package cuda

import "errors"

type streamCalls struct {
	streamCreate       func(stream *word, flags uint32, priority int32) rc `cuda:"cuStreamCreateWithPriority"`
	streamDestroy      func(stream word) rc                                `cuda:"cuStreamDestroy_v2"`
	streamSynchronize  func(stream word) rc                                `cuda:"cuStreamSynchronize"`
	streamQuery        func(stream word) rc                                `cuda:"cuStreamQuery"`
	streamWaitEvent    func(stream, event word, flags uint32) rc           `cuda:"cuStreamWaitEvent"`
	streamBeginCapture func(stream word, mode int32) rc                    `cuda:"cuStreamBeginCapture_v2" since:"10010"`
	streamEndCapture   func(stream word, graph *word) rc                   `cuda:"cuStreamEndCapture" since:"10000"`
	streamIsCapturing  func(stream word, status *int32) rc                 `cuda:"cuStreamIsCapturing" since:"10000"`
	streamGetPriority  func(stream word, priority *int32) rc               `cuda:"cuStreamGetPriority"`
	streamGetCtx       func(stream word, ctx *word) rc                     `cuda:"cuStreamGetCtx"`
}

// Stream is a queue of work on a device. The zero handle is the default stream.
type Stream struct {
	d      *Driver
	handle uintptr
	closed bool
}

// StreamConfig says how a stream is made.
type StreamConfig struct {
	NonBlocking bool // not ordered with the default stream
	Priority    int  // 0, or a smaller number for more urgent work; see StreamPriorities
}

// NewStream makes a stream in the current context.
func (d *Driver) NewStream(config StreamConfig) (*Stream, error) {
	s := &Stream{d: d}
	var flags uint32
	if config.NonBlocking {
		flags = 1
	}
	if err := d.check("cuStreamCreateWithPriority", d.fn.streamCreate(&s.handle, flags, int32(config.Priority))); err != nil {
		return nil, err
	}
	return s, nil
}

// DefaultStream is the default stream of whatever context is current; Close does nothing to it.
func (d *Driver) DefaultStream() *Stream { return &Stream{d: d, closed: true} }

// Synchronize waits until the stream is empty. It is where errors of kernels come to light.
func (s *Stream) Synchronize() error {
	return s.d.check("cuStreamSynchronize", s.d.fn.streamSynchronize(s.handle))
}

// Done reports whether the stream is empty, without waiting.
func (s *Stream) Done() (bool, error) {
	err := s.d.check("cuStreamQuery", s.d.fn.streamQuery(s.handle))
	if errors.Is(err, ErrNotReady) {
		return false, nil
	}
	return err == nil, err
}

// Wait makes later work of the stream wait for the event, without the host waiting.
func (s *Stream) Wait(e *Event) error {
	return s.d.check("cuStreamWaitEvent", s.d.fn.streamWaitEvent(s.handle, e.handle, 0))
}

// Priority is the stream's priority, clamped by the driver to what the device has.
func (s *Stream) Priority() (int, error) {
	var priority int32
	err := s.d.check("cuStreamGetPriority", s.d.fn.streamGetPriority(s.handle, &priority))
	return int(priority), err
}

// In reports whether the stream belongs to the context.
func (s *Stream) In(c *Context) (bool, error) {
	var handle uintptr
	err := s.d.check("cuStreamGetCtx", s.d.fn.streamGetCtx(s.handle, &handle))
	return err == nil && handle == c.handle, err
}

// Close destroys the stream; work in it still runs to its end. A second Close does nothing.
func (s *Stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	return s.d.check("cuStreamDestroy_v2", s.d.fn.streamDestroy(s.handle))
}
