package cuda

import (
	"errors"
	"time"
)

type eventCalls struct {
	eventCreate      func(event *word, flags uint32) rc    `cuda:"cuEventCreate"`
	eventDestroy     func(event word) rc                   `cuda:"cuEventDestroy_v2"`
	eventRecord      func(event, stream word) rc           `cuda:"cuEventRecord"`
	eventSynchronize func(event word) rc                   `cuda:"cuEventSynchronize"`
	eventQuery       func(event word) rc                   `cuda:"cuEventQuery"`
	eventElapsed     func(ms *float32, start, end word) rc `cuda:"cuEventElapsedTime"`
}

// Event is a mark in a stream.
type Event struct {
	d      *Driver
	handle uintptr
	closed bool
}

// NewEvent makes an event that knows its time.
func (d *Driver) NewEvent() (*Event, error) { return d.newEvent(0) }

// NewMark makes an event without a time, which is cheaper; Elapsed does not take it.
func (d *Driver) NewMark() (*Event, error) {
	const disableTiming = 2
	return d.newEvent(disableTiming)
}

func (d *Driver) newEvent(flags uint32) (*Event, error) {
	e := &Event{d: d}
	if err := d.check("cuEventCreate", d.fn.eventCreate(&e.handle, flags)); err != nil {
		return nil, err
	}
	return e, nil
}

// Record puts the event into the stream.
func (e *Event) Record(s *Stream) error {
	return e.d.check("cuEventRecord", e.d.fn.eventRecord(e.handle, s.handle))
}

// Synchronize waits until the stream has reached the event.
func (e *Event) Synchronize() error {
	return e.d.check("cuEventSynchronize", e.d.fn.eventSynchronize(e.handle))
}

// Done reports whether the stream has reached the event, without waiting.
func (e *Event) Done() (bool, error) {
	err := e.d.check("cuEventQuery", e.d.fn.eventQuery(e.handle))
	if errors.Is(err, ErrNotReady) {
		return false, nil
	}
	return err == nil, err
}

// Elapsed is the device's time from start to end, to about half a microsecond. ErrNotReady: one of them has not been
// reached.
func Elapsed(start, end *Event) (time.Duration, error) {
	var ms float32
	err := start.d.check("cuEventElapsedTime", start.d.fn.eventElapsed(&ms, start.handle, end.handle))
	return time.Duration(float64(ms) * float64(time.Millisecond)), err
}

// Close destroys the event. A second Close does nothing.
func (e *Event) Close() error {
	if e.closed {
		return nil
	}
	e.closed = true
	return e.d.check("cuEventDestroy_v2", e.d.fn.eventDestroy(e.handle))
}
