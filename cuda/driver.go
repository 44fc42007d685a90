package cuda

import (
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"
)

type baseCalls struct {
	init             func(flags uint32) rc         `cuda:"cuInit"`
	driverGetVersion func(version *int32) rc       `cuda:"cuDriverGetVersion"`
	getErrorName     func(code rc, text **byte) rc `cuda:"cuGetErrorName"`
	getErrorString   func(code rc, text **byte) rc `cuda:"cuGetErrorString"`
}

// Library is the name under which the loader finds the CUDA driver.
const Library = "libcuda.so.1"

// Driver is a loaded CUDA driver. Its methods are safe for concurrent use; see the package comment
// for the rule about threads.
type Driver struct {
	handle    uintptr
	path      string
	simulated bool
	version   int
	fn        functions
	since     map[string]int // absent calls, and the version that brought them
}

// Open loads the CUDA driver and initialises it. An empty path is libcuda.so.1 as the loader finds it
// (LD_LIBRARY_PATH, then the system's folders). Without a driver the error is ErrNoDriver; with a
// driver but no GPU it is ErrNoDevice.
func Open(path string) (*Driver, error) {
	if path == "" {
		path = Library
	}
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, &NoDriverError{Path: path, Err: err}
	}
	d := &Driver{handle: handle, path: path}
	if address, err := purego.Dlsym(handle, "warpscope_simulated_device"); err == nil && address != 0 {
		d.simulated = true
	}
	d.bind()
	if err := d.start(); err != nil {
		// A driver that found no device is unloaded, so that another one can take its name.
		if closeErr := purego.Dlclose(handle); closeErr != nil {
			return nil, fmt.Errorf("%w (and %s stays loaded: %w)", err, path, closeErr)
		}
		return nil, err
	}
	return d, nil
}

func (d *Driver) start() error {
	if err := d.check("cuInit", d.fn.init(0)); err != nil {
		return err
	}
	var version int32
	if err := d.check("cuDriverGetVersion", d.fn.driverGetVersion(&version)); err != nil {
		return err
	}
	d.version = int(version)
	return nil
}

// Symbol is the address of one of the driver's functions, for C code that calls it in a loop.
func (d *Driver) Symbol(name string) (uintptr, error) {
	address, err := purego.Dlsym(d.handle, name)
	if err != nil || address == 0 {
		return 0, d.check(name, missing)
	}
	return address, nil
}

// Version is the newest CUDA version that the driver supports: 13000 for 13.0.
func (d *Driver) Version() int { return d.version }

// Path is what was given to the loader.
func (d *Driver) Path() string { return d.path }

// Simulated reports whether this is warpscope's simulated device: no result made on it says
// anything about a GPU.
func (d *Driver) Simulated() bool { return d.simulated }

// goString copies a C string that the driver owns.
func goString(p *byte) string {
	if p == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}

// cString reads a C string from a buffer that the driver has filled.
func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
