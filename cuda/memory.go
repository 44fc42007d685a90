package cuda

import "unsafe"

type memoryCalls struct {
	memGetInfo          func(free, total *uint64) rc                                                `cuda:"cuMemGetInfo_v2"`
	memAlloc            func(address *addr, size uint64) rc                                         `cuda:"cuMemAlloc_v2"`
	memAllocPitch       func(address *addr, pitch *uint64, width, height uint64, element uint32) rc `cuda:"cuMemAllocPitch_v2"`
	memFree             func(address addr) rc                                                       `cuda:"cuMemFree_v2"`
	memGetAddressRange  func(base *addr, size *uint64, address addr) rc                             `cuda:"cuMemGetAddressRange_v2"`
	memAllocManaged     func(address *addr, size uint64, flags uint32) rc                           `cuda:"cuMemAllocManaged"`
	memHostAlloc        func(p *unsafe.Pointer, size uint64, flags uint32) rc                       `cuda:"cuMemHostAlloc"`
	memFreeHost         func(p unsafe.Pointer) rc                                                   `cuda:"cuMemFreeHost"`
	memHostRegister     func(p unsafe.Pointer, size uint64, flags uint32) rc                        `cuda:"cuMemHostRegister_v2"`
	memHostUnregister   func(p unsafe.Pointer) rc                                                   `cuda:"cuMemHostUnregister"`
	memHostGetPointer   func(address *addr, p unsafe.Pointer, flags uint32) rc                      `cuda:"cuMemHostGetDevicePointer_v2"`
	pointerGetAttribute func(data unsafe.Pointer, attribute int32, address addr) rc                 `cuda:"cuPointerGetAttribute"`
}

// Pointer is an address on the device. Go never follows it.
type Pointer uint64

// MemInfo is the free and the total memory of the current context's device, in bytes.
func (d *Driver) MemInfo() (free, total uint64, err error) {
	err = d.check("cuMemGetInfo_v2", d.fn.memGetInfo(&free, &total))
	return free, total, err
}

// Alloc takes device memory. ErrOutOfMemory: there is not enough.
func (d *Driver) Alloc(bytes uint64) (Pointer, error) {
	var p Pointer
	err := d.check("cuMemAlloc_v2", d.fn.memAlloc(&p, bytes))
	return p, err
}

// AllocPitch takes device memory for rows of width bytes; pitch is the distance in bytes from row to row. element is the
// size in bytes of what threads read at once: 4, 8 or 16.
func (d *Driver) AllocPitch(width, height uint64, element int) (p Pointer, pitch uint64, err error) {
	err = d.check("cuMemAllocPitch_v2", d.fn.memAllocPitch(&p, &pitch, width, height, uint32(element)))
	return p, pitch, err
}

// AllocManaged takes memory that the host and every device may use.
func (d *Driver) AllocManaged(bytes uint64) (Pointer, error) {
	const attachGlobal = 1
	var p Pointer
	err := d.check("cuMemAllocManaged", d.fn.memAllocManaged(&p, bytes, attachGlobal))
	return p, err
}

// Free gives back what Alloc, AllocPitch, AllocManaged or AllocAsync took; 0 is allowed.
func (d *Driver) Free(p Pointer) error {
	return d.check("cuMemFree_v2", d.fn.memFree(p))
}

// AddressRange is the allocation that contains the address.
func (d *Driver) AddressRange(p Pointer) (base Pointer, bytes uint64, err error) {
	err = d.check("cuMemGetAddressRange_v2", d.fn.memGetAddressRange(&base, &bytes, p))
	return base, bytes, err
}

// MemoryType is where memory lies.
type MemoryType uint32

// CUmemorytype
const (
	MemoryHost   MemoryType = 1
	MemoryDevice MemoryType = 2
)

// TypeOf says where an address lies; plain host memory is ErrInvalidValue.
func (d *Driver) TypeOf(p Pointer) (MemoryType, error) {
	const memoryType = 2
	t := new(MemoryType)
	err := d.check("cuPointerGetAttribute", d.fn.pointerGetAttribute(unsafe.Pointer(t), memoryType, p))
	return *t, err
}

// Host is page-locked host memory, from the driver or pinned in place.
type Host struct {
	d          *Driver
	p          unsafe.Pointer
	size       uint64
	registered []byte // of PinHost: the program's memory, kept reachable
	closed     bool
}

// AllocHost takes page-locked host memory, which copies reach at full speed and asynchronously.
func (d *Driver) AllocHost(bytes uint64) (*Host, error) {
	const portable = 1
	h := &Host{d: d, size: bytes}
	if err := d.check("cuMemHostAlloc", d.fn.memHostAlloc(&h.p, bytes, portable)); err != nil {
		return nil, err
	}
	return h, nil
}

// PinHost page-locks memory that the program has already. Go's collector does not move it; it must not be freed before Close, so it should
// come from the operating system.
func (d *Driver) PinHost(memory []byte) (*Host, error) {
	if len(memory) == 0 {
		return nil, d.check("cuMemHostRegister_v2", ErrInvalidValue)
	}
	h := &Host{d: d, p: unsafe.Pointer(&memory[0]), size: uint64(len(memory)), registered: memory}
	if err := d.check("cuMemHostRegister_v2", d.fn.memHostRegister(h.p, h.size, 0)); err != nil {
		return nil, err
	}
	return h, nil
}

// Bytes is the memory itself; it must not be used after Close.
func (h *Host) Bytes() []byte { return unsafe.Slice((*byte)(h.p), h.size) }

// Pointer is the address under which kernels reach the memory.
func (h *Host) Pointer() (Pointer, error) {
	var p Pointer
	err := h.d.check("cuMemHostGetDevicePointer_v2", h.d.fn.memHostGetPointer(&p, h.p, 0))
	return p, err
}

// Close gives the memory back, or unpins it. A second Close does nothing.
func (h *Host) Close() error {
	if h.closed {
		return nil
	}
	h.closed = true
	if h.registered != nil {
		return h.d.check("cuMemHostUnregister", h.d.fn.memHostUnregister(h.p))
	}
	return h.d.check("cuMemFreeHost", h.d.fn.memFreeHost(h.p))
}
