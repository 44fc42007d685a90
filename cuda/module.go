package cuda

import (
	"fmt"
	"runtime"
	"unsafe"
)

type moduleCalls struct {
	moduleLoadData    func(module *word, image unsafe.Pointer) rc                                                                                               `cuda:"cuModuleLoadData"`
	moduleLoadDataEx  func(module *word, image unsafe.Pointer, count uint32, options *int32, values *word) rc                                                   `cuda:"cuModuleLoadDataEx"`
	moduleUnload      func(module word) rc                                                                                                                      `cuda:"cuModuleUnload"`
	moduleGetFunction func(fn *word, module word, name string) rc                                                                                               `cuda:"cuModuleGetFunction"`
	moduleGetGlobal   func(address *addr, size *uint64, module word, name string) rc                                                                            `cuda:"cuModuleGetGlobal_v2"`
	libraryLoadData   func(library *word, code unsafe.Pointer, jit, jitValues unsafe.Pointer, jitCount uint32, options, values unsafe.Pointer, count uint32) rc `cuda:"cuLibraryLoadData" since:"12000"`
	libraryUnload     func(library word) rc                                                                                                                     `cuda:"cuLibraryUnload" since:"12000"`
	libraryGetKernel  func(kernel *word, library word, name string) rc                                                                                          `cuda:"cuLibraryGetKernel" since:"12000"`
	libraryGetModule  func(module *word, library word) rc                                                                                                       `cuda:"cuLibraryGetModule" since:"12000"`
	kernelGetFunction func(fn *word, kernel word) rc                                                                                                            `cuda:"cuKernelGetFunction" since:"12000"`
	funcGetAttribute  func(value *int32, attribute int32, fn word) rc                                                                                           `cuda:"cuFuncGetAttribute"`
	funcSetAttribute  func(fn word, attribute int32, value int32) rc                                                                                            `cuda:"cuFuncSetAttribute"`
	funcGetName       func(name **byte, fn word) rc                                                                                                             `cuda:"cuFuncGetName" since:"12030"`
	occupancy         func(blocks *int32, fn word, threads int32, shared uint64) rc                                                                             `cuda:"cuOccupancyMaxActiveBlocksPerMultiprocessor"`
	launchKernel      func(fn word, gx, gy, gz, bx, by, bz, shared uint32, stream word, params *unsafe.Pointer, extra *unsafe.Pointer) rc                       `cuda:"cuLaunchKernel"`
	launchKernelEx    func(config *launchConfig, fn word, params *unsafe.Pointer, extra *unsafe.Pointer) rc                                                     `cuda:"cuLaunchKernelEx" since:"11080"`
}

// Module is loaded device code of the current context; Close unloads it.
type Module struct {
	d      *Driver
	handle uintptr
	image  []byte // kept reachable: the driver does not say when it has read it
	log    []byte // of the compiler
	closed bool
}

// CodeLibrary is loaded device code that belongs to no context; Close unloads it.
type CodeLibrary struct {
	d      *Driver
	handle uintptr
	image  []byte
	closed bool
}

// Function is a kernel in a module of a context.
type Function struct {
	d      *Driver
	handle uintptr
}

// terminated gives PTX its final NUL; the driver takes no length.
func terminated(image []byte) []byte {
	if len(image) > 0 && image[len(image)-1] == 0 {
		return image
	}
	return append(append(make([]byte, 0, len(image)+1), image...), 0)
}

// LoadModule loads a cubin, PTX or fat binary into the current context. For PTX the driver compiles;
// where that fails the error ends with the compiler's words.
func (d *Driver) LoadModule(image []byte) (*Module, error) {
	const jitErrorLog, jitErrorLogSize = 5, 6
	m := &Module{d: d, image: terminated(image), log: make([]byte, 4096)}
	options := []int32{jitErrorLog, jitErrorLogSize}
	// The values are void pointers of which the driver takes one as a pointer, one as a number. The log belongs to m, so it
	// is on the heap, which never moves.
	values := []uintptr{uintptr(unsafe.Pointer(&m.log[0])), uintptr(len(m.log))}
	code := d.fn.moduleLoadDataEx(&m.handle, unsafe.Pointer(&m.image[0]), uint32(len(options)), &options[0], &values[0])
	runtime.KeepAlive(m)
	if err := d.check("cuModuleLoadDataEx", code); err != nil {
		if said := cString(m.log); said != "" {
			return nil, fmt.Errorf("%w: %s", err, said)
		}
		return nil, err
	}
	return m, nil
}

// LoadModulePlain is LoadModule by the oldest call, cuModuleLoadData, without the compiler's words.
func (d *Driver) LoadModulePlain(image []byte) (*Module, error) {
	m := &Module{d: d, image: terminated(image)}
	if err := d.check("cuModuleLoadData", d.fn.moduleLoadData(&m.handle, unsafe.Pointer(&m.image[0]))); err != nil {
		return nil, err
	}
	return m, nil
}

// Function looks a kernel up by its (mangled) name. ErrNotFound: the module has none of that name.
func (m *Module) Function(name string) (*Function, error) {
	f := &Function{d: m.d}
	if err := m.d.check("cuModuleGetFunction", m.d.fn.moduleGetFunction(&f.handle, m.handle, name)); err != nil {
		return nil, fmt.Errorf("look up kernel %s: %w", name, err)
	}
	return f, nil
}

// Global is the address and size in bytes of a variable of the module.
func (m *Module) Global(name string) (Pointer, uint64, error) {
	var address Pointer
	var size uint64
	err := m.d.check("cuModuleGetGlobal_v2", m.d.fn.moduleGetGlobal(&address, &size, m.handle, name))
	return address, size, err
}

// Close unloads the module. A second Close does nothing.
func (m *Module) Close() error {
	if m.closed {
		return nil
	}
	m.closed = true
	return m.d.check("cuModuleUnload", m.d.fn.moduleUnload(m.handle))
}

// LoadLibrary loads device code for every context of the process (CUDA 12.0).
func (d *Driver) LoadLibrary(image []byte) (*CodeLibrary, error) {
	l := &CodeLibrary{d: d, image: terminated(image)}
	code := d.fn.libraryLoadData(&l.handle, unsafe.Pointer(&l.image[0]), nil, nil, 0, nil, nil, 0)
	if err := d.check("cuLibraryLoadData", code); err != nil {
		return nil, err
	}
	return l, nil
}

// Function looks a kernel up by its (mangled) name, for the current context.
func (l *CodeLibrary) Function(name string) (*Function, error) {
	var kernel uintptr
	if err := l.d.check("cuLibraryGetKernel", l.d.fn.libraryGetKernel(&kernel, l.handle, name)); err != nil {
		return nil, fmt.Errorf("look up kernel %s: %w", name, err)
	}
	f := &Function{d: l.d}
	if err := l.d.check("cuKernelGetFunction", l.d.fn.kernelGetFunction(&f.handle, kernel)); err != nil {
		return nil, err
	}
	return f, nil
}

// Module is the library's module in the current context; it must not be closed.
func (l *CodeLibrary) Module() (*Module, error) {
	m := &Module{d: l.d, closed: true}
	err := l.d.check("cuLibraryGetModule", l.d.fn.libraryGetModule(&m.handle, l.handle))
	return m, err
}

// Close unloads the library. A second Close does nothing.
func (l *CodeLibrary) Close() error {
	if l.closed {
		return nil
	}
	l.closed = true
	return l.d.check("cuLibraryUnload", l.d.fn.libraryUnload(l.handle))
}

// FunctionAttribute is a CUfunction_attribute.
type FunctionAttribute int32

// What a kernel says of itself; sizes in bytes.
const (
	FuncMaxThreads       FunctionAttribute = 0
	FuncStaticShared     FunctionAttribute = 1 // a block
	FuncConstant         FunctionAttribute = 2
	FuncLocal            FunctionAttribute = 3 // a thread
	FuncRegisters        FunctionAttribute = 4 // a thread
	FuncPTXVersion       FunctionAttribute = 5
	FuncBinaryVersion    FunctionAttribute = 6
	FuncMaxDynamicShared FunctionAttribute = 8 // a block; may be raised up to SharedMemoryOptIn
)

// Attribute asks for a property of the kernel.
func (f *Function) Attribute(a FunctionAttribute) (int, error) {
	var value int32
	err := f.d.check("cuFuncGetAttribute", f.d.fn.funcGetAttribute(&value, int32(a), f.handle))
	return int(value), err
}

// SetAttribute changes a property of the kernel, in practice FuncMaxDynamicShared.
func (f *Function) SetAttribute(a FunctionAttribute, value int) error {
	return f.d.check("cuFuncSetAttribute", f.d.fn.funcSetAttribute(f.handle, int32(a), int32(value)))
}

// Name is the kernel's (mangled) name (CUDA 12.3).
func (f *Function) Name() (string, error) {
	var name *byte
	err := f.d.check("cuFuncGetName", f.d.fn.funcGetName(&name, f.handle))
	return goString(name), err
}

// BlocksPerMultiprocessor is how many blocks of so many threads, with so many bytes of dynamic shared memory each, one
// multiprocessor holds.
func (f *Function) BlocksPerMultiprocessor(threads int, shared uint64) (int, error) {
	var blocks int32
	err := f.d.check("cuOccupancyMaxActiveBlocksPerMultiprocessor", f.d.fn.occupancy(&blocks, f.handle, int32(threads), shared))
	return int(blocks), err
}
