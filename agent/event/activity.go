package event

// Activities are what the units of a GPU did in windows of at least a tenth of a second: averages, of everybody's
// work on it. Shares are in millionths of what is possible at the clock of the time; a negative value was not
// available. They come from NVML's performance monitoring (GPM).
type Activities struct {
	Start    []Time  // of the window
	Duration []int64 // ns
	GPU      []GPUID
	SM       []int32 // of the time and the multiprocessors: a block was resident
	// Occupancy is of the warps that the multiprocessors have room for.
	Occupancy []int32
	// Tensor is of the time of all multiprocessors: a tensor core worked; TensorHalf on 16-bit types and TF32,
	// TensorInteger on integers, TensorDouble on 64-bit ones. FP64, FP32, FP16 and Integer are other pipes.
	Tensor        []int32
	TensorHalf    []int32
	TensorInteger []int32
	TensorDouble  []int32
	FP64          []int32
	FP32          []int32
	FP16          []int32
	Integer       []int32
	// DRAM is of DRAMPeak: what NVML's clock and bus width make of the memory, bytes a second.
	DRAM     []int32
	DRAMPeak []int64
	// Traffic in bytes a second: Out leaves the GPU, In comes to it.
	PCIeOut   []int64
	PCIeIn    []int64
	NVLinkOut []int64
	NVLinkIn  []int64
}
