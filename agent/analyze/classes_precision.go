package analyze

import "strings"

// OnCUDACores says whether a matrix product or convolution runs on the GPU's general units in fp32, where tensor cores
// could do it in TF32: cuBLAS, cuDNN and CUTLASS name the instruction. Names that say nothing are false.
func OnCUDACores(name string) bool {
	name = strings.ToLower(name)
	if contains(name, []string{"tensorop", "tf32", "s1688", "s16816", "884", "wgmma", "hmma", "_h16816", "bf16", "f16f16"}) {
		return false
	}
	return contains(name, []string{"simt_sgemm", "sgemm", "ffma", "f32f32_f32f32_f32", "scudnn", "gemmsn", "gemm_kernel2x2_core", "gemmk1_kernel"})
}
