package kernels

// Memory is the family of memory streams; see memory.cu.
func Memory() Family { return Family{"memory"} }
