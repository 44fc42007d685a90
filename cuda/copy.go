package cuda

import "unsafe"

type copyCalls struct {
	copyHtoD      func(to addr, from unsafe.Pointer, size uint64) rc                              `cuda:"cuMemcpyHtoD_v2"`
	copyDtoH      func(to unsafe.Pointer, from addr, size uint64) rc                              `cuda:"cuMemcpyDtoH_v2"`
	copyDtoD      func(to, from addr, size uint64) rc                                             `cuda:"cuMemcpyDtoD_v2"`
	copyHtoDAsync func(to addr, from unsafe.Pointer, size uint64, stream word) rc                 `cuda:"cuMemcpyHtoDAsync_v2"`
	copyDtoHAsync func(to unsafe.Pointer, from addr, size uint64, stream word) rc                 `cuda:"cuMemcpyDtoHAsync_v2"`
	copyDtoDAsync func(to, from addr, size uint64, stream word) rc                                `cuda:"cuMemcpyDtoDAsync_v2"`
	copyAny       func(to, from addr, size uint64) rc                                             `cuda:"cuMemcpy"`
	copyAnyAsync  func(to, from addr, size uint64, stream word) rc                                `cuda:"cuMemcpyAsync"`
	copyPeerAsync func(to addr, toCtx word, from addr, fromCtx word, size uint64, stream word) rc `cuda:"cuMemcpyPeerAsync"`
	setD8         func(to addr, value uint8, count uint64) rc                                     `cuda:"cuMemsetD8_v2"`
	setD16        func(to addr, value uint16, count uint64) rc                                    `cuda:"cuMemsetD16_v2"`
	setD32        func(to addr, value uint32, count uint64) rc                                    `cuda:"cuMemsetD32_v2"`
	setD8Async    func(to addr, value uint8, count uint64, stream word) rc                        `cuda:"cuMemsetD8Async"`
	setD16Async   func(to addr, value uint16, count uint64, stream word) rc                       `cuda:"cuMemsetD16Async"`
	setD32Async   func(to addr, value uint32, count uint64, stream word) rc                       `cuda:"cuMemsetD32Async"`
}

// base is the address of a slice's first byte.
func base(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

// CopyToDevice copies from the host and waits. An empty slice is no call.
func (d *Driver) CopyToDevice(to Pointer, from []byte) error {
	if len(from) == 0 {
		return nil
	}
	return d.check("cuMemcpyHtoD_v2", d.fn.copyHtoD(to, base(from), uint64(len(from))))
}

// CopyToHost copies to the host and waits.
func (d *Driver) CopyToHost(to []byte, from Pointer) error {
	if len(to) == 0 {
		return nil
	}
	return d.check("cuMemcpyDtoH_v2", d.fn.copyDtoH(base(to), from, uint64(len(to))))
}

// CopyOnDevice copies between two places on the device. The host does not wait.
func (d *Driver) CopyOnDevice(to, from Pointer, bytes uint64) error {
	return d.check("cuMemcpyDtoD_v2", d.fn.copyDtoD(to, from, bytes))
}

// Copy copies between any two addresses and finds out itself where they lie.
func (d *Driver) Copy(to, from Pointer, bytes uint64) error {
	return d.check("cuMemcpy", d.fn.copyAny(to, from, bytes))
}

// CopyToDevice copies from the host in the stream's order. from must stay as it is until the stream has
// passed.
func (s *Stream) CopyToDevice(to Pointer, from []byte) error {
	if len(from) == 0 {
		return nil
	}
	return s.d.check("cuMemcpyHtoDAsync_v2", s.d.fn.copyHtoDAsync(to, base(from), uint64(len(from)), s.handle))
}

// CopyToHost copies to the host in the stream's order. to holds the bytes when the stream has passed.
func (s *Stream) CopyToHost(to []byte, from Pointer) error {
	if len(to) == 0 {
		return nil
	}
	return s.d.check("cuMemcpyDtoHAsync_v2", s.d.fn.copyDtoHAsync(base(to), from, uint64(len(to)), s.handle))
}

// CopyOnDevice copies between two places on the device in the stream's order.
func (s *Stream) CopyOnDevice(to, from Pointer, bytes uint64) error {
	return s.d.check("cuMemcpyDtoDAsync_v2", s.d.fn.copyDtoDAsync(to, from, bytes, s.handle))
}

// Copy copies between any two addresses in the stream's order.
func (s *Stream) Copy(to, from Pointer, bytes uint64) error {
	return s.d.check("cuMemcpyAsync", s.d.fn.copyAnyAsync(to, from, bytes, s.handle))
}

// CopyPeer copies between the memory of two contexts in the stream's order.
func (s *Stream) CopyPeer(to Pointer, toContext *Context, from Pointer, fromContext *Context, bytes uint64) error {
	return s.d.check("cuMemcpyPeerAsync", s.d.fn.copyPeerAsync(to, toContext.handle, from, fromContext.handle, bytes, s.handle))
}

// Set8 writes a byte count times, on the default stream.
func (d *Driver) Set8(to Pointer, value uint8, count uint64) error {
	return d.check("cuMemsetD8_v2", d.fn.setD8(to, value, count))
}

// Set16 writes two bytes count times, on the default stream.
func (d *Driver) Set16(to Pointer, value uint16, count uint64) error {
	return d.check("cuMemsetD16_v2", d.fn.setD16(to, value, count))
}

// Set32 writes four bytes count times, on the default stream.
func (d *Driver) Set32(to Pointer, value uint32, count uint64) error {
	return d.check("cuMemsetD32_v2", d.fn.setD32(to, value, count))
}

// Set8 writes a byte count times in the stream's order.
func (s *Stream) Set8(to Pointer, value uint8, count uint64) error {
	return s.d.check("cuMemsetD8Async", s.d.fn.setD8Async(to, value, count, s.handle))
}

// Set16 writes two bytes count times in the stream's order.
func (s *Stream) Set16(to Pointer, value uint16, count uint64) error {
	return s.d.check("cuMemsetD16Async", s.d.fn.setD16Async(to, value, count, s.handle))
}

// Set32 writes four bytes count times in the stream's order.
func (s *Stream) Set32(to Pointer, value uint32, count uint64) error {
	return s.d.check("cuMemsetD32Async", s.d.fn.setD32Async(to, value, count, s.handle))
}
