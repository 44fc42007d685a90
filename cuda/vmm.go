package cuda

type vmmCalls struct {
	memGranularity func(size *uint64, prop *allocationProp, option int32) rc                `cuda:"cuMemGetAllocationGranularity" since:"10020"`
	memCreate      func(handle *uint64, size uint64, prop *allocationProp, flags uint64) rc `cuda:"cuMemCreate" since:"10020"`
	memRelease     func(handle uint64) rc                                                   `cuda:"cuMemRelease" since:"10020"`
	memReserve     func(address *addr, size, alignment uint64, hint addr, flags uint64) rc  `cuda:"cuMemAddressReserve" since:"10020"`
	memUnreserve   func(address addr, size uint64) rc                                       `cuda:"cuMemAddressFree" since:"10020"`
	memMap         func(address addr, size, offset, handle, flags uint64) rc                `cuda:"cuMemMap" since:"10020"`
	memUnmap       func(address addr, size uint64) rc                                       `cuda:"cuMemUnmap" since:"10020"`
	memSetAccess   func(address addr, size uint64, desc *accessDesc, count uint64) rc       `cuda:"cuMemSetAccess" since:"10020"`
	memRetain      func(handle *uint64, address addr) rc                                    `cuda:"cuMemRetainAllocationHandle" since:"11000"`
}

// allocationProp is a CUmemAllocationProp.
type allocationProp struct {
	kind     uint32
	handles  uint32
	location location
	_        uintptr
	_        [8]byte
}

// accessDesc is a CUmemAccessDesc.
type accessDesc struct {
	location location
	flags    uint32
}

// Physical is memory of a device without an address (CUDA 10.2). It lives until it is released and
// mapped nowhere.
type Physical struct {
	d        *Driver
	handle   uint64
	size     uint64
	released bool
}

// Range is reserved address space, without memory until something is mapped into it.
type Range struct {
	d      *Driver
	Base   Pointer
	Size   uint64 // bytes
	closed bool
}

func (v Device) prop() *allocationProp {
	return &allocationProp{kind: allocationPinned, location: location{kind: locationDevice, id: v.ordinal}}
}

// Granularity is what sizes and addresses of physical memory must be multiples of, in bytes.
func (v Device) Granularity() (uint64, error) {
	const minimum = 0
	var size uint64
	err := v.d.check("cuMemGetAllocationGranularity", v.d.fn.memGranularity(&size, v.prop(), minimum))
	return size, err
}

// NewPhysical takes memory of the device. ErrOutOfMemory: there is not enough.
func (v Device) NewPhysical(bytes uint64) (*Physical, error) {
	p := &Physical{d: v.d, size: bytes}
	if err := v.d.check("cuMemCreate", v.d.fn.memCreate(&p.handle, bytes, v.prop(), 0)); err != nil {
		return nil, err
	}
	return p, nil
}

// Size is the size in bytes.
func (p *Physical) Size() uint64 { return p.size }

// Close releases the handle; what is mapped stays until it is unmapped. A second Close does nothing.
func (p *Physical) Close() error {
	if p.released {
		return nil
	}
	p.released = true
	return p.d.check("cuMemRelease", p.d.fn.memRelease(p.handle))
}

// PhysicalAt gives another hold on the memory that is mapped at the address (CUDA 11.0); Close lets go of it.
func (d *Driver) PhysicalAt(at Pointer) (*Physical, error) {
	p := &Physical{d: d}
	if err := d.check("cuMemRetainAllocationHandle", d.fn.memRetain(&p.handle, at)); err != nil {
		return nil, err
	}
	return p, nil
}

// Reserve takes address space of so many bytes.
func (d *Driver) Reserve(bytes uint64) (*Range, error) {
	r := &Range{d: d, Size: bytes}
	if err := d.check("cuMemAddressReserve", d.fn.memReserve(&r.Base, bytes, 0, 0, 0)); err != nil {
		return nil, err
	}
	return r, nil
}

// Map makes the whole of the memory appear at an offset of the range; SetAccess then allows its use.
func (r *Range) Map(offset uint64, p *Physical) error {
	return r.d.check("cuMemMap", r.d.fn.memMap(r.Base+Pointer(offset), p.size, 0, p.handle, 0))
}

// SetAccess lets the device read and write a part of the range.
func (r *Range) SetAccess(offset, bytes uint64, v Device) error {
	const readWrite = 3
	desc := &accessDesc{location: location{kind: locationDevice, id: v.ordinal}, flags: readWrite}
	return r.d.check("cuMemSetAccess", r.d.fn.memSetAccess(r.Base+Pointer(offset), bytes, desc, 1))
}

// Unmap takes whole mappings out of the range.
func (r *Range) Unmap(offset, bytes uint64) error {
	return r.d.check("cuMemUnmap", r.d.fn.memUnmap(r.Base+Pointer(offset), bytes))
}

// Close gives the address space back; nothing may be mapped in it. A second Close does nothing.
func (r *Range) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	return r.d.check("cuMemAddressFree", r.d.fn.memUnreserve(r.Base, r.Size))
}
