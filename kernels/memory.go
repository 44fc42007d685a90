package kernels

import "github.com/warpscope/warpscope/cuda"

// Memory is the family of memory streams; see memory.cu and patterns.cuh.
func Memory() Family { return Family{"memory"} }

// Streams launches the kernels of memory on a device; Multiprocessors is its number of them. Sizes are in words of 16 bytes
// unless said otherwise.
type Streams struct{ Multiprocessors int }

// stream launches so many blocks a multiprocessor.
func (s Streams) stream(kernel string, blocks, threads int, args ...cuda.Arg) Launch {
	return spreadOver(kernel, uint64(blocks*s.Multiprocessors), threads, args...)
}

func spreadOver(kernel string, blocks uint64, threads int, args ...cuda.Arg) Launch {
	return Launch{Kernel: kernel, Config: cuda.LaunchConfig{Grid: cuda.Dim{uint32(blocks)}, Block: cuda.Dim{uint32(threads)}}, Args: args}
}

// once launches a block for every 512 words, each of which ends then: the device starts them in the order of addresses.
func (s Streams) once(kernel string, words uint64, args ...cuda.Arg) Launch {
	const threads, most = 512, 1<<31 - 1
	return spreadOver(kernel, min(max((words+threads-1)/threads, 1), most), threads, args...)
}

// Read adds all words, taken as u32, to *sum.
func (s Streams) Read(x cuda.Pointer, words uint64, sum cuda.Pointer) Launch {
	return s.stream("memory_read", 64, 512, cuda.Address(x), cuda.Int64(int64(words)), cuda.Address(sum))
}

// Write writes a value to all words, and adds the word's number to the first lane.
func (s Streams) Write(y cuda.Pointer, words uint64, value uint32) Launch {
	return s.once("memory_write", words, cuda.Address(y), cuda.Int64(int64(words)), cuda.Uint32(value))
}

// Copy copies x to y.
func (s Streams) Copy(x, y cuda.Pointer, words uint64) Launch {
	return s.once("memory_copy", words, cuda.Address(x), cuda.Address(y), cuda.Int64(int64(words)))
}

// BulkChunk is a multiple of which BulkCopy's bytes are.
const BulkChunk = 32768

// BulkCopy copies x to y through the copy unit of compute capability 9.0.
func (s Streams) BulkCopy(x, y cuda.Pointer, bytes uint64) Launch {
	l := spreadOver("memory_sm90_copy", bytes/BulkChunk, 32, cuda.Address(x), cuda.Address(y), cuda.Int64(int64(bytes)))
	l.Config.Shared = BulkChunk + 8 + 128 // the chunk, a barrier, room to align
	return l
}

// Triad is a = b + factor * c in floats.
func (s Streams) Triad(b, c, a cuda.Pointer, words uint64, factor float32) Launch {
	return s.once("memory_triad", words, cuda.Address(b), cuda.Address(c), cuda.Address(a), cuda.Int64(int64(words)), cuda.Float32(factor))
}

// Stride adds n floats, taken as u32, of which one is `stride` after the other, from `offset` on, to *sum.
func (s Streams) Stride(x cuda.Pointer, n uint64, stride, offset int, sum cuda.Pointer) Launch {
	return s.stream("memory_stride", 16, 512, cuda.Address(x), cuda.Int64(int64(n)), cuda.Int32(int32(stride)), cuda.Int32(int32(offset)), cuda.Address(sum))
}

// Gather adds n u32, a power of two, in an order without pattern to *sum.
func (s Streams) Gather(x cuda.Pointer, n uint64, sum cuda.Pointer) Launch {
	const odd uint64 = 0x9e3779b97f4a7c15
	return s.stream("memory_gather", 16, 512, cuda.Address(x), cuda.Int64(int64(n)), cuda.Int64(int64(odd&(1<<63-1))), cuda.Address(sum))
}

// ReadBy adds n elements of 4, 8 or 16 bytes, read in one access each, to *sum.
func (s Streams) ReadBy(size int, x cuda.Pointer, n uint64, sum cuda.Pointer) Launch {
	kernel := map[int]string{4: "memory_read_4", 8: "memory_read_8", 16: "memory_read_16"}[size]
	return s.stream(kernel, 16, 512, cuda.Address(x), cuda.Int64(int64(n)), cuda.Address(sum))
}

// L2Threads is how many threads a block of L2 and L1 has; words of L2 are a multiple of 4 times that.
const L2Threads = 1024

// L2 has every multiprocessor read the same words, rounds times, past L1.
func (s Streams) L2(x cuda.Pointer, words uint64, rounds int, sum cuda.Pointer) Launch {
	return s.stream("memory_l2", 1, L2Threads, cuda.Address(x), cuda.Int64(int64(words)), cuda.Int32(int32(rounds)), cuda.Address(sum))
}

// L1Words is how many words each multiprocessor reads in a round of L1.
const L1Words = 4 * L2Threads

// L1 has every multiprocessor read L1Words words of its own, rounds times.
func (s Streams) L1(x cuda.Pointer, rounds int, sum cuda.Pointer) Launch {
	return s.stream("memory_l1", 1, L2Threads, cuda.Address(x), cuda.Int32(int32(rounds)), cuda.Address(sum))
}

// SharedWords is how many words each multiprocessor reads in a round of Shared.
const SharedWords = 2 * L2Threads

// Shared has every multiprocessor read SharedWords words in shared memory, rounds times: those of thread t are t.
func (s Streams) Shared(rounds int, sum cuda.Pointer) Launch {
	return s.stream("memory_shared", 1, L2Threads, cuda.Int32(int32(rounds)), cuda.Address(sum))
}

// Chase has one thread follow links (u32 numbers of the next one) from the first on, past L1 or through it. Where it
// ends (u32) goes to *end, the clocks it took (u64) to *clocks.
func Chase(links cuda.Pointer, steps int, pastL1 bool, end, clocks cuda.Pointer) Launch {
	past := int32(0)
	if pastL1 {
		past = 1
	}
	return Launch{Kernel: "memory_chase", Args: []cuda.Arg{cuda.Address(links), cuda.Int32(int32(steps)), cuda.Int32(past), cuda.Address(end), cuda.Address(clocks)}}
}

// MostSharedLinks is how many links ChaseShared takes.
const MostSharedLinks = 12288

// ChaseShared is Chase over n links in shared memory.
func ChaseShared(links cuda.Pointer, n, steps int, end, clocks cuda.Pointer) Launch {
	return Launch{
		Kernel: "memory_chase_shared", Config: cuda.LaunchConfig{Block: cuda.Dim{32}},
		Args: []cuda.Arg{cuda.Address(links), cuda.Int32(int32(n)), cuda.Int32(int32(steps)), cuda.Address(end), cuda.Address(clocks)},
	}
}
