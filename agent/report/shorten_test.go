package report

import (
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/analyze"
)

// Names as compilers and libraries give them to kernels.
var kernelNames = []string{
	"_ZN2at6native29vectorized_elementwise_kernelILi4ENS0_15CUDAFunctor_addIfEESt5arrayIPcLm3EEEEviT0_T1_",
	"_ZN2at6native29vectorized_elementwise_kernelILi4ENS0_11FillFunctorIN3c108BFloat16EEESt5arrayIPcLm1EEEEviT0_T1_",
	"_ZN2at6native29vectorized_elementwise_kernelILi4EZZZNS0_18GeluCUDAKernelImplERNS_18TensorIteratorBaseENS0_8GeluTypeEENKUlvE0_clEvENKUlvE2_clEvEUlN3c108BFloat16EE_NS_6detail5ArrayIPcLi2EEEEEviT0_T1_",
	"_ZN2at6native29vectorized_elementwise_kernelILi4EZZZNS0_49_GLOBAL__N__d2ba64fb_16_TensorCompare_cu_71e06f4e19launch_clamp_scalarERNS_18TensorIteratorBaseEN3c106ScalarES6_NS0_6detail11ClampLimitsEENKUlvE_clEvENKUlvE5_clEvEUlfE_St5arrayIPcLm2EEEEviT0_T1_",
	"_ZN2at6native29vectorized_elementwise_kernelILi4ENS0_13AUnaryFunctorIllbNS0_51_GLOBAL__N__28ce311f_18_CompareEQKernel_cu_d8008c9616CompareEqFunctorIlEEEENS_6detail5ArrayIPcLi2EEEEEviT0_T1_",
	"_ZN43_GLOBAL__N__b6de9c8c_10_SoftMax_cu_9f978f6320softmax_warp_forwardIfffLi4ELb0ELb0EEEvPT0_PKT_iiiPKbib",
	"_ZN7cutlass7Kernel2I66cutlass_80_tensorop_f16_s16816gemm_relu_f16_256x128_32x6_tn_align8EEvNT_6ParamsE",
	"_ZN7cutlass7Kernel2I50cutlass_80_tensorop_s1688gemm_64x64_16x6_tn_align4EEvNT_6ParamsE",
	"_Z17gemv2T_kernel_valIiiffffLi128ELi16ELi4ELi4ELb0ELb1E18cublasGemvParamsExIi30cublasGemvTensorStridedBatchedIKfES3_S1_IfEfEEvT11_T4_S7_",
	"_ZN2at6native12_GLOBAL__N_128vectorized_layer_norm_kernelIN3c108BFloat16EfLb1EEEviT0_PKT_S8_S8_PS5_S9_PS6_",
	"_ZN4vllm15rms_norm_kernelIN3c104HalfEEEvPT_PKS3_S6_fii",
	"_ZN4vllm15rms_norm_kernelIN3c108BFloat16EEEvPT_PKS3_S6_fii",
	"nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_NNT",
	"sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k_off_kernel__5x_cublas",
	"sm90_xmma_gemm_bf16bf16_bf16f32_f32_nt_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k_off_kernel__5x_cublas",
	"triton_poi_fused_add_cat_index_select_mul_split_sub_unsqueeze_view_0",
}

func symbols(names ...string) []Symbol {
	var list []Symbol
	for _, n := range names {
		s := Symbol{Whole: analyze.Demangle(n)}
		if s.Whole != n {
			s.Mangled = n
		}
		list = append(list, s)
	}
	return list
}

func TestShorten(t *testing.T) {
	fill := kernelNames[1]
	tests := []struct {
		name  string
		width int
		names []string
		want  []string
	}{
		{"namespaces, parameters and return type go", 60, []string{kernelNames[9]}, []string{"vectorized_layer_norm_kernel<BFloat16, float, true>"}},
		{"an only name needs no arguments, but says what there is room for", 30, []string{fill}, []string{"vectorized_eleme…<FillFunctor>"}},
		{"arguments that tell two apart stay", 26, []string{kernelNames[10], kernelNames[11]}, []string{"rms_norm_kernel<Half>", "rms_norm_kernel<BFloat16>"}},
		{"a lambda is known by the function around it", 60, []string{kernelNames[2]}, []string{"vectorized_elementwise_kernel<GeluCUDAKernelImpl<BFloat16>>"}},
		{"a functor is taken out of its wrapper", 60, []string{kernelNames[4]}, []string{"vectorized_elementwise_kernel<CompareEqFunctor<long>>"}},
		{"a wrapper of kernels goes", 60, []string{kernelNames[7]}, []string{"cutlass_80_tensorop_s1688gemm_64x64_16x6_tn_align4"}},
		{"what is not mangled is cut in the middle", 30, []string{kernelNames[15]}, []string{"triton_poi_fused_a…eeze_view_0"}},
		{"where cutting makes two alike, the difference is shown", 36, kernelNames[13:15],
			[]string{"sm90_xmma_g…2_tn_n_tilesize128x128x…", "sm90_xmma_g…2_nt_n_tilesize128x128x…"}},
		{"the same name twice stays the same", 20, []string{kernelNames[12], kernelNames[12]}, []string{"nvjet_hsh_12…opA_NNT", "nvjet_hsh_12…opA_NNT"}},
		{"what cannot be told apart is numbered", 12, []string{"same_kernel", "_Z11same_kernelv", "_Z11same_kerneli"}, []string{"same_kernel", "same_ker… #2", "same_ker… #3"}},
		{"a broken mangled name stays as it is", 40, []string{"_ZN2at6nativeXYZ"}, []string{"_ZN2at6nativeXYZ"}},
		{"nothing", 40, []string{""}, []string{""}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for i, got := range Shorten(symbols(test.names...), test.width) {
				if got != test.want[i] {
					t.Errorf("got  %s\nwant %s", got, test.want[i])
				}
			}
		})
	}
}

// At any width, names fit and different kernels look different.
func TestShortenFitsAndDistinguishes(t *testing.T) {
	list := symbols(kernelNames...)
	for width := 14; width < 200; width++ {
		seen := map[string]int{}
		for i, text := range Shorten(list, width) {
			if Width(text) > width {
				t.Errorf("width %d: %q takes %d cells", width, text, Width(text))
			}
			if j, ok := seen[text]; ok {
				t.Errorf("width %d: %q stands for\n%s and\n%s", width, text, list[i].Whole, list[j].Whole)
			}
			seen[text] = i
		}
	}
}

func FuzzShorten(f *testing.F) {
	for _, n := range kernelNames {
		f.Add(n, n, 30)
	}
	f.Add("_ZN1aILi1EEEv", "_Z1aIXadL_Z1bEEEvv", 12)
	f.Fuzz(func(t *testing.T, a, b string, width int) {
		if len(a)+len(b) > 4096 {
			t.Skip("no name is so long")
		}
		width = 12 + width&127
		for _, text := range Shorten(symbols(a, b), width) {
			if clean := Clean(text); strings.ContainsAny(clean, "\x1b\n") {
				t.Errorf("%q reaches the terminal", clean)
			}
		}
	})
}
