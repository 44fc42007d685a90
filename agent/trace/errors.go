package trace

import (
	"errors"
	"fmt"
)

// ErrNotTrace is returned for a source that is empty or not a .wscope file.
var ErrNotTrace = errors.New("not a warpscope trace")

// ErrTruncated is what a trace ends with whose writer did not finish it, or whose end was cut
// off. What precedes the end is whole.
var ErrTruncated = errors.New("trace is incomplete")

// ErrFull is returned by a [Writer] that has reached its size limit. The events are counted as
// lost; the trace can still be closed.
var ErrFull = errors.New("trace has reached its maximum size")

// ErrClosed is returned by the methods of a closed [Writer] or [Reader].
var ErrClosed = errors.New("trace is closed")

// VersionError is returned for a trace of a major version that this package cannot read.
type VersionError struct {
	Major, Minor uint16 // of the file
}

func (e *VersionError) Error() string {
	if e.Major > Major {
		return fmt.Sprintf("trace has format version %d.%d, this warpscope reads version %d: read it with a newer warpscope", e.Major, e.Minor, Major)
	}
	return fmt.Sprintf("trace has format version %d.%d, which no warpscope release writes: record it again", e.Major, e.Minor)
}

// CorruptError tells that bytes of a trace are not what was written.
type CorruptError struct {
	Offset int64  // in the file, bytes
	What   string // what is wrong there
	// Frames and Bytes are how much of the file was passed over in total because of such damage.
	Frames int
	Bytes  int64
}

func (e *CorruptError) Error() string {
	s := fmt.Sprintf("trace is damaged at byte %d (%s)", e.Offset, e.What)
	if e.Bytes > 0 {
		return s + fmt.Sprintf("; %d bytes were passed over, the rest was read: copy the file again if the original is whole", e.Bytes)
	}
	return s + " and cannot be read further: copy the file again, or record it again"
}
