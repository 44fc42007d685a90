package cuda

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestOpenWithoutDriverSaysWhatWhereAndWhatToDo(t *testing.T) {
	_, err := Open("/nowhere/libcuda.so.1")
	var e *NoDriverError
	if !errors.Is(err, ErrNoDriver) || !errors.As(err, &e) || e.Path != "/nowhere/libcuda.so.1" || e.Unwrap() == nil {
		t.Fatalf("Open of a path that is not there: %v", err)
	}
	for _, part := range []string{"no CUDA driver", "/nowhere/libcuda.so.1", "install", "LD_LIBRARY_PATH"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

// libm is a library without a single CUDA symbol: every call must be unsupported, none may panic.
func TestAbsentCallsAreUnsupportedNotFatal(t *testing.T) {
	_, err := Open("libm.so.6")
	var e *UnsupportedError
	if !errors.Is(err, ErrUnsupported) || !errors.As(err, &e) || e.Feature != "cuInit" {
		t.Fatalf("Open of a library that is no driver: %v", err)
	}
}

func TestUnsupportedNamesTheFirstDriverThatHasTheCall(t *testing.T) {
	d := &Driver{since: map[string]int{"cuLibraryLoadData": 12000, "cuMemAllocAsync": 11020}}
	for call, want := range map[string]string{
		"cuLibraryLoadData": "cuLibraryLoadData is not in this CUDA driver: it needs one for CUDA 12.0 or newer",
		"cuMemAllocAsync":   "cuMemAllocAsync is not in this CUDA driver: it needs one for CUDA 11.2 or newer",
	} {
		if err := d.check(call, missing); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestErrorWithoutANameStillSaysWhichCallAndCode(t *testing.T) {
	d := &Driver{since: map[string]int{}}
	d.fn.getErrorName = func(Result, **byte) Result { return missing }
	d.fn.getErrorString = func(Result, **byte) Result { return missing }
	err := d.check("cuFuture", 4711)
	if err == nil || err.Error() != "cuFuture: CUDA error 4711" || !errors.Is(err, Result(4711)) {
		t.Errorf("an unknown code reads %v", err)
	}
}

// The layouts that the driver reads must not depend on what Go makes of the padding.
func TestLayoutsAreThoseOfCUDA(t *testing.T) {
	for _, c := range []struct {
		value any
		size  uintptr
	}{{poolProps{}, 88}, {allocationProp{}, 32}, {accessDesc{}, 12}, {launchConfig{}, 56}, {launchAttribute{}, 72}, {UUID{}, 16}} {
		if got := reflect.TypeOf(c.value).Size(); got != c.size {
			t.Errorf("%T has %d bytes, CUDA's has %d", c.value, got, c.size)
		}
	}
	if got := reflect.TypeFor[launchConfig]().Field(4).Offset; got != 32 {
		t.Errorf("the stream of a launch is at %d, CUDA's at 32", got)
	}
}
