package cuda

import "unsafe"

type poolCalls struct {
	memAllocAsync    func(address *addr, size uint64, stream word) rc            `cuda:"cuMemAllocAsync" since:"11020"`
	memFreeAsync     func(address addr, stream word) rc                          `cuda:"cuMemFreeAsync" since:"11020"`
	memAllocFromPool func(address *addr, size uint64, pool word, stream word) rc `cuda:"cuMemAllocFromPoolAsync" since:"11020"`
	memPoolCreate    func(pool *word, props *poolProps) rc                       `cuda:"cuMemPoolCreate" since:"11020"`
	memPoolDestroy   func(pool word) rc                                          `cuda:"cuMemPoolDestroy" since:"11020"`
	memPoolTrimTo    func(pool word, keep uint64) rc                             `cuda:"cuMemPoolTrimTo" since:"11020"`
	memPoolSet       func(pool word, attribute int32, value unsafe.Pointer) rc   `cuda:"cuMemPoolSetAttribute" since:"11020"`
	memPoolGet       func(pool word, attribute int32, value unsafe.Pointer) rc   `cuda:"cuMemPoolGetAttribute" since:"11020"`
}

// poolProps is a CUmemPoolProps.
type poolProps struct {
	kind     uint32
	handles  uint32
	location location
	_        uintptr // security attributes, of Windows
	maxSize  uint64
	usage    uint16
	_        [54]byte
}

// location is a CUmemLocation.
type location struct {
	kind uint32
	id   int32
}

const (
	locationDevice   = 1
	allocationPinned = 1
)

// Pool is a memory pool for stream-ordered allocations (CUDA 11.2).
type Pool struct {
	d        *Driver
	handle   uintptr
	borrowed bool // the device's own: not ours to destroy
	closed   bool
}

// PoolUse is a pool's account, in bytes.
type PoolUse struct {
	Reserved, ReservedHigh uint64 // taken from the device, and the most there ever was
	Used, UsedHigh         uint64 // handed out, and the most there ever was
}

const (
	poolThreshold    = 4
	poolReserved     = 5
	poolReservedHigh = 6
	poolUsed         = 7
	poolUsedHigh     = 8
)

// NewPool makes a memory pool on the device.
func (v Device) NewPool() (*Pool, error) {
	p := &Pool{d: v.d}
	props := &poolProps{kind: allocationPinned, location: location{kind: locationDevice, id: v.ordinal}}
	if err := v.d.check("cuMemPoolCreate", v.d.fn.memPoolCreate(&p.handle, props)); err != nil {
		return nil, err
	}
	return p, nil
}

// AllocAsync takes memory of the device's current pool, in the stream's order.
func (s *Stream) AllocAsync(bytes uint64) (Pointer, error) {
	var p Pointer
	err := s.d.check("cuMemAllocAsync", s.d.fn.memAllocAsync(&p, bytes, s.handle))
	return p, err
}

// AllocFrom takes memory of a pool, in the stream's order.
func (s *Stream) AllocFrom(pool *Pool, bytes uint64) (Pointer, error) {
	var p Pointer
	err := s.d.check("cuMemAllocFromPoolAsync", s.d.fn.memAllocFromPool(&p, bytes, pool.handle, s.handle))
	return p, err
}

// FreeAsync gives memory back when the stream has come so far.
func (s *Stream) FreeAsync(p Pointer) error {
	return s.d.check("cuMemFreeAsync", s.d.fn.memFreeAsync(p, s.handle))
}

func (p *Pool) get(attribute int32, value *uint64) error {
	return p.d.check("cuMemPoolGetAttribute", p.d.fn.memPoolGet(p.handle, attribute, unsafe.Pointer(value)))
}

// Use asks the pool for its account.
func (p *Pool) Use() (PoolUse, error) {
	var u PoolUse
	for _, f := range []struct {
		attribute int32
		value     *uint64
	}{{poolReserved, &u.Reserved}, {poolReservedHigh, &u.ReservedHigh}, {poolUsed, &u.Used}, {poolUsedHigh, &u.UsedHigh}} {
		if err := p.get(f.attribute, f.value); err != nil {
			return PoolUse{}, err
		}
	}
	return u, nil
}

// Threshold is how many bytes the pool keeps at a synchronisation instead of giving them back.
func (p *Pool) Threshold() (uint64, error) {
	var bytes uint64
	err := p.get(poolThreshold, &bytes)
	return bytes, err
}

// SetThreshold changes how many bytes the pool keeps.
func (p *Pool) SetThreshold(bytes uint64) error {
	return p.d.check("cuMemPoolSetAttribute", p.d.fn.memPoolSet(p.handle, poolThreshold, unsafe.Pointer(&bytes)))
}

// Trim gives unused memory back to the device, down to keep bytes.
func (p *Pool) Trim(keep uint64) error {
	return p.d.check("cuMemPoolTrimTo", p.d.fn.memPoolTrimTo(p.handle, keep))
}

// Close destroys a pool made by NewPool; the device's own pools stay. A second Close does nothing.
func (p *Pool) Close() error {
	if p.closed || p.borrowed {
		return nil
	}
	p.closed = true
	return p.d.check("cuMemPoolDestroy", p.d.fn.memPoolDestroy(p.handle))
}
