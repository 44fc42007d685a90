// Package cuda calls the CUDA driver API through purego: no cgo, no CUDA toolkit, no headers.
//
// It owns the loading of libcuda, the signatures of the calls and the translation of result codes
// into Go errors. It never measures, never retries and knows nothing of warpscope: nothing of ours
// lies below it. kernels, bench and the demo import it.
//
// # Threads
//
// A CUDA context is current on an operating-system thread, not on a goroutine, and the Go
// scheduler moves goroutines between threads. Everything but devices and Driver itself works on the current
// context, so it belongs inside Context.Do, or between Context.Bind and the function that it
// returns; both lock the goroutine to its thread. Handles may be used from any such thread.
//
// # Memory
//
// A Pointer is an address on the device and is never followed by Go. Host memory that an
// asynchronous call reads or writes must stay reachable until the stream has passed the call, and
// should come from Driver.AllocHost, because the driver copies pageable memory synchronously.
package cuda
