package kernels

// Latency is the family of kernels whose work is nothing, or known, and of the elementwise chain; see latency.cu.
func Latency() Family { return Family{"latency"} }
