package cuda

import (
	"errors"
	"fmt"
)

// Result is a CUresult. It is an error, so that errors.Is(err, cuda.ErrOutOfMemory) works on
// whatever a call returned.
type Result int32

// The results that callers branch on.
const (
	ErrInvalidValue   Result = 1
	ErrOutOfMemory    Result = 2
	ErrNotInitialized Result = 3
	ErrNoDevice       Result = 100
	ErrInvalidDevice  Result = 101
	ErrInvalidContext Result = 201
	ErrInvalidHandle  Result = 400
	ErrNotFound       Result = 500
	ErrNotReady       Result = 600
	ErrNotSupported   Result = 801
)

// Error makes a bare result readable; what a call returns is an *Error and says more.
func (r Result) Error() string { return fmt.Sprintf("CUDA error %d", int32(r)) }

// Error is a driver call that failed.
type Error struct {
	Call string // the driver's name of the call: "cuMemAlloc_v2"
	Code Result
	Name string // "CUDA_ERROR_OUT_OF_MEMORY"; empty if the driver has no name for the code
	Text string // the driver's words: "out of memory"
}

// Error says which call failed and what the driver says about it.
func (e *Error) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("%s: CUDA error %d", e.Call, int32(e.Code))
	}
	return fmt.Sprintf("%s: %s (%s)", e.Call, e.Text, e.Name)
}

// Unwrap gives the result code.
func (e *Error) Unwrap() error { return e.Code }

// ErrNoDriver is what errors.Is finds when there is no CUDA driver; the error itself is a *NoDriverError.
var ErrNoDriver = errors.New("no CUDA driver")

// NoDriverError says that libcuda could not be loaded, from where, and what to do.
type NoDriverError struct {
	Path string // what was looked for: "libcuda.so.1", or the path given to Open
	Err  error  // the loader's words
}

// Error says what, where and what to do.
func (e *NoDriverError) Error() string {
	return fmt.Sprintf("no CUDA driver: %s could not be loaded (%v); install the NVIDIA driver, or in a container "+
		"start it with GPU access (docker run --gpus all), or put the folder of libcuda.so.1 into LD_LIBRARY_PATH", e.Path, e.Err)
}

// Is reports whether target is ErrNoDriver.
func (e *NoDriverError) Is(target error) bool { return target == ErrNoDriver }

// Unwrap gives the loader's error.
func (e *NoDriverError) Unwrap() error { return e.Err }

// ErrUnsupported is what errors.Is finds when the driver is too old for a call; the error itself is an *UnsupportedError.
var ErrUnsupported = errors.New("not supported by this CUDA driver")

// UnsupportedError says that this driver does not have a call, and which one does.
type UnsupportedError struct {
	Feature   string // the driver's name of the call
	MinDriver string // the CUDA version of the first driver that has it: "11.2"
}

// Error says what is missing and since when it exists.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s is not in this CUDA driver: it needs one for CUDA %s or newer", e.Feature, e.MinDriver)
}

// Is reports whether target is ErrUnsupported.
func (e *UnsupportedError) Is(target error) bool { return target == ErrUnsupported }

// missing is what the stand-in of an absent call returns; no CUresult is negative.
const missing Result = -1

// check turns the result of a call into an error, nil for success.
func (d *Driver) check(call string, rc Result) error {
	switch rc {
	case 0:
		return nil
	case missing:
		return &UnsupportedError{Feature: call, MinDriver: versionText(d.since[call])}
	}
	e := &Error{Call: call, Code: rc}
	var text *byte
	if d.fn.getErrorName(rc, &text) == 0 {
		e.Name = goString(text)
	}
	text = nil
	if d.fn.getErrorString(rc, &text) == 0 {
		e.Text = goString(text)
	}
	return e
}

// versionText writes 12040 as "12.4".
func versionText(version int) string {
	return fmt.Sprintf("%d.%d", version/1000, version%1000/10)
}
