package cuda

import (
	"encoding/binary"
	"math"
	"runtime"
	"unsafe"
)

// Dim is a number of blocks or threads in x, y and z; a zero counts as 1.
type Dim [3]uint32

func (v Dim) or1() Dim {
	for i := range v {
		v[i] = max(v[i], 1)
	}
	return v
}

// Count is the product of the three.
func (v Dim) Count() uint64 {
	v = v.or1()
	return uint64(v[0]) * uint64(v[1]) * uint64(v[2])
}

// LaunchConfig is how a kernel is launched.
type LaunchConfig struct {
	Grid    Dim    // blocks
	Block   Dim    // threads a block
	Cluster Dim    // blocks a cluster; zero: none (LaunchEx only, CUDA 11.8)
	Shared  uint32 // bytes of dynamic shared memory a block
}

// Arg is one parameter of a kernel.
type Arg struct {
	bits uint64
	data []byte
}

// Int32 is an int parameter.
func Int32(v int32) Arg { return Arg{bits: uint64(uint32(v))} }

// Uint32 is an unsigned int parameter.
func Uint32(v uint32) Arg { return Arg{bits: uint64(v)} }

// Int64 is a long long parameter.
func Int64(v int64) Arg { return Arg{bits: uint64(v)} }

// Float32 is a float parameter.
func Float32(v float32) Arg { return Arg{bits: uint64(math.Float32bits(v))} }

// Float64 is a double parameter.
func Float64(v float64) Arg { return Arg{bits: math.Float64bits(v)} }

// Address is a pointer parameter.
func Address(p Pointer) Arg { return Arg{bits: uint64(p)} }

// Struct is a parameter passed by value, laid out as the kernel declares it.
func Struct(bytes []byte) Arg { return Arg{data: bytes} }

// params are what cuLaunchKernel wants: an array of pointers to the values. The driver copies the
// values before it returns.
func params(args []Arg) []unsafe.Pointer {
	values := make([]uint64, len(args))
	pointers := make([]unsafe.Pointer, len(args)+1) // never empty: its first element is passed
	for i, a := range args {
		if len(a.data) > 0 {
			pointers[i] = unsafe.Pointer(&a.data[0])
			continue
		}
		values[i] = a.bits
		pointers[i] = unsafe.Pointer(&values[i])
	}
	return pointers
}

// Launch starts a kernel in the stream. It does not wait: an error of the kernel itself comes from a
// later call.
func (s *Stream) Launch(f *Function, c LaunchConfig, args ...Arg) error {
	g, b := c.Grid.or1(), c.Block.or1()
	p := params(args)
	code := s.d.fn.launchKernel(f.handle, g[0], g[1], g[2], b[0], b[1], b[2], c.Shared, s.handle, &p[0], nil)
	runtime.KeepAlive(p)
	return s.d.check("cuLaunchKernel", code)
}

// launchAttribute is a CUlaunchAttribute; the value is a union of 64 bytes.
type launchAttribute struct {
	id    uint32
	_     uint32
	value [64]byte
}

// launchConfig is a CUlaunchConfig.
type launchConfig struct {
	grid       Dim
	block      Dim
	shared     uint32
	_          uint32
	stream     uintptr
	attributes *launchAttribute
	count      uint32
	_          uint32
}

// LaunchEx starts a kernel by cuLaunchKernelEx, with a cluster if the configuration has one (CUDA 11.8).
func (s *Stream) LaunchEx(f *Function, c LaunchConfig, args ...Arg) error {
	const clusterDimension = 4
	config := &launchConfig{grid: c.Grid.or1(), block: c.Block.or1(), shared: c.Shared, stream: s.handle}
	if c.Cluster != (Dim{}) {
		attribute := &launchAttribute{id: clusterDimension}
		*(*Dim)(unsafe.Pointer(&attribute.value)) = c.Cluster.or1()
		config.attributes, config.count = attribute, 1
	}
	p := params(args)
	code := s.d.fn.launchKernelEx(config, f.handle, &p[0], nil)
	runtime.KeepAlive(p)
	runtime.KeepAlive(config)
	return s.d.check("cuLaunchKernelEx", code)
}

// LaunchCall is what a C loop needs to repeat a launch: cuLaunchKernel and its arguments. It holds no pointer into Go's memory:
// Params are the parameters' values one after the other, each at a multiple of ParamAlign, from the offsets given.
type LaunchCall struct {
	Call, Function, Stream uintptr
	Config                 LaunchConfig // without zeros
	Params                 []byte
	Offsets                []uint64
}

// ParamAlign is a multiple of which every parameter lies in LaunchCall.Params: what a CUtensorMap wants.
const ParamAlign = 128

// Prepare is a launch for a C loop, to be made on a thread that has the function's context.
func (s *Stream) Prepare(f *Function, c LaunchConfig, args ...Arg) (LaunchCall, error) {
	address, err := s.d.Symbol("cuLaunchKernel")
	call := LaunchCall{Call: address, Function: f.handle, Stream: s.handle, Config: c}
	call.Config.Grid, call.Config.Block = c.Grid.or1(), c.Block.or1()
	for _, a := range args {
		for len(call.Params)%ParamAlign != 0 {
			call.Params = append(call.Params, 0)
		}
		call.Offsets = append(call.Offsets, uint64(len(call.Params)))
		if len(a.data) > 0 {
			call.Params = append(call.Params, a.data...)
		} else {
			call.Params = binary.NativeEndian.AppendUint64(call.Params, a.bits)
		}
	}
	return call, err
}
