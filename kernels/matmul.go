package kernels

// Matmuls is the family of matrix products; see matmul.cu and matmul_sm90.cuh.
func Matmuls() Family { return Family{"matmul"} }
