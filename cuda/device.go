package cuda

import "fmt"

type deviceCalls struct {
	deviceGetCount     func(count *int32) rc                                `cuda:"cuDeviceGetCount"`
	deviceGet          func(device *int32, ordinal int32) rc                `cuda:"cuDeviceGet"`
	deviceGetName      func(name *byte, size int32, device int32) rc        `cuda:"cuDeviceGetName"`
	deviceGetUUID      func(uuid *UUID, device int32) rc                    `cuda:"cuDeviceGetUuid_v2" since:"11040"`
	deviceGetAttribute func(value *int32, attribute int32, device int32) rc `cuda:"cuDeviceGetAttribute"`
	deviceTotalMem     func(bytes *uint64, device int32) rc                 `cuda:"cuDeviceTotalMem_v2"`
	deviceGetPCIBusID  func(id *byte, size int32, device int32) rc          `cuda:"cuDeviceGetPCIBusId"`
	deviceCanAccess    func(can *int32, device, peer int32) rc              `cuda:"cuDeviceCanAccessPeer"`

	deviceDefaultPool func(pool *word, device int32) rc `cuda:"cuDeviceGetDefaultMemPool" since:"11020"`
	deviceGetPool     func(pool *word, device int32) rc `cuda:"cuDeviceGetMemPool" since:"11020"`
	deviceSetPool     func(device int32, pool word) rc  `cuda:"cuDeviceSetMemPool" since:"11020"`
}

// UUID names a GPU across processes and reboots; ordinals change with CUDA_VISIBLE_DEVICES.
type UUID [16]byte

// String writes it as nvidia-smi does: GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx.
func (u UUID) String() string {
	return fmt.Sprintf("GPU-%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// Device is one GPU that this process may use.
type Device struct {
	d       *Driver
	ordinal int32
}

// Attribute is a CUdevice_attribute.
type Attribute int32

// The attributes that warpscope asks for, with their units where there is one.
const (
	MaxThreadsPerBlock          Attribute = 1
	MaxSharedMemoryPerBlock     Attribute = 8 // bytes, without opting in
	WarpSize                    Attribute = 10
	ClockRate                   Attribute = 13 // kHz
	Multiprocessors             Attribute = 16
	Integrated                  Attribute = 18
	MemoryClockRate             Attribute = 36 // kHz
	MemoryBusWidth              Attribute = 37 // bits
	L2CacheSize                 Attribute = 38 // bytes
	MaxThreadsPerMultiprocessor Attribute = 39
	CopyEngines                 Attribute = 40
	ComputeMajor                Attribute = 75
	ComputeMinor                Attribute = 76
	SharedMemoryPerProcessor    Attribute = 81 // bytes
	ManagedMemory               Attribute = 83
	SharedMemoryOptIn           Attribute = 97 // bytes a block, opted in
	VirtualMemoryManagement     Attribute = 102
	MemoryPools                 Attribute = 115
)

// DeviceCount is the number of GPUs that this process may use.
func (d *Driver) DeviceCount() (int, error) {
	var n int32
	err := d.check("cuDeviceGetCount", d.fn.deviceGetCount(&n))
	return int(n), err
}

// Device returns the GPU with this ordinal, counted from 0.
func (d *Driver) Device(ordinal int) (Device, error) {
	var handle int32
	if err := d.check("cuDeviceGet", d.fn.deviceGet(&handle, int32(ordinal))); err != nil {
		return Device{}, err
	}
	return Device{d: d, ordinal: handle}, nil
}

// Ordinal is the device's number inside this process.
func (v Device) Ordinal() int { return int(v.ordinal) }

// Name is the product name: "NVIDIA H100 80GB HBM3".
func (v Device) Name() (string, error) {
	name := make([]byte, 256)
	err := v.d.check("cuDeviceGetName", v.d.fn.deviceGetName(&name[0], int32(len(name)), v.ordinal))
	return cString(name), err
}

// UUID identifies the GPU, or its slice under MIG.
func (v Device) UUID() (UUID, error) {
	var u UUID
	err := v.d.check("cuDeviceGetUuid_v2", v.d.fn.deviceGetUUID(&u, v.ordinal))
	return u, err
}

// Attribute asks for one property; an attribute that the driver does not know is ErrInvalidValue.
func (v Device) Attribute(a Attribute) (int, error) {
	var value int32
	err := v.d.check("cuDeviceGetAttribute", v.d.fn.deviceGetAttribute(&value, int32(a), v.ordinal))
	return int(value), err
}

// ComputeCapability is 9, 0 on Hopper.
func (v Device) ComputeCapability() (major, minor int, err error) {
	if major, err = v.Attribute(ComputeMajor); err != nil {
		return 0, 0, err
	}
	minor, err = v.Attribute(ComputeMinor)
	return major, minor, err
}

// TotalMemory is the GPU's memory in bytes.
func (v Device) TotalMemory() (uint64, error) {
	var bytes uint64
	err := v.d.check("cuDeviceTotalMem_v2", v.d.fn.deviceTotalMem(&bytes, v.ordinal))
	return bytes, err
}

// PCIBusID is domain:bus:device.function in hexadecimal.
func (v Device) PCIBusID() (string, error) {
	id := make([]byte, 32)
	err := v.d.check("cuDeviceGetPCIBusId", v.d.fn.deviceGetPCIBusID(&id[0], int32(len(id)), v.ordinal))
	return cString(id), err
}

// CanAccess reports whether kernels on v may read the memory of peer.
func (v Device) CanAccess(peer Device) (bool, error) {
	var can int32
	err := v.d.check("cuDeviceCanAccessPeer", v.d.fn.deviceCanAccess(&can, v.ordinal, peer.ordinal))
	return can != 0, err
}

// DefaultPool is the pool from which AllocAsync takes memory unless SetPool chose another.
func (v Device) DefaultPool() (*Pool, error) {
	p := &Pool{d: v.d, borrowed: true}
	err := v.d.check("cuDeviceGetDefaultMemPool", v.d.fn.deviceDefaultPool(&p.handle, v.ordinal))
	return p, err
}

// Pool is the pool that AllocAsync uses now.
func (v Device) Pool() (*Pool, error) {
	p := &Pool{d: v.d, borrowed: true}
	err := v.d.check("cuDeviceGetMemPool", v.d.fn.deviceGetPool(&p.handle, v.ordinal))
	return p, err
}

// SetPool makes AllocAsync use this pool on the device.
func (v Device) SetPool(p *Pool) error {
	return v.d.check("cuDeviceSetMemPool", v.d.fn.deviceSetPool(v.ordinal, p.handle))
}
