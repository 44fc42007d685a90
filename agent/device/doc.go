// Package device reads the machine's GPUs through NVML: which there are, and, at an interval, how
// much of their memory is used and by whom, how busy, fast, hot and throttled they are.
//
// It owns the only import of go-nvml; no NVML type or return code leaves it. A reading that NVML
// does not give is -1, never an error, and a machine without NVML yields [ErrUnavailable], which
// callers state and then carry on. It never writes files, never changes a GPU's state and knows nothing
// of traces or processes under capture. agent/session imports it.
package device
