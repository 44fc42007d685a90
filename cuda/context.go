package cuda

import (
	"errors"
	"runtime"
)

type contextCalls struct {
	primaryRetain   func(ctx *word, device int32) rc                    `cuda:"cuDevicePrimaryCtxRetain"`
	primaryRelease  func(device int32) rc                               `cuda:"cuDevicePrimaryCtxRelease_v2" since:"11000"`
	primaryGetState func(device int32, flags *uint32, active *int32) rc `cuda:"cuDevicePrimaryCtxGetState"`
	ctxCreate       func(ctx *word, flags uint32, device int32) rc      `cuda:"cuCtxCreate_v2"`
	ctxDestroy      func(ctx word) rc                                   `cuda:"cuCtxDestroy_v2"`
	ctxSetCurrent   func(ctx word) rc                                   `cuda:"cuCtxSetCurrent"`
	ctxGetCurrent   func(ctx *word) rc                                  `cuda:"cuCtxGetCurrent"`
	ctxPush         func(ctx word) rc                                   `cuda:"cuCtxPushCurrent_v2"`
	ctxPop          func(ctx *word) rc                                  `cuda:"cuCtxPopCurrent_v2"`
	ctxSynchronize  func() rc                                           `cuda:"cuCtxSynchronize"`
	ctxGetDevice    func(device *int32) rc                              `cuda:"cuCtxGetDevice"`
	ctxGetLimit     func(value *uint64, limit uint32) rc                `cuda:"cuCtxGetLimit"`
	ctxSetLimit     func(limit uint32, value uint64) rc                 `cuda:"cuCtxSetLimit"`
	ctxPriorities   func(least, greatest *int32) rc                     `cuda:"cuCtxGetStreamPriorityRange"`
	ctxGetID        func(ctx word, id *uint64) rc                       `cuda:"cuCtxGetId" since:"12000"`
}

// Context is a CUDA context: the primary one of a device, which the CUDA runtime and every framework
// use too, or one of its own.
type Context struct {
	d       *Driver
	handle  uintptr
	device  Device
	primary bool
	closed  bool
}

// PrimaryContext retains the device's primary context; Close releases it.
func (v Device) PrimaryContext() (*Context, error) {
	c := &Context{d: v.d, device: v, primary: true}
	if err := v.d.check("cuDevicePrimaryCtxRetain", v.d.fn.primaryRetain(&c.handle, v.ordinal)); err != nil {
		return nil, err
	}
	return c, nil
}

// PrimaryActive reports whether somebody holds the device's primary context.
func (v Device) PrimaryActive() (bool, error) {
	var flags uint32
	var active int32
	err := v.d.check("cuDevicePrimaryCtxGetState", v.d.fn.primaryGetState(v.ordinal, &flags, &active))
	return active != 0, err
}

// NewContext creates a context beside the primary one. It is current nowhere yet.
func (v Device) NewContext() (*Context, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c := &Context{d: v.d, device: v}
	if err := v.d.check("cuCtxCreate_v2", v.d.fn.ctxCreate(&c.handle, 0, v.ordinal)); err != nil {
		return nil, err
	}
	// cuCtxCreate makes it current on a thread that may next run another goroutine.
	var popped uintptr
	if err := v.d.check("cuCtxPopCurrent_v2", v.d.fn.ctxPop(&popped)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Close releases or destroys the context, with all memory and modules that are still in it when it was
// the last holder. A second Close does nothing.
func (c *Context) Close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	if c.primary {
		return c.d.check("cuDevicePrimaryCtxRelease_v2", c.d.fn.primaryRelease(c.device.ordinal))
	}
	return c.d.check("cuCtxDestroy_v2", c.d.fn.ctxDestroy(c.handle))
}

// Device is the GPU of the context.
func (c *Context) Device() Device { return c.device }

// Bind locks the goroutine to its thread and makes the context current there. The function that it returns undoes both
// and must be called on the same goroutine.
func (c *Context) Bind() (release func() error, err error) {
	runtime.LockOSThread()
	if err := c.d.check("cuCtxPushCurrent_v2", c.d.fn.ctxPush(c.handle)); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	return func() error {
		defer runtime.UnlockOSThread()
		var popped uintptr
		return c.d.check("cuCtxPopCurrent_v2", c.d.fn.ctxPop(&popped))
	}, nil
}

// Do runs f with the context current on f's thread.
func (c *Context) Do(f func() error) (err error) {
	release, err := c.Bind()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	return f()
}

// ID is the driver's own number of the context, unique in the process.
func (c *Context) ID() (uint64, error) {
	var id uint64
	err := c.d.check("cuCtxGetId", c.d.fn.ctxGetID(c.handle, &id))
	return id, err
}

// SetCurrent makes the context current on the calling thread until somebody makes another one current; for threads
// that are locked for good. Bind and Do are the safer ways.
func (c *Context) SetCurrent() error {
	return c.d.check("cuCtxSetCurrent", c.d.fn.ctxSetCurrent(c.handle))
}

// IsCurrent reports whether the context is current on the calling thread.
func (c *Context) IsCurrent() (bool, error) {
	var current uintptr
	err := c.d.check("cuCtxGetCurrent", c.d.fn.ctxGetCurrent(&current))
	return current == c.handle, err
}

// CurrentDevice is the device of the context that is current on the calling thread.
func (d *Driver) CurrentDevice() (Device, error) {
	v := Device{d: d}
	err := d.check("cuCtxGetDevice", d.fn.ctxGetDevice(&v.ordinal))
	return v, err
}

// Synchronize waits for all work of the current context.
func (d *Driver) Synchronize() error {
	return d.check("cuCtxSynchronize", d.fn.ctxSynchronize())
}

// Limit is a CUlimit of the current context.
type Limit uint32

// Limits in bytes.
const (
	LimitStackSize      Limit = 0 // a thread
	LimitPrintfFIFO     Limit = 1
	LimitMallocHeapSize Limit = 2
)

// Limit asks for a limit of the current context.
func (d *Driver) Limit(l Limit) (uint64, error) {
	var value uint64
	err := d.check("cuCtxGetLimit", d.fn.ctxGetLimit(&value, uint32(l)))
	return value, err
}

// SetLimit changes a limit of the current context; the driver may round it up.
func (d *Driver) SetLimit(l Limit, value uint64) error {
	return d.check("cuCtxSetLimit", d.fn.ctxSetLimit(uint32(l), value))
}

// StreamPriorities are the lowest and the highest priority of streams; the highest is the smaller number.
func (d *Driver) StreamPriorities() (least, greatest int, err error) {
	var low, high int32
	err = d.check("cuCtxGetStreamPriorityRange", d.fn.ctxPriorities(&low, &high))
	return int(low), int(high), err
}
