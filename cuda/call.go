package cuda

// Call is one of the driver's functions with its arguments, all of them words, for a C loop that repeats it. It must be made
// on a thread that has the stream's context.
type Call struct {
	Address uintptr
	Args    []uintptr // at most 4
}

func (d *Driver) call(symbol string, args ...uintptr) (Call, error) {
	address, err := d.Symbol(symbol)
	return Call{Address: address, Args: args}, err
}

// SynchronizeCall is Synchronize.
func (s *Stream) SynchronizeCall() (Call, error) {
	return s.d.call("cuStreamSynchronize", s.handle)
}

// CopyToDeviceCall copies the beginning of page-locked memory, which must stay open, to the device in the stream's order.
func (s *Stream) CopyToDeviceCall(to Pointer, from *Host, bytes uint64) (Call, error) {
	return s.d.call("cuMemcpyHtoDAsync_v2", uintptr(to), uintptr(from.p), uintptr(bytes), s.handle)
}

// CopyToHostCall copies to the beginning of page-locked memory, which must stay open, in the stream's order.
func (s *Stream) CopyToHostCall(to *Host, from Pointer, bytes uint64) (Call, error) {
	return s.d.call("cuMemcpyDtoHAsync_v2", uintptr(to.p), uintptr(from), uintptr(bytes), s.handle)
}

// LaunchCall is Launch.
func (e *GraphExec) LaunchCall(s *Stream) (Call, error) {
	return e.d.call("cuGraphLaunch", e.handle, s.handle)
}
